"""What each of NavPick's two options is taught by its scripted expert (`Lesson`).

The expert knows the whole home; to Navigate it says what it would do by the map of what was seen so far, as nobody can
learn to foresee what is behind a wall. Navigate starts anywhere in the home, Pick beside the table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from askonce.pipeline.tasks.navpick import options
from askonce.pipeline.tasks.navpick.env import GRIP, MAX_STEPS, STOP
from askonce.pipeline.tasks.navpick.expert import Expert
from askonce.pipeline.tasks.navpick.mujoco_simulator import MujocoSimulator
from askonce.pipeline.tasks.navpick.stages import beside
from askonce.pipeline.tasks.navpick.task import AdvisedBatch, NavPickTask
from askonce.pipeline.tasks.task import Act, Batch, Lesson

TOGETHER = 25
# After so many steps an episode is over: Pick starts where Navigate has ended.
LIMITS = {"navigate": MAX_STEPS, "pick": 120}
# How much each action's error counts: for Navigate the wheels are what matters.
ERROR_WEIGHTS = {"navigate": (3.0, 3.0, *7 * [1.0], 0.5, 0.5), "pick": (1.0,) * 11}
# One episode in so many begins with an arm thrown out of its fold.
THROWN = 0.25


@dataclass(frozen=True)
class OptionLesson(Lesson):
    task: NavPickTask
    option: str

    @property
    def error_weights(self) -> tuple[float, ...]:
        return ERROR_WEIGHTS[self.option]

    @property
    def weights(self) -> Path:
        return options.weights(self.option)

    def network(self) -> options.OptionNetwork:
        return options.OptionNetwork(self.option)

    def save(self, network: options.OptionNetwork, path: Path, about: dict[str, Any]) -> None:
        options.save(network, path, {"option": self.option} | about)

    def load(self, path: Path) -> options.OptionNetwork:
        return options.load(self.option, path)

    def policy(self, network: options.OptionNetwork) -> options.OptionPolicy:
        return options.as_policy(network)

    def play(self, seeds: np.ndarray, act: Act) -> list[tuple[str, int]]:
        ended = []
        for start in range(0, len(seeds), TOGETHER):
            chunk = seeds[start : start + TOGETHER]
            batch = self.task.batch(len(chunk))
            batch.reset(np.arange(len(chunk)), chunk, beside=self.option == "pick")
            ended += self._play(batch, act)
        return ended

    def expert(self, batch: Batch) -> Callable[[int], np.ndarray]:
        assert isinstance(batch, AdvisedBatch)
        experts = [Expert(env.simulator) for env in batch.envs if isinstance(env.simulator, MujocoSimulator)]
        for expert in experts:
            expert.reset()
        if self.option == "pick":
            return lambda n: experts[n].pick()
        return lambda n: experts[n].navigate(batch.way(n))

    def disturbance(self, size: int, rng: np.random.Generator) -> Callable[[np.ndarray, float], np.ndarray]:
        """Wheels and joints get Gaussian noise; some arms are thrown out of their fold for a while."""
        left = np.where(rng.random(size) < THROWN, rng.integers(5, 25, size), 0)
        thrown = rng.normal(size=(size, GRIP - 2))

        def disturb(actions: np.ndarray, noise: float) -> np.ndarray:
            actions[:, :GRIP] += noise * rng.normal(size=(size, GRIP))
            actions[:, 2:GRIP] += thrown * (left > 0)[:, None]
            left[:] -= 1
            return actions

        return disturb

    def _play(self, batch: AdvisedBatch, act: Act) -> list[tuple[str, int]]:
        endings, running = [("", LIMITS[self.option])] * batch.size, np.ones(batch.size, dtype=bool)
        for step in range(1, LIMITS[self.option] + 1):
            batch.step(self._without_stopping(act(batch, running)), running)
            for n in np.flatnonzero(running).tolist():
                if self.option == "navigate" and beside(batch.envs[n].reading):
                    endings[n], running[n] = ("success", step), False
                elif batch.ended[n]:
                    endings[n], running[n] = (batch.infos[n]["ended"], step), False
            if not running.any():
                break
        return endings

    def _without_stopping(self, actions: np.ndarray) -> np.ndarray:
        """Navigate is over when it has arrived, not when it says so."""
        if self.option == "navigate":
            actions = actions.copy()
            actions[:, STOP] = -1.0
        return actions


def lessons(task: NavPickTask) -> dict[str, Lesson]:
    return {option: OptionLesson(task, option) for option in options.NAMES}
