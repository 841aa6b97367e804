"""Counts a task's distinct texts by how many states were met, for as many as it takes: are they few in the end?

    python docs/count_texts.py NavPick --cache np --steps 1000000

Plays as `cli build-cache` does, at random, by random options and as the teacher of a cache, in turn, and says at each doubling
how many texts there are, how many of them were met once, and for which share of the states since the line before the
cache has an answer.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import numpy as np
import typer

from askonce.pipeline import collect, tasks
from askonce.pipeline.tasks.task import Lookup, Task
from askonce.student.learning.teachers import chosen_lookup

EPISODES = 20  # of each way to act at a time


def main(
    name: str, cache: Annotated[Path, typer.Option()], steps: Annotated[int, typer.Option()] = 1_000_000, seed: int = 0
) -> None:
    task = tasks.find(name)
    lookup, _ = chosen_lookup(task, cache, None, "soft")
    met, answered, since, said = Counter(), 0, 0, 1000
    for situations in played(task, lookup, seed):
        met.update(situations.tolist())
        answered += sum(lookup(task.text(number)) is not None for number in situations.tolist())
        since += len(situations)
        done = met.total()
        if done >= min(said, steps):
            once = sum(times == 1 for times in met.values())
            print(
                f"{done:,} states, {len(met)} texts, {once} of them once, {answered / since:.2%} answered", flush=True
            )
            answered, since, said = 0, 0, 2 * said
        if done >= steps:
            return


def played(task: Task, lookup: Lookup, seed: int) -> Iterator[np.ndarray]:
    """The situations of all running environments, step by step, without an end."""
    answers = SimpleNamespace(get=lookup)
    for turn in count():
        # Rounds of one run, and none of another's.
        own = seed << 32 | turn
        yield from collect.random_actions(task, EPISODES, own)
        yield from collect.random_options(task, EPISODES, own)
        yield from collect.teacher(task, answers, EPISODES, own)


if __name__ == "__main__":
    typer.run(main)
