"""The teacher policy (Eq. 1) and how far the student is from it (the second term of Eq. 2)."""

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import torch

from cache.errors import AskonceError
from pipeline.tasks.task import Advice, Batch, Decision, Distributions, Task


def teacher_policy(advice: Advice, actions: int) -> np.ndarray:
    """Eq. 1 for options that choose one action each: (N, actions) float32, rows of zeros without advice."""
    policy = np.zeros((len(advice.actions), actions), np.float32)
    rows = np.arange(len(advice.actions))
    for k in range(advice.actions.shape[1]):
        policy[rows, advice.actions[:, k]] += advice.probabilities[:, k]
    return policy


def cross_entropy(teacher: torch.Tensor, log_student: torch.Tensor) -> torch.Tensor:
    """E_s H(π_T ‖ π_θ) of Eq. 2: the mean over (B, A) rows of −log π_θ expected under the teacher.

    A state without advice (a row of zeros) goes without the teacher's term: it adds nothing to the sum,
    and counts as a state in the mean.
    """
    return -(teacher * log_student).sum(-1).mean()


def harden(distributions: Distributions) -> dict[str, dict[Decision, float]]:
    """The hard teacher of section 4.1.3: each text's most probable decision alone, the first of equals."""
    return {text: {max(found, key=found.get): 1.0} if found else {} for text, found in distributions.items()}


# What to do about a text that the cache does not hold: its distribution, or None to go without.
OnMiss = Callable[[str], Mapping[Decision, float] | None]


def go_without(text: str) -> None:
    """A state whose text is missing goes without the teacher's term."""


def refuse(text: str) -> None:
    raise AskonceError(
        f"the cache has no answer for {text!r}: build it further with `cli build-cache`, or train with --on-miss skip"
    )


class Teacher:
    """π_T over a batch, from the option distributions of texts.

    A missing text is handed to `on_miss` when it is first met; what comes back is used from then on.
    `hits` counts states whose text was answered (be it by nothing that could be read), `missing` those
    whose text was not, by text, `asked` the texts that `on_miss` answered.
    """

    def __init__(self, task: Task, distributions: Distributions, on_miss: OnMiss = go_without):
        self.task, self.on_miss = task, on_miss
        self.distributions = dict(distributions)
        self.plans = task.plans(self.distributions)
        self.hits = self.asked = 0
        self.missing: Counter[str] = Counter()
        self._texts: dict[int, str] = {}

    def count(self, hits: int, missing: Mapping[str, int], asked: int) -> None:
        """Goes on from the counts of a run that is resumed."""
        self.hits, self.missing, self.asked = hits, Counter(missing), asked

    @property
    def misses(self) -> int:
        return self.missing.total()

    def __call__(self, batch: Batch, running: np.ndarray) -> np.ndarray:
        """(N, A) action probabilities; rows of zeros without an answer. Counts the running environments' states."""
        for situation in batch.situations[running].tolist():
            text = self._texts.get(situation) or self._meet(situation)
            if text in self.distributions:
                self.hits += 1
            else:
                self.missing[text] += 1
        return teacher_policy(batch.advise(self.plans), self.task.action_space.n)

    def _meet(self, situation: int) -> str:
        text = self._texts[situation] = self.task.text(situation)
        if text not in self.distributions:
            answer = self.on_miss(text)
            if answer is not None:
                self.asked += 1
                self.distributions[text] = answer
                self.plans = self.task.plans(self.distributions)
        return text
