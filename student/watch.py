"""Held-out episodes of a student, moment by moment, for people to look at.

The environment stands still while a frame is looked at: what `Watched` shows is the frame's own moment.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipeline.collect import draw
from pipeline.tasks.task import Task, Watched
from student import evaluate
from student.network import as_policy
from student.rollout import TeacherPolicy


@dataclass(frozen=True)
class Frame:
    """A moment of an episode: what the agent knows, and what it is about to do.

    `student` and `teacher` are (A,) action probabilities; `teacher` is None without one, and all zero where
    it has no answer. `action` is the one drawn. All three are None once the episode has ended.
    """

    episode: int  # counted from 1
    layout: int  # the seed of its layout
    step: int  # steps taken so far
    returned: float  # rewards so far
    text: str
    holds: str | None
    student: np.ndarray | None = None
    teacher: np.ndarray | None = None
    action: int | None = None

    @property
    def ended(self) -> bool:
        return self.action is None


def watched(task: Task) -> Watched:
    """One environment of `task`, with what it can show."""
    return task.watched() if hasattr(task, "watched") else Watched(task.batch(1))


def frames(
    task: Task, shown: Watched, run: Path, teacher: TeacherPolicy | None, episodes: int, seed: int,
) -> Iterator[Frame]:
    """The student of `run` on the first layouts that `evaluate` plays with the same seed.

    It draws its actions, as there.
    """
    torch.set_num_threads(1)
    policy = as_policy(evaluate.trained(task, run))
    rng = np.random.default_rng([seed, 4])
    for episode, layout in enumerate(task.seeds(episodes, seed, held_out=True).tolist(), start=1):
        shown.batch.reset(np.array([0]), np.array([layout]))
        step, returned, ended = 0, 0.0, False
        while not ended:
            student = policy(shown.batch.view)[0]
            action = draw(student, rng)
            advised = None if teacher is None else teacher(shown.batch, np.ones(1, dtype=bool))[0]
            yield _frame(task, shown, episode, layout, step, returned, student[0], advised, int(action[0]))
            rewards, terminated, truncated = shown.batch.step(action)
            step, returned, ended = step + 1, returned + float(rewards[0]), bool(terminated[0] | truncated[0])
        yield _frame(task, shown, episode, layout, step, returned)


def _frame(
    task: Task, shown: Watched, episode: int, layout: int, step: int, returned: float, *deciding,
) -> Frame:
    text = task.text(int(shown.batch.situations[0]))
    return Frame(episode, layout, step, returned, text, shown.holds and shown.holds(), *deciding)
