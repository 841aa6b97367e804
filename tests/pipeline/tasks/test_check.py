"""A task is checked before it is trained on: every planted fault is found, and nothing where there is none."""

from dataclasses import replace

import gymnasium
from gymnasium.wrappers import TimeLimit
import numpy as np
import pytest

import askonce
from askonce.cache.errors import AskonceError
from askonce.pipeline import tasks
from askonce.pipeline.tasks.gym_task import GymTask
from askonce.pipeline.tasks.task import Option, Prompt
from tests.called import called

PROMPT = Prompt(
    "Walk.", (Option("right", "one cell on"), Option("left", "one cell back")), "Agent at 3.", "3", "go", ("right",)
)


class Line(gymnasium.Env):
    """Ten cells; the last is the goal. `noise` comes from a generator that no seed reaches."""

    observation_space = gymnasium.spaces.Box(0, 10, (1,))
    action_space = gymnasium.spaces.Discrete(2)
    unseeded = np.random.default_rng()

    def __init__(self, reward: float = 1.0, noise: bool = False):
        self.reward, self.noise = reward, noise

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = int(self.np_random.integers(8))
        return np.array([self.at], np.float32), {}

    def step(self, action):
        self.at = int(np.clip(self.at + 2 * int(action) - 1, 0, 9))
        if self.noise:
            self.at = int(self.unseeded.integers(9))
        done = self.at == 9
        return np.array([self.at], np.float32), self.reward * done, done, False, {}


gymnasium.register("Line-v0", Line, max_episode_steps=60)
GOOD = GymTask(
    name="Line",
    env_id="Line-v0",
    prompt=PROMPT,
    write=lambda seen: f"Agent at {int(seen[0])}.",
    options=lambda text: ["right", "left"],
    act=lambda option, seen: {"right": 1, "left": 0}[option],
    look=lambda seen: seen / 10,
)
FAULTS = {
    "another": replace(GOOD, env_kwargs={"noise": True}),
    "all observations have the same text": replace(GOOD, write=lambda seen: "Agent is somewhere."),
    "texts are empty": replace(GOOD, write=lambda seen: "" if seen[0] > 5 else "Agent."),
    "2, of 0 to 1": replace(GOOD, act=lambda option, seen: 2 if option == "right" else 0),
    "in 100% of the texts no option does anything": replace(GOOD, act=lambda option, seen: None),
    "not finite": replace(GOOD, look=lambda seen: seen / np.float32(0)),
    "inputs never change": replace(GOOD, look=lambda seen: np.ones(3, np.float32)),
    "inputs reach 8,000": replace(GOOD, look=lambda seen: seen * 1000),
    "rewards reach from 0 to 1e+06": replace(GOOD, env_kwargs={"reward": 1e6}),
    "no return was positive": replace(GOOD, env_kwargs={"reward": -1.0}),
    "no random option was ever rewarded": replace(GOOD, env_kwargs={"reward": 0.0}),
    "texts have no options": replace(GOOD, options=lambda text: [] if "at 9" in text else ["right"] if "8" in text else []),
    "came only in the last tenth": replace(GOOD, write=lambda seen, met=[0]: f"Agent {met.append(0) or len(met)}."),
    "'left' went on for": replace(
        GOOD, write=lambda seen: "Agent at the wall." if seen[0] == 0 else "Agent.", options=lambda text: ["left"],
        wrap=lambda env: TimeLimit(env.unwrapped, 400),
    ),
    "did not end within": replace(GOOD, options=lambda text: ["left"], wrap=lambda env: env.unwrapped),
}  # fmt: skip


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr("askonce.pipeline.tasks.check.MOST_STEPS", 1000)


@pytest.mark.parametrize("task", [GOOD, *map(tasks.find, ("SimpleDoorKey", "LavaDoorKey"))], ids=lambda task: task.name)
def test_nothing_is_found_where_nothing_is_wrong(task):
    found = askonce.check_task(task, episodes=60)
    assert found.findings == [] and found.episodes == 60 and found.texts > 1 and found.steps > 60


@pytest.mark.parametrize("words", FAULTS)
def test_a_planted_fault_is_found(words):
    found = askonce.check_task(FAULTS[words], episodes=40)
    assert any(words in one.words for one in found.findings), found.findings
    assert all(one.advice and "\n" not in one.words + one.advice for one in found.findings)


def test_a_function_that_fails_is_one_line():
    with pytest.raises(AskonceError, match="Line failed: KeyError: 'dance'"):
        askonce.check_task(replace(GOOD, options=lambda text: ["dance"]))


def test_the_command_says_what_it_found_and_what_asking_takes():
    here = "tests.pipeline.tasks.test_check"
    good = called("check-task", f"{here}:GOOD", "--episodes", 30, "--json").figures
    assert good["findings"] == [] and good["plan"]["texts"] == good["texts"] == 9
    assert "nothing is wrong" in called("check-task", f"{here}:GOOD", "--episodes", 30).out
    bad = called("check-task", f"{here}:SAME", "--episodes", 10)
    assert bad.code == 1 and "error: all observations have the same text: write what" in bad.out


SAME = FAULTS["all observations have the same text"]


def test_an_environment_is_made_with_what_it_is_given_and_wrapped():
    task = replace(GOOD, env_kwargs={"reward": 7.0}, wrap=lambda env: TimeLimit(env.unwrapped, 3))
    batch = task.batch(1)
    batch.reset(np.array([0]), np.array([0]))
    ends = [batch.step(np.array([0]))[2].item() for _ in range(3)]
    assert ends == [False, False, True]
