"""Eq. 1 and the teacher's term of Eq. 2, against restatements that are slow and obvious."""

from math import log

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
import torch

from askonce.cache.errors import AskonceError
from askonce.pipeline import tasks
from askonce.pipeline.tasks.task import Advice
from askonce.student.learning.distill import Teacher, cross_entropy, go_without, refuse, teacher_policy, wasserstein
from tests.student.example import PERFECT

ACTIONS = 7


@st.composite
def advice(draw) -> Advice:
    rows, decisions = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    probabilities = rng.dirichlet(np.ones(decisions), size=rows).astype(np.float32)
    probabilities[rng.random(rows) < 0.3] = 0
    return Advice(rng.integers(ACTIONS, size=(rows, decisions)), probabilities)


@st.composite
def policies(draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Teacher (B, A) with rows of zeros, logits of a student (B, A), and which rows are advised."""
    rows = draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    advised = rng.random(rows) < 0.7
    teacher = rng.dirichlet(np.full(ACTIONS, 0.5), size=rows) * advised[:, None]
    return teacher, rng.normal(scale=2, size=(rows, ACTIONS)), advised


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


@settings(deadline=None)
@given(advice())
def test_eq_1_sums_what_each_decision_would_do(advice):
    expected = np.zeros((len(advice.actions), ACTIONS))
    for n in range(len(advice.actions)):
        for k in range(advice.actions.shape[1]):
            for a in range(ACTIONS):
                option_policy = 1.0 if advice.actions[n, k] == a else 0.0
                expected[n, a] += advice.probabilities[n, k] * option_policy
    policy = teacher_policy(advice, ACTIONS)
    assert policy.dtype == np.float32 and policy == pytest.approx(expected, abs=1e-6)
    advised = advice.probabilities.any(axis=1)
    assert policy[advised].sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert not policy[~advised].any()


@settings(deadline=None)
@given(policies())
def test_the_teachers_term_is_the_surprise_at_the_student_expected_under_the_teacher(policies):
    teacher, logits, _ = policies
    student = softmax(logits)
    expected = 0.0
    for n in range(len(teacher)):
        for a in range(ACTIONS):
            expected -= teacher[n, a] * log(student[n, a]) / len(teacher)
    found = cross_entropy(torch.tensor(teacher), torch.tensor(logits).log_softmax(-1))
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_teacher_and_student_are_not_to_be_swapped():
    unsure, sure = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.9, 0.1]])
    assert cross_entropy(unsure, sure.log()).item() == pytest.approx(-0.5 * log(0.9) - 0.5 * log(0.1))
    assert cross_entropy(sure, unsure.log()).item() == pytest.approx(log(2))


def test_a_student_that_rules_out_what_its_teacher_would_do_pays_for_it_and_not_the_reverse():
    teacher, student = torch.tensor([[0.5, 0.5]]), torch.tensor([[1 - 1e-30, 1e-30]], dtype=torch.float64)
    assert cross_entropy(teacher, student.log()) > 30
    assert cross_entropy(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.5]]).log()) < 1


@settings(deadline=None)
@given(policies())
def test_its_gradient_draws_the_student_to_the_teacher_where_there_is_advice(policies):
    teacher, values, advised = policies
    logits = torch.tensor(values, requires_grad=True)
    cross_entropy(torch.tensor(teacher), logits.log_softmax(-1)).backward()
    expected = (softmax(values) - teacher) / len(teacher)
    assert logits.grad.numpy()[advised] == pytest.approx(expected[advised], abs=1e-12)
    assert not logits.grad.numpy()[~advised].any()


@settings(deadline=None)
@given(policies())
def test_it_is_least_where_the_student_is_the_teacher(policies):
    teacher, logits, _ = policies
    teacher = torch.tensor(teacher)
    least = cross_entropy(teacher, teacher.clamp(min=1e-300).log())
    assert cross_entropy(teacher, torch.tensor(logits).log_softmax(-1)) >= least - 1e-12


def test_the_wasserstein_distance_is_the_mass_to_be_moved_and_leaves_out_states_without_advice():
    student = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]).clamp(min=1e-9)
    teacher = torch.tensor([[0.1, 0.6, 0.3], [0.0, 0.0, 0.0]])
    assert wasserstein(teacher, student.log()).item() == pytest.approx((0.1 + 0.3) / 2)
    assert wasserstein(student, student.log()).item() == pytest.approx(0, abs=1e-6)
    logits = torch.randn(2, 3, requires_grad=True)
    wasserstein(teacher, logits.log_softmax(-1)).backward()
    assert logits.grad[0].any() and not logits.grad[1].any()


# ---- The teacher over a batch ------------------------------------------------------------------------------

START, BY_THE_KEY = "Agent sees nothing, holds nothing.", "Agent sees a key, holds nothing."


@pytest.fixture
def batch():
    """32 SimpleDoorKey worlds at their start, some of which show the key."""
    task = tasks.find("SimpleDoorKey")
    batch = task.batch(32)
    batch.reset(np.arange(32), task.seeds(32, seed=0))
    assert {START, BY_THE_KEY} <= set(texts(batch))
    return batch


def texts(batch) -> list[str]:
    return [batch.task.text(situation) for situation in batch.situations.tolist()]


def test_the_teacher_mixes_its_decisions_by_their_probabilities(batch):
    everyone = np.ones(batch.size, dtype=bool)
    alone = [
        Teacher(batch.task, {BY_THE_KEY: {decision: 1.0}}.get)(batch, everyone)
        for decision in (("go to key", "pick up key"), ("explore",))
    ]
    mixed = Teacher(batch.task, {BY_THE_KEY: {("go to key", "pick up key"): 0.75, ("explore",): 0.25}}.get)
    assert mixed(batch, everyone) == pytest.approx(0.75 * alone[0] + 0.25 * alone[1])
    assert not np.array_equal(*alone)


def test_hits_and_misses_are_counted_for_running_environments_alone(batch):
    running = np.arange(batch.size) % 3 > 0
    teacher = Teacher(batch.task, {BY_THE_KEY: PERFECT[BY_THE_KEY]}.get)
    policy = teacher(batch, running)
    met = [text for text, runs in zip(texts(batch), running) if runs]
    assert teacher.hits == met.count(BY_THE_KEY)
    assert teacher.missing == {text: met.count(text) for text in met if text != BY_THE_KEY}
    assert teacher.hits + teacher.misses == running.sum() and teacher.asked == 0
    assert np.array_equal(policy.any(axis=1), [text == BY_THE_KEY for text in texts(batch)])
    teacher(batch, np.zeros(batch.size, dtype=bool))
    assert teacher.hits + teacher.misses == running.sum()


def test_a_missing_text_is_asked_once_and_its_answer_used_at_once(batch):
    questions = []

    def ask(text):
        questions.append(text)
        return PERFECT[text]

    everyone, teacher = np.ones(batch.size, dtype=bool), Teacher(batch.task, {}.get, ask)
    first = teacher(batch, everyone)
    assert np.array_equal(first, Teacher(batch.task, PERFECT.get)(batch, everyone))
    assert sorted(questions) == sorted(set(texts(batch)))
    assert np.array_equal(teacher(batch, everyone), first)
    assert len(questions) == len(set(texts(batch))) == teacher.asked
    assert teacher.misses == 0 and teacher.hits == 2 * batch.size


def test_a_text_that_stays_without_an_answer_is_asked_once_too(batch):
    questions = []
    teacher = Teacher(batch.task, {}.get, questions.append)
    for _ in range(2):
        assert not teacher(batch, np.ones(batch.size, dtype=bool)).any()
    assert len(questions) == len(set(texts(batch)))
    assert teacher.misses == 2 * batch.size and teacher.asked == 0


def test_going_without_is_the_default_and_refusing_says_what_is_missing(batch):
    everyone = np.ones(batch.size, dtype=bool)
    assert Teacher(batch.task, {}.get).on_miss is go_without
    with pytest.raises(AskonceError, match="build-cache") as refused:
        Teacher(batch.task, {BY_THE_KEY: PERFECT[BY_THE_KEY]}.get, refuse)(batch, everyone)
    assert START in str(refused.value) and "\n" not in str(refused.value)
    Teacher(batch.task, PERFECT.get, refuse)(batch, everyone)
