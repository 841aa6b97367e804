"""A task of your own over any Gymnasium environment, from a few Python functions; actions are numbers or vectors.

It obeys the same protocol as the compiled tasks, one Python environment after another; see
docs/adding-a-task.md for a worked example.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import gymnasium
from gymnasium.spaces import Box
import numpy as np

from askonce.pipeline.tasks.interned import Interned
from askonce.pipeline.tasks.task import Advice, Batch, Decision, Distributions, Prompt, Task, Watched

# Situation → decisions with their probabilities.
Plans = dict[int, list[tuple[Decision, float]]]


@dataclass(frozen=True)
class GymTask(Interned, Task):
    """The functions that make a Gymnasium environment a task (see `pipeline.tasks.task.Task`).

    name         how the cache and the reports call it
    env_id       what gymnasium.make takes, "module:id" where a module must be imported first
    prompt       the task's part of the prompt
    write        observation → text c(s)
    options      text → the options that make sense in it, for option-driven rollouts
    act          (option, observation) → its next action; None once it has ended
    look         observation → (F,) numbers, the inputs of the student's network
    idle         the action taken where no option can act
    action_names what people read in place of the actions' numbers
    deviation    of vectors: how far the options' own actions stray about what `act` says (see `Advice`)
    success      the last step's info → whether the episode succeeded; None: a positive return is a success
    fixed        text → the K options among which the hierarchical baseline's policy chooses, as this text names them
    fixed_options their names, the same ones in every text
    image_shape  (H, W, C) where what `look` returns begins with an image
    env_kwargs   what else gymnasium.make is given
    wrap         environment → environment: wrappers of Gymnasium's, or your own
    """

    name: str
    env_id: str
    prompt: Prompt
    write: Callable[[Any], str]
    options: Callable[[str], Sequence[str]]
    act: Callable[[str, Any], int | np.ndarray | None]
    look: Callable[[Any], np.ndarray] = lambda observation: np.ravel(observation).astype(np.float32)
    idle: int | Sequence[float] = 0
    action_names: tuple[str, ...] = ()
    deviation: float | Sequence[float] = 0.0
    success: Callable[[dict[str, Any]], bool] | None = None
    fixed: Callable[[str], Sequence[str]] | None = None
    fixed_options: tuple[str, ...] = ()
    image_shape: tuple[int, ...] = ()
    env_kwargs: Mapping[str, Any] = field(default_factory=dict, hash=False)
    wrap: Callable[[gymnasium.Env[Any, Any]], gymnasium.Env[Any, Any]] = lambda env: env

    def make(self, **options: Any) -> gymnasium.Env[Any, Any]:
        """One environment, wrapped."""
        return self.wrap(gymnasium.make(self.env_id, **{**self.env_kwargs, **options}))

    @cached_property
    def _example(self) -> tuple[gymnasium.Space[Any], int, bool]:
        with closing(self.make()) as env:
            observation, _ = env.reset(seed=0)
            return env.action_space, len(self.look(observation)), "rgb_array" in env.metadata.get("render_modes", ())

    @property
    def action_space(self) -> gymnasium.Space[Any]:  # type: ignore[override]
        return self._example[0]

    @property
    def view_size(self) -> int:  # type: ignore[override]
        return self._example[1]

    @cached_property
    def idle_action(self) -> np.ndarray:  # type: ignore[override]
        """`idle` as one of the space's actions: () int64, or (A,) float32."""
        space = self.action_space
        return np.full(space.shape, self.idle, np.float32) if isinstance(space, Box) else np.array(self.idle, np.int64)

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

    def decisions(self, text: str) -> tuple[Decision, ...]:
        return tuple((option,) for option in self.options(text))

    def carry_out(self, text: str) -> tuple[Decision, ...]:
        return tuple((option,) for option in self.fixed(text)) if self.fixed else ()

    def plans(self, distributions: Distributions, earlier: Plans | None = None) -> Plans:
        plans = {} if earlier is None else earlier
        plans.update((self.number(text), list(found.items())) for text, found in distributions.items())
        return plans


class GymBatch(Batch):
    """N Python environments stepped in turn (see `pipeline.tasks.task.Batch`)."""

    def __init__(self, task: GymTask, size: int, **options: Any):
        """`options` are for gymnasium.make."""
        self.task, self.size = task, size
        self._envs = [task.make(**options) for _ in range(size)]
        self._observations: list[Any] = [None] * size
        self._situations = np.zeros(size, np.int64)
        self._succeeded = np.zeros(size, dtype=bool)
        self._terminated = np.ones(size, dtype=bool)
        self._truncated = np.zeros(size, dtype=bool)

    @property
    def observations(self) -> list[Any]:
        return self._observations

    @property
    def view(self) -> np.ndarray:
        return np.stack([self.task.look(observation) for observation in self._observations])

    @property
    def situations(self) -> np.ndarray:
        return self._situations

    def successes(self, returns: np.ndarray) -> np.ndarray:
        return self._succeeded.copy() if self.task.success else super().successes(returns)

    def reset(self, index: np.ndarray, seeds: np.ndarray) -> None:
        for n, seed in zip(index, seeds, strict=True):
            self._perceive(n, self._envs[n].reset(seed=int(seed))[0])
            self._terminated[n] = self._truncated[n] = False

    def step(self, actions: np.ndarray, going: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rewards, running = np.zeros(self.size), ~(self._terminated | self._truncated)
        for n in np.flatnonzero(running if going is None else running & going).tolist():
            action = self._one_of_the_space(actions[n])
            observation, rewards[n], self._terminated[n], self._truncated[n], info = self._envs[n].step(action)
            self._perceive(n, observation)
            if self.task.success:
                self._succeeded[n] = self.task.success(info)
        return rewards, self._terminated.copy(), self._truncated.copy()

    def advise(self, plans: Plans, going: np.ndarray | None = None) -> Advice:
        chosen = [
            plans.get(situation, ()) if goes else ()
            for situation, goes in zip(
                self.situations.tolist(), np.broadcast_to(True if going is None else going, self.size)
            )
        ]
        idle, shape = self.task.idle_action, (self.size, max(map(len, chosen), default=1) or 1)
        ended = np.ones(shape, dtype=bool)
        advice = Advice(
            np.full((*shape, *idle.shape), idle), np.zeros(shape, np.float32), np.asarray(self.task.deviation), ended
        )
        for n, decisions in enumerate(chosen):
            for k, (decision, probability) in enumerate(decisions):
                advice.probabilities[n, k] = probability
                action = self._next_action(decision, self.observations[n])
                if action is not None:
                    advice.actions[n, k], ended[n, k] = action, False
        return advice

    def render(self, n: int) -> np.ndarray:
        """(h, w, 3) uint8, with the render mode "rgb_array"."""
        return np.asarray(self._envs[n].render())

    def _next_action(self, decision: Decision, observation: Any) -> int | np.ndarray | None:
        proposed = (self.task.act(option, observation) for option in decision)
        return next((action for action in proposed if action is not None), None)

    def _one_of_the_space(self, action: np.ndarray) -> int | np.ndarray:
        space = self.task.action_space
        return np.clip(action, space.low, space.high).astype(space.dtype) if isinstance(space, Box) else int(action)

    def _perceive(self, n: int, observation: Any) -> None:
        self._observations[n] = observation
        self._situations[n] = self.task.number(self.task.write(observation))
