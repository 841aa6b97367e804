"""Immutable Parquet segments, one row per completion: the truth of the cache.

A segment is named by the SHA-256 of its bytes. It appears whole or not at all, never changes, and
is read only while its bytes still agree with its name. Writers therefore share nothing: any number
may append to one directory at once without a lock.

    DIR/askonce-cache.json           marks the directory as a cache; format and version
    DIR/segments/<sha256>.parquet    rows sorted by key, then sample
    DIR/…/*.tmp                      what a killed writer left; read by nobody
"""

import dataclasses
import hashlib
import json
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cache.errors import AskonceError

MARKER = "askonce-cache.json"
FORMAT = "askonce-cache"
VERSION = 1

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("content", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
        pa.field("finish_reason", pa.string()),
        pa.field("prompt_tokens", pa.int64()),
        pa.field("completion_tokens", pa.int64()),
        pa.field("latency", pa.float64()),
        pa.field("served_model", pa.string()),
        pa.field("endpoint", pa.string(), nullable=False),
        pa.field("request", pa.string(), nullable=False),
        pa.field("asked_at", pa.timestamp("us"), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One raw LLM answer. None stands for what the server did not say.

    key                what the answer depends on (`cache.key.answer_key`)
    task, model        for which task it was asked, and under which model name
    prompt             short digest that names prompt, parameters and endpoint together
    text               the text description c(s) that was asked about
    sample             0, 1, … among the answers of one key
    content            the answer word for word, possibly empty
    weight             1 for a sample; its probability for a decision recorded elsewhere
    prompt_tokens      this completion's share of its request, so that sums say what was spent
    completion_tokens  likewise
    latency            seconds from request to answer
    served_model       the model that the server says has answered
    endpoint           `cache.key.endpoint_identity` of the server
    request            canonical JSON of the wire body; holds no secret, headers not being part of it
    asked_at           aware datetime, stored as UTC to the microsecond
    """

    key: str
    task: str
    model: str
    prompt: str
    text: str
    sample: int
    content: str
    weight: float = 1.0
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency: float | None = None
    served_model: str | None = None
    endpoint: str
    request: str
    asked_at: datetime

    def __post_init__(self):
        if self.asked_at.tzinfo is None:
            raise ValueError("asked_at needs a time zone")

    @property
    def completion_id(self) -> str:
        """The first 12 hex digits of the key and the sample, such as "3f0c9a7be214-0"."""
        return f"{self.key.partition(':')[2][:12]}-{self.sample}"


def create(directory: str | Path) -> None:
    """Makes an absent or empty directory a cache; does nothing where it already is one.

    AskonceError where it is something else or cannot be written. Call it before paying for answers.
    """
    directory = Path(directory)
    try:
        _make_directory(directory)
        if not _is_cache(directory):
            marker = json.dumps({"format": FORMAT, "version": VERSION}) + "\n"
            _write_durably(directory / MARKER, marker.encode())
        _make_directory(directory / "segments")
    except OSError as error:
        raise _unwritable(directory, error) from error


def append(directory: str | Path, completions: Iterable[Completion]) -> Path | None:
    """Writes `completions` as one segment and returns its path once it would survive a power cut.

    None, and no segment, where there are none. AskonceError, and nothing stored, where the
    directory is no cache or cannot be written.
    """
    create(directory)
    rows = sorted(completions, key=lambda row: (row.key, row.sample))
    if not rows:
        return None
    data = _encode(rows)
    segment = Path(directory) / "segments" / f"{hashlib.sha256(data).hexdigest()}.parquet"
    try:
        _write_durably(segment, data)
        # segments/ itself may be new, made a moment ago by a writer that has not synced it yet.
        _sync_directory(Path(directory))
    except OSError as error:
        raise _unwritable(directory, error) from error
    return segment


def segments(directory: str | Path) -> list[Path]:
    """The segments in order of their names, each of them checked against its name.

    AskonceError where the directory is no cache, or names the first segment that is damaged:
    to pass over one would be to lose answers unseen.
    """
    directory = Path(directory)
    try:
        if not directory.exists() or not _is_cache(directory):
            raise AskonceError(f"there is no cache at {directory}; {_how_to_build(directory)}")
        paths = sorted((directory / "segments").glob("*.parquet"))
        damaged = next((path for path in paths if _digest(path) != path.stem), None)
    except OSError as error:
        raise AskonceError(f"cannot read {error.filename or directory}: {error.strerror}") from error
    if damaged:
        raise AskonceError(
            f"{damaged} is damaged: its bytes do not agree with its name; restore it from a copy, "
            "or move it away and build the cache again, which asks anew for what it held"
        )
    return paths


def _is_cache(directory: Path) -> bool:
    """Whether the marker is there; False where the directory is empty, AskonceError where it is foreign."""
    # Listed before the marker is looked for: a cache that another process is making at this moment
    # gets its marker first, so whatever the list shows, the marker is then there.
    others = [entry.name for entry in directory.iterdir() if entry.suffix != ".tmp"]
    try:
        marker = json.loads((directory / MARKER).read_bytes())
    except FileNotFoundError:
        if others:
            raise AskonceError(
                f"{directory} is not a cache: it has no {MARKER}, yet is not empty; choose another directory"
            ) from None
        return False
    except ValueError:
        marker = None
    match marker:
        case {"format": str(name), "version": int(version)} if name == FORMAT and version <= VERSION:
            return True
        case {"format": str(name), "version": int(version)} if name == FORMAT:
            raise AskonceError(
                f"{directory} was written by a newer askonce (format {version}, this one reads up to "
                f"{VERSION}); upgrade askonce"
            )
        case _:
            raise AskonceError(
                f"{directory / MARKER} does not mark a cache; restore it, or choose another directory"
            )


def _encode(rows: list[Completion]) -> bytes:
    columns = {
        field.name: pa.array([_storable(getattr(row, field.name)) for row in rows], field.type)
        for field in SCHEMA
    }
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=SCHEMA), buffer, compression="zstd")
    return buffer.getvalue().to_pybytes()


def _storable(value):
    if isinstance(value, str):
        # JSON may hold half a surrogate pair, which is no character and has no UTF-8. A paid answer
        # is not to be lost over it: it becomes U+FFFD.
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


def _write_durably(path: Path, data: bytes) -> None:
    """`path` holds `data` or does not exist, whenever the machine stops; on return it is on disk.

    The bytes are synced before the rename, else the name could survive a power cut without them;
    the directory after it, else the name could be lost.
    """
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_directory(path.parent)


def _make_directory(directory: Path) -> None:
    if directory.is_dir():
        return
    _make_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    _sync_directory(directory.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _how_to_build(directory: str | Path) -> str:
    return f"build one with `cli build-cache --task … --cache {directory}`"


def _unwritable(directory: str | Path, error: OSError) -> AskonceError:
    return AskonceError(f"cannot write to the cache {directory}: {error.strerror}")
