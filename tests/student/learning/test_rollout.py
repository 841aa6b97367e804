"""Whole episodes, their advantages, and what follows the last step."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
import torch

from askonce.pipeline import tasks
from askonce.pipeline.collect import draw
from askonce.student.learning.distill import Teacher
from askonce.student.learning.network import ActorCritic, as_policy
from askonce.student.learning.rollout import Rollout, collect, generalized_advantages
from tests.student.example import PERFECT, Episode, Script


def by_episode(column: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """A rollout's flat column, steps outer and episodes inner → each episode's steps."""
    alive = np.arange(lengths.max())[:, None] < lengths
    grid = np.zeros((*alive.shape, *column.shape[1:]), column.dtype)
    grid[alive] = column
    return [grid[:length, n] for n, length in enumerate(lengths)]


# ---- Generalized advantages --------------------------------------------------------------------------------


def advantages_by_definition(rewards, values, last_value, discount, gae_lambda) -> list[float]:
    """Schulman et al. (2016): A_t = Σ_l (γλ)^l δ_{t+l}, δ_t = r_t + γ V(s_{t+1}) − V(s_t)."""
    steps = len(rewards)
    after = [*values[1:], last_value]
    errors = [rewards[t] + discount * after[t] - values[t] for t in range(steps)]
    return [sum((discount * gae_lambda) ** l * errors[t + l] for l in range(steps - t)) for t in range(steps)]  # noqa: E741


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    seed=st.integers(0, 2**32),
    discount=st.floats(0, 1),
    gae_lambda=st.floats(0, 1),
)
def test_advantages_are_those_of_the_definition(lengths, seed, discount, gae_lambda):
    rng = np.random.default_rng(seed)
    shape = (max(lengths), len(lengths))
    alive = np.arange(shape[0])[:, None] < lengths
    # What stands beyond an episode's end must not matter.
    rewards, values = rng.normal(size=shape), rng.normal(size=shape).astype(np.float32)
    last = rng.normal(size=shape[1])
    found = generalized_advantages(rewards, values, alive, last, discount, gae_lambda)
    for n, length in enumerate(lengths):
        expected = advantages_by_definition(
            rewards[:length, n], values[:length, n].astype(float), last[n], discount, gae_lambda
        )
        assert found[:length, n] == pytest.approx(expected, rel=1e-5, abs=1e-5)
        assert not found[length:, n].any()


def test_what_was_cut_off_is_bootstrapped_and_what_ended_is_not():
    script = Script(
        (
            Episode((0.0, 0.0, 0.5), terminated=True, truncated=False),
            Episode((0.0, 0.0, 0.5), terminated=False, truncated=True),
            Episode((0.0, 0.0, 0.5), terminated=True, truncated=True),
            # Cut off while the others go on.
            Episode((0.25,), terminated=False, truncated=True),
        )
    )
    value = lambda steps: 10.0 + steps
    policy = lambda view: (np.full((len(view), 2), 0.5, np.float32), value(view[:, 0]))
    rollout = collect(script.batch(4), np.arange(4), policy, None, np.random.default_rng(0), 0.9, 0.8)
    assert rollout.lengths.tolist() == [3, 3, 3, 1]
    assert rollout.returns.tolist() == [0.5, 0.5, 0.5, 0.25]
    advantages = by_episode(rollout.advantage, rollout.lengths)
    targets = by_episode(rollout.value_target, rollout.lengths)
    for n, last_value in enumerate([0.0, value(3), 0.0, value(1)]):
        values = [value(t) for t in range(rollout.lengths[n])]
        expected = advantages_by_definition(script.episodes[n].rewards, values, last_value, 0.9, 0.8)
        assert advantages[n] == pytest.approx(expected, rel=1e-6)
        assert targets[n] == pytest.approx(np.add(expected, values), rel=1e-6)
    assert rollout.teacher.shape == (10, 0)


def test_what_the_critic_learns_is_scaled_and_the_returns_are_not():
    script = Script((Episode((1.0, 0.0, 20.0)),))
    policy = lambda view: (np.full((len(view), 2), 0.5, np.float32), np.zeros(len(view), np.float32))
    rollout = collect(script.batch(1), np.arange(1), policy, None, np.random.default_rng(0), 0.5, 1.0, reward_scale=0.1)
    assert rollout.value_target.tolist() == pytest.approx([0.6, 1.0, 2.0]) and rollout.returns.tolist() == [21.0]


# ---- Whole episodes ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def played():
    """A task, its layout seeds, the network that played, and what `collect` made of it."""
    task = tasks.find("SimpleDoorKey")
    torch.manual_seed(0)
    network = ActorCritic(task.view_size, task.action_space.n)
    with torch.no_grad():
        network.actor.weight *= 100  # far enough from uniform that the actions' probabilities differ
    seeds = task.seeds(6, seed=5)
    teacher = Teacher(task, PERFECT.get)
    return (
        task,
        seeds,
        network,
        teacher,
        collect(task.batch(6), seeds, as_policy(network), teacher, np.random.default_rng(7), 0.99, 0.95),
    )


def test_a_rollout_is_what_the_engine_says_of_its_actions(played):
    task, seeds, _, _, rollout = played
    columns = rollout.view, rollout.action, rollout.teacher
    episodes = zip(*(by_episode(column, rollout.lengths) for column in columns), strict=True)
    asked, one = Teacher(task, PERFECT.get), np.ones(1, dtype=bool)
    for n, (views, actions, advised) in enumerate(episodes):
        batch = task.batch(1)
        batch.reset(np.array([0]), seeds[n : n + 1])
        total = 0.0
        for t, action in enumerate(actions):
            assert np.array_equal(views[t], batch.view[0])
            assert np.array_equal(advised[t], asked(batch, one)[0])
            reward, terminated, truncated = batch.step(np.array([action]))
            total += reward[0]
            assert bool(terminated[0] | truncated[0]) == (t == len(actions) - 1)
        assert rollout.returns[n] == total and rollout.successes[n] == (total > 0)


def test_every_state_of_a_whole_teacher_is_advised_and_counted_once(played):
    _, _, _, teacher, rollout = played
    assert rollout.teacher.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert teacher.hits == rollout.lengths.sum() == len(rollout.action) and teacher.misses == 0


def test_log_probabilities_are_those_of_the_actions_drawn(played):
    _, _, network, _, rollout = played
    logits, values = network(torch.from_numpy(rollout.view).float())
    log_policy = logits.detach().log_softmax(-1).numpy()
    assert log_policy.std() > 0.1
    of_actions = log_policy[np.arange(len(log_policy)), rollout.action]
    assert rollout.log_probability == pytest.approx(of_actions, abs=1e-5)
    assert rollout.value == pytest.approx(values.detach().numpy(), abs=1e-5)


def test_the_same_randomness_gives_the_same_rollout(played):
    task, seeds, network, _, rollout = played

    def again(seed: int) -> Rollout:
        rng = np.random.default_rng(seed)
        return collect(task.batch(6), seeds, as_policy(network), Teacher(task, PERFECT.get), rng, 0.99, 0.95)

    same = again(7)
    assert all(np.array_equal(column, vars(same)[name]) for name, column in vars(rollout).items())
    assert not np.array_equal(again(8).action[:60], rollout.action[:60])


# ---- Drawing -----------------------------------------------------------------------------------------------


def test_draw_is_a_fair_sampler_of_weights_that_need_not_add_up():
    """A binomial count strays by more than five standard deviations once in 1.7 million."""
    weights = np.array([3.0, 0.0, 1.0, 0.0, 4.0, 0.0], np.float32)
    count = 200_000
    drawn = draw(np.tile(weights, (count, 1)), np.random.default_rng(0))
    share = weights / weights.sum()
    found = np.bincount(drawn, minlength=len(weights))
    assert np.all(np.abs(found - count * share) <= 5 * np.sqrt(count * share * (1 - share)))


def test_each_row_is_drawn_by_its_own_weights_independently():
    """Rows alternate between two certain and one even choice; neighbours must not agree more than chance."""
    weights = np.tile([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.5, 0.5]], (25_000, 1))
    drawn = draw(weights, np.random.default_rng(1)).reshape(-1, 4)
    assert not drawn[:, 0].any() and drawn[:, 2].all()
    agreeing = (drawn[:, 1] == drawn[:, 3]).sum()
    assert abs(agreeing - 12_500) <= 5 * np.sqrt(25_000 / 4)
