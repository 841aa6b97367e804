"""Questions to the cache, answered by DuckDB over the segments and the journals.

DuckDB runs in memory and only reads: the files remain the truth. A completion that is stored more than
once is seen once; the different ones of a task and key are numbered 0, 1, … in the order in which they
were asked, so that those of two builders that asked at the same time are all seen. Rows that are many
stay in DuckDB, which goes to a temporary directory where memory is short.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from itertools import chain, groupby
from pathlib import Path
import re
import resource
import tempfile
from typing import Any, TypeVar
import uuid
import weakref

import duckdb
import numpy as np
import pyarrow as pa

from askonce.cache import durable, store
from askonce.cache.completion import IDENTITY, ORDER, SCHEMA, Completion, completion_id
from askonce.cache.coverage import Coverage, noted
from askonce.cache.errors import AskonceError
from askonce.cache.store import Snapshot

COLUMNS = SCHEMA.names
IN_ORDER = ", ".join(ORDER)
Result = TypeVar("Result")

# What DuckDB may hold before it goes to disk.
MEMORY = "1GiB"

AMONG_TEXTS = "AND text IN (SELECT text FROM wanted)"

# So few keys are compared with what each row group spans, and hardly any is read; for more, every row is.
FEW_KEYS = 256

# How a query may end whose files went away.
UNREAD = (duckdb.IOException, pa.ArrowException, OSError)

# Rows with equal rank agree in IDENTITY; what an older version copied lacks its usage. The columns are named:
# a segment of an older version lacks some.
DISTINCT = f"""
    SELECT {", ".join(COLUMNS)}, dense_rank() OVER answers - 1 AS number
    FROM ({{sources}})
    WINDOW answers AS (PARTITION BY task, key ORDER BY {", ".join(IDENTITY[2:])}),
           fullest AS (PARTITION BY task, key ORDER BY {", ".join(IDENTITY[2:])}, usage NULLS LAST)
    QUALIFY rank() OVER answers = row_number() OVER fullest
"""


@dataclass(frozen=True)
class TeacherName:
    """One model, asked with one prompt, for one task."""

    task: str
    model: str
    prompt: str

    @property
    def name(self) -> str:
        """NAME@PROMPT, what --model takes where NAME alone is not enough."""
        return f"{self.model}@{self.prompt}"


@dataclass(frozen=True)
class TeacherEntry(TeacherName):
    """All that a teacher has answered; tokens are sums; coverage as last estimated, None where it never was."""

    texts: int
    completions: int
    prompt_tokens: int
    completion_tokens: int
    first_asked: datetime
    last_asked: datetime
    coverage: Coverage | None = None


@dataclass(frozen=True)
class Answer:
    """What a student needs of a completion."""

    sample: int
    content: str
    weight: float
    finish_reason: str | None
    logprobs: str | None = None
    # Of a completion with log-probabilities, or of JSON, alone: to tell what was asked for.
    request: str | None = None
    key: str = field(default="", compare=False)

    @property
    def completion_id(self) -> str:
        """What `show` takes."""
        return completion_id(self.key, self.sample)


ANSWER = ", ".join(field.name for field in fields(Answer)).replace(
    "request",
    "CASE WHEN logprobs IS NOT NULL OR ltrim(content) LIKE '{%' OR content LIKE '<think>%{%' THEN request END AS request",
)


@dataclass(frozen=True)
class CacheStats:
    """The whole cache: its teachers by task, model and prompt, its files' numbers and bytes."""

    teachers: list[TeacherEntry]
    segments: int
    journals: int
    bytes: int


def connect(directory: str | Path) -> duckdb.DuckDBPyConnection:
    """An in-memory database with the view `completions`: one row each, columns as in `SCHEMA`.

    Times are UTC. Sees the answers there are now, not later ones, whatever is done to the cache meanwhile.
    AskonceError where the directory is no cache or is damaged.
    """
    connection, _ = _open(lambda connection: None, {"completions": directory})
    return connection


def read(
    query: Callable[[duckdb.DuckDBPyConnection], Result], besides: Collection[str] = (), **caches: str | Path
) -> Result:
    """What `query(connection)` returns; the connection has the views of each NAME=DIRECTORY (`database`), without
    the rows of the `store.parts` named `besides`.

    It is called again where files went away while it read, their rows being in others by then. AskonceError
    where they go on going away, or cannot be read.
    """
    connection, result = _open(query, caches, besides)
    connection.close()
    return result


def database(**snapshots: Snapshot) -> duckdb.DuckDBPyConnection:
    """For each NAME=SNAPSHOT the views NAME, its answers numbered, and NAME_rows, the same as stored.

    A third, NAME_files, may hold rows twice, and of old segments not all columns.
    """
    # DuckDB would otherwise look on the network for an extension that a query names.
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    # Made only when needed. One for each database: their files in it would have the same names.
    config["temp_directory"] = str(Path(tempfile.gettempdir()) / f"askonce-{uuid.uuid4().hex}")
    config["memory_limit"] = MEMORY
    connection = duckdb.connect(":memory:", config=config)
    for name, taken in snapshots.items():
        define(connection, name, taken)
    return connection


def unread(directories: Iterable[str | Path], error: duckdb.IOException) -> AskonceError:
    """In one line what DuckDB says at length."""
    return AskonceError(f"cannot read {' and '.join(map(str, directories))}: {str(error).splitlines()[0]}")


def define(connection: duckdb.DuckDBPyConnection, name: str, taken: Snapshot) -> None:
    """Adds the views of one more snapshot, as in `database`."""
    connection.register(f"{name}_journaled", taken.journaled)
    sources = f"FROM {name}_journaled"
    if taken.segments:
        # A view takes no bound parameters, so the paths are written out as literals.
        paths = ", ".join("'" + str(path).replace("'", "''") + "'" for path in taken.segments)
        sources = f"FROM read_parquet([{paths}], union_by_name = true) UNION ALL BY NAME {sources}"
    connection.execute(f"CREATE VIEW {name}_files AS {sources}")
    connection.execute(f"CREATE VIEW {name}_distinct AS {DISTINCT.format(sources=f'FROM {name}_files')}")
    connection.execute(f"CREATE VIEW {name}_rows AS SELECT * EXCLUDE (number) FROM {name}_distinct")
    connection.execute(
        f"CREATE VIEW {name} AS SELECT * EXCLUDE (number) REPLACE (number::INTEGER AS sample) FROM {name}_distinct"
    )


def teachers(directory: str | Path, task: str) -> list[TeacherEntry]:
    """Who has answered for `task`, by model and prompt; empty where nobody has."""
    return [entry for entry in read(entries, completions=directory) if entry.task == task]


def teacher_names(directory: str | Path, besides: Collection[str] = ()) -> list[TeacherName]:
    """Who has answered for any task: the same without figures, and so without numbering the answers. `besides`
    are parts of the cache (`store.parts`) that are not read."""

    def query(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
        return connection.execute(
            "SELECT DISTINCT task, model, prompt FROM completions_files ORDER BY task, model, prompt"
        ).fetchall()

    return [TeacherName(*row) for row in read(query, besides, completions=directory)]


def answers(directory: str | Path, task: str, model: str, prompt: str) -> dict[str, list[Answer]]:
    """text → its answers in order of sample, for the task, model and prompt of a `TeacherEntry`."""
    return dict(texts(directory, task, model, prompt))


def texts(
    directory: str | Path,
    task: str,
    model: str,
    prompt: str,
    wanted: Iterable[str] | None = None,
    besides: Collection[str] = (),
) -> Iterator[tuple[str, list[Answer]]]:
    """The same as `answers`, text by text in their order: for when they are too many to hold. Of all
    texts, or of those `wanted`; of all parts of the cache, or (`store.parts`) of those not named `besides`."""
    rows = _stream(
        directory,
        f"""
        SELECT text, {ANSWER} FROM completions
        WHERE task = $task AND model = $model AND prompt = $prompt {"" if wanted is None else AMONG_TEXTS}
        ORDER BY text, sample, key
        """,
        {"task": task, "model": model, "prompt": prompt},
        None if wanted is None else pa.table({"text": pa.array(wanted, pa.string())}),
        besides,
    )
    yield from _by_text(rows)


def of_keys(directory: str | Path, task: str, keys: Iterable[str]) -> dict[str, list[Answer]]:
    """text → its answers in order of sample, for those of `keys` that `task` has any of.

    Of few keys in a large cache it reads only the row groups in which they may be.
    """
    wanted = list(keys)

    def query(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
        among, parameters = _among(connection, wanted)
        return connection.execute(
            f"""
            SELECT text, {ANSWER} FROM completions WHERE task = $task AND key {among}
            ORDER BY text, sample, key
            """,
            {"task": task} | parameters,
        ).fetchall()

    return dict(_by_text(read(query, completions=directory))) if wanted else {}


def counted(
    directory: str | Path,
    task: str,
    model: str,
    prompt: str,
    wanted: Sequence[str],
    unwelcome: Sequence[str],
    keys: Sequence[str] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """For each of the texts `wanted`, in their order, how many completions it has, and how many of them end for
    none of the reasons `unwelcome`: two arrays (len(wanted),) int64.

    With the keys of these texts, where they are few, only the row groups are read in which they may be. The
    answers themselves are not held: rows that are stored twice are told by a hash. Of two answers to one text
    that have the same, by a chance of 2^-64, one is not counted, and the text is asked about once more.
    """
    texts = _places(wanted)

    def query(connection: duckdb.DuckDBPyConnection) -> tuple[np.ndarray, np.ndarray]:
        connection.register("wanted", texts)
        among, parameters = _among(connection, keys) if keys else ("IS NOT NULL", {})
        rows = connection.sql(
            f"""
            SELECT DISTINCT place, NOT list_contains($unwelcome, coalesce(finish_reason, '')) AS welcome,
                   hash({", ".join(IDENTITY)})
            FROM completions_files JOIN wanted USING (text)
            WHERE task = $task AND model = $model AND prompt = $prompt AND key {among}
            """,
            params={"task": task, "model": model, "prompt": prompt, "unwelcome": list(unwelcome)} | parameters,
        )
        stored, welcome = np.zeros((2, len(wanted)), np.int64)
        for part in rows.to_arrow_reader(10_000):
            places = part["place"].to_numpy()
            np.add.at(stored, places, 1)
            np.add.at(welcome, places, part["welcome"].to_numpy(zero_copy_only=False))
        return stored, welcome

    return read(query, completions=directory)


def keys(directory: str | Path, task: str, model: str, prompt: str) -> set[str]:
    """The keys of all completions of a `TeacherEntry`."""
    query = "SELECT DISTINCT key FROM completions WHERE task = $task AND model = $model AND prompt = $prompt"
    teacher = {"task": task, "model": model, "prompt": prompt}
    found = read(lambda connection: connection.execute(query, teacher).fetchall(), completions=directory)
    return {key for (key,) in found}


def seconds(directory: str | Path, task: str, model: str, prompt: str) -> float | None:
    """How long the requests of a `TeacherEntry` took, one after the other; None where that is not known."""
    rows = read(
        lambda connection: connection.execute(
            """
            SELECT sum(latency) FROM (SELECT DISTINCT key, asked_at, latency FROM completions
                                      WHERE task = $task AND model = $model AND prompt = $prompt)
            """,
            {"task": task, "model": model, "prompt": prompt},
        ).fetchall(),
        completions=directory,
    )
    found: float | None = rows[0][0]
    return found


def stored(directory: str | Path, task: str, keys: Iterable[str]) -> dict[str, int]:
    """key → number of its completions kept for `task`, for those of `keys` that have any.

    It is also the index of the next sample; where two writers use the same, readers number both.
    """
    wanted = list(keys)

    def query(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
        among, parameters = _among(connection, wanted)
        return dict(
            connection.execute(
                f"SELECT key, count(*) FROM completions WHERE task = $task AND key {among} GROUP BY key",
                {"task": task} | parameters,
            ).fetchall()
        )

    return read(query, completions=directory) if wanted else {}


def elsewhere(
    directory: str | Path, task: str, model: str, prompt: str, wanted: Iterable[str], keys: Sequence[str] = ()
) -> Iterator[Completion]:
    """Completions about the texts `wanted` kept for other tasks under keys of which `task` has none: two tasks
    may ask the very same question.

    As they are stored, so that their copies for `task` are the same rows whoever makes them. With the
    keys of the texts, where they are few, only the row groups are read in which they may be.
    """
    # Copies for several other tasks differ in the task and in who paid.
    same = ", ".join(name for name in IDENTITY if name not in ("task", "prompt_tokens", "completion_tokens"))
    among = "AND key IN $keys" if keys else ""
    rows = _stream(
        directory,
        f"""
        SELECT * FROM completions_rows
        WHERE model = $model AND prompt = $prompt AND task <> $task {among} {AMONG_TEXTS}
        AND key NOT IN (SELECT key FROM completions_files WHERE task = $task {among})
        QUALIFY row_number() OVER (PARTITION BY {same} ORDER BY task) = 1
        ORDER BY {IN_ORDER}
        """,
        {"task": task, "model": model, "prompt": prompt} | ({"keys": list(keys)} if keys else {}),
        pa.table({"text": pa.array(wanted, pa.string())}),
    )
    return map(_completion, rows)


def stats(directory: str | Path) -> CacheStats:
    """What the cache holds, and the room it takes."""
    held = noted(directory)
    found = [
        replace(entry, coverage=held.get((entry.task, entry.model, entry.prompt)))
        for entry in read(entries, completions=directory)
    ]
    segments, journals = store.segments(directory), store.journals(directory)
    return CacheStats(found, len(segments), len(journals), sum(map(durable.size, segments + journals)))


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

    def query(connection: duckdb.DuckDBPyConnection) -> list[Completion]:
        found = (_completions(connection, "completions", *reading) for reading in readings)
        return next(filter(None, found), [])

    return read(query, completions=directory)


def contents(directory: str | Path, ids: Iterable[str]) -> dict[tuple[str, str], str]:
    """(task, completion's id) → what it says, for those of `ids` that are held."""
    wanted = pa.table({"id": pa.array(set(ids), pa.string())})

    def query(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
        connection.register("wanted", wanted)
        return connection.execute(
            """
            SELECT task, id, content FROM (
                SELECT task, content, substr(split_part(key, ':', 2), 1, 12) || '-' || sample AS id FROM completions
            ) WHERE id IN (SELECT id FROM wanted)
            """
        ).fetchall()

    return {(task, name): content for task, name, content in read(query, completions=directory)} if len(wanted) else {}


def nearest(directory: str | Path, text: str) -> list[Completion]:
    """Of each task, model and prompt the completion whose text is most like `text`, by edit distance."""
    alike = """
        true QUALIFY row_number() OVER (
            PARTITION BY task, model, prompt ORDER BY levenshtein(text, $text), text, sample
        ) = 1
    """
    return read(
        lambda connection: _completions(connection, "completions", alike, {"text": text}), completions=directory
    )


def entries(connection: duckdb.DuckDBPyConnection) -> list[TeacherEntry]:
    """Who has answered, from the view `completions`."""
    rows = connection.execute(
        """
        SELECT task, model, prompt, count(DISTINCT text), count(*),
               coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),
               min(asked_at), max(asked_at)
        FROM completions GROUP BY task, model, prompt ORDER BY task, model, prompt
        """
    ).fetchall()
    return [TeacherEntry(*row[:-2], *map(_in_utc, row[-2:])) for row in rows]


def _by_text(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[str, list[Answer]]]:
    for text, found in groupby(rows, key=lambda row: row[0]):
        yield text, [Answer(*row[1:]) for row in found]


def _stream(
    directory: str | Path,
    query: str,
    parameters: dict[str, Any],
    wanted: pa.Table | None,
    besides: Collection[str] = (),
) -> Iterator[tuple[Any, ...]]:
    """The rows of a query that sorts: with the first of them DuckDB has read all files."""

    def begin(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
        if wanted is not None:
            connection.register("wanted", wanted)
        return connection.execute(query, parameters).fetchmany(1)

    connection, first = _open(begin, {"completions": directory}, besides)
    with connection:
        yield from chain(first, chain.from_iterable(iter(lambda: connection.fetchmany(10_000), [])))


@store.patiently
def _open(
    query: Callable[[duckdb.DuckDBPyConnection], Result],
    caches: Mapping[str, str | Path],
    besides: Collection[str] = (),
) -> tuple[duckdb.DuckDBPyConnection, Result]:
    """A connection as in `read`, and what `query` returned."""
    snapshots = {name: store.snapshot(directory, besides) for name, directory in caches.items()}
    try:
        with ExitStack() as files:
            connection = database(**{name: _held(taken, files) for name, taken in snapshots.items()})
            weakref.finalize(connection, files.pop_all().close)
        return connection, query(connection)
    except UNREAD as error:
        store.require_there(chain.from_iterable(taken.segments for taken in snapshots.values()))
        if isinstance(error, duckdb.IOException):
            raise unread(caches.values(), error) from error
        raise


def _held(taken: Snapshot, files: ExitStack) -> Snapshot:
    """The same with as many segments open as may be: they can be read even once they are removed."""
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4
    open_files = [files.enter_context(open(path, "rb")) for path in taken.segments[:room]]  # noqa: SIM115
    names = [Path("/dev/fd") / str(file.fileno()) for file in open_files]
    return replace(taken, segments=names + taken.segments[room:])


def _places(texts: Sequence[str]) -> pa.Table:
    """The columns text and place. In parts: one array grows to twice what it needs."""
    parts = [pa.array(texts[first : first + 10_000], pa.string()) for first in range(0, len(texts), 10_000)]
    return pa.table({"text": pa.chunked_array(parts, pa.string()), "place": np.arange(len(texts))})


def _among(connection: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> tuple[str, dict[str, list[str]]]:
    """What makes a condition of `key …`, and its parameters."""
    if len(keys) <= FEW_KEYS:
        return "IN $keys", {"keys": list(keys)}
    connection.register("wanted", pa.table({"key": pa.array(keys, pa.string())}))
    return "IN (SELECT key FROM wanted)", {}


def _completions(
    connection: duckdb.DuckDBPyConnection, view: str, condition: str, parameters: dict[str, Any]
) -> list[Completion]:
    query = f"SELECT * FROM {view} WHERE {condition} ORDER BY task, model, prompt, text, sample, key"
    return [_completion(row) for row in connection.execute(query, parameters).fetchall()]


def _completion(row: tuple[Any, ...]) -> Completion:
    found = dict(zip(COLUMNS, row, strict=True))
    return Completion(**found | {"asked_at": _in_utc(found["asked_at"])})


def _in_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC)
