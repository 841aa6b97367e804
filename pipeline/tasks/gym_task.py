"""A task of your own over any Gymnasium environment with discrete actions, from a few Python functions.

It obeys the same protocol as the compiled tasks, one Python environment after another; see
docs/adding-a-task.md for a worked example.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np

from pipeline.tasks.interned import Interned
from pipeline.tasks.task import Advice, Decision, Distributions, Prompt, Watched

# Situation → decisions with their probabilities.
Plans = dict[int, list[tuple[Decision, float]]]


@dataclass(frozen=True)
class GymTask(Interned):
    """The functions that make a Gymnasium environment a task (see `pipeline.tasks.task.Task`).

    name         how the cache and the reports call it
    env_id       what gymnasium.make takes, "module:id" where a module must be imported first
    prompt       the task's part of the prompt
    write        observation → text c(s)
    choices      text → single-option decisions that make sense in it, for option-driven rollouts
    act          (option, observation) → its next action; None once it has ended
    look         observation → (F,) numbers, the inputs of the student's network
    idle         the action taken where no option can act
    action_names what people read in place of the actions' numbers
    """

    name: str
    env_id: str
    prompt: Prompt
    write: Callable[[Any], str]
    choices: Callable[[str], Sequence[Decision]]
    act: Callable[[str, Any], int | None]
    look: Callable[[Any], np.ndarray] = lambda observation: np.ravel(observation).astype(np.float32)
    idle: int = 0
    action_names: tuple[str, ...] = ()

    @cached_property
    def _example(self) -> tuple[gymnasium.Space, int, bool]:
        with gymnasium.make(self.env_id) as env:
            observation, _ = env.reset(seed=0)
            return env.action_space, len(self.look(observation)), "rgb_array" in env.metadata.get("render_modes", ())

    @property
    def action_space(self) -> gymnasium.Space:
        return self._example[0]

    @property
    def view_size(self) -> int:
        return self._example[1]

    def watched(self) -> Watched:
        """With the environment's own picture, where it draws one."""
        if not self._example[2]:
            return Watched(self.batch(1))
        batch = GymBatch(self, 1, render_mode="rgb_array")
        return Watched(batch, lambda side: batch.render(0))

    def batch(self, size: int) -> "GymBatch":
        return GymBatch(self, size)

    def seeds(self, count: int, seed: int, held_out: bool = False) -> np.ndarray:
        """Even seeds are for training, odd ones for evaluation."""
        return np.random.default_rng([seed, held_out]).integers(2**30, size=count) * 2 + held_out

    def describe(self, sees: Sequence[str], holds: str | None) -> str:
        raise ValueError(f"{self.name} has no text for what is seen and held")

    def decisions(self, text: str) -> tuple[Decision, ...]:
        return tuple(self.choices(text))

    def plans(self, distributions: Distributions, earlier: Plans | None = None) -> Plans:
        plans = {} if earlier is None else earlier
        plans.update((self.number(text), list(found.items())) for text, found in distributions.items())
        return plans


class GymBatch:
    """N Python environments stepped in turn (see `pipeline.tasks.task.Batch`)."""

    def __init__(self, task: GymTask, size: int, **options):
        """`options` are for gymnasium.make."""
        self.task, self.size = task, size
        self._envs = [gymnasium.make(task.env_id, **options) for _ in range(size)]
        self.observations: list[Any] = [None] * size
        self.situations = np.zeros(size, np.int64)
        self._terminated = np.ones(size, dtype=bool)
        self._truncated = np.zeros(size, dtype=bool)

    @property
    def view(self) -> np.ndarray:
        return np.stack([self.task.look(observation) for observation in self.observations])

    def reset(self, index: np.ndarray, seeds: np.ndarray) -> None:
        for n, seed in zip(index, seeds, strict=True):
            self._perceive(n, self._envs[n].reset(seed=int(seed))[0])
            self._terminated[n] = self._truncated[n] = False

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rewards = np.zeros(self.size)
        for n in np.flatnonzero(~(self._terminated | self._truncated)):
            observation, rewards[n], self._terminated[n], self._truncated[n], _ = self._envs[n].step(int(actions[n]))
            self._perceive(n, observation)
        return rewards, self._terminated.copy(), self._truncated.copy()

    def advise(self, plans: Plans) -> Advice:
        chosen = [plans.get(situation, ()) for situation in self.situations.tolist()]
        most = max(map(len, chosen), default=1) or 1
        advice = Advice(np.full((self.size, most), self.task.idle), np.zeros((self.size, most), np.float32))
        for n, decisions in enumerate(chosen):
            for k, (decision, probability) in enumerate(decisions):
                advice.actions[n, k] = self._next_action(decision, self.observations[n])
                advice.probabilities[n, k] = probability
        return advice

    def render(self, n: int) -> np.ndarray:
        """(h, w, 3) uint8, with the render mode "rgb_array"."""
        return self._envs[n].render()

    def _next_action(self, decision: Decision, observation: Any) -> int:
        proposed = (self.task.act(option, observation) for option in decision)
        return next((action for action in proposed if action is not None), self.task.idle)

    def _perceive(self, n: int, observation: Any) -> None:
        self.observations[n] = observation
        self.situations[n] = self.task.number(self.task.write(observation))
