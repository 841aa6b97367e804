"""The cache's directory: answers are written to journals, kept in segments, and read from both. What lies where: `cache.layout`.

Rows go one way: a journal is removed only when its rows are in a segment, a segment only when its rows
are in another. A row that is for a moment in both is read once, for identical rows are one answer. So
writers share nothing, readers need no lock, and a kill at any moment loses and doubles nothing.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
import json
from pathlib import Path
from threading import Lock
import time
from typing import ParamSpec, TypeVar

import pyarrow as pa

from askonce.cache import durable, journal, layout, segment
from askonce.cache.completion import SCHEMA, Completion, to_table
from askonce.cache.errors import AskonceError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

FORMAT = "askonce-cache"
# 2: journals, log-probabilities. 3: usage, coverage. What older versions wrote is read as it is.
VERSION = 3

# A journal of so many bytes becomes a segment: small enough to be read at every opening.
SEAL_SIZE = 16 * 2**20
# For so many seconds what is listed but gone is listed again: NFS remembers a directory for a minute.
PATIENCE = 90.0
# Rows that are synced together: half of them lost in a kill are asked again.
RECORD_ROWS = 2048


@dataclass(frozen=True)
class Snapshot:
    """Every answer that was stored when it was taken; some may be in it twice (`IDENTITY` tells)."""

    segments: list[Path]
    journals: list[Path]
    journaled: pa.Table


class Vanished(Exception):
    """A segment that was listed is gone, its rows being in another by now."""


def patiently(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """For what lists segments and then reads them: it is called again while it ends with Vanished.

    AskonceError where it still does after PATIENCE seconds of waiting in between.
    """

    @wraps(function)
    def until_listed(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        waited, pause = 0.0, 0.01
        while True:
            try:
                return function(*args, **kwargs)
            except Vanished as gone:
                if waited > PATIENCE:
                    raise AskonceError(f"cannot read {gone}: it is listed, but gone; start again") from gone
            time.sleep(pause)
            waited, pause = waited + pause, min(2 * pause, 5.0)

    return until_listed


def create(directory: str | Path) -> None:
    """Makes an absent or empty directory a cache; does nothing where it already is one.

    AskonceError where it is something else or cannot be written. Call it before paying for answers.
    """
    directory = Path(directory)
    try:
        durable.make_directory(directory)
        if version(directory) < VERSION:
            durable.write(directory / layout.MARKER, marker(VERSION))
        for folder in (layout.SEGMENTS, layout.JOURNALS, layout.COVERAGE):
            durable.make_directory(directory / folder)
    except OSError as error:
        raise unwritable(directory, error) from error


@contextmanager
def writer(directory: str | Path) -> Iterator["Writer"]:
    """Opens the cache for writing; creates it, and seals what writers left that were killed.

    At the end the rows become a segment. After an exception they stay in the journal, which the next
    writer seals: whoever leaves in a hurry loses nothing.
    """
    create(directory)
    seal_abandoned(directory)
    opened = Writer(Path(directory))
    try:
        yield opened
        opened.seal()
    finally:
        opened.close()


class Writer:
    """One writer's way into the cache, for one thread or many. Made by `writer`."""

    def __init__(self, directory: Path):
        self._directory = directory
        self._journal: journal.Journal | None = None
        self._lock = Lock()

    def add(self, completions: Iterable[Completion]) -> None:
        """On return the rows would survive a power cut, and every reader sees them.

        AskonceError where they cannot be written; to add them again then doubles nothing.
        """
        table, kept = to_table(completions), 0
        with self._lock:
            try:
                for batch in table.to_batches(max_chunksize=RECORD_ROWS):
                    for rows in self._add_what_fits(batch):
                        kept += rows
            except OSError as error:
                cause = unwritable(self._directory, error)
                if journal.full(error):
                    cause = AskonceError(
                        f"{cause}; {kept:,} of the last {table.num_rows:,} answers found room and are stored: make room, "
                        "then run the same command again"
                    )
                raise cause from error

    def seal(self) -> None:
        """What was added so far becomes a segment."""
        with self._lock:
            try:
                self._seal()
            except OSError as error:
                raise unwritable(self._directory, error) from error

    def close(self) -> None:
        """Gives the journal up to whoever seals it; `seal` comes first, unless in a hurry."""
        if self._journal:
            self._journal.close()
            self._journal = None

    def _add_what_fits(self, batch: pa.RecordBatch) -> Iterator[int]:
        """The rows of each part that has been added. Where a disk is full, halves of what did not fit, down to a row."""
        try:
            self._add(batch)
        except OSError as error:
            if not journal.full(error) or batch.num_rows == 1:
                raise
            half = batch.num_rows // 2
            yield from self._add_what_fits(batch.slice(0, half))
            yield from self._add_what_fits(batch.slice(half))
        else:
            yield batch.num_rows

    def _add(self, batch: pa.RecordBatch) -> None:
        stored = False
        try:
            while not stored:
                if self._journal is None:
                    self._journal = journal.Journal(self._directory / layout.JOURNALS)
                stored = self._journal.append(batch)
                if not stored:
                    self.close()
        except BaseException as error:
            # Else it may end in half a record, behind which nothing must follow.
            if not (isinstance(error, OSError) and journal.full(error)):
                self.close()
            raise
        if self._journal and self._journal.size > SEAL_SIZE:
            self._seal()

    def _seal(self) -> None:
        if self._journal:
            seal(self._directory, self._journal.path)
        self.close()


def append(directory: str | Path, completions: Iterable[Completion]) -> None:
    """A writer used once: on return the rows are on disk, and in a segment.

    AskonceError where the directory is no cache or cannot be written.
    """
    with writer(directory) as opened:
        opened.add(completions)


def snapshot(directory: str | Path, besides: Collection[str] = ()) -> Snapshot:
    """Every answer stored at this moment; those in the `parts` named `besides` are left out, and not checked.

    AskonceError where the directory is no cache or holds damage. To pass over a damaged file would be to
    lose answers unseen. A segment of the snapshot may be gone when it is read, its rows being in another by
    then (`cache.compact`): take a new one, for as long as `patiently` does.
    """
    directory = Path(directory)
    require(directory)
    # Journals first: the rows of one that goes meanwhile are in a segment before that.
    found = [path for path in journals(directory) if _part(path) not in besides]
    records = [read for path in found if (read := _settled(path)) is not None]
    damaged = next((path for path, read in records if read.damaged), None)
    if damaged:
        raise _damaged(directory, damaged)
    tables = [read.table for _, read in records]
    journaled = pa.concat_tables([SCHEMA.empty_table(), *tables]).combine_chunks()
    return Snapshot(segments(directory, besides), found, journaled)


def require_there(paths: Iterable[Path]) -> None:
    """Vanished where one of the segments has been removed since they were listed."""
    if gone := next(filter(durable.is_gone, paths), None):
        raise Vanished(gone)


def parts(directory: str | Path) -> list[str]:
    """Names that differ whenever answers were added in between: what something derived was built from.

    No answer is read, so it takes no longer where there are many. Ask before reading them: then
    what is derived may be newer than its parts say, but never older. AskonceError where the
    directory is no cache.
    """
    directory = Path(directory)
    require(directory)
    try:
        # Journals first: the rows of one that goes meanwhile are in a segment before that.
        found = [_part(path) for path in journals(directory)]
        return found + [path.name for path in listing(directory / layout.SEGMENTS, layout.SEGMENT)]
    except OSError as error:
        raise unreadable(directory, error) from error


@patiently
def segments(directory: str | Path, besides: Collection[str] = ()) -> list[Path]:
    """The segments in order of their names, each of them checked against its name; none of those named `besides`.

    They are all that is stored but for what is still in journals. AskonceError where the directory is
    no cache, or names the first segment that is damaged.
    """
    directory = Path(directory)
    require(directory)
    paths = [path for path in listing(directory / layout.SEGMENTS, layout.SEGMENT) if path.name not in besides]
    try:
        for path in paths:
            segment.check(path)
    except segment.Damaged as damaged:
        raise _damaged(directory, damaged.args[0]) from None
    except OSError as error:
        if durable.gone(error, path):
            raise Vanished(path) from error
        raise unreadable(directory, error) from error
    return paths


def journals(directory: str | Path) -> list[Path]:
    """The journals in order of their names, of living writers and of dead ones."""
    return listing(Path(directory) / layout.JOURNALS, layout.JOURNAL)


def seal_abandoned(directory: str | Path) -> int:
    """Turns the journals whose writers are gone into segments; says how many.

    AskonceError where the cache cannot be written.
    """
    sealed = 0
    try:
        for path in journals(directory):
            with journal.abandoned(path) as dead:
                sealed += dead and seal(Path(directory), path)
    except OSError as error:
        raise unwritable(directory, error) from error
    return sealed


def seal(directory: Path, path: Path) -> bool:
    """Turns a journal into a segment, then removes it; False where it is damaged, which `repair` is for.

    Safe even while its writer lives: the writer goes on in another journal.
    """
    try:
        if journal.read(path).damaged:
            return False
        journal.finish(path)
        # Only now is nothing added to it any more that counts.
        records = journal.read(path)
    except OSError as error:
        if durable.gone(error, path):
            return False
        raise
    segment.write(directory / layout.SEGMENTS, [segment.in_order(records.table)])
    path.unlink(missing_ok=True)
    return True


def listing(folder: Path, suffix: str) -> list[Path]:
    """The files of `folder` that end so, by name; none where there is no such folder.

    A directory is not read in one instant. While files come and go, one list might hold neither a
    segment nor the one that replaces it; so it is read until two lists agree.
    """
    before = None
    while (names := _names(folder, suffix)) != before:
        before = names
    return [folder / name for name in names]


def require(directory: Path) -> None:
    """AskonceError where `directory` is no cache that this version can read."""
    try:
        if not directory.exists() or not version(directory):
            raise AskonceError(f"there is no cache at {directory}; {_how_to_build(directory)}")
    except OSError as error:
        raise unreadable(directory, error) from error


def version(directory: Path) -> int:
    """What the marker states; 0 where the directory is empty, AskonceError where it is foreign."""
    # Listed before the marker is looked for: a cache that another process is making at this moment
    # gets its marker first, so whatever the list shows, the marker is then there.
    others = [entry.name for entry in directory.iterdir() if entry.suffix != layout.UNFINISHED]
    try:
        found = json.loads((directory / layout.MARKER).read_bytes())
    except FileNotFoundError:
        if others:
            raise AskonceError(
                f"{directory} is not a cache: it has no {layout.MARKER}, yet is not empty; choose another directory"
            ) from None
        return 0
    except (ValueError, RecursionError):
        found = None
    match found:
        case {"format": str(name), "version": int(number)} if name == FORMAT and 1 <= number <= VERSION:
            return number
        case {"format": str(name), "version": int(number)} if name == FORMAT and number > VERSION:
            raise AskonceError(
                f"{directory} was written by a newer askonce (format {number}, this one reads up to "
                f"{VERSION}); upgrade askonce"
            )
        case _:
            raise AskonceError(
                f"{directory / layout.MARKER} does not mark a cache; {_how_to_repair(directory)}, or choose another directory"
            )


def marker(number: int) -> bytes:
    """The marker's bytes in a cache of this version."""
    return (json.dumps({"format": FORMAT, "version": number}) + "\n").encode()


def unwritable(directory: str | Path, error: OSError) -> AskonceError:
    return AskonceError(f"cannot write to the cache {directory}: {error.strerror}")


def unreadable(directory: str | Path, error: OSError) -> AskonceError:
    return AskonceError(f"cannot read {error.filename or directory}: {error.strerror}")


def _part(journal: Path) -> str:
    return f"{journal.name} {durable.size(journal)}"


def _settled(path: Path) -> tuple[Path, journal.Records] | None:
    """The journal's records; None where it is gone, its rows being in a segment.

    On a network file system a record that is being written may for a moment look whole but be wrong.
    """
    try:
        for pause in (0.05, 0.2, 0.5):
            records = journal.read(path)
            if not records.damaged:
                return path, records
            time.sleep(pause)
        return path, journal.read(path)
    except OSError as error:
        if durable.gone(error, path):
            return None
        raise unreadable(path, error) from error


def _names(folder: Path, suffix: str) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.suffix == suffix)
    except FileNotFoundError:
        return []


def _damaged(directory: Path, path: Path) -> AskonceError:
    return AskonceError(
        f"{path} is damaged: its bytes are not those that were written; restore it from a copy, or "
        f"{_how_to_repair(directory)}, which saves what is sound and lists what to ask again"
    )


def _how_to_build(directory: str | Path) -> str:
    return f"build one with `cli build-cache --task … --cache {directory}`"


def _how_to_repair(directory: str | Path) -> str:
    return f"run `cli cache verify --repair --cache {directory}`"
