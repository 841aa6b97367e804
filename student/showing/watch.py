"""Held-out episodes of a student, or of its teacher alone, moment by moment, for people to look at.

The environment stands still while a frame is looked at: what `Watched` shows is the frame's own moment.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gymnasium.spaces import Discrete
import numpy as np
import torch

from askonce.pipeline.tasks.task import Batch, Task, Watched, action_names
from askonce.student.judging import evaluate
from askonce.student.learning.distill import Teacher
from askonce.student.learning.network import as_policy
from askonce.student.learning.rollout import TeacherPolicy


@dataclass(frozen=True)
class Frame:
    """A moment of an episode: what the agent knows, and what it is about to do.

    `student` and `teacher` are (A,) action probabilities, or the means where actions are vectors; None without one,
    and `teacher` is all zero where it has no advice. `action` is the one taken, a number or an (A,) vector. All three
    are None once the episode has ended; `success` is then how.
    """

    episode: int  # counted from 1
    layout: int  # the seed of its layout
    step: int  # steps taken so far
    returned: float  # rewards so far
    text: str
    holds: str | None
    student: np.ndarray | None = None
    teacher: np.ndarray | None = None
    action: int | np.ndarray | None = None
    success: bool = False

    @property
    def ended(self) -> bool:
        return self.action is None

    @property
    def is_vector(self) -> bool:
        return isinstance(self.action, np.ndarray)

    @property
    def policies(self) -> dict[str, np.ndarray]:
        """What is shown of every action, by whose it is: of vectors that no student chose, the one taken."""
        found = {"student": self.student, "action": self.action if self.student is None and self.is_vector else None}
        if self.teacher is not None:
            found["teacher" if self.teacher.any() else "teacher: no advice"] = self.teacher
        return {name: policy for name, policy in found.items() if policy is not None}


def frames(
    task: Task, shown: Watched, run: Path | None, teacher: TeacherPolicy | None, episodes: int, seed: int
) -> Iterator[Frame]:
    """The student of `run`, or without one the teacher alone, on the first layouts that `evaluate` plays with the
    same seed. Actions are chosen as there.
    """
    torch.set_num_threads(1)
    act = _student(task, run) if run else _teacher(task, teacher)
    rng = np.random.default_rng([seed, 4])
    for episode, layout in enumerate(task.seeds(episodes, seed, held_out=True).tolist(), start=1):
        shown.batch.reset(np.array([0]), np.array([layout]))
        step, returned, ended = 0, 0.0, False
        while not ended:
            student, action = act(shown.batch, rng)
            advised = None if teacher is None else _advised(task, teacher(shown.batch, np.ones(1, dtype=bool))[0])
            chosen = action[0] if action.ndim > 1 else int(action[0])
            yield _frame(task, shown, episode, layout, step, returned, student, advised, chosen)
            rewards, terminated, truncated = shown.batch.step(action)
            step, returned, ended = step + 1, returned + float(rewards[0]), bool(terminated[0] | truncated[0])
        success = bool(shown.batch.successes(np.array([returned]))[0])
        yield _frame(task, shown, episode, layout, step, returned, success=success)


# A batch of one → what the student thinks of every action, None without one, and the action (1, …).
Act = Callable[[Batch, np.random.Generator], tuple[np.ndarray | None, np.ndarray]]


def _student(task: Task, run: Path) -> Act:
    network = evaluate.trained(task, run)
    policy, actions = as_policy(network), len(action_names(task))

    def act(batch: Batch, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        given = policy(batch.view)[0]
        # Of vectors these are the means, and their deviations come after them.
        return given[0, :actions], network.actor.acts(given, rng)

    return act


def _teacher(task: Task, teacher: Teacher) -> Act:
    alone = evaluate.teacher(task, teacher.lookup)
    return lambda batch, rng: (None, alone(batch, np.ones(1, dtype=bool), rng))


def _advised(task: Task, row: np.ndarray) -> np.ndarray:
    """(A,) what one row of a `TeacherPolicy` says of every action."""
    return row if isinstance(task.action_space, Discrete) else row[1 : 1 + task.action_space.shape[0]]


def _frame(
    task: Task, shown: Watched, episode: int, layout: int, step: int, returned: float, *deciding, **ending
) -> Frame:
    text = task.text(int(shown.batch.situations[0]))
    return Frame(episode, layout, step, returned, text, shown.holds and shown.holds(), *deciding, **ending)
