"""Real states that describe to each text, weighted as visited: what decisions are played out from.

They come from rollouts as `build-cache` makes them to find the texts: as many episodes at random, by random
options, and as the teacher would act. Of each text's visits a fair sample is copied out of the engine as they
stand. Visits of one episode are alike, so each state says of which episode it is.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from askonce.pipeline import collect
from askonce.pipeline.tasks.task import Batch, Distributions, Playout, Task

# Of each of the three ways, in a round; the environments that are stepped together.
EPISODES, TOGETHER = 1024, 256
# Until the states of each text are from so many episodes; those of rare ones may never be.
ROUNDS, DIFFERENT = 8, 512
# Of a task that cannot be played out, where a rollout takes long and only visits are counted.
FEW_EPISODES = 50


@dataclass(frozen=True)
class Visited:
    """The visits of one text: `share` of all visits, states (P, …) in random order, their episodes (P,) int64."""

    share: float
    states: Any = None
    episodes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def visited(
    task: Task, playout: Playout | None, distributions: Distributions, wanted: int, seed: int
) -> dict[str, Visited]:
    """Every text that was met, with up to `wanted` states where the task can be played out."""
    sample = _Sample(task, playout, wanted, np.random.default_rng([seed, 5]))
    for number in range(ROUNDS if playout else 1):
        for _ in _rollouts(task, distributions, EPISODES if playout else FEW_EPISODES, [seed, number], sample):
            pass
        if playout and sample.suffices(distributions):
            break
    return sample.visited()


def _rollouts(
    task: Task, distributions: Distributions, episodes: int, seed: list[int], sample: "_Sample"
) -> Iterator[object]:
    # One number for collect, different for each round and way.
    numbers = np.random.SeedSequence(seed).generate_state(3).tolist()
    ways: list[tuple[Callable[..., Iterator[object]], tuple[object, ...]]] = [
        (collect.random_actions, ()),
        (collect.random_options, ()),
        (collect.teacher, (distributions,)),
    ]
    for (way, given), number in zip(ways, numbers):
        for start in range(0, episodes, TOGETHER):
            sample.begin()
            yield from way(task, *given, min(TOGETHER, episodes - start), number + start, sample.note, TOGETHER)


class _Sample:
    """Of each situation's visits those `wanted` with the smallest random numbers: a fair sample of them all."""

    def __init__(self, task: Task, playout: Playout | None, wanted: int, rng: np.random.Generator):
        self.task, self.playout, self.wanted, self.rng = task, playout, wanted, rng
        self.counts = np.zeros(0, np.int64)
        self.largest = np.zeros(0)  # A number above this one does not come into the sample.
        # Columns of what may come into it: numbers, situations, episodes, and the arrays of the states.
        self.parts: list[list[np.ndarray]] = []
        self.held, self.sampled, self.episode = 0, 0, -TOGETHER

    def begin(self) -> None:
        """Other episodes begin in all environments."""
        self.episode += TOGETHER

    def note(self, batch: Batch, running: np.ndarray) -> None:
        index = np.flatnonzero(running)
        situations = batch.situations[index]
        self._make_room(int(situations.max(initial=-1)) + 1)
        np.add.at(self.counts, situations, 1)
        if self.playout is None:
            return
        numbers = self.rng.random(len(index))
        chosen = numbers < self.largest[situations]
        index = index[chosen]
        if len(index):
            states = self.playout.copy(batch, index)
            self.states = type(states)
            self.parts.append([numbers[chosen], situations[chosen], self.episode + index, *states])
            self.held += len(index)
        if self.held > 2 * self.sampled + 4 * self.wanted:
            self._choose()

    def suffices(self, texts: Iterable[str]) -> bool:
        """Whether the states of each text are from episodes that are different enough; some are never met."""
        found = self.visited()
        return all(len(np.unique(found[text].episodes)) >= DIFFERENT for text in texts if text in found)

    def visited(self) -> dict[str, Visited]:
        total, found = self.counts.sum(), {}
        if self.parts:
            self._choose()
            _, situations, episodes, *states = self.parts[0]
        for situation in np.flatnonzero(self.counts).tolist():
            visits = Visited(float(self.counts[situation] / total))
            if self.parts:
                these = situations == situation
                visits = replace(
                    visits, episodes=episodes[these], states=self.states(*(array[these] for array in states))
                )
            found[self.task.text(situation)] = visits
        return found

    def _make_room(self, size: int) -> None:
        if size > len(self.counts):
            self.counts = np.pad(self.counts, (0, size - len(self.counts)))
            self.largest = np.pad(self.largest, (0, size - len(self.largest)), constant_values=1.0)

    def _choose(self) -> None:
        """In order of their numbers, so that of each situation any first so many are a fair sample too."""
        columns = [np.concatenate(column) for column in zip(*self.parts)]
        numbers, situations = columns[:2]
        order = np.lexsort((numbers, situations))
        starts = np.searchsorted(situations[order], situations[order])
        kept = order[np.arange(len(order)) - starts < self.wanted]
        self.parts = [[column[kept] for column in columns]]
        self.held = self.sampled = len(kept)
        for situation in np.unique(situations[kept]).tolist():
            those = numbers[kept][situations[kept] == situation]
            if len(those) == self.wanted:
                self.largest[situation] = those[-1]


def part(states: Any, first: int, last: int) -> Any:
    """States `first` to `last`, which is left out."""
    return type(states)(*(array[first:last] for array in states))
