"""A second copy of what a damaged segment cannot be read without: its footer, and a checksum of each column.

    DIR/footers/<sha256 of the segment>.json     (`cache.checked`)

With it a segment that was cut, or whose own footer was hit, is read as far as its bytes are those that
were written; without it nothing of a damaged segment could be trusted. It is redundant: where it is
missing or damaged while the segment is sound, nothing is lost, and `cache.repair` writes it again.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
import hashlib
import os
from pathlib import Path
import shutil
import struct
from typing import Any, BinaryIO

import pyarrow.parquet as pq

from askonce.cache import checked, durable, layout

MAGIC = b"PAR1"


@dataclass(frozen=True)
class Footer:
    """Where a segment's footer starts, its bytes, and of each row group each column's place and checksum.

    chunks   row group → column's name → (first byte, number of bytes, SHA-256)
    """

    start: int
    data: bytes
    chunks: list[dict[str, tuple[int, int, str]]]


def path_of(segment: Path) -> Path:
    """Where the footer of DIR/segments/<sha256>.parquet is kept."""
    return segment.parent.parent / layout.FOOTERS / f"{segment.stem}{layout.FOOTER}"


def write(path: Path, segment: Path) -> None:
    """Keeps at `path` the footer of `segment`, a sound Parquet file."""
    durable.make_directory(path.parent)
    checked.write(path, _kept(segment))


def _kept(segment: Path) -> dict[str, Any]:
    metadata = pq.read_metadata(segment)
    with open(segment, "rb") as file:
        file.seek(-8, os.SEEK_END)
        start = file.tell() - struct.unpack("<I", file.read(4))[0]
        chunks = [
            {column.path_in_schema: _place(file, column) for column in _columns(group)}
            for group in map(metadata.row_group, range(metadata.num_row_groups))
        ]
        file.seek(start)
        data = base64.b64encode(file.read()).decode()
    return {"start": start, "data": data, "chunks": chunks}


def read(path: Path) -> Footer | None:
    """None where it is missing or damaged."""
    found = checked.read(path)
    if found is None:
        return None
    chunks = [{name: tuple(place) for name, place in group.items()} for group in found["chunks"]]
    return Footer(found["start"], base64.b64decode(found["data"]), chunks)


def restore(footer: Footer, damaged: Path, target: Path) -> list[set[str]]:
    """Writes `damaged` with the footer that it had to `target`: of each row group the sound columns."""
    with open(damaged, "rb") as source, open(target, "w+b") as file:
        shutil.copyfileobj(source, file)
        file.truncate(footer.start)
        file.seek(0)
        file.write(MAGIC)
        file.seek(footer.start)
        file.write(footer.data)
        return [
            {name for name, (start, size, known) in group.items() if _digest(file, start, size) == known}
            for group in footer.chunks
        ]


def _columns(group: pq.RowGroupMetaData) -> Iterator[pq.ColumnChunkMetaData]:
    return map(group.column, range(group.num_columns))


def _place(file: BinaryIO, column: pq.ColumnChunkMetaData) -> tuple[int, int, str]:
    start = column.data_page_offset
    if column.has_dictionary_page:
        start = min(start, column.dictionary_page_offset)
    return start, column.total_compressed_size, _digest(file, start, column.total_compressed_size)


def _digest(file: BinaryIO, start: int, size: int) -> str:
    file.seek(start)
    return hashlib.sha256(file.read(size)).hexdigest()
