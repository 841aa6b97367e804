"""Figures and their intervals, and the two who can be evaluated."""

from dataclasses import fields
from statistics import NormalDist

import numpy as np
import pytest
import torch

from askonce.cache.errors import AskonceError
from askonce.pipeline import tasks
from askonce.pipeline.tasks.gym_task import GymTask
from askonce.student.judging import evaluate
from askonce.student.learning import checkpoint, ppo
from askonce.student.learning.network import ActorCritic
from tests.student.example import PERFECT, Episode, Script


def idle(batch, running, rng) -> np.ndarray:
    return np.zeros(batch.size, np.int64)


def successes(count: int, episodes: int) -> Script:
    return Script((Episode((1.0,)),) * count + (Episode((0.0,)),) * (episodes - count))


# Newcombe, Statistics in Medicine 17 (1998), table I, method 3: Wilson's score interval.
@pytest.mark.parametrize(
    "count, episodes, low, high",
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_success_rates_interval_is_wilsons(count, episodes, low, high):
    found = evaluate.evaluate(successes(count, episodes), idle, episodes, seed=0)
    assert found.success_rate == pytest.approx(count / episodes)
    assert found.success_ci95 == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("count", range(0, 11))
def test_its_ends_are_where_the_score_test_turns(count):
    """Both ends p solve |p̂ − p| = z·√(p(1−p)/n), so a rate of 1 or 0 is not taken to be certain."""
    z = NormalDist().inv_cdf(0.975)
    for end in evaluate.evaluate(successes(count, 10), idle, 10, seed=0).success_ci95:
        assert -1e-12 <= end <= 1 + 1e-12
        assert abs(count / 10 - end) == pytest.approx(z * max(end * (1 - end) / 10, 0) ** 0.5, abs=1e-6)


def test_means_have_normal_intervals_and_a_positive_return_is_a_success():
    script = Script((Episode((0.0, 0.0, 1.0)), Episode((-1.0,)), Episode((0.0, 0.5)), Episode((0.0,) * 4)))
    found = evaluate.evaluate(script, idle, 4, seed=0)
    returns, lengths, z = np.array([1, -1, 0.5, 0]), np.array([3, 1, 2, 4]), NormalDist().inv_cdf(0.975)
    for figures, mean, ends in (
        (returns, found.return_mean, found.return_ci95),
        (lengths, found.length_mean, found.length_ci95),
    ):
        half = z * (((figures - figures.mean()) ** 2).sum() / 3 / 4) ** 0.5
        assert mean == pytest.approx(figures.mean())
        assert ends == pytest.approx((figures.mean() - half, figures.mean() + half), rel=1e-6)
    assert found.success_rate == 0.5 and found.episodes == 4


def test_every_episode_counts_once_also_beyond_one_batch():
    episodes = 2 * evaluate.BATCH + 7
    lengths = np.arange(episodes) % 5 + 1
    script = Script(tuple(Episode((0.0,) * (length - 1) + (float(n),)) for n, length in enumerate(lengths)))
    found = evaluate.evaluate(script, idle, episodes, seed=0)
    assert found.return_mean == pytest.approx((episodes - 1) / 2)
    assert found.length_mean == pytest.approx(lengths.mean())
    assert found.success_rate == pytest.approx(1 - 1 / episodes)


def test_a_teacher_without_fault_always_opens_the_door():
    task = tasks.find("SimpleDoorKey")
    found = evaluate.evaluate(task, evaluate.teacher(task, PERFECT.get), 200, seed=0)
    assert found.success_rate == 1 and found.return_mean > 0.8
    assert found.return_mean == pytest.approx(1 - 0.9 * found.length_mean / task.max_steps)
    assert found.success_ci95[0] < 1


def test_a_teacher_without_answers_never_does():
    task = tasks.find("DivergedDoorKey")
    found = evaluate.evaluate(task, evaluate.teacher(task, {}.get), 20, seed=0)
    assert (found.success_rate, found.return_mean, found.length_mean) == (0, 0, task.max_steps)


# A task of one's own, whose idle action is not the last one.
POLE = GymTask(
    "CartPole",
    "CartPole-v1",
    prompt=None,
    idle=0,
    write=lambda pole: "left" if pole[2] < 0 else "right",
    options=lambda text: [f"push {text}"],
    act=lambda option, pole: int(option == "push right"),
)


@pytest.fixture
def poles():
    batch = POLE.batch(8)
    batch.reset(np.arange(8), POLE.seeds(8, seed=0))
    assert set(map(POLE.text, batch.situations)) == {"left", "right"}
    return batch


def test_where_the_teacher_has_no_answer_it_does_what_the_task_calls_idle(poles):
    act = evaluate.teacher(POLE, {"right": {("push right",): 1.0}}.get)
    actions = act(poles, np.ones(8, dtype=bool), np.random.default_rng(0))
    assert actions.tolist() == [int(POLE.text(situation) == "right") for situation in poles.situations]


def test_the_teacher_follows_its_decisions_as_often_as_their_probabilities_say(poles):
    """A binomial count strays by more than five standard deviations once in 1.7 million."""
    unsure = {("push left",): 0.25, ("push right",): 0.75}
    act, rng = evaluate.teacher(POLE, {"left": unsure, "right": unsure}.get), np.random.default_rng(0)
    pushed_right = sum(act(poles, np.ones(8, dtype=bool), rng).sum() for _ in range(500))
    assert abs(pushed_right - 3000) <= 5 * (4000 * 0.75 * 0.25) ** 0.5


def test_the_same_seed_gives_the_same_figures_and_another_one_other_layouts():
    task = tasks.find("LavaDoorKey")
    act = evaluate.teacher(task, PERFECT.get)
    once, again, other = (evaluate.evaluate(task, act, 50, seed) for seed in (4, 4, 5))
    assert once == again and once != other


def test_evaluated_layouts_are_the_held_out_ones():
    task, seen = tasks.find("SimpleDoorKey"), []

    class Recorded(type(task)):
        def seeds(self, *arguments, **named):
            seen.append(super().seeds(*arguments, **named))
            return seen[-1]

    recorded = Recorded(**{field.name: getattr(task, field.name) for field in fields(task) if field.init})
    evaluate.evaluate(recorded, evaluate.teacher(task, PERFECT.get), 30, seed=1)
    assert np.array_equal(np.concatenate(seen), task.seeds(30, 1, held_out=True))


def test_a_student_is_evaluated_from_its_run_alone(tmp_path):
    task = tasks.find("SimpleDoorKey")
    torch.manual_seed(0)
    network = ActorCritic(task.view_size, task.action_space.n)
    adam = ppo.optimizer(network, ppo.Hyperparameters())
    checkpoint.save(tmp_path, network, adam, {"task": task.name, "iteration": 1})
    act = evaluate.student(task, tmp_path)
    once, again = (evaluate.evaluate(task, act, 10, seed=0) for _ in range(2))
    assert once == again and 0 < once.length_mean <= task.max_steps
    with pytest.raises(AskonceError, match="SimpleDoorKey"):
        evaluate.student(tasks.find("LavaDoorKey"), tmp_path)
