"""A task that gives no more than the contract demands goes the whole way, and what it leaves out is as documented."""

from itertools import islice
import subprocess
import sys

from gymnasium.spaces import Box, Discrete
import numpy as np
import pytest

import askonce
from askonce.pipeline.tasks.task import (
    Advice,
    Batch,
    Lesson,
    Option,
    Playout,
    Prompt,
    Task,
    action_names,
    worth_playing,
)
from askonce.student.showing.watch import frames

LENGTH = 3
NEAR, FAR = "The end is near.", "The end is far."


class Walk(Task):
    """A corridor of three cells: action 1 walks on, action 0 does not; its end pays 1."""

    name, env_id, view_size = "Walk", "Walk-v0", 1
    action_space = Discrete(2)
    options = Option("walk", "walk", takes_object=False), Option("wait", "wait", takes_object=False)
    prompt = Prompt("Walk.", options, FAR, "It is far.", "It walks.", ("walk",))

    def batch(self, size: int) -> "WalkBatch":
        return WalkBatch(size)

    def seeds(self, count: int, seed: int, held_out: bool = False) -> np.ndarray:
        return np.random.default_rng([seed, held_out]).integers(1 << 40, size=count)

    def text(self, situation: int) -> str:
        return NEAR if situation else FAR

    def decisions(self, text: str):
        return ("walk",), ("wait",)

    def plans(self, distributions, earlier=None):
        return {**(earlier or {}), **distributions}


class WalkBatch(Batch):
    def __init__(self, size: int):
        self.size, self.at, self.steps = size, np.zeros(size, int), np.zeros(size, int)

    @property
    def observations(self) -> np.ndarray:
        return self.view

    @property
    def view(self) -> np.ndarray:
        return self.at[:, None].astype(np.float32)

    @property
    def situations(self) -> np.ndarray:
        return (self.at >= LENGTH - 1).astype(np.int64)

    def reset(self, index, seeds) -> None:
        self.at[index] = self.steps[index] = 0

    def step(self, actions, going=None):
        running = (self.at < LENGTH) & (self.steps < 10)
        running &= True if going is None else going
        self.at += running & (actions == 1)
        self.steps += running
        arrived = self.at == LENGTH
        return (running & arrived).astype(float), arrived, (self.steps == 10) & ~arrived

    def advise(self, plans, going=None) -> Advice:
        told = [plans.get(NEAR if near else FAR, {}) for near in self.situations]
        walks = np.array([[said.get(("walk",), 0.0), said.get(("wait",), 0.0)] for said in told], np.float32)
        return Advice(np.tile([1, 0], (self.size, 1)), walks)


def walker(chats: list) -> list[str]:
    return ["Observation: …\nReasoning: …\nDecision: walk" for _ in chats]


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A cache and a run of the minimal task."""
    folder, task = tmp_path_factory.mktemp("walk"), Walk()
    report = askonce.build_cache(task, folder / "cache", walker, samples=2, episodes=30)
    assert (report.texts, report.completions, report.unparsable, report.coverage) == (2, 4, 0, 1.0)
    progress = askonce.train(task, folder / "run", folder / "cache", iterations=20)
    assert progress.iteration == 20 and progress.cache_misses == 0 < progress.cache_hits
    return task, folder


def test_a_minimal_task_is_asked_about_learnt_and_judged(taught):
    task, folder = taught
    assert askonce.look_up(folder / "cache", task, FAR) == {("walk",): 1.0}
    teacher = askonce.evaluate(task, cache=folder / "cache", episodes=50)
    assert (teacher.success_rate, teacher.length_mean) == (1.0, LENGTH)
    assert askonce.evaluate(task, run=folder / "run", episodes=50).success_rate > 0.5


def test_it_is_watched_without_a_picture(taught):
    task, folder = taught
    shown = task.watched()
    assert shown.batch.size == 1 and (shown.picture, shown.symbols, shown.holds) == (None, None, None)
    seen = list(islice(frames(task, shown, folder / "run", None, 1, 0), 20))
    assert seen[0].text == FAR and seen[-1].ended


def test_the_audit_says_that_it_cannot_play_it_out(taught):
    task, folder = taught
    found = askonce.audit(task, folder / "cache")
    assert not found.playable and {row.text for row in found.rows} == {NEAR, FAR}
    assert all((row.cost, row.verdict) == (None, "undecided") for row in found.rows)
    assert all("this task cannot play decisions out" in row.reason for row in found.rows)


def test_what_a_task_leaves_out_is_as_documented():
    task = Walk()
    assert (task.scene(FAR), task.playout(), task.view_module(), task.lessons(), task.sources()) == (None,) * 3 + (
        {},
        (),
    )
    assert (task.action_names, task.image_shape, task.fixed_options) == ((),) * 3
    assert (task.idle_action, task.together, task.separable, task.simulator) == (0.0, None, True, None)
    assert task.canonical("a Walk") == "a Walk" and task.carry_out(FAR) == () and not task.acts_by_options
    assert action_names(task) == ("action 0", "action 1") and worth_playing(task, 500) == 500
    assert set(task.random_actions(np.random.default_rng(0), 100)) == {0, 1}
    with pytest.raises(ValueError, match="no text"):
        task.describe(["a door"], None)
    with pytest.raises(askonce.AskonceError, match="fixed options of their own"):
        task.over_options()


def test_a_task_of_vectors_that_takes_long_acts_at_random_within_its_space_and_is_played_less_often():
    class Drive(Walk):
        action_space, together = Box(np.array([-1, 2], np.float32), np.array([1, 3], np.float32)), 20

    actions = Drive().random_actions(np.random.default_rng(0), 1000)
    assert actions.shape == (1000, 2) and np.allclose(actions.mean(axis=0), [0, 2.5], atol=0.1)
    assert (actions >= [-1, 2]).all() and (actions <= [1, 3]).all()
    assert action_names(Drive()) == ("action 0", "action 1")
    assert worth_playing(Drive(), 500) == 20 and worth_playing(Drive(), 5) == 5


def test_a_task_with_fixed_options_has_them_for_actions():
    class Chosen(Walk):
        fixed_options = "walk", "wait"

        def carry_out(self, text: str):
            return self.decisions(text)

    by_options = Chosen().over_options()
    assert by_options.acts_by_options and by_options.action_space == Discrete(2)
    assert action_names(by_options) == ("walk", "wait") and by_options.name == "Walk"


def test_what_a_batch_leaves_out_is_as_documented():
    batch = Walk().batch(4)
    assert batch.ones is None and batch.kernels() is None and batch.durations.tolist() == [1] * 4
    assert batch.successes(np.array([0.0, 0.1, -1.0, 1.0])).tolist() == [False, True, False, True]
    assert batch.worth(np.array([1.0, 0.0, 0.5, 0.0]), 0.9).tolist() == [1.0, 0.0, 0.5, 0.0]


def test_a_reward_is_worth_less_the_longer_its_step_took_and_one_of_no_step_is_as_it_is():
    class Slow(WalkBatch):
        durations = np.array([0, 1, 2, 4])

    assert Slow(4).worth(np.ones(4), 0.5).tolist() == [1.0, 1.0, 0.5, 0.125]


@pytest.mark.parametrize("base", [Task, Batch, Playout, Lesson])
def test_what_lacks_something_that_is_demanded_cannot_be_made(base):
    for lacking in sorted(base.__abstractmethods__):
        others = {name: lambda self: None for name in base.__abstractmethods__ - {lacking}}
        with pytest.raises(TypeError, match=rf"method '?{lacking}\b"):
            type("Incomplete", (base,), others)()
    type("Complete", (base,), {name: lambda self: None for name in base.__abstractmethods__})()


@pytest.mark.parametrize(
    "call, loaded",
    [("names()", set()), ("find('ColoredDoorKey')", {"minigrid", "numba"}), ("find('NavPick')", {"mujoco", "numba"})],
)
def test_a_world_is_loaded_only_once_one_of_its_tasks_is_wanted(call, loaded):
    program = f"""
import sys
from askonce.pipeline import tasks
tasks.{call}
print(*(name for name in ("minigrid", "mujoco", "numba", "torch") if name in sys.modules))
"""
    ended = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, check=True)
    assert set(ended.stdout.split()) == loaded
