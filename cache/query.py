"""Questions to the cache, answered by DuckDB over the segments.

DuckDB runs in memory and only reads: the segments remain the truth. A completion that is stored
twice for a task (the same key and sample in two segments) is seen once, as it was first obtained.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from cache import store
from cache.errors import AskonceError
from cache.store import Completion

COLUMNS = store.SCHEMA.names

# asked_at first; the rest only settles the order of equal times, so that every reader sees the same row.
DEDUPLICATED = """
    SELECT * EXCLUDE (filename) FROM read_parquet([{paths}], filename = true)
    QUALIFY row_number() OVER (PARTITION BY task, key, sample ORDER BY asked_at, content, filename) = 1
"""


@dataclass(frozen=True)
class TeacherEntry:
    """All that one model, asked with one prompt, has answered for one task; tokens are sums."""

    task: str
    model: str
    prompt: str
    texts: int
    completions: int
    prompt_tokens: int
    completion_tokens: int
    first_asked: datetime
    last_asked: datetime

    @property
    def name(self) -> str:
        """NAME@PROMPT, what --model takes where NAME alone is not enough."""
        return f"{self.model}@{self.prompt}"


@dataclass(frozen=True)
class Answer:
    """What a student needs of a completion."""

    sample: int
    content: str
    weight: float
    finish_reason: str | None


@dataclass(frozen=True)
class CacheStats:
    """The whole cache: its teachers by task, model and prompt, and its segments' number and bytes."""

    teachers: list[TeacherEntry]
    segments: int
    bytes: int


def connect(directory: str | Path) -> duckdb.DuckDBPyConnection:
    """An in-memory database with the view `completions`: one row each, columns as in `store.SCHEMA`.

    Times are UTC. Sees the segments there are now, not later ones. AskonceError where the
    directory is no cache or a segment is damaged.
    """
    return _connect(store.segments(directory))


def teachers(directory: str | Path, task: str) -> list[TeacherEntry]:
    """Who has answered for `task`, by model and prompt; empty where nobody has."""
    return [entry for entry in _teachers(store.segments(directory)) if entry.task == task]


def choose_teacher(directory: str | Path, task: str, model: str | None) -> TeacherEntry:
    """The teacher of `task` that `model`, "NAME" or "NAME@PROMPT", names; the only one where it is None.

    AskonceError where there is none, and with exit code 2 where there are several to choose from.
    """
    everyone = _teachers(store.segments(directory))
    held = [entry for entry in everyone if entry.task == task]
    if not held:
        raise AskonceError(_nothing_held(directory, task, everyone))
    # Compared whole, not taken apart at "@": model names contain it too.
    fitting = [entry for entry in held if model in (None, entry.model, entry.name)]
    if not fitting:
        raise AskonceError(f"{directory} holds no answers of {model} for {task}; it holds {_names(held)}")
    if len(fitting) > 1:
        raise AskonceError(
            f"{directory} holds answers of several models or prompts for {task}; "
            f"choose one with --model: {_names(fitting)}",
            exit_code=2,
        )
    return fitting[0]


def answers(directory: str | Path, task: str, model: str, prompt: str) -> dict[str, list[Answer]]:
    """text → its answers in order of sample, for the task, model and prompt of a `TeacherEntry`."""
    rows = _rows(
        store.segments(directory),
        """
        SELECT text, sample, content, weight, finish_reason FROM completions
        WHERE task = $task AND model = $model AND prompt = $prompt
        ORDER BY text, sample, key
        """,
        {"task": task, "model": model, "prompt": prompt},
    )
    found: dict[str, list[Answer]] = {}
    for text, *answer in rows:
        found.setdefault(text, []).append(Answer(*answer))
    return found


def stored(directory: str | Path, task: str, keys: Iterable[str]) -> dict[str, int]:
    """key → number of its completions kept for `task`, for those of `keys` that have any.

    It is also the index of the next sample: a writer numbers samples as they arrive, not as it asks,
    for a sample that never came would leave a gap here and the next one would double a stored index.
    """
    with connect(directory) as connection:
        connection.register("wanted", _wanted(keys))
        return dict(
            connection.execute(
                """
                SELECT key, count(*) FROM completions
                WHERE task = $task AND key IN (SELECT key FROM wanted) GROUP BY key
                """,
                {"task": task},
            ).fetchall()
        )


def elsewhere(directory: str | Path, task: str, keys: Iterable[str]) -> list[Completion]:
    """Completions of `keys` kept for another task only: two tasks may ask the very same question."""
    paths = store.segments(directory)
    with _connect(paths) as connection:
        connection.register("wanted", _wanted(keys))
        return _completions(
            connection,
            """
            key IN (SELECT key FROM wanted) AND task <> $task
            AND NOT EXISTS (FROM completions held WHERE held.task = $task AND held.key = completions.key)
            QUALIFY row_number() OVER (PARTITION BY key, sample ORDER BY task) = 1
            """,
            {"task": task},
        )


def stats(directory: str | Path) -> CacheStats:
    """What the cache holds, and the room it takes."""
    paths = store.segments(directory)
    return CacheStats(_teachers(paths), len(paths), sum(path.stat().st_size for path in paths))


def show(directory: str | Path, what: str) -> list[Completion]:
    """The completions that `what` names, by the first of these readings that finds any.

    A completion's id, or the beginning of a key (at least 6 hex digits) with or without its
    scheme; a text in full; a part of a text.
    """
    readings: list[tuple[str, dict[str, Any]]] = [
        ("text = $what", {"what": what}),
        ("contains(text, $what)", {"what": what}),
    ]
    identity = re.fullmatch(r"(?:[\w-]+:)?([0-9a-f]{6,64})(?:-([0-9]{1,9}))?", what)
    if identity:
        digest, sample = identity.groups()
        of_key = "starts_with(split_part(key, ':', 2), $digest) AND sample = coalesce($sample, sample)"
        readings.insert(0, (of_key, {"digest": digest, "sample": sample and int(sample)}))
    with connect(directory) as connection:
        return next(filter(None, (_completions(connection, *reading) for reading in readings)), [])


def _connect(paths: list[Path]) -> duckdb.DuckDBPyConnection:
    # DuckDB would otherwise look on the network for an extension that a query names.
    offline = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    connection = duckdb.connect(":memory:", config=offline)
    if not paths:
        connection.register("completions", store.SCHEMA.empty_table())
        return connection
    # A view takes no bound parameters, so the paths are written out as literals.
    literals = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
    connection.execute(f"CREATE VIEW completions AS {DEDUPLICATED.format(paths=literals)}")
    return connection


def _rows(paths: list[Path], query: str, parameters: dict[str, Any] | None = None) -> list[tuple]:
    with _connect(paths) as connection:
        return connection.execute(query, parameters).fetchall()


def _teachers(paths: list[Path]) -> list[TeacherEntry]:
    rows = _rows(
        paths,
        """
        SELECT task, model, prompt, count(DISTINCT text), count(*),
               coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),
               min(asked_at), max(asked_at)
        FROM completions GROUP BY task, model, prompt ORDER BY task, model, prompt
        """,
    )
    return [TeacherEntry(*row[:-2], *map(_in_utc, row[-2:])) for row in rows]


def _wanted(keys: Iterable[str]) -> pa.Table:
    return pa.table({"key": pa.array(keys, pa.string())})


def _completions(
    connection: duckdb.DuckDBPyConnection, condition: str, parameters: dict[str, Any]
) -> list[Completion]:
    query = f"SELECT * FROM completions WHERE {condition} ORDER BY task, model, prompt, text, sample, key"
    found = connection.execute(query, parameters).fetchall()
    rows = (dict(zip(COLUMNS, row, strict=True)) for row in found)
    return [Completion(**row | {"asked_at": _in_utc(row["asked_at"])}) for row in rows]


def _in_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC)


def _names(entries: list[TeacherEntry]) -> str:
    return ", ".join(entry.name for entry in entries)


def _nothing_held(directory: str | Path, task: str, everyone: list[TeacherEntry]) -> str:
    tasks = ", ".join(dict.fromkeys(entry.task for entry in everyone))
    elsewhere = f"only for {tasks}" if tasks else "nor for any other task"
    return (
        f"{directory} holds no answers for {task}, {elsewhere}; "
        f"`cli build-cache --task {task} --cache {directory}` asks for them"
    )
