"""Segments: immutable Parquet files of rows sorted by key, each named by the SHA-256 of its bytes.

A segment appears whole or not at all and never changes. The same rows make the same segments.
"""

from collections.abc import Iterable, Iterator
from functools import cache
import hashlib
from itertools import chain, islice
from pathlib import Path
import re

import pyarrow as pa
import pyarrow.parquet as pq

from askonce.cache import durable, footer, layout
from askonce.cache.completion import ORDER, SCHEMA

NAME = re.compile(r"[0-9a-f]{64}\.parquet")

# A row group is what a reader skips or reads as a whole, and what can be saved of a damaged segment.
GROUP_ROWS = 8192
SEGMENT_GROUPS = 32
SEGMENT_ROWS = GROUP_ROWS * SEGMENT_GROUPS


class Damaged(Exception):
    """A segment whose bytes do not agree with its name."""


def in_order(table: pa.Table) -> pa.Table:
    """The rows as they stand in a segment."""
    return table.sort_by([(name, "ascending") for name in ORDER])


def write(folder: Path, batches: Iterable[pa.Table | pa.RecordBatch]) -> list[Path]:
    """Rows that come in order → segments in `folder`, on disk on return; holds one row group in memory."""
    groups = _groups(batches)
    return [_write_one(folder, chain([first], islice(groups, SEGMENT_GROUPS - 1))) for first in groups]


def remove(path: Path) -> None:
    """Removes a segment whose rows are elsewhere."""
    path.unlink(missing_ok=True)
    footer.path_of(path).unlink(missing_ok=True)


def check(path: Path) -> None:
    """Damaged where the bytes do not agree with the name.

    They are read once in a process as long as the file's size and time stay what they were: a cache
    of gigabytes is opened many times. `digest` reads them always.
    """
    status = path.stat()
    _check(path, status.st_ino, status.st_size, status.st_mtime_ns)


def digest(path: Path) -> str:
    """SHA-256 of the file's bytes as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Remembers only what was sound: an exception is raised anew each time.
@cache
def _check(path: Path, inode: int, size: int, modified: int) -> None:
    if digest(path) != path.stem:
        raise Damaged(path)


def _write_one(folder: Path, groups: Iterable[pa.Table]) -> Path:
    with durable.unfinished(folder) as temporary:
        with pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as file:
            for group in groups:
                file.write_table(group, row_group_size=GROUP_ROWS)
        path = folder / f"{digest(temporary)}{layout.SEGMENT}"
        footer.write(footer.path_of(path), temporary)
        durable.rename(temporary, path)
    return path


def _groups(batches: Iterable[pa.Table | pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows in tables of GROUP_ROWS, the last one shorter."""
    waiting = SCHEMA.empty_table()
    for batch in batches:
        table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
        waiting = pa.concat_tables([waiting, table.select(SCHEMA.names).cast(SCHEMA)])
        while waiting.num_rows >= GROUP_ROWS:
            yield waiting.slice(0, GROUP_ROWS)
            waiting = waiting.slice(GROUP_ROWS)
    if waiting.num_rows:
        yield waiting
