"""Many visited situations → the few distinct texts, with how often each was seen."""

from collections.abc import Iterable
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pyarrow as pa

from askonce.pipeline.tasks.task import Task

# Visits handed to DuckDB at a time.
CHUNK = 1 << 18

# What DuckDB may hold in memory; beyond it, it works on disk.
MEMORY = "256MB"


@dataclass(frozen=True)
class Visits:
    """text → number of visits, most visited first."""

    counts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def coverage(self, answered: Iterable[str]) -> float:
        """The estimated share of future visits whose text is among `answered`.

        Good and Turing: the texts seen exactly once make up about as many visits as those never seen
        will. What was seen and is not answered counts as uncovered outright.
        """
        if not self.counts:
            return 0.0
        answered = set(answered)
        unseen = sum(count == 1 for count in self.counts.values())
        missing = sum(count for text, count in self.counts.items() if text not in answered)
        return max(0.0, 1.0 - unseen / self.total) * (1.0 - missing / self.total)


def distinct_texts(task: Task, situations: Iterable[np.ndarray]) -> Visits:
    """Counts the texts of a stream of int64 situations; only the distinct ones are ever written out.

    Of any number of visits, no more than the distinct texts and a fixed amount is held in memory.
    """
    counts: dict[str, int] = {}
    with (
        TemporaryDirectory(prefix="askonce-") as spill,
        duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": spill}) as connection,
    ):
        connection.execute("CREATE TABLE visits (situation BIGINT, visits BIGINT)")
        for chunk in _chunks(situations):
            connection.register("chunk", pa.table({"situation": chunk}))
            connection.execute("INSERT INTO visits SELECT situation, count(*) FROM chunk GROUP BY situation")
        found = connection.execute("SELECT situation, sum(visits)::BIGINT FROM visits GROUP BY situation")
        while rows := found.fetchmany(CHUNK):
            for situation, count in rows:
                text = task.text(situation)
                counts[text] = counts.get(text, 0) + count
    return _most_visited_first(counts)


def merge(*parts: Visits) -> Visits:
    counts: dict[str, int] = {}
    for part in parts:
        for text, count in part.counts.items():
            counts[text] = counts.get(text, 0) + count
    return _most_visited_first(counts)


def _most_visited_first(counts: dict[str, int]) -> Visits:
    # Sorted by text, then stably by number, for a pair of both as the key would be held for every text.
    texts = sorted(sorted(counts), key=counts.__getitem__, reverse=True)
    return Visits({text: counts[text] for text in texts})


def _chunks(situations: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    waiting, size = [], 0
    for array in situations:
        waiting.append(array)
        size += len(array)
        if size >= CHUNK:
            yield np.concatenate(waiting)
            waiting, size = [], 0
    if waiting:
        yield np.concatenate(waiting)
