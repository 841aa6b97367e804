"""The hierarchical baseline's view of a task: the same world, whose actions are a few fixed options.

It works for every task with `fixed_options`: an option runs until it has nothing left to do, until the text changes,
and until the episode ends. One that has nothing to do is an idle step. A world may have a faster way of its own
(`Task.over_options`).
"""

from collections.abc import Sequence
from typing import Any

from gymnasium.spaces import Discrete
import numpy as np

from askonce.pipeline.growing_plans import GrowingPlans
from askonce.pipeline.tasks.task import Advice, Batch, Decision, Distributions, Task


class OptionsTask(Task):
    """A task whose actions are the fixed options of `world`; all else is the world's."""

    acts_by_options = True

    def __init__(self, world: Task):
        self.world = world
        self.name, self.env_id, self.prompt, self.view_size = world.name, world.env_id, world.prompt, world.view_size
        self.image_shape, self.together, self.simulator = world.image_shape, world.together, world.simulator
        self.separable, self.action_names = world.separable, world.fixed_options
        self.action_space = Discrete(len(world.fixed_options))

    def batch(self, size: int) -> "OptionsBatch":
        return OptionsBatch(self.world, size)

    def seeds(self, count: int, seed: int, held_out: bool = False) -> np.ndarray:
        return self.world.seeds(count, seed, held_out)

    def text(self, situation: int) -> str:
        return self.world.text(situation)

    def decisions(self, text: str) -> tuple[Decision, ...]:
        return self.world.decisions(text)

    def plans(self, distributions: Distributions, earlier: Any = None) -> Any:
        return self.world.plans(distributions, earlier)

    def describe(self, sees: Sequence[str], holds: str | None) -> str:
        return self.world.describe(sees, holds)


class OptionsBatch(Batch):
    """N environments that advance by an option each, each in its own time."""

    def __init__(self, world: Task, size: int):
        self.size, self.inner = size, world.batch(size)
        self._durations = np.zeros(size, np.int64)
        self._plans = GrowingPlans(world, lambda text: dict.fromkeys(world.carry_out(text), 1.0))
        self._terminated, self._truncated = np.ones((2, size), dtype=bool)
        # (N,) rewards of each of the world's steps within the last one.
        self._paid: list[np.ndarray] = []

    @property
    def observations(self) -> Any:
        return self.inner.observations

    @property
    def view(self) -> np.ndarray:
        return self.inner.view

    @property
    def situations(self) -> np.ndarray:
        return self.inner.situations

    @property
    def ones(self) -> np.ndarray | None:
        return self.inner.ones

    @property
    def durations(self) -> np.ndarray:
        return self._durations

    def successes(self, returns: np.ndarray) -> np.ndarray:
        return self.inner.successes(returns)

    def reset(self, index: np.ndarray, seeds: np.ndarray) -> None:
        self.inner.reset(index, seeds)
        self._terminated[index] = self._truncated[index] = False

    def advise(self, plans: Any, going: np.ndarray | None = None) -> Advice:
        return self.inner.advise(plans, going)

    def step(self, actions: np.ndarray, going: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(N,) indices of options; the rewards are undiscounted."""
        inner, everyone, before = self.inner, np.arange(self.size), self.inner.situations.copy()
        self._durations, self._paid = np.zeros(self.size, np.int64), []
        running = ~(self._terminated | self._truncated)
        going = running if going is None else running & going
        while going.any():
            advice = inner.advise(self._plans.meet(inner.situations), going)
            if advice.ended is not None:
                going &= (self._durations == 0) | ~advice.ended[everyone, actions]
            paid, self._terminated, self._truncated = inner.step(advice.actions[everyone, actions], going)
            self._paid.append(paid)
            self._durations += going
            going &= ~(self._terminated | self._truncated) & (inner.situations == before)
        return sum(self._paid, np.zeros(self.size)), self._terminated.copy(), self._truncated.copy()

    def worth(self, rewards: np.ndarray, discount: float) -> np.ndarray:
        """(N,) Σ_k γ^k r_k: here rewards are paid on the way (Sutton et al. 1999)."""
        return sum((discount**k * paid for k, paid in enumerate(self._paid)), np.zeros(self.size))
