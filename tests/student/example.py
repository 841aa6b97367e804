"""What the student's tests start from: a teacher without fault, and episodes that go by a script."""

from dataclasses import dataclass

from gymnasium.spaces import Discrete
import numpy as np

from askonce.pipeline.tasks.task import Advice, Batch, Task

# SimpleDoorKey has no other texts; LavaDoorKey has the same ones.
PERFECT = {
    "Agent sees nothing, holds nothing.": {("explore",): 1.0},
    "Agent sees a door, holds nothing.": {("explore",): 1.0},
    "Agent sees a key, holds nothing.": {("go to key", "pick up key"): 1.0},
    "Agent sees a key, a door, holds nothing.": {("go to key", "pick up key"): 1.0},
    "Agent sees nothing, holds a key.": {("explore",): 1.0},
    "Agent sees a door, holds a key.": {("go to door", "open door"): 1.0},
}


@dataclass(frozen=True)
class Episode:
    """What one environment pays, step by step, and how it ends, whatever is done in it."""

    rewards: tuple[float, ...]
    terminated: bool = True
    truncated: bool = False


@dataclass(frozen=True)
class Script(Task):
    """A task whose layout n is episodes[n]; its view is the number of steps taken."""

    episodes: tuple[Episode, ...]
    action_space = Discrete(2)
    view_size = 1

    def batch(self, size: int) -> "ScriptBatch":
        return ScriptBatch(self.episodes, size)

    def seeds(self, count: int, seed: int, held_out: bool = False) -> np.ndarray:
        return np.arange(count)

    def text(self, situation: int) -> str:
        return "Agent waits."

    def decisions(self, text: str) -> tuple:
        return (("wait",),)

    def plans(self, distributions, earlier=None) -> dict:
        return {}


class ScriptBatch(Batch):
    def __init__(self, script: tuple[Episode, ...], size: int):
        self.script, self.size = script, size
        self.playing = [script[0]] * size
        self.steps = np.zeros(size, np.int64)

    @property
    def view(self) -> np.ndarray:
        return self.steps[:, None].astype(np.float32)

    @property
    def observations(self) -> np.ndarray:
        return self.view

    @property
    def situations(self) -> np.ndarray:
        return np.zeros(self.size, np.int64)

    def advise(self, plans, going=None) -> Advice:
        return Advice(np.zeros((self.size, 1), np.int64), np.zeros((self.size, 1), np.float32))

    def reset(self, index: np.ndarray, seeds: np.ndarray) -> None:
        for n, seed in zip(index, seeds, strict=True):
            self.playing[n], self.steps[n] = self.script[seed], 0

    def step(self, actions: np.ndarray, going=None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        assert len(actions) == self.size
        rewards = np.zeros(self.size)
        for n, episode in enumerate(self.playing):
            if self.steps[n] < len(episode.rewards):
                rewards[n] = episode.rewards[self.steps[n]]
                self.steps[n] += 1
        over = self.steps == [len(episode.rewards) for episode in self.playing]
        return (
            rewards,
            over & [episode.terminated for episode in self.playing],
            over & [episode.truncated for episode in self.playing],
        )
