"""The teacher policy (Eq. 1) and how far the student is from it (the second term of Eq. 2)."""

from collections import Counter
from collections.abc import Callable, Mapping

from gymnasium.spaces import Discrete
import numpy as np
import torch

from askonce.cache.errors import AskonceError
from askonce.pipeline.tasks.task import Advice, Batch, Decision, Distributions, Lookup, Task
from askonce.student.learning.mixture import mixture


def teacher_policy(advice: Advice, actions: int) -> np.ndarray:
    """Eq. 1 for options that choose one action each: (N, actions) float32, rows of zeros without advice."""
    policy = np.zeros((len(advice.actions), actions), np.float32)
    np.add.at(policy, (np.arange(len(policy))[:, None], advice.actions), advice.probabilities)
    return policy


def cross_entropy(teacher: torch.Tensor, log_student: torch.Tensor) -> torch.Tensor:
    """E_s H(π_T ‖ π_θ) of Eq. 2: the mean over (B, A) rows of −log π_θ expected under the teacher.

    A state without advice (a row of zeros) goes without the teacher's term: it adds nothing to the sum,
    and counts as a state in the mean.
    """
    return -(teacher * log_student).sum(-1).mean()


def wasserstein(teacher: torch.Tensor, log_student: torch.Tensor) -> torch.Tensor:
    """The mean over (B, A) rows of W1(π_T, π_θ), which section 3.3 allows in the place of H.

    Actions have no distance but that each differs from the others, so it is the total variation,
    ½ Σ_a |π_T − π_θ|. States without advice are treated as in `cross_entropy`.
    """
    advised = teacher.sum(-1, keepdim=True)
    return (teacher - advised * log_student.exp()).abs().sum(-1).mean() / 2


# By the name that --divergence takes. KL(π_T ‖ π_θ) is the cross-entropy less what the student has no part in.
DIVERGENCES = {"kl": cross_entropy, "wasserstein": wasserstein}


def go_without(text: str) -> None:
    """A state whose text is missing goes without the teacher's term."""


def refuse(text: str) -> None:
    raise AskonceError(
        f"the cache has no answer for {text!r}: build it further with `cli build-cache`, or train with --on-miss skip"
    )


class Teacher:
    """π_T over a batch, from the option distributions of texts.

    A text is looked up when it is first met, and handed to `on_miss` where it is missing: its distribution,
    or None to go without. What comes back is used from then on. `distributions` are those of the texts met,
    `hits` counts states whose text was answered (be it by nothing that could be read), `missing` those
    whose text was not, by text, `asked` the texts that `on_miss` answered. Where answers come later than
    the question, `arrivals` gives those that have come since its last call, and `update` learns them.
    """

    def __init__(
        self, task: Task, lookup: Lookup, on_miss: Lookup = go_without, arrivals: Callable[[], Distributions] = dict
    ):
        self.task, self.lookup, self.on_miss, self.arrivals = task, lookup, on_miss, arrivals
        self.distributions: dict[str, Mapping[Decision, float]] = {}
        self.plans = task.plans({})
        self.asked = 0
        # By situation: whether it was met, whether it was answered, and how many states were in it.
        self.met, self._answered = np.zeros(0, dtype=bool), np.zeros(0, dtype=bool)
        self.states = np.zeros(0, np.int64)
        self._hits_before, self._missing_before = 0, Counter()

    def count(self, hits: int, missing: Mapping[str, int], asked: int) -> None:
        """Goes on from the counts of a run that is resumed."""
        self._hits_before, self._missing_before, self.asked = hits, Counter(missing), asked

    @property
    def hits(self) -> int:
        return self._hits_before + int(self.states[self._answered].sum())

    @property
    def missing(self) -> Counter[str]:
        found = np.flatnonzero((self.states > 0) & ~self._answered).tolist()
        return self._missing_before + Counter({self.task.text(number): int(self.states[number]) for number in found})

    @property
    def misses(self) -> int:
        return self.missing.total()

    def __call__(self, batch: Batch, running: np.ndarray) -> np.ndarray:
        """(N, A) action probabilities, or (N, 1 + 3A) as `mixture` makes them where actions are vectors.

        Rows are zeros without advice. Counts the running environments' states.
        """
        situations = batch.situations[running]
        self.meet(situations)
        np.add.at(self.states, situations, 1)
        advice, space = batch.advise(self.plans), self.task.action_space
        return teacher_policy(advice, space.n) if isinstance(space, Discrete) else mixture(advice)

    def update(self) -> None:
        """Learns what has been answered in the meantime; states until now were without an answer."""
        arrived = self.arrivals()
        if not arrived:
            return
        self._missing_before = self.missing
        waiting = np.flatnonzero(self.met & ~self._answered)
        self.states[waiting] = 0
        for text, answer in arrived.items():
            self.asked += 1
            self._learn(text, answer)
        for situation in waiting.tolist():
            self._answered[situation] = self.task.text(situation) in self.distributions

    def meet(self, situations: np.ndarray) -> None:
        """Looks up each text that was not met before. Situations are small numbers."""
        lacking = situations.max(initial=-1) + 1 - len(self.met)
        if lacking > 0:
            self.met, self._answered, self.states = (
                np.pad(column, (0, max(lacking, len(column)))) for column in (self.met, self._answered, self.states)
            )
        if not self.met[situations].all():
            for situation in np.unique(situations[~self.met[situations]]).tolist():
                self._answered[situation] = self._meet(situation) in self.distributions
                self.met[situation] = True

    def _meet(self, situation: int) -> str:
        text = self.task.text(situation)
        if text in self.distributions:
            return text
        answer = self.lookup(text)
        if answer is None:
            answer = self.on_miss(text)
            self.asked += answer is not None
        if answer is not None:
            self._learn(text, answer)
        return text

    def _learn(self, text: str, answer: Mapping[Decision, float]) -> None:
        self.distributions[text] = answer
        self.plans = self.task.plans({text: answer}, self.plans)
