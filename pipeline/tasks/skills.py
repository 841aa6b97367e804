"""The hierarchical baseline over the skills that a task offers: a few options, the same ones in every text.

It is `hierarchical`'s for every world whose batch advises and can hold environments back: a skill runs until it has
nothing left to do, until the text changes, and until the episode ends. One that has nothing to do is an idle step.
"""

from gymnasium.spaces import Discrete
import numpy as np

from askonce.pipeline.growing_plans import GrowingPlans
from askonce.pipeline.tasks.task import Task


class SkillsTask:
    """A task whose actions are the skills of `world`; all else is the world's (see `pipeline.tasks.task.Task`)."""

    over_options = True

    def __init__(self, world: Task):
        self.world = world
        self.action_names = world.skill_names
        self.action_space = Discrete(len(world.skill_names))

    def __getattr__(self, name: str):
        return getattr(self.world, name)

    def batch(self, size: int) -> "SkillsBatch":
        return SkillsBatch(self.world, size)


class SkillsBatch:
    """N environments that advance by a skill each, of `durations` (N,) int64 steps; each in its own time."""

    def __init__(self, world: Task, size: int):
        self.inner = world.batch(size)
        self.durations = np.zeros(size, np.int64)
        self._plans = GrowingPlans(world, lambda text: dict.fromkeys(world.skills(text), 1.0))
        self._terminated, self._truncated = np.ones((2, size), dtype=bool)
        # (N,) rewards of each of the world's steps within the last one.
        self._paid: list[np.ndarray] = []

    def __getattr__(self, name: str):
        return getattr(self.inner, name)

    def reset(self, index: np.ndarray, seeds: np.ndarray) -> None:
        self.inner.reset(index, seeds)
        self._terminated[index] = self._truncated[index] = False

    def step(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(N,) indices of skills; the rewards are undiscounted."""
        inner, everyone, before = self.inner, np.arange(self.inner.size), self.inner.situations.copy()
        self.durations, self._paid = np.zeros(inner.size, np.int64), []
        going = ~(self._terminated | self._truncated)
        while going.any():
            advice = inner.advise(self._plans.meet(inner.situations), going)
            going &= (self.durations == 0) | ~advice.ended[everyone, chosen]
            paid, self._terminated, self._truncated = inner.step(advice.actions[everyone, chosen], going)
            self._paid.append(paid)
            self.durations += going
            going &= ~(self._terminated | self._truncated) & (inner.situations == before)
        return self.worth(1.0), self._terminated.copy(), self._truncated.copy()

    def worth(self, discount: float) -> np.ndarray:
        """(N,) what the last step's rewards were worth at its beginning: Σ_k γ^k r_k (Sutton et al. 1999)."""
        return sum((discount**k * paid for k, paid in enumerate(self._paid)), np.zeros(self.inner.size))
