"""The training path's index: many keys → option distributions, fast at any size.

Derived from the cache and never the truth: a file that is absent, damaged or foreign is refused by
`open_index`, to be built again. It appears whole or not at all and never changes; new answers (`Index.add`)
live in memory, on top, until it is built anew.

    "askonce-lookup-1", uint64 length of the header, header (JSON), sections, SHA-256 of all before it

Numbers are little-endian, sections start at multiples of 64 bytes. The header says where they lie, what
the index was built from, the decisions by their numbers, and how many bytes the fields below take: no
more than their largest value needs. For S keys and D distributions with E decisions in all:

    buckets  (2^b + 1,)  the first record with each value of a digest's leading b bits
    records  (S,)        sorted: a key's digest (the first 128 bits of its SHA-256, without leading
                         bytes that the bucket implies), then its distribution's number, which is left
                         out where distributions hardly repeat and the k-th record has the k-th
    groups   (D / 16,)   for sixteen distributions at a time: where the first begins in `pairs`, and
                         how many decisions each has
    pairs    (E,)        distribution after distribution: a decision, and its probability's place in
                         `weights`
    weights  (L,)        the probabilities that occur, in units of 1 / SCALE

SHA-256 spreads keys evenly, so a bucket's records, four to eight, lie together: a lookup reads about a
line of memory for the bucket, one or two for the record, one for the group and one for the pairs.
"""

from binascii import unhexlify
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
import hashlib
from itertools import chain
import json
import mmap
import os
from pathlib import Path
import struct
import threading
from typing import Any

from numba import njit
import numpy as np

from askonce.cache import durable
from askonce.cache.errors import AskonceError
from askonce.cache.key import SCHEME

MAGIC = b"askonce-lookup-1"

# Probabilities are multiples of 1 / SCALE, so that they fit 16 bits and those of a distribution add up
# to 1 exactly. It divides by 1 to 10, 12, 15, 16, 20, 25, 32, 50 and 100: the frequencies of that many
# samples are kept as they are.
SCALE = 50400

DIGEST_BYTES = 16
# What a sum of probabilities may be away from 1: room for float32, none for a forgotten decision.
TOLERANCE = 1e-4

_ALIGNMENT = 64
_CHECKSUM_BYTES = 32
_KEYS_A_BUCKET = 8  # At most, on average.
_GROUP = 16  # Distributions.
_BLOCK = 32  # Queries taken together.
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}  # Unsigned numbers of so many bytes, as `struct` writes them.
_KEPT_DISTRIBUTIONS = 1 << 16  # As Python objects, for single lookups.
_PREFIX = f"{SCHEME}:"
_KEY_LENGTH = len(_PREFIX) + 64
_HEX_BEGINS, _HEX_ENDS = len(_PREFIX), len(_PREFIX) + 2 * DIGEST_BYTES


@dataclass(frozen=True)
class Entries:
    """Some keys and their distributions, as arrays.

    digests        (B, 16) uint8: `digests` of the keys
    counts         (B,) integers: how many decisions each distribution has; 0 where it is empty
    names          the decisions that occur
    decisions      (E,) integers: places in `names`, distribution after distribution
    probabilities  (E,) floats: 0 or more; those of one distribution add up to 1
    """

    digests: np.ndarray
    counts: np.ndarray
    names: Sequence[str]
    decisions: np.ndarray
    probabilities: np.ndarray


def digests(keys: Iterable[str]) -> np.ndarray:
    """(B, 16) uint8: the first 128 bits of each key's SHA-256. AskonceError for what is no key."""
    joined = bytearray().join(map(_digest, keys))
    return np.frombuffer(joined, np.uint8).reshape(-1, DIGEST_BYTES)


def entries(distributions: Mapping[str, Mapping[str, float]]) -> Entries:
    """key → decision → probability, as arrays. AskonceError for what is no key."""
    found, numbers = distributions.values(), {}
    counts = np.fromiter(map(len, found), np.int64)
    decisions = [numbers.setdefault(name, len(numbers)) for distribution in found for name in distribution]
    probabilities = [probability for distribution in found for probability in distribution.values()]
    return Entries(
        digests(distributions), counts, [*numbers], np.array(decisions, np.int64), np.array(probabilities, np.float64)
    )


def build(path: str | Path, chunks: Iterable[Entries], source: Any) -> "Index":
    """Writes the index of all entries and opens it; of a key given twice, the later distribution counts.

    `source` is a JSON value that says what it was built from.

    On return it is on disk; a process killed before leaves what was there. Another that builds at
    the same path at the same time opens its own. Each probability is kept within 1 / SCALE. Needs
    memory for a few times the index's own size. AskonceError where probabilities are not ones, or
    the file cannot be written.
    """
    vocabulary: dict[str, int] = {}
    digests, counts, decisions, weights = _columns(chunks, vocabulary)
    order, leading = _sorted_distinct(digests)
    begins = np.cumsum(counts) - counts
    rows, chosen = _intern(order, begins, counts, decisions, weights)
    # A number in every record is the price of storing a repeated distribution once.
    if 2 * len(chosen) > len(order):
        rows, chosen = None, order
    bits = min(32, max(1, (len(order) // _KEYS_A_BUCKET).bit_length()))
    edges = np.arange(2**bits + 1, dtype=np.uint64)
    counts, pairs = counts[chosen], _ranges(begins[chosen], counts[chosen])
    weights, levels = _levels(weights[pairs])
    fields = {
        "row": _bytes_for(rows.max(initial=0)) if rows is not None else 0,
        "count": _bytes_for(counts.max(initial=0), 1, 2, 4),
        "decision": _bytes_for(max(0, len(vocabulary) - 1), 1, 2, 4),
        "level": _bytes_for(max(0, len(weights) - 1), 1, 2),
    }
    types = _types(len(order), fields)
    sections = {
        "buckets": np.searchsorted(leading >> np.uint64(64 - bits), edges).astype(types["buckets"]),
        "records": _records(digests[order, bits // 8 :], rows, fields["row"]),
        "groups": _groups(counts, types["groups"]),
        "pairs": _pairs(decisions[pairs], levels, types["pairs"]),
        "weights": weights.astype(types["weights"]),
    }
    header = {
        "source": source,
        "decisions": [*vocabulary],
        "keys": len(order),
        "distributions": len(chosen),
        "width": int(counts.max(initial=0)),
        "bits": bits,
        "fields": fields,
    }
    return _write(Path(path), header, sections)


def open_index(path: str | Path) -> "Index":
    """The index at `path`, all of it checked. Unusable where it is absent, damaged or cannot be read."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size < len(MAGIC) + 8 + _CHECKSUM_BYTES:
                raise Unusable(path, "is not an index, or cut off")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise Unusable(path, f"cannot be read ({error.strerror})") from error
    if data[: len(MAGIC)] != MAGIC:
        raise Unusable(path, "is not an index of this version")
    with memoryview(data)[:-_CHECKSUM_BYTES] as checked:
        checksum = hashlib.sha256(checked).digest()
    if checksum != data[-_CHECKSUM_BYTES:]:
        raise Unusable(path, "is damaged: its bytes do not agree with its checksum")
    size = int.from_bytes(data[len(MAGIC) : len(MAGIC) + 8], "little")
    header = json.loads(data[len(MAGIC) + 8 : len(MAGIC) + 8 + size])
    return Index(data, header, len(MAGIC) + 8 + size)


class Index:
    """An open index, for any number of processes and threads; what is added is seen in this process alone.

    A row is the number of a distribution: equal rows mean equal distributions, so that what is worked
    out for one serves all of its keys.

    get     key → decision → probability, in the order in which they were given; None where there is no
            answer. AskonceError for what is no key
    source  what it was built from
    names   the decisions; what `gather` gives are places in it. Grows with `add`
    width   the most decisions that a distribution has. Grows with `add`
    """

    def __init__(self, file: mmap.mmap, header: Mapping, begin: int):
        """For `open_index`, which has checked the file; the sections' offsets count from `begin`."""
        self.source: Any = header["source"]
        self.names: list[str] = header["decisions"]
        self.width: int = header["width"]
        self._keys, self._distributions = header["keys"], header["distributions"]
        types = _types(header["keys"], header["fields"])
        section = {
            name: np.frombuffer(file, types[name], count, begin + offset)
            for name, (offset, count) in header["sections"].items()
        }
        probabilities = section["weights"] / SCALE
        shift, digest_bytes = 32 - header["bits"], DIGEST_BYTES - header["bits"] // 8
        record_bytes = digest_bytes + header["fields"]["row"]
        self._found_in = shift, section["buckets"], section["records"].reshape(-1, record_bytes), digest_bytes
        self._gathered_from = section["groups"], section["pairs"], probabilities.astype(np.float32)
        self._new = _Additions()
        self.get = _getter(file, header, begin, self.names, self._new.distributions)

    def __len__(self) -> int:
        """The number of keys with an answer, new ones included."""
        if not self._new.distributions:
            return self._keys
        new = np.frombuffer(bytearray().join(self._new.distributions), np.uint8).reshape(-1, DIGEST_BYTES)
        rows = np.empty(len(new), np.int64)
        _find(new, *self._found_in, rows)
        return self._keys + int((rows < 0).sum())

    def find(self, digests: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """(B, 16) uint8 digests → (B,) int64 rows, −1 where there is no answer; into `rows` if given."""
        queries = np.ascontiguousarray(digests, np.uint8)
        if queries.ndim != 2 or queries.shape[1] != DIGEST_BYTES:
            raise ValueError(f"digests have the shape (B, {DIGEST_BYTES}), not {queries.shape}")
        rows = np.empty(len(queries), np.int64) if rows is None else rows
        if rows.shape != (len(queries),):
            raise ValueError(f"rows have the shape ({len(queries)},), not {rows.shape}")
        _find(queries, *self._found_in, rows)
        table = self._new.table
        if table.used:
            _find_new(queries.view(np.uint64), table.slots, table.digests, self._distributions, rows)
        return rows

    def gather(
        self, rows: np.ndarray, decisions: np.ndarray | None = None, probabilities: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """(B,) rows → (B, K) int32 decisions and float32 probabilities, K ≥ `width`; into arrays if given.

        What a row has fewer, and every row of −1, is filled with decision −1 and probability 0. While
        another thread adds, `width` may grow at any time: leave the arrays to this function then.
        """
        table, shape = self._new.table, (len(rows), self.width)
        decisions = np.empty(shape, np.int32) if decisions is None else decisions
        probabilities = np.empty(shape, np.float32) if probabilities is None else probabilities
        wide_enough = decisions.shape == probabilities.shape and decisions.shape[1] >= shape[1]
        if len(decisions) != len(rows) or not wide_enough:
            raise ValueError(f"arrays have the shape ({shape[0]}, {shape[1]} or more)")
        _gather(rows, *self._gathered_from, self._distributions, decisions, probabilities)
        if table.used:
            new = np.flatnonzero(rows >= self._distributions)
            width = table.decisions.shape[1]
            decisions[new, :width] = table.decisions[rows[new] - self._distributions]
            probabilities[new, :width] = table.probabilities[rows[new] - self._distributions]
        return decisions, probabilities

    def add(self, key: str, distribution: Mapping[str, float]) -> None:
        """From now on every lookup gives this distribution for `key`, exactly as a built index would.

        AskonceError where it is none. May be called from another thread than lookups.
        """
        one = entries({key: distribution})
        weights = _quantise(one)
        # First, so that no lookup of another thread finds a row for which its arrays are too narrow.
        self.width = max(self.width, len(weights))
        self._new.add(one.digests, one.names, weights, self.names)


def _getter(
    file: mmap.mmap, header: Mapping, begin: int, names: Sequence[str], new: Mapping[bytes, dict[str, float]]
) -> Callable[[str], dict[str, float] | None]:
    """What `Index.get` is. It reads the file itself: to hand arrays to compiled code takes longer than it.

    A closure, for a method would spend a tenth of its time on attributes; the key is taken apart in it,
    not by `_digest`, for the same reason.
    """
    sections, fields = header["sections"], header["fields"]
    buckets, records = (begin + sections[name][0] for name in ("buckets", "records"))
    bucket_bytes = _types(header["keys"], fields)["buckets"].itemsize
    unpack_bucket = struct.Struct("<" + 2 * _CODES[bucket_bytes]).unpack_from
    unpack_leading = struct.Struct(">I").unpack_from
    shift, implied = 32 - header["bits"], header["bits"] // 8
    row_begins = DIGEST_BYTES - implied
    size = row_begins + fields["row"]
    read = _row_reader(file, header, begin, names)
    # Distributions of several keys, by row, read once.
    kept: dict[bytes, dict[str, float]] = {}

    def get(key: str) -> dict[str, float] | None:
        if len(key) != _KEY_LENGTH or key[:_HEX_BEGINS] != _PREFIX:
            raise _no_key(key)
        try:
            digest = unhexlify(key[_HEX_BEGINS:_HEX_ENDS])
        except ValueError:
            raise _no_key(key) from None
        if new and digest in new:
            return new[digest].copy()
        first, after = unpack_bucket(file, buckets + (unpack_leading(digest)[0] >> shift) * bucket_bytes)
        bucket = file[records + first * size : records + after * size]
        at = bucket.find(digest[implied:])
        while at % size:  # Not found, or across two neighbours.
            if at < 0:
                return None
            at = bucket.find(digest[implied:], at + 1)
        if row_begins == size:
            return read(first + at // size)
        row = bucket[at + row_begins : at + size]
        found = kept.get(row)
        if found is None:
            if len(kept) >= _KEPT_DISTRIBUTIONS:
                kept.clear()
            found = kept[row] = read(int.from_bytes(row, "little"))
        return found.copy()

    return get


def _row_reader(
    file: mmap.mmap, header: Mapping, begin: int, names: Sequence[str]
) -> Callable[[int], dict[str, float]]:
    """A function from a row to its distribution."""
    sections, fields = header["sections"], header["fields"]
    groups, pairs, weights = (begin + sections[name][0] for name in ("groups", "pairs", "weights"))
    group = struct.Struct(f"<Q{_GROUP}{_CODES[fields['count']]}")
    pair_bytes = fields["decision"] + fields["level"]
    unpack_pairs = [
        struct.Struct("<" + count * (_CODES[fields["decision"]] + _CODES[fields["level"]])).unpack_from
        for count in range(header["width"] + 1)
    ]
    levels = struct.unpack_from(f"<{sections['weights'][1]}H", file, weights)
    probabilities = [weight / SCALE for weight in levels]

    def read(row: int) -> dict[str, float]:
        within = row % _GROUP + 1
        found = group.unpack_from(file, groups + row // _GROUP * group.size)
        flat = unpack_pairs[found[within]](file, pairs + sum(found[:within]) * pair_bytes)
        return {names[flat[k]]: probabilities[flat[k + 1]] for k in range(0, len(flat), 2)}

    return read


class Unusable(AskonceError):
    """There is no such index: it is to be built, once or again."""

    def __init__(self, path: str | Path, what: str):
        super().__init__(f"the lookup index {path} {what}; remove it, and it is built again from the cache")


@dataclass
class _Table:
    """Open addressing: `slots` (2C,) hold entries' numbers or −1; an entry is a digest and a padded row."""

    slots: np.ndarray
    digests: np.ndarray
    decisions: np.ndarray
    probabilities: np.ndarray
    used: int = 0


class _Additions:
    """New answers in memory. One thread adds at a time; lookups go on meanwhile.

    A lookup takes `table` once. An entry is complete before its slot names it, and a table that
    grows is a new one.
    """

    def __init__(self):
        self.distributions: dict[bytes, dict[str, float]] = {}
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}
        self.table = _table(capacity=64, width=1)

    def add(self, digest: np.ndarray, decisions: Sequence[str], weights: np.ndarray, names: list[str]) -> None:
        with self._lock:
            for number in range(len(self._numbers), len(names)):
                self._numbers[names[number]] = number
            for name in decisions:
                if name not in self._numbers:
                    self._numbers[name] = len(names)
                    names.append(name)
            table = self._with_room_for(len(weights))
            entry = table.used
            table.digests[entry] = digest.view(np.uint64)[0]
            table.decisions[entry, : len(weights)] = [self._numbers[name] for name in decisions]
            table.probabilities[entry, : len(weights)] = weights / SCALE
            _claim(table.slots, table.digests, entry)
            table.used += 1
            found = zip(decisions, (weights / SCALE).tolist(), strict=True)
            self.distributions[digest.tobytes()] = dict(found)

    def _with_room_for(self, decisions: int) -> _Table:
        old = self.table
        capacity, width = old.decisions.shape
        if old.used < capacity and decisions <= width:
            return old
        new = _table(2 * capacity if old.used == capacity else capacity, max(width, decisions))
        new.digests[:capacity] = old.digests
        new.decisions[:capacity, :width] = old.decisions
        new.probabilities[:capacity, :width] = old.probabilities
        for entry in range(old.used):
            _claim(new.slots, new.digests, entry)
        new.used = old.used
        self.table = new
        return new


def _table(capacity: int, width: int) -> _Table:
    return _Table(
        np.full(2 * capacity, -1, np.int64),
        np.zeros((capacity, 2), np.uint64),
        np.full((capacity, width), -1, np.int32),
        np.zeros((capacity, width), np.float32),
    )


def _claim(slots: np.ndarray, digests: np.ndarray, entry: int) -> None:
    """Makes the slot of the entry's digest name it, in place of an earlier one of the same digest."""
    digest = digests[entry]
    slot = int(digest[0]) % len(slots)
    while slots[slot] >= 0 and (digests[slots[slot]] != digest).any():
        slot = (slot + 1) % len(slots)
    slots[slot] = entry


def _digest(key: str) -> bytes:
    if len(key) == _KEY_LENGTH and key.startswith(_PREFIX):
        try:
            return unhexlify(key[_HEX_BEGINS:_HEX_ENDS])
        except ValueError:
            pass
    raise _no_key(key)


def _no_key(key: str) -> AskonceError:
    return AskonceError(f"{key!r} is no key: one is {_PREFIX} and 64 hex digits")


def _columns(chunks: Iterable[Entries], vocabulary: dict[str, int]) -> list[np.ndarray]:
    """Digests, counts, decisions, weights of all chunks; the decisions being places in `vocabulary`."""
    columns = [
        [np.empty((0, DIGEST_BYTES), np.uint8)],
        [np.empty(0, np.int64)],
        [np.empty(0, np.uint32)],
        [np.empty(0, np.uint16)],
    ]
    for chunk in chunks:
        numbers = [vocabulary.setdefault(name, len(vocabulary)) for name in chunk.names]
        renumbered = np.array(numbers, np.uint32)[chunk.decisions]
        parts = chunk.digests, chunk.counts, renumbered, _quantise(chunk)
        for column, part in zip(columns, parts, strict=True):
            column.append(part)
    return [np.concatenate(column) for column in columns]


def _quantise(chunk: Entries) -> np.ndarray:
    """(E,) uint16 weights in units of 1 / SCALE, which add up to SCALE in every distribution.

    Rounding the running sums, not the probabilities, leaves nothing over to hand out.
    """
    probabilities = np.asarray(chunk.probabilities, np.float64)
    counts = np.asarray(chunk.counts, np.int64)
    owner = np.repeat(np.arange(len(counts)), counts)
    sums = np.bincount(owner, probabilities, minlength=len(counts))
    wrong = ~(np.abs(sums - 1) <= TOLERANCE) & (counts > 0)
    if wrong.any() or not (probabilities >= 0).all():
        raise AskonceError("a distribution's probabilities are 0 or more and add up to 1; these do not")
    # In whole numbers, which a running sum over millions of distributions keeps exact.
    fine = np.rint(probabilities / sums[owner] * 2**36).astype(np.int64)
    before = np.append(0, np.cumsum(fine))
    begins = np.cumsum(counts) - counts
    through = np.rint((before[1:] - before[begins][owner]) * (SCALE / 2**36)).astype(np.int64)
    first = begins[counts > 0]
    weights = np.diff(through, prepend=0)
    weights[first] = through[first]
    return weights.astype(np.uint16)


def _sorted_distinct(digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order that sorts the digests, the last of equals alone, and their leading 64 bits in that order."""
    words = np.ascontiguousarray(digests).view(">u8").astype(np.uint64)
    order = np.argsort(words[:, 0])
    leading = words[order, 0]
    # Equal leading halves are as good as equal keys; where there are any, the slower sort is due.
    if (leading[1:] == leading[:-1]).any():
        order = np.lexsort((words[:, 1], words[:, 0]))
        last = np.append((words[order[1:]] != words[order[:-1]]).any(axis=1), True)
        order = order[last]
        leading = words[order, 0]
    return order, leading


def _ranges(begins: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """begins[0], begins[0] + 1, … for counts[0] numbers, then on from begins[1], and so on."""
    before = np.cumsum(counts) - counts
    return np.repeat(begins - before, counts) + np.arange(counts.sum())


def _bytes_for(largest: int, *choices: int) -> int:
    """The least number of bytes, one of `choices` if any, that holds the number."""
    needed = max(1, (int(largest).bit_length() + 7) // 8)
    return min((choice for choice in choices if choice >= needed), default=needed)


def _levels(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weights that occur, sorted, and each weight's place among them."""
    used = np.flatnonzero(np.bincount(weights, minlength=1))
    place = np.zeros(SCALE + 1, np.uint16)
    place[used] = np.arange(len(used))
    return used, place[weights]


def _records(digests: np.ndarray, rows: np.ndarray, row_bytes: int) -> np.ndarray:
    digest_bytes = digests.shape[1]
    records = np.empty((len(digests), digest_bytes + row_bytes), np.uint8)
    records[:, :digest_bytes] = digests
    if row_bytes:
        records[:, digest_bytes:] = rows.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :row_bytes]
    return records


def _types(keys: int, fields: Mapping[str, int]) -> dict[str, np.dtype]:
    """The type of each section's elements."""
    return {
        "buckets": np.dtype("<u8" if keys >> 32 else "<u4"),
        "records": np.dtype("u1"),
        "groups": np.dtype([("start", "<u8"), ("counts", f"<u{fields['count']}", _GROUP)]),
        "pairs": np.dtype([("decision", f"<u{fields['decision']}"), ("level", f"<u{fields['level']}")]),
        "weights": np.dtype("<u2"),
    }


def _groups(counts: np.ndarray, group: np.dtype) -> np.ndarray:
    padded = np.zeros(-(-len(counts) // _GROUP) * _GROUP, np.int64)
    padded[: len(counts)] = counts
    groups = np.empty(len(padded) // _GROUP, group)
    groups["start"] = (np.cumsum(padded) - padded)[::_GROUP]
    groups["counts"] = padded.reshape(-1, _GROUP)
    return groups


def _pairs(decisions: np.ndarray, levels: np.ndarray, pair: np.dtype) -> np.ndarray:
    pairs = np.empty(len(decisions), pair)
    pairs["decision"], pairs["level"] = decisions, levels
    return pairs


def _write(path: Path, header: dict, sections: dict[str, np.ndarray]) -> "Index":
    places, offset = {}, 0
    for name, array in sections.items():
        places[name] = offset, array.size
        offset += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    # Offsets count from the end of the header, whose length they would otherwise change.
    text = json.dumps(header | {"sections": places}).encode()
    text += b" " * (-(len(MAGIC) + 8 + len(text)) % _ALIGNMENT)
    parts = chain((MAGIC, len(text).to_bytes(8, "little"), text), map(_padded, sections.values()))
    checksum = hashlib.sha256()
    try:
        durable.make_directory(path.parent)
        with durable.unfinished(path.parent) as temporary:
            with open(temporary, "xb") as file:
                for part in parts:
                    checksum.update(part)
                    file.write(part)
                file.write(checksum.digest())
            # Under its own name nobody else can have replaced it.
            index = open_index(temporary)
            durable.rename(temporary, path)
            return index
    except OSError as error:
        raise AskonceError(f"cannot write the lookup index {path}: {error.strerror}") from error


def _padded(section: np.ndarray) -> bytes:
    return section.tobytes() + bytes(-section.nbytes % _ALIGNMENT)


# The compiled lookups take a block of queries step by step, not a query to its end: first they only touch
# what each will need, so that the processor waits for many lines of memory at once. What they return
# keeps the compiler from leaving the touching out.


@njit(cache=True, nogil=True)
def _find(queries, shift, buckets, records, digest_bytes, found):
    """queries (B, 16) uint8 → found (B,) int64: rows, −1 where there is none."""
    skipped, last, touched = queries.shape[1] - digest_bytes, len(records) - 1, 0
    first, after = np.empty(_BLOCK, np.int64), np.empty(_BLOCK, np.int64)
    for begin in range(0, len(found), _BLOCK):
        size = min(_BLOCK, len(found) - begin)
        for j in range(size):
            query = queries[begin + j]
            leading = np.int64(0)
            for k in range(4):
                leading = leading << 8 | np.int64(query[k])
            first[j], after[j] = buckets[leading >> shift], buckets[(leading >> shift) + 1]
        for j in range(size if last >= 0 else 0):
            touched += records[min(first[j], last), 0] + records[min(first[j] + _KEYS_A_BUCKET // 2, last), 0]
        for j in range(size):
            found[begin + j] = -1
            for record in range(first[j], after[j]):
                k = 0
                while k < digest_bytes and records[record, k] == queries[begin + j, skipped + k]:
                    k += 1
                if k < digest_bytes:
                    continue
                row = np.int64(0)
                for byte in range(records.shape[1] - 1, digest_bytes - 1, -1):
                    row = row << 8 | np.int64(records[record, byte])
                found[begin + j] = record if digest_bytes == records.shape[1] else row
                break
    return touched


@njit(cache=True, nogil=True)
def _find_new(queries, slots, digests, first_row, found):
    """queries (B, 2) uint64; replaces found (B,) where the table of new answers has one."""
    last = np.uint64(len(slots) - 1)
    for i in range(len(found)):
        slot = np.int64(queries[i, 0] & last)
        while slots[slot] >= 0:
            entry = slots[slot]
            if digests[entry, 0] == queries[i, 0] and digests[entry, 1] == queries[i, 1]:
                found[i] = first_row + entry
                break
            slot = (slot + 1) & np.int64(last)


@njit(cache=True, nogil=True)
def _gather(rows, groups, pairs, probability, distributions, decisions, probabilities):
    """rows (B,) → padded (B, K) decisions and probabilities; a row that is none becomes padding."""
    last, touched = len(pairs) - 1, 0
    start, count = np.empty(_BLOCK, np.int64), np.empty(_BLOCK, np.int64)
    for begin in range(0, len(rows), _BLOCK):
        size = min(_BLOCK, len(rows) - begin)
        for j in range(size):
            row = rows[begin + j]
            start[j] = count[j] = 0
            if 0 <= row < distributions:
                group, within = groups[row // _GROUP], row % _GROUP
                # All sixteen, for a loop of a known length is not mispredicted.
                before = np.int64(group.start)
                for k in range(_GROUP):
                    before += np.int64(group.counts[k]) if k < within else 0
                start[j], count[j] = before, group.counts[within]
        for j in range(size if last >= 0 else 0):
            touched += pairs[min(start[j], last)].decision
        for j in range(size):
            for k in range(count[j]):
                pair = pairs[start[j] + k]
                decisions[begin + j, k] = pair.decision
                probabilities[begin + j, k] = probability[pair.level]
            for k in range(count[j], decisions.shape[1]):
                decisions[begin + j, k] = -1
                probabilities[begin + j, k] = 0
    return touched


@njit(cache=True, nogil=True)
def _intern(order, begins, counts, decisions, weights):
    """(S,) the number of each one's distribution, by first appearance; (D,) an owner of each number."""
    slots = np.full(2 ** np.int64(np.ceil(np.log2(2 * len(order) + 2))), -1)
    numbers = np.empty(len(order), np.int64)
    owners = np.empty(len(order), np.int64)
    distinct = 0
    for s in range(len(order)):
        mine, count = begins[order[s]], counts[order[s]]
        hashed = np.uint64(count)
        for k in range(count):
            pair = np.uint64(decisions[mine + k]) << np.uint64(16) | np.uint64(weights[mine + k])
            hashed = (hashed ^ pair) * np.uint64(0x9E3779B97F4A7C15)
            hashed ^= hashed >> np.uint64(32)
        slot = np.int64(hashed & np.uint64(len(slots) - 1))
        while slots[slot] >= 0:
            theirs = begins[owners[slots[slot]]]
            same = counts[owners[slots[slot]]] == count
            for k in range(count if same else 0):
                same &= decisions[mine + k] == decisions[theirs + k]
                same &= weights[mine + k] == weights[theirs + k]
            if same:
                break
            slot = (slot + 1) & (len(slots) - 1)
        if slots[slot] < 0:
            slots[slot] = distinct
            owners[distinct] = order[s]
            distinct += 1
        numbers[s] = slots[slot]
    return numbers, owners[:distinct]
