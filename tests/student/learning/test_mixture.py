"""The closed forms of a Gaussian student's distance to a mixture, against numerical integration."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from askonce.pipeline.tasks.task import Advice
from askonce.student.learning.mixture import cross_entropy, mahalanobis, mixture, wasserstein

GRID = torch.linspace(-8, 8, 20_001, dtype=torch.float64)


@st.composite
def cases(draw, dimensions: int = 3) -> tuple[Advice, np.ndarray, np.ndarray]:
    """Advice for one state, and the student's means and deviations."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    decisions = draw(st.integers(1, 4))
    means = rng.uniform(-1, 1, (1, decisions, dimensions)).astype(np.float32)
    weights = rng.dirichlet(np.ones(decisions), size=1).astype(np.float32)
    own = rng.uniform(0.1, 0.5, dimensions)
    return Advice(means, weights, own), rng.uniform(-1, 1, dimensions), rng.uniform(0.1, 0.5, dimensions)


def closed(form, advice: Advice, mean: np.ndarray, deviation: np.ndarray) -> float:
    student = (torch.tensor(mean[None]), torch.tensor(deviation[None]))
    return form(torch.from_numpy(mixture(advice)).double(), *student).item()


def marginal(advice: Advice, d: int) -> list[tuple[float, float, float]]:
    """(probability, mean, deviation) of each decision, in dimension d."""
    return [(float(p), float(m[d]), advice.deviation[d]) for p, m in zip(advice.probabilities[0], advice.actions[0])]


@settings(deadline=None, max_examples=30)
@given(cases())
def test_the_cross_entropy_is_the_integral(case):
    advice, mean, deviation = case
    expected = 0.0
    for d in range(3):
        density = sum(p * Normal(m, s).log_prob(GRID).exp() for p, m, s in marginal(advice, d))
        expected -= torch.trapezoid(density * Normal(mean[d], deviation[d]).log_prob(GRID), GRID).item()
    assert closed(cross_entropy, advice, mean, deviation) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@settings(deadline=None, max_examples=30)
@given(cases(dimensions=1))
def test_the_mixtures_distance_is_above_w2_which_is_above_gelbrichs_bound_and_equal_for_one_decision(case):
    """On a line W2² = ∫ (F⁻¹(u) − G⁻¹(u))² du, here by x = F⁻¹(u); Gelbrich (1990) bounds it by the moments alone."""
    advice, mean, deviation = case
    parts = marginal(advice, 0)
    density = sum(p * Normal(m, s).log_prob(GRID).exp() for p, m, s in parts)
    reached = sum(p * Normal(m, s).cdf(GRID) for p, m, s in parts).clip(1e-15, 1 - 1e-15)
    exact = torch.trapezoid(density * (GRID - Normal(mean[0], deviation[0]).icdf(reached)) ** 2, GRID).item()
    _, m, v, _ = mixture(advice)[0].astype(float)
    gelbrich = (m - mean[0]) ** 2 + (np.sqrt(v) - deviation[0]) ** 2
    found = closed(wasserstein, advice, mean, deviation)
    assert gelbrich - 1e-4 <= exact <= found + 1e-4
    if len(parts) == 1:
        assert found == pytest.approx(exact, abs=1e-4) == pytest.approx(gelbrich, abs=1e-4)


@settings(deadline=None, max_examples=30)
@given(cases())
def test_the_mixtures_distance_moves_every_decisions_gaussian_to_the_student(case):
    advice, mean, deviation = case
    moved = [((m - mean) ** 2 + (advice.deviation - deviation) ** 2).sum() for m in advice.actions[0]]
    expected = float(advice.probabilities[0] @ np.array(moved))
    assert closed(wasserstein, advice, mean, deviation) == pytest.approx(expected, rel=1e-5, abs=1e-5)


@settings(deadline=None, max_examples=30)
@given(cases())
def test_the_mahalanobis_distance_is_in_units_of_the_mixtures_variance(case):
    """−2 log of a normal density, less its peak's, is that distance squared."""
    advice, mean, deviation = case
    expected = 0.0
    for d in range(3):
        weights, means, own = (torch.tensor(column, dtype=torch.float64) for column in zip(*marginal(advice, d)))
        whole = MixtureSameFamily(Categorical(weights), Normal(means, own))
        near = Normal(whole.mean, whole.variance.sqrt())
        expected += 2 * (near.log_prob(whole.mean) - near.log_prob(torch.tensor(mean[d]))).item()
        expected += (advice.deviation[d] - deviation[d]) ** 2 / whole.variance.item()
    assert closed(mahalanobis, advice, mean, deviation) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_mahalanobis_distance_binds_where_decisions_agree_and_hardly_where_they_do_not():
    advice = Advice(np.float32([[[0.5, 1], [0.5, -1]]]), np.float32([[0.5, 0.5]]), 0.1)
    mean = torch.zeros(1, 2, dtype=torch.float64).add(torch.tensor([0.4, 0.1])).requires_grad_()
    mahalanobis(torch.from_numpy(mixture(advice)).double(), mean, torch.full((1, 2), 0.1)).backward()
    # Both are 0.1 from the mixture's mean, whose variances are 0.01 and 1.01.
    assert mean.grad[0].tolist() == pytest.approx([2 * -0.1 / 0.01, 2 * 0.1 / 1.01], rel=1e-4)


def test_options_that_never_stray_are_no_surer_than_a_student_can_be():
    advice = Advice(np.float32([[[0.5, 0.5]]]), np.float32([[1.0]]), 0.0)
    assert closed(mahalanobis, advice, np.array([0.4, 0.5]), np.array([0.02, 0.02])) == pytest.approx(25 + 2, rel=1e-3)


@pytest.mark.parametrize("form", [cross_entropy, wasserstein, mahalanobis])
def test_states_without_advice_add_nothing_and_count_in_the_mean(form):
    rng = np.random.default_rng(0)
    actions, advised = rng.normal(size=(2, 3, 4)).astype(np.float32), np.array([[0.2, 0.3, 0.5], [0, 0, 0]], np.float32)
    both, alone = (torch.from_numpy(mixture(Advice(actions[:n], advised[:n], 0.3))) for n in (2, 1))
    assert not both[1].any() and both.shape == (2, 13)
    mean, deviation = torch.zeros(2, 4, requires_grad=True), torch.full((2, 4), 0.5)
    found = form(both, mean, deviation)
    assert found.item() == pytest.approx(form(alone, mean[:1], deviation[:1]).item() / 2)
    found.backward()
    assert mean.grad[0].all() and not mean.grad[1].any()


def test_a_decision_whose_options_have_ended_is_no_advice():
    rng = np.random.default_rng(0)
    actions, probabilities = rng.normal(size=(2, 3, 4)).astype(np.float32), np.array([[0.2, 0.3, 0.5]] * 2, np.float32)
    ended = np.array([[False, True, False], [True, True, True]])
    some, none = mixture(Advice(actions, probabilities, 0.3, ended))
    rest = mixture(Advice(actions[:1, [0, 2]], probabilities[:1, [0, 2]], 0.3))[0]
    assert some == pytest.approx(rest) and some[0] == pytest.approx(0.7)
    assert not none.any()
