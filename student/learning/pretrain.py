"""Options learnt from a scripted expert by DAgger (Ross et al. 2011): the option drives, the expert corrects.

In the first round the expert drives itself; afterwards it takes turns with the option as learnt so far, and says in
every state that they come to what it would have done. The option learns to do the same from all rounds together. What
is taught, in which episodes and by whom, is the task's (`Task.lessons`).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from askonce.cache.errors import AskonceError
from askonce.pipeline.tasks.task import Batch, Lesson, Task
from askonce.student.learning.rollout import taking_turns

# (N, F) views → (N, A) actions.
OptionPolicy = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Settings:
    """A round is `episodes` episodes, then `updates` minibatches of all states so far; the last has `last_updates`.

    After the first round the expert drives a share `expert_drives` of the time. Whoever drives, actions are disturbed
    by Gaussian noise of standard deviation `noise`.
    """

    seed: int = 0
    rounds: int = 10
    episodes: int = 100
    updates: int = 200
    last_updates: int = 2000
    minibatch: int = 256
    learning_rate: float = 1e-3
    expert_drives: float = 0.3
    noise: float = 0.15


@dataclass(frozen=True)
class Round:
    """After a round: states gathered so far, the mean squared error, how the round's episodes ended."""

    round: int
    states: int
    error: float
    endings: Counter[str]


def lesson_of(task: Task, option: str) -> Lesson:
    """AskonceError where the task has no such option to learn."""
    lessons = task.lessons()
    if option not in lessons:
        offered = ", ".join(lessons) or "none"
        raise AskonceError(f"{task.name} has no option {option!r} to learn: --option is one of {offered}", 2)
    return lessons[option]


def pretrain(
    task: Task, lesson: Lesson, settings: Settings, show: Callable[[Round], None] = lambda ended: None
) -> nn.Module:
    """Trains an option's network; the same settings give the same network on one machine."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng([settings.seed, 4])
    network = lesson.network()
    adam = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    views, labels = [], []
    for number in range(settings.rounds):
        seeds = task.seeds(settings.episodes, settings.seed << 32 | number)
        drive = _Dagger(lesson, lesson.policy(network) if number else None, settings, rng)
        endings = lesson.play(seeds, drive)
        views += drive.views
        labels += drive.labels
        updates = settings.last_updates if number == settings.rounds - 1 else settings.updates
        error = _fit(network, adam, views, labels, torch.tensor(lesson.error_weights), updates, settings, rng)
        show(Round(number + 1, len(views), error, Counter(ending for ending, _ in endings)))
    return network


def evaluate(task: Task, lesson: Lesson, policy: OptionPolicy, episodes: int, seed: int) -> list[tuple[str, int]]:
    """How held-out episodes of the option alone end, and after how many steps, without noise."""
    return lesson.play(task.seeds(episodes, seed, held_out=True), lambda batch, running: policy(batch.view))


class _Dagger:
    """The driver of one round; `views` and `labels` are what was seen, and what the expert would have done."""

    def __init__(self, lesson: Lesson, policy: OptionPolicy | None, settings: Settings, rng: np.random.Generator):
        self.lesson, self.policy, self.settings, self.rng = lesson, policy, settings, rng
        self.share = settings.expert_drives if policy else 1.0
        self.views: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []
        self.batch: Batch | None = None

    def __call__(self, batch: Batch, running: np.ndarray) -> np.ndarray:
        if batch is not self.batch:
            self._begin(batch)
        labels = np.zeros((batch.size, len(self.lesson.error_weights)), np.float32)
        for n in np.flatnonzero(running).tolist():
            labels[n] = self.expert(n)
        self.views += list(batch.view[running].astype(np.float16))
        self.labels += list(labels[running])
        actions = labels.copy()
        if self.policy:
            actions = np.where(self.expert_drives[:, None], labels, self.policy(batch.view))
        actions = self.disturb(actions, self.settings.noise)
        self.expert_drives = taking_turns(self.expert_drives, self.share, self.rng)
        return actions

    def _begin(self, batch: Batch) -> None:
        self.batch, self.expert = batch, self.lesson.expert(batch)
        self.expert_drives = self.rng.random(batch.size) < self.share
        self.disturb = self.lesson.disturbance(batch.size, self.rng)


def _fit(network, adam, views, labels, weights, updates, settings: Settings, rng: np.random.Generator) -> float:
    """Random minibatches of all states, with a rate that falls; the last tenth's mean squared error."""
    network.train()
    errors = []
    for update in range(updates):
        for group in adam.param_groups:
            group["lr"] = settings.learning_rate * (1 - 0.95 * update / updates)
        rows = rng.integers(len(views), size=settings.minibatch)
        seen = torch.from_numpy(np.stack([views[row] for row in rows]).astype(np.float32))
        wanted = torch.from_numpy(np.stack([labels[row] for row in rows]))
        squared = (network(seen) - wanted).square()
        adam.zero_grad()
        (weights * squared).mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        adam.step()
        errors.append(squared.mean().item())
    return float(np.mean(errors[-max(updates // 10, 1) :]))
