"""Compiled episodes against `rollout.collect` playing the same student, layouts and random numbers step by step."""

import numpy as np
import pytest
import torch

from askonce.cache.errors import AskonceError
from askonce.pipeline import tasks
from askonce.pipeline.tasks.minigrid import NAMES as GRID_TASKS
from askonce.student.learning import compiled_rollout, fused, ppo, rollout
from askonce.student.learning.distill import Teacher, refuse
from askonce.student.learning.network import ActorCritic
from tests.student.example import PERFECT

EXPLORE = {("explore",): 0.5, ("go to key", "pick up key"): 0.25, ("go to blue key",): 0.25}


def student(task) -> fused.FusedLearner:
    torch.manual_seed(0)
    network = ActorCritic(task.view_size, task.action_space.n)
    with torch.no_grad():
        network.actor.weight *= 100
    hyperparameters = ppo.Hyperparameters()
    return fused.FusedLearner(network, ppo.optimizer(network, hyperparameters), hyperparameters)


def answers(task) -> dict:
    """Something for half of the texts."""
    return {text: EXPLORE for text in list(task.situations)[::2]}


def both(task, make_teacher):
    """The two rollouts, each with its teacher."""
    learner, seeds, played = student(task), task.seeds(8, seed=5), []
    for _ in range(2):
        teacher, rng = make_teacher(), np.random.default_rng(7)
        given = teacher, rng, 0.99, 0.95
        if played:
            played.append((rollout.collect(task.batch(8), seeds, learner.policy, *given, learner.see), teacher))
        else:
            played.append((compiled_rollout.collect(task.batch(8), seeds, learner.layers, *given), teacher))
    return played


@pytest.mark.parametrize("name", GRID_TASKS)
@pytest.mark.parametrize("advised", [True, False])
def test_they_are_those_played_step_by_step(name, advised):
    task = tasks.find(name)
    (found, teacher), (expected, other) = both(task, lambda: Teacher(task, answers(task).get) if advised else None)
    for column, values in vars(expected).items():
        if column == "log_probability":
            assert found.log_probability == pytest.approx(values, abs=1e-5)
        else:
            assert np.array_equal(getattr(found, column), values), column
            assert getattr(found, column).dtype == values.dtype
    assert (found.lengths < task.max_steps).any() or name != "LavaDoorKey"
    if advised:
        assert (teacher.hits, teacher.missing) == (other.hits, other.missing)
        assert teacher.hits > 0 and teacher.misses > 0 and teacher.hits + teacher.misses == found.lengths.sum()


def test_a_text_is_asked_when_it_is_first_met_and_its_answer_used_at_once():
    task, questions = tasks.find("SimpleDoorKey"), []

    def ask(text):
        questions.append(text)
        return PERFECT[text]

    (found, _), (expected, _) = both(task, lambda: Teacher(task, {}.get, ask))
    assert np.array_equal(found.teacher, expected.teacher) and found.teacher.any(axis=1).all()
    assert len(questions) == 2 * len(set(questions)) > 2


def test_a_teacher_that_refuses_ends_them():
    task = tasks.find("SimpleDoorKey")
    with pytest.raises(AskonceError, match="build-cache"):
        both(task, lambda: Teacher(task, {}.get, refuse))


def test_every_draw_finds_an_action_by_the_same_rule():
    """Uniform numbers at both ends and in between, over all tasks' number of actions."""
    from askonce.pipeline.collect import draw

    class Given:
        def __init__(self, numbers):
            self.numbers = numbers

        def random(self, count):
            return self.numbers

    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(7, 0.3), size=1000).astype(np.float32)
    numbers = rng.random(1000)
    numbers[:50], numbers[50:100] = 0.0, np.nextafter(1, 0)
    with np.errstate(divide="ignore"):
        outputs = np.log(np.concatenate([probabilities, np.ones((1000, 1), np.float32)], axis=1))
    expected = draw(np.exp(outputs[:, :-1]), Given(numbers))
    assert [compiled_rollout.draw(row, number) for row, number in zip(outputs, numbers)] == expected.tolist()
