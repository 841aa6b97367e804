"""The tables that `cli audit` leaves beside a cache (docs/audit.md), as rows for the report.

    CACHE/audit/TASK--MODEL@PROMPT.parquet                    a row a text and decision
    CACHE/audit/TASK--MODEL@PROMPT--student-DIGEST.parquet    the same for a student, of faulty decisions

What a file is of is said by its rows, not by its name.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from askonce.cache import layout
from askonce.cache.errors import AskonceError
from askonce.pipeline.audit.table import SCHEMA
from askonce.pipeline.audit.verdict import VERDICTS
from askonce.pipeline.statistics import Interval
from askonce.pipeline.tasks.task import Trace
from askonce.student.judging import unlearned
from askonce.student.judging.unlearned import Habit


@dataclass(frozen=True)
class Example:
    """A real state, (W, H, 3) and what the agent knew of it, (W, H, 4), with what was played out from there."""

    world: np.ndarray
    knowledge: np.ndarray
    path: Trace
    best: Trace


@dataclass(frozen=True)
class Decision:
    """One decision of one teacher about one text, None where the completions hold none, and how it was judged."""

    task: str
    model: str
    prompt: str
    text: str
    decision: str | None
    verdict: str
    rule: str | None
    reason: str
    probability: float
    completions: int
    completion: str
    visits: float
    states: int
    success: float | None
    best_success: float | None
    success_difference: Interval | None
    steps_difference: Interval | None
    cost: Interval | None
    best: str | None
    example: Example | None

    @property
    def teacher(self) -> str:
        return f"{self.model}@{self.prompt}"


def read(cache: Path) -> tuple[list[Decision], list[Habit]]:
    """Everything that was audited. AskonceError where a table cannot be read."""
    decisions, unlearnt = [], []
    for path in sorted((cache / layout.AUDIT).glob("*.parquet")):
        table = _table(path)
        if "status" in table.column_names:
            unlearnt += [Habit(**row) for row in _rows(table, path, unlearned.SCHEMA, unlearned.SCHEMA.names)]
        else:
            decisions += [_decision(row, path) for row in _rows(table, path, SCHEMA, SCHEMA.names)]
    return decisions, unlearnt


def _table(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None


def _rows(table: pa.Table, path: Path, schema: pa.Schema, names: Iterable[str]) -> Iterator[dict]:
    try:
        wanted = pa.schema([schema.field(name) for name in names])
        yield from table.select(wanted.names).cast(wanted).to_pylist()
    except (KeyError, pa.ArrowException) as error:
        raise _damaged(path, error) from None


def _decision(row: dict, path: Path) -> Decision:
    try:
        if row["verdict"] not in VERDICTS:
            raise ValueError(f"{row['verdict']!r} is no verdict")
        taken = {name: row[name] for name in Decision.__annotations__ if name in row}
        figures = {
            name: _interval(row, name, ends)
            for name, ends in (("success_difference", "success"), ("steps_difference", "steps"), ("cost", "cost"))
        }
        return Decision(**taken | figures | {"example": _example(row)})
    except ValueError as error:
        raise _damaged(path, error) from None


def _interval(row: dict, name: str, ends: str) -> Interval | None:
    found = row[name], row[f"{ends}_low"], row[f"{ends}_high"]
    return None if None in found or np.isnan(found).any() else Interval(*found)


def _example(row: dict) -> Example | None:
    if row["world"] is None or not row["path"]:
        return None
    shape = row["width"], row["height"]
    world, knowledge = (np.frombuffer(row[name], np.uint8) for name in ("world", "knowledge"))
    return Example(
        world.reshape(*shape, 3), knowledge.reshape(*shape, 4), _trace(row, "path"), _trace(row, "best_path")
    )


def _trace(row: dict, name: str) -> Trace:
    poses = [[pose[each] for each in ("x", "y", "direction", "action")] for pose in row[name] or ()]
    shaped = np.array(poses, np.int16).reshape(-1, 4)
    return Trace(shaped, row[f"{name}_decision"] or 0, row[f"{name}_end"] or "")


def _damaged(path: Path, error: Exception) -> AskonceError:
    reason = str(error).splitlines()[0]
    return AskonceError(f"{path} is no table of an audit ({reason}): make it again with `cli audit`")
