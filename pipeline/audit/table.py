"""The audit's table beside the cache: one row per distinct text and decision of a teacher, as Parquet.

    CACHE/audit/TASK--MODEL@PROMPT.parquet

Replaced as a whole, and the same rows are the same bytes. Names are percent-encoded where a file's name needs it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from io import BytesIO
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from askonce.cache import durable, layout
from askonce.cache.errors import AskonceError
from askonce.cache.query import TeacherName
from askonce.pipeline.audit.verdict import FAULTY
from askonce.pipeline.tasks.task import Decision

_POSE = pa.struct([("x", pa.int16()), ("y", pa.int16()), ("direction", pa.int8()), ("action", pa.int8())])
# What stands in a column for what a field may hold.
_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bytes: pa.binary(),
    list: pa.list_(_POSE),
}


def schema_of(record: type) -> pa.Schema:
    """The columns of a dataclass, by the types of its fields; a field that may be None may be null."""
    hints = get_type_hints(record)
    return pa.schema([(one.name, _TYPES[_held(hints[one.name])]) for one in fields(record)])


def _held(hint: Any) -> Any:
    """str | None → str, list[…] → list."""
    if get_origin(hint) is UnionType:
        hint = next(each for each in get_args(hint) if each is not type(None))
    return get_origin(hint) or hint


@dataclass(frozen=True, kw_only=True)
class AuditRow:
    """What was found of one decision in one text; docs/audit.md says what each column means."""

    task: str
    model: str
    prompt: str
    text: str
    decision: str | None
    verdict: str
    rule: str | None = None
    reason: str
    probability: float
    completions: int
    completion: str
    visits: float
    states: int = 0
    success: float | None = None
    best_success: float | None = None
    success_difference: float | None = None
    success_low: float | None = None
    success_high: float | None = None
    steps_difference: float | None = None
    steps_low: float | None = None
    steps_high: float | None = None
    cost: float | None = None
    cost_low: float | None = None
    cost_high: float | None = None
    best: str | None = None
    world: bytes | None = None
    knowledge: bytes | None = None
    width: int | None = None
    height: int | None = None
    path: list[dict[str, int]] | None = None
    path_decision: int | None = None
    path_end: str | None = None
    best_path: list[dict[str, int]] | None = None
    best_path_decision: int | None = None
    best_path_end: str | None = None


SCHEMA = schema_of(AuditRow)


def write(directory: str | Path, teacher: TeacherName, rows: Sequence[AuditRow]) -> Path:
    """Replaces the teacher's table. AskonceError where the cache cannot be written."""
    table = pa.table({name: [getattr(row, name) for row in rows] for name in SCHEMA.names}, SCHEMA)
    return write_table(place(directory, teacher), table)


def write_table(path: Path, table: pa.Table) -> Path:
    """Replaces a table of the audit at once, with everything synced."""
    content = BytesIO()
    pq.write_table(table, content, compression="zstd")
    try:
        durable.make_directory(path.parent)
        durable.write(path, content.getvalue())
    except OSError as error:
        raise AskonceError(f"cannot write the audit to {path.parent}: {error.strerror}") from error
    return path


def place(directory: str | Path, teacher: TeacherName, suffix: str = "") -> Path:
    """Where a teacher's table is."""
    name = f"{quote(teacher.task, safe='')}--{quote(teacher.model, safe='')}@{quote(teacher.prompt, safe='')}"
    return Path(directory) / layout.AUDIT / f"{name}{suffix}.parquet"


def faults(directory: str | Path, teacher: TeacherName) -> dict[str, set[Decision]]:
    """Text → the decisions that were found to be mistakes. AskonceError where the teacher has not been audited."""
    path = place(directory, teacher)
    if not path.exists():
        raise AskonceError(
            f"{directory} has no audit of {teacher.name} for {teacher.task}: make it by "
            f"`cli audit --task {teacher.task} --cache {directory} --model {teacher.name}`"
        )
    found: dict[str, set[Decision]] = {}
    for row in pq.read_table(path, columns=["text", "decision", "verdict"]).to_pylist():
        if row["verdict"] in FAULTY:
            found.setdefault(row["text"], set()).add(tuple(row["decision"].split(", ")))
    return found


def record(row: AuditRow) -> dict[str, Any]:
    """The row's figures, for JSON: all but the pictures."""
    return {
        name: value
        for name, value in asdict(row).items()
        if not isinstance(value, bytes)
        and not name.endswith(("world", "knowledge"))
        and name not in ("path", "best_path", "width", "height")
    }
