"""Rollouts that meet as many situations as an agent may come into: the states an LLM is asked about.

Three ways to act, because each misses what another finds: at random; by options drawn at random, each
carried on until the text changes or it has nothing more to do; and as the teacher would, once it answered.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from askonce.pipeline.growing_plans import GrowingPlans
from askonce.pipeline.tasks.task import Advice, Batch, Decision, Distributions, Task, worth_playing

# Text → the decisions that a rollout may follow, with probabilities.
Source = Callable[[str], Mapping[Decision, float]]

# What is kept of a step: from the batch and which of its environments are running.
Note = Callable[[Batch, np.ndarray], Any]

# Environments advanced together.
BATCH = 64


def situations(batch: Batch, running: np.ndarray) -> np.ndarray:
    """Those that are running, int64."""
    return np.array(batch.situations[running])


def random_actions(
    task: Task, episodes: int, seed: int, note: Note = situations, together: int = BATCH
) -> Iterator[Any]:
    """Yields what `note` says of one step of all running episodes at a time, `together` of them."""
    rng = np.random.default_rng([seed, 0])
    act = lambda batch: task.random_actions(rng, batch.size)
    yield from _episodes(task, episodes, seed, act, note, together)


def random_options(
    task: Task, episodes: int, seed: int, note: Note = situations, together: int = BATCH
) -> Iterator[Any]:
    """Like `random_actions`, each episode following one of the text's options at a time."""
    yield from _episodes(task, episodes, seed, by_options(task, seed), note, together)


def by_options(task: Task, seed: int) -> "Follow":
    """How `random_options` acts."""
    uniform = lambda text: {decision: 1.0 for decision in task.decisions(text)}
    return Follow(task, uniform, np.random.default_rng([seed, 1]), patience=0.9)


def teacher(
    task: Task, distributions: Distributions, episodes: int, seed: int, note: Note = situations, together: int = BATCH
) -> Iterator[Any]:
    """Like `random_actions`, each step drawn from the teacher's decisions, from any option without them."""

    def source(text: str) -> Mapping[Decision, float]:
        return distributions.get(text) or {decision: 1.0 for decision in task.decisions(text)}

    follow = Follow(task, source, np.random.default_rng([seed, 2]), patience=0.0)
    yield from _episodes(task, episodes, seed, follow, note, together)


def play(
    batch: Batch, seeds: np.ndarray, act: Callable[[np.ndarray], np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Plays one episode per environment, acting by running (N,) → actions (N,).

    Yields (running before the step, rewards, terminated, truncated), each (N,), for every step.
    """
    batch.reset(np.arange(batch.size), seeds)
    running = np.ones(batch.size, dtype=bool)
    while running.any():
        rewards, terminated, truncated = batch.step(act(running))
        yield running, rewards, terminated, truncated
        running = running & ~(terminated | truncated)


def _episodes(
    task: Task, episodes: int, seed: int, act: Callable[[Batch], np.ndarray], note: Note, together: int
) -> Iterator[Any]:
    seeds, together = task.seeds(episodes, seed), worth_playing(task, together)
    for start in range(0, episodes, together):
        chunk = seeds[start : start + together]
        batch = task.batch(len(chunk))
        met: list[Any] = []

        def note_and_act(running: np.ndarray) -> np.ndarray:
            met.append(note(batch, running))
            return act(batch)

        for _ in play(batch, chunk, note_and_act):
            yield met.pop()


class Follow:
    """Actions of decisions drawn from a source; `patience` is the chance to stay with one while the text stays.

    After a call `choice` (N,) says which of its `advice` each environment follows, where the situations are `before` (N,).
    """

    advice: Advice

    def __init__(self, task: Task, source: Source, rng: np.random.Generator, patience: float):
        self.rng, self.patience = rng, patience
        self.plans = GrowingPlans(task, source)
        self.choice, self.before = np.zeros((2, 0), np.int64)

    def __call__(self, batch: Batch) -> np.ndarray:
        self.advice = advice = batch.advise(self.plans.meet(batch.situations))
        drawn = draw(advice.probabilities, self.rng)
        if len(self.choice) != batch.size:
            self.choice, self.before = drawn, batch.situations.copy()
        stay = (self.before == batch.situations) & (self.rng.random(batch.size) < self.patience)
        # A text without decisions has none to stay with, and others may have fewer now than any had before.
        stay &= self.choice < advice.actions.shape[1]
        self.choice = np.where(stay, self.choice, drawn)
        self.before = batch.situations.copy()
        return np.asarray(advice.actions[np.arange(batch.size), self.choice])


def draw(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One index per row of (N, K) weights, which need not add up to 1."""
    cumulative = weights.cumsum(axis=1)
    drawn = rng.random(len(weights)) * cumulative[:, -1]
    return np.asarray((cumulative <= drawn[:, None]).sum(axis=1).clip(max=weights.shape[1] - 1))
