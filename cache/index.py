"""What was answered, by text: an Arrow IPC file that is mapped into memory, its rows sorted by key.

Derived from the cache and never the truth: a file that is absent, cut off or of another format is refused by
`open_index`, to be built again. It appears whole or not at all and never changes.

    high, low      uint64: the first 128 bits of the SHA-256 of the text; rows are sorted by them
    decisions      list of strings, from a dictionary: each a JSON list of options
    probabilities  list of float64, one for each decision; they add up to 1
    completions    int32: of how many the row is made
    unreadable     list of int32: the samples in which no decision could be read

The schema's metadata names the format, as JSON what the index was built from, and a checksum of all columns, which is
compared at every opening.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
import hashlib
import json
from math import fsum
from pathlib import Path
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from askonce.cache import durable
from askonce.cache.errors import AskonceError

FORMAT = b"askonce-index-2"
# What a sum of probabilities may be away from 1: room for rounding, none for a forgotten decision.
TOLERANCE = 1e-4
KEY = struct.Struct(">QQ")

SCHEMA = pa.schema(
    [
        pa.field("high", pa.uint64(), nullable=False),
        pa.field("low", pa.uint64(), nullable=False),
        pa.field("decisions", pa.list_(pa.string()), nullable=False),
        pa.field("probabilities", pa.list_(pa.float64()), nullable=False),
        pa.field("completions", pa.int32(), nullable=False),
        pa.field("unreadable", pa.list_(pa.int32()), nullable=False),
    ]
)

Decision = tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """What the completions of one text say.

    distribution  decision → probability; empty where no completion holds a decision
    completions   of how many it is made
    unreadable    those that hold no decision, by sample
    """

    distribution: Mapping[Decision, float]
    completions: int = 0
    unreadable: tuple[int, ...] = ()


class Unusable(AskonceError):
    """There is no such index: it is to be built, once or again."""

    def __init__(self, path: str | Path, what: str):
        super().__init__(f"the index {path} {what}; remove it, and it is built again from the cache")


class Index:
    """An open index, for any number of processes and threads. Made by `open_index`; `source` is what it is made from."""

    def __init__(self, batch: pa.RecordBatch, source: Any):
        self.source: Any = source
        names, probabilities, unreadable = (batch[name] for name in ("decisions", "probabilities", "unreadable"))
        self._high, self._low, self._completions = (_numbers(batch[name]) for name in ("high", "low", "completions"))
        self._starts, self._codes = _numbers(names.offsets), _numbers(names.values.indices)
        self._probabilities = _numbers(probabilities.values)
        self._unreadable = _numbers(unreadable.offsets), _numbers(unreadable.values)
        words = names.values.dictionary
        self._decision = lru_cache(maxsize=4096)(lambda code: tuple(json.loads(words[code].as_py())))

    def __len__(self) -> int:
        return len(self._high)

    def get(self, text: str) -> Entry | None:
        """None where there is no answer."""
        high, low = _key(text)
        row = int(np.searchsorted(self._high, np.uint64(high)))
        while row < len(self._high) and self._high[row] == high:
            if self._low[row] == low:
                return self._read(row)
            row += 1
        return None

    def _read(self, row: int) -> Entry:
        start, end = self._starts[row : row + 2].tolist()
        first, last = self._unreadable[0][row : row + 2].tolist()
        decisions = [self._decision(code) for code in self._codes[start:end].tolist()]
        found = dict(zip(decisions, self._probabilities[start:end].tolist(), strict=True))
        return Entry(found, int(self._completions[row]), tuple(self._unreadable[1][first:last].tolist()))


def open_index(path: str | Path) -> Index:
    """The index at `path`, all of it checked. Unusable where it is absent, damaged or none of ours."""
    try:
        # What is mapped outlives its name.
        with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
            metadata = reader.schema.metadata or {}
            if metadata.get(b"format") != FORMAT or reader.num_record_batches != 1:
                raise Unusable(path, "is of another format")
            batch = reader.get_batch(0)
            # First what can be told from the lengths alone: nothing must be read beyond the file's end.
            batch.validate()
            if _checksum(batch) != metadata[b"checksum"]:
                raise Unusable(path, "is damaged: its bytes do not agree with its checksum")
            return Index(batch, json.loads(metadata[b"source"]))
    except (OSError, pa.ArrowException, ValueError, KeyError, AttributeError) as error:
        raise Unusable(path, f"cannot be read ({str(error).splitlines()[0] if str(error) else 'damaged'})") from error


def build(path: str | Path, entries: Iterable[tuple[str, Entry]], source: Any) -> Index:
    """Writes the index of these texts in place of what is at `path`, and opens it.

    `source` is a JSON value that says what it was built from. A process killed before it returns leaves what was
    there; another that builds at the same path at the same time opens its own. AskonceError where probabilities are
    not ones, or the file cannot be written.
    """
    path, batch = Path(path), _batch(entries)
    about = {"format": FORMAT, "source": json.dumps(source), "checksum": _checksum(batch)}
    batch = batch.replace_schema_metadata(about)
    try:
        durable.make_directory(path.parent)
        with durable.unfinished(path.parent) as temporary:
            with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
                writer.write_batch(batch)
            # Under its own name nobody else can have replaced it.
            index = open_index(temporary)
            durable.rename(temporary, path)
    except OSError as error:
        raise AskonceError(f"cannot write the index {path}: {error.strerror}") from error
    return index


def _batch(entries: Iterable[tuple[str, Entry]]) -> pa.RecordBatch:
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for text, entry in entries:
        _require_probabilities(entry.distribution)
        words, probabilities = map(json.dumps, entry.distribution), entry.distribution.values()
        row = *_key(text), list(words), list(probabilities), entry.completions, list(entry.unreadable)
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    arrays = {field.name: pa.array(columns[field.name], field.type) for field in SCHEMA}
    order = np.lexsort((_numbers(arrays["low"]), _numbers(arrays["high"])))
    sorted_by_key = pa.record_batch(list(arrays.values()), names=SCHEMA.names).take(pa.array(order))
    names = sorted_by_key["decisions"]
    coded = pa.ListArray.from_arrays(names.offsets, names.values.dictionary_encode())
    return sorted_by_key.set_column(SCHEMA.get_field_index("decisions"), "decisions", coded)


def _require_probabilities(distribution: Mapping[Decision, float]) -> None:
    values = distribution.values()
    if values and not (all(value >= 0 for value in values) and abs(fsum(values) - 1) <= TOLERANCE):
        raise AskonceError("a distribution's probabilities are 0 or more and add up to 1; these do not")


def _checksum(batch: pa.RecordBatch) -> bytes:
    """Of all that is read of the batch; not of its buffers whole, which are padded in memory in their own way."""
    found = xxhash.xxh3_128()
    for column in batch.columns:
        for part in _parts(column):
            found.update(memoryview(part))  # type: ignore[arg-type]
    return found.digest()


def _parts(column: pa.Array) -> Iterator[np.ndarray | pa.Buffer]:
    if isinstance(column, pa.ListArray):
        yield _numbers(column.offsets)
        yield from _parts(column.values)
    elif isinstance(column, pa.DictionaryArray):
        yield _numbers(column.indices)
        yield from _parts(column.dictionary)
    elif isinstance(column, pa.StringArray):
        _, offsets, letters = column.buffers()
        ends = np.frombuffer(offsets, np.int32, len(column) + 1)
        yield ends
        yield (letters or pa.py_buffer(b""))[: ends[-1]]
    else:
        yield _numbers(column)


def _numbers(column: pa.Array) -> np.ndarray:
    """As `column.to_numpy()`, which imports pandas where it is installed: more time than all the rest takes."""
    return np.from_dlpack(column)


def _key(text: str) -> tuple[int, int]:
    high, low = KEY.unpack_from(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return high, low
