"""Many small segments and abandoned journals → few segments.

A segment goes only when its rows are in another that is on disk. Killed in between, it leaves rows
twice, which readers see once and the next `compact` joins.
"""

from dataclasses import dataclass
from pathlib import Path
import time

import duckdb
import pyarrow.parquet as pq

from askonce.cache import durable, footer, layout, query, segment, store
from askonce.cache.completion import SCHEMA
from askonce.cache.errors import AskonceError
from askonce.cache.store import Snapshot

# Replaced segments stay for so many seconds, so that readers that have listed them can open them. One that
# takes longer lists again.
GRACE = 1.0

# A file still unfinished after so many seconds was left by a writer that was killed.
LEFT_BEHIND = 24 * 3600.0


@dataclass(frozen=True)
class Compacted:
    """`sealed` journals became segments; of those, `before` became `after`."""

    sealed: int
    before: int
    after: int


def compact(directory: str | Path) -> Compacted:
    """Joins the segments that are less than half full; writers and readers may go on meanwhile.

    Big segments stay as they are, so a cache that has grown a little is compacted fast. AskonceError
    where the directory is no cache, is damaged or cannot be written.
    """
    directory = Path(directory)
    store.require(directory)
    store.create(directory)
    sealed = store.seal_abandoned(directory)
    return Compacted(sealed, *_compact(directory))


@store.patiently
def _compact(directory: Path) -> tuple[int, int]:
    """How many segments there were, and how many there are."""
    before = store.segments(directory)
    try:
        for path in before:
            # A cache of the first version has none yet.
            if not footer.path_of(path).exists():
                footer.write(footer.path_of(path), path)
        _join(directory / layout.SEGMENTS, [path for path in before if _is_small(path)])
        _sweep(directory)
    except query.UNREAD as error:
        # Another one may compact too.
        store.require_there(before)
        if isinstance(error, duckdb.IOException):
            raise query.unread([directory], error) from error
        if isinstance(error, OSError):
            raise store.unwritable(directory, error) from error
        raise
    return len(before), len(store.segments(directory))


def _is_small(path: Path) -> bool:
    return int(pq.read_metadata(path).num_rows) < segment.SEGMENT_ROWS // 2


def _join(folder: Path, paths: list[Path]) -> None:
    if len(paths) < 2:
        return
    # What is read here is then removed, so it is checked once more, whatever was checked before.
    for path in paths:
        if segment.digest(path) != path.stem:
            raise AskonceError(f"{path} was damaged a moment ago; run `cli cache verify`")
    with query.database(small=Snapshot(paths, [], SCHEMA.empty_table())) as connection:
        rows = connection.sql(f"FROM small_rows ORDER BY {query.IN_ORDER}")
        written = segment.write(folder, rows.to_arrow_reader(segment.GROUP_ROWS))
    time.sleep(GRACE)
    for path in set(paths) - set(written):
        segment.remove(path)
    durable.sync(folder)


def _sweep(directory: Path) -> None:
    for path in directory.rglob(f"*{layout.UNFINISHED}"):
        try:
            if time.time() - path.stat().st_mtime > LEFT_BEHIND:
                path.unlink()
        except FileNotFoundError:
            continue
