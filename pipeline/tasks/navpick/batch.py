"""N NavPick environments that advance together, on as many threads as there are cores.

Physics and ray casting let other threads run, so threads are enough; each environment is one thread's at a
time, and what it computes does not depend on which.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
import os
from typing import Any, TypeVar

from gymnasium import spaces
import numpy as np

from askonce.pipeline.tasks.navpick.env import NavPick

Job = TypeVar("Job")


class NavPickBatch:
    """See `pipeline.tasks.task.Batch`, of which this is the world's half.

    observations  name → (N, …) float32, what `NavPick` observes
    envs          the environments themselves
    infos         what each told of its last step
    """

    def __init__(
        self, size: int, simulator: str = "mujoco", threads: int | None = None, render_mode: str | None = None
    ):
        self.size = size
        self.envs = [NavPick(simulator, render_mode) for _ in range(size)]
        self.infos: list[dict[str, Any]] = [{} for _ in range(size)]
        space = self.envs[0].observation_space
        assert isinstance(space, spaces.Dict)
        self._observations = {name: np.zeros((size, *(part.shape or ())), np.float32) for name, part in space.items()}
        self._terminated = np.ones(size, dtype=bool)
        self._truncated = np.zeros(size, dtype=bool)
        self._threads = ThreadPoolExecutor(threads or min(size, os.cpu_count() or 1))

    def reset(self, index: np.ndarray, seeds: np.ndarray, beside: bool = False) -> None:
        """With `beside`, as `NavPick.reset` takes it."""

        def start(job: tuple[int, int]) -> None:
            n, seed = job
            observation, self.infos[n] = self.envs[n].reset(seed=seed, options={"beside": beside})
            self._observe(n, observation)
            self._terminated[n] = self._truncated[n] = False

        self._each(start, zip(index.tolist(), seeds.tolist(), strict=True))

    @property
    def observations(self) -> dict[str, np.ndarray]:
        return self._observations

    def successes(self, returns: np.ndarray) -> np.ndarray:
        """(N,) bool: a return may be positive without success, by what came nearer."""
        return np.array([info.get("success", False) for info in self.infos])

    @property
    def ended(self) -> np.ndarray:
        """(N,) bool: which stand still until they are reset."""
        return self._terminated | self._truncated

    def step(self, actions: np.ndarray, going: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(N, 11) actions → (N,) float64 rewards, bool terminated, bool truncated; see `Batch.step`."""
        rewards = np.zeros(self.size)

        def advance(n: int) -> None:
            observation, rewards[n], *ended, self.infos[n] = self.envs[n].step(actions[n])
            self._terminated[n], self._truncated[n] = ended
            self._observe(n, observation)

        self._each(advance, np.flatnonzero(self.acting(going)).tolist())
        return rewards, self._terminated.copy(), self._truncated.copy()

    def acting(self, going: np.ndarray | None) -> np.ndarray:
        """(N,) bool: those that have not ended and are not held back."""
        return ~self.ended if going is None else ~self.ended & going

    def _observe(self, n: int, observation: dict[str, np.ndarray]) -> None:
        for name, value in observation.items():
            self.observations[name][n] = value

    def _each(self, work: Callable[[Job], None], jobs: Iterable[Job]) -> None:
        # The results are None; asking for them raises what a thread raised.
        list(self._threads.map(work, jobs))
