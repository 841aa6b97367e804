"""Environment steps a second of `train` end to end: playing, asking the cache, optimising, on one core.

Two settings: the default, which is the paper's (10 trajectories, minibatches of 128, three epochs), and a
wide one. The peers are the same run with torch's learner, and MiniGrid's environment stepped at random
without any learning: the most that a trainer over the environment itself could reach.
"""

from dataclasses import fields
import json
from pathlib import Path
import tempfile
import time

from bench_engine import minigrid_rate
import numpy as np

from askonce.pipeline import build, tasks
from askonce.pipeline.llm import LLM
from askonce.pipeline.tasks.minigrid import NAMES as GRID_TASKS
from askonce.pipeline.tasks.minigrid.doorkey import DoorKeyBatch, DoorKeyTask
from askonce.pipeline.tasks.minigrid.view import one_hot
from askonce.student.learning.anneal import Schedule
from askonce.student.learning.distill import Teacher
from askonce.student.learning.ppo import Hyperparameters
from askonce.student.learning.train import Settings, train

SETTINGS = {"": Hyperparameters(), "_wide": Hyperparameters(num_envs=40, minibatch_size=1024)}
EPISODES, TORCH_EPISODES = 6000, 1000


class Hiding(DoorKeyTask):
    """A task whose batches do not say which inputs are 1, so that torch has to learn from them."""

    def batch(self, size: int) -> "HidingBatch":
        return HidingBatch(self, size)


class HidingBatch(DoorKeyBatch):
    @property
    def view(self) -> np.ndarray:
        one_hot(super().ones, self._view)
        return self._view

    @property
    def ones(self) -> None:
        return None

    def kernels(self) -> None:
        return None


def hiding(task: DoorKeyTask) -> Hiding:
    return Hiding(**{field.name: getattr(task, field.name) for field in fields(task) if field.init})


def rate(task, distributions, hyperparameters: Hyperparameters, episodes: int) -> float:
    iterations = episodes // hyperparameters.num_envs
    # The teacher is asked in every iteration, which is the slower half of a run.
    distill_coef = Schedule(final_from=iterations, zero_from=iterations)
    settings = Settings(iterations=iterations, hyperparameters=hyperparameters, distill_coef=distill_coef)
    # Seconds of this process, which others on the machine disturb less than those of the clock.
    started = time.process_time()
    return train(task, Teacher(task, distributions.get), settings)[1].env_steps / (time.process_time() - started)


def main() -> None:
    for name in GRID_TASKS:
        task = tasks.find(name)
        with tempfile.TemporaryDirectory() as directory:
            build.build_cache(task, Path(directory), LLM())
            distributions, _ = build.answered(task, Path(directory), LLM())
        minigrid = minigrid_rate(task)
        for label, hyperparameters in SETTINGS.items():
            rate(task, distributions, hyperparameters, hyperparameters.num_envs)
            torch = rate(hiding(task), distributions, hyperparameters, TORCH_EPISODES)
            ours = rate(task, distributions, hyperparameters, EPISODES)
            print(
                json.dumps(
                    {
                        "name": f"train_{name}{label}",
                        "value": round(ours),
                        "unit": "environment steps/s",
                        "peers": {
                            "torch_learner": round(torch),
                            "minigrid_environment_without_learning": round(minigrid),
                        },
                        "ratio": round(ours / max(torch, minigrid), 2),
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
