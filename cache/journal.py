"""Journals: where a writer's rows are on disk before they become a segment.

A journal is a file of records, each written at the end in one piece and synced:

    magic (4 bytes), payload's length (4), payload's BLAKE2b (16), CRC-32 of these 24 bytes (4), payload

The payload is one Arrow record batch, its schema left out; an empty payload closes the journal. What a
killed writer leaves is a record cut short at the end: it was never counted.

Each writer has a journal of its own and holds a lock on it while it lives. The lock only tells others
that the journal is in use. Were it to fail, as it may on a network file system, no row would be lost:
who takes a journal over closes it before reading it, and its writer, seeing after each sync whether
the journal is still as it left it, writes the same rows again elsewhere. It is closed by a record at
its end and by a change of its permissions, for on NFS, where a writer knows the end of its file without
asking the server, its next record may lie over the closing one. Where its taker may not change the
permissions (another user's journal) and locks fail, too, the record alone must do.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import errno
import fcntl
from functools import cache
import hashlib
import os
from pathlib import Path
import platform
import stat
import struct
import time
import uuid
import zlib

import pyarrow as pa

from askonce.cache import durable, layout
from askonce.cache.completion import SCHEMA

# Its first byte occurs in no UTF-8, so the words of an answer are never mistaken for a record. Its last one
# tells the columns: they are those of SCHEMA, the first of the two lacks the usage.
MAGIC = b"\xffAJ2"
SCHEMAS = {b"\xffAJ1": pa.schema([field for field in SCHEMA if field.name != "usage"]), MAGIC: SCHEMA}
BEGINS = MAGIC[:-1]
HEAD = struct.Struct("<4sI16s")
CHECK = struct.Struct("<I")
# The permission that marks a journal as closed: no journal is executed.
CLOSED = stat.S_IXUSR
HEADER_SIZE = HEAD.size + CHECK.size

# Another machine's lock may not be seen from here. After so many seconds without a row its journal is
# taken over; a writer that wakes up later goes on in a new one.
PATIENCE = 3600.0


@dataclass(frozen=True)
class Records:
    """What a journal holds.

    batches   the rows of its sound records
    damaged   what stands where further records should be
    torn      bytes of a last record that was never finished
    """

    batches: list[pa.RecordBatch]
    damaged: list[bytes]
    torn: int

    @property
    def table(self) -> pa.Table:
        return pa.Table.from_batches(self.batches, SCHEMA)


class Journal:
    """A new journal in `folder`, for one writer. OSError where it cannot be written."""

    def __init__(self, folder: Path):
        self.path = folder / f"{_machine()}-{uuid.uuid4().hex}{layout.JOURNAL}"
        self.size = 0
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        self._mode = os.fstat(self._file).st_mode
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
            # No locks here: the journal may be taken over early, at the cost of a second one.

    def append(self, batch: pa.RecordBatch) -> bool:
        """On disk on return; False where another has taken the journal over, and the rows may not count.

        After an OSError the journal may end in half a record and must not be appended to, unless the disk is `full`:
        then what was written of the record is taken away again, and with it the room that it took.
        """
        record = _record(batch.serialize().to_pybytes())
        try:
            _write_all(self._file, record)
            os.fsync(self._file)
        except OSError as error:
            # How a network file system says that another host has removed the file.
            if error.errno == errno.ESTALE:
                return False
            if full(error) and self._is_open():
                os.ftruncate(self._file, self.size)
                os.fsync(self._file)
            raise
        if self.size == 0:
            durable.sync(self.path.parent)
        self.size += len(record)
        return self._is_ours()

    def _is_ours(self) -> bool:
        try:
            # Not the descriptor held: only of a file opened anew does NFS show what other hosts did to it.
            status = durable.opened_anew(self.path)
        except OSError as error:
            if durable.gone(error, self.path):
                return False
            raise
        return (status.st_size, status.st_mode) == (self.size, self._mode)

    def _is_open(self) -> bool:
        """Whether nobody has closed it, who would have written behind what is ours."""
        return os.fstat(self._file).st_mode == self._mode

    def close(self) -> None:
        os.close(self._file)


def full(error: OSError) -> bool:
    """Whether there is no room for what was to be written: on the disk, within a quota, or in one file."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def finish(path: Path) -> None:
    """Closes the journal for its writer, whoever that is: what it writes from now on, it writes elsewhere."""
    # Before the file is opened, which shows where it ends: what counted until now is not to be written over.
    try:
        path.chmod(path.stat().st_mode | CLOSED)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS):
            raise
        # Another user's, or no permissions here.
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    try:
        _write_all(descriptor, _record(b""))
    finally:
        os.close(descriptor)


@contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """Whether nobody writes to this journal any more. Several may find it so, and seal it at the same time."""
    try:
        # Not for writing: what another host changes in a file that is open for writing here, NFS may not show.
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _lock(descriptor) and (
            path.name.startswith(f"{_machine()}-") or time.time() - os.fstat(descriptor).st_mtime > PATIENCE
        )
    finally:
        os.close(descriptor)


def read(path: Path) -> Records:
    """All that can be read of a journal. FileNotFoundError where it is gone."""
    data = memoryview(path.read_bytes())
    found = _records(data)
    end = 0
    gaps: list[tuple[memoryview, int]] = []
    batches: list[pa.RecordBatch] = []
    for start, payload in found:
        if start > end:
            gaps.append((data[end:start], len(batches)))
        end = start + HEADER_SIZE + len(payload)
        if payload:
            batches.append(_rows(payload, SCHEMAS[bytes(data[start : start + len(MAGIC)])]))
    if end < len(data):
        gaps.append((data[end:], len(batches)))
    # Nobody writes rows behind a record cut short; one that is followed by rows was whole once.
    torn = [gap for gap, before in gaps if before == len(batches) and _cut_short(gap)]
    damaged = [bytes(gap) for gap, before in gaps if not (before == len(batches) and _cut_short(gap))]
    return Records(batches, damaged, sum(map(len, torn)))


def _records(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Where each sound record starts, and its payload; passes over what is none."""
    raw, position = bytes(data), 0
    while (position := raw.find(BEGINS, position)) >= 0:
        payload = _payload(data[position:])
        if payload is None:
            position += 1
        else:
            yield position, payload
            position += HEADER_SIZE + len(payload)


def _rows(payload: memoryview, schema: pa.Schema) -> pa.RecordBatch:
    batch = pa.ipc.read_record_batch(pa.py_buffer(payload), schema)
    lacking = [pa.nulls(batch.num_rows, field.type) for field in list(SCHEMA)[len(schema) :]]
    return pa.record_batch([*batch.columns, *lacking], SCHEMA)


def _payload(data: memoryview) -> memoryview | None:
    """The payload of the record at the beginning of `data`; None where there is no sound one."""
    length = _length(data)
    if length is None or len(data) < HEADER_SIZE + length:
        return None
    payload = data[HEADER_SIZE : HEADER_SIZE + length]
    return payload if _digest(payload) == HEAD.unpack_from(data)[2] else None


def _length(data: memoryview) -> int | None:
    """What the header at the beginning of `data` says of its payload; None where there is no sound header."""
    if len(data) < HEADER_SIZE or CHECK.unpack_from(data, HEAD.size)[0] != zlib.crc32(data[: HEAD.size]):
        return None
    magic, length, _ = HEAD.unpack_from(data)
    return length if magic in SCHEMAS else None


def _cut_short(data: memoryview) -> bool:
    """Whether this is the beginning of a record, or room that the file system gave but never filled."""
    length = _length(data)
    if length is not None:
        return len(data) < HEADER_SIZE + length
    return len(data) < HEADER_SIZE or not any(data)


def _record(payload: bytes) -> bytes:
    head = HEAD.pack(MAGIC, len(payload), _digest(payload))
    return head + CHECK.pack(zlib.crc32(head)) + payload


def _digest(payload: bytes | memoryview) -> bytes:
    return hashlib.blake2b(payload, digest_size=16).digest()


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        # Held by its writer, or no locks here: in both cases it is left alone, for reading it costs little.
        return False
    return True


@cache
def _machine() -> str:
    """12 hex digits that differ from machine to machine, and from one start of it to the next."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    name = boot.read_text() if boot.exists() else platform.node()
    return hashlib.sha256(name.encode()).hexdigest()[:12]
