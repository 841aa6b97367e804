"""The lookup index beside sqlite3, LMDB, diskcache and DuckDB, holding the same million distributions.

Keys are digests from two splitmix64 streams, spread as SHA-256 spreads them and a hundred times cheaper to
make. Distributions are frequencies of ten samples: one to four of 60 decisions each, 20,000 different
ones drawn by a power law. All are asked for random stored keys. The index answers with the arrays that
training reads; its peers with the stored bytes (DuckDB: lists) as they come, not taken apart.

    index      find and gather into given arrays; get
    sqlite3    WITHOUT ROWID, blob key and value; IN (...), a join with a temporary table, or one
               SELECT after another, whichever is fastest
    LMDB       one read transaction; Cursor.getmulti or get after get, whichever is faster
    diskcache  get after get, in a cache of 50,000 keys only, because filling a larger one takes minutes: it
               is asked, and its bytes a key are taken, where it does best
    DuckDB     hash halves as UBIGINT, lists of USMALLINT and FLOAT, in order of the key; a join with an
               Arrow table; a prepared SELECT for one key

The best of several rounds, the index's over a million random keys each, the peers' over fewer (DuckDB's
5,000, others' 100,000), and so over warmer caches; single lookups 10,000 each (DuckDB's 20). Files are in
the page cache. Cold open is a fresh process, its imports done, that opens and answers one key.
The first batch of a process also waits for numba to start, as the engine has it do anyway.
"""

from collections.abc import Callable
import importlib
import importlib.util
import json
from pathlib import Path
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np

from askonce.cache import lookup

KEYS, MANY_KEYS, FEW_KEYS = 1_000_000, 10_000_000, 50_000
DECISIONS = [f"go to place {k}, pick up thing {k}" for k in range(60)]
SAMPLES = 10
SOURCE = "benchmark"
BATCHES = (256, 10_000)
MODULES = {"sqlite3": "sqlite3", "LMDB": "lmdb", "diskcache": "diskcache", "DuckDB": "duckdb"}


def splitmix64(counters: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele, Lea and Flood 2014), one number for each of (N,) uint64 counters."""
    z = counters * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)


def digests(count: int) -> np.ndarray:
    counters = np.arange(2 * count, dtype=np.uint64)
    return splitmix64(counters).reshape(count, 2).view(np.uint8)


def sampled(count: int) -> lookup.Entries:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 5, 20_000)
    pool = [rng.choice(len(DECISIONS), size, replace=False) for size in sizes]
    shares = [rng.multinomial(SAMPLES - size, np.ones(size) / size) + 1 for size in sizes]
    drawn = (len(sizes) * rng.random(count) ** 3).astype(np.int64)
    columns = np.concatenate(pool), np.concatenate(shares) / SAMPLES
    return entries(count, sizes[drawn], *spread(drawn, sizes, *columns))


def all_different(count: int) -> lookup.Entries:
    """From log-probabilities, say: hardly any distribution occurs twice."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 5, count)
    weights = rng.random(counts.sum()) + 1e-3
    owner = np.repeat(np.arange(count), counts)
    return entries(
        count,
        counts,
        rng.integers(15, size=len(owner)) + 15 * (np.arange(len(owner)) % 4),
        weights / np.bincount(owner, weights)[owner],
    )


def spread(drawn, sizes, *columns) -> list[np.ndarray]:
    first, counts = np.cumsum(sizes) - sizes, sizes[drawn]
    at = np.repeat(first[drawn] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    return [column[at] for column in columns]


def entries(count, counts, decisions, probabilities) -> lookup.Entries:
    return lookup.Entries(digests(count), counts, DECISIONS, decisions, probabilities)


def packed(content: lookup.Entries) -> tuple[list[bytes], list[bytes]]:
    """Keys in order, and values: a byte for each decision, two for its probability."""
    pairs = np.empty(len(content.decisions), [("decision", "u1"), ("weight", "<u2")])
    pairs["decision"], pairs["weight"] = content.decisions, np.rint(content.probabilities * lookup.SCALE)
    data, ends = pairs.tobytes(), np.cumsum(content.counts) * pairs.itemsize
    starts = ends - content.counts * pairs.itemsize
    values = [data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    joined = content.digests.tobytes()
    keys = [joined[k : k + 16] for k in range(0, len(joined), 16)]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return [keys[k] for k in order], [values[k] for k in order]


class Lookup:
    keys_a_round = 1_000_000

    def build(self, path: Path, content: lookup.Entries) -> None:
        lookup.build(path, [content], SOURCE)

    def open(self, path: Path):
        self.index = lookup.open_index(path)
        self.rows = {batch: np.empty(batch, np.int64) for batch in BATCHES}
        width = self.index.width
        self.arrays = {
            batch: (np.empty((batch, width), np.int32), np.empty((batch, width), np.float32)) for batch in BATCHES
        }
        return self

    def ways(self) -> list[Callable]:
        return [self.batch]

    def wanted(self, keys: np.ndarray):
        return keys

    def batch(self, keys: np.ndarray) -> int:
        rows = self.index.find(keys, self.rows[len(keys)])
        return len(self.index.gather(rows, *self.arrays[len(keys)])[0])

    def name(self, key: bytes):
        return f"v1-sha256:{key.hex()}{'0' * 32}"

    def one(self, key: str):
        return self.index.get(key)


class Sqlite:
    keys_a_round = 100_000

    def build(self, path: Path, content: lookup.Entries) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE answers (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
            connection.executemany("INSERT INTO answers VALUES (?, ?)", zip(*packed(content), strict=True))
        connection.close()

    def open(self, path: Path):
        self.connection = sqlite3.connect(path)
        self.connection.execute("PRAGMA cache_size = -400000")
        self.connection.execute("PRAGMA mmap_size = 400000000")
        self.connection.execute("PRAGMA temp_store = MEMORY")
        self.connection.execute("CREATE TEMP TABLE wanted (key BLOB)")
        return self

    def ways(self) -> list[Callable]:
        return [self.batch_in, self.batch_join, self.batch_loop]

    def wanted(self, keys: np.ndarray):
        return [key.tobytes() for key in keys]

    def batch_in(self, keys) -> int:
        # Under 32,766, sqlite's own limit.
        query = f"SELECT key, value FROM answers WHERE key IN ({','.join('?' * len(keys))})"
        return len(self.connection.execute(query, keys).fetchall())

    def batch_join(self, keys) -> int:
        execute = self.connection.execute
        execute("DELETE FROM wanted")
        self.connection.executemany("INSERT INTO wanted VALUES (?)", [(key,) for key in keys])
        return len(execute("SELECT answers.* FROM wanted JOIN answers USING (key)").fetchall())

    def batch_loop(self, keys) -> int:
        execute = self.connection.execute
        return sum(execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone() is not None for key in keys)

    def name(self, key: bytes):
        return key

    def one(self, key: bytes):
        return self.connection.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()


class Lmdb(Sqlite):
    def build(self, path: Path, content: lookup.Entries) -> None:
        import lmdb

        with lmdb.open(str(path), map_size=1 << 30, subdir=False, lock=False) as environment:
            with environment.begin(write=True) as transaction:
                transaction.cursor().putmulti(zip(*packed(content), strict=True), append=True)

    def open(self, path: Path):
        import lmdb

        self.environment = lmdb.open(str(path), readonly=True, subdir=False, lock=False, readahead=False)
        self.transaction = self.environment.begin(buffers=True)
        self.cursor = self.transaction.cursor()
        return self

    def ways(self) -> list[Callable]:
        return [self.batch_multi, self.batch_get]

    def batch_multi(self, keys) -> int:
        return len(self.cursor.getmulti(keys))

    def batch_get(self, keys) -> int:
        get = self.transaction.get
        return sum(get(key) is not None for key in keys)

    def one(self, key: bytes):
        return self.transaction.get(key)


class Diskcache(Sqlite):
    def build(self, path: Path, content: lookup.Entries) -> None:
        import diskcache

        with diskcache.Cache(path, eviction_policy="none", cull_limit=0) as cache, cache.transact():
            for key, value in zip(*packed(content), strict=True):
                cache[key] = value

    def open(self, path: Path):
        import diskcache

        self.cache = diskcache.Cache(path)
        return self

    def ways(self) -> list[Callable]:
        return [self.batch]

    def batch(self, keys) -> int:
        return sum(self.cache.get(key) is not None for key in keys)

    def one(self, key: bytes):
        return self.cache.get(key)


class Duckdb:
    keys_a_round = 5_000

    def build(self, path: Path, content: lookup.Entries) -> None:
        import duckdb
        import pyarrow as pa

        offsets = pa.array(np.append(0, np.cumsum(content.counts)).astype(np.int32))
        decisions = pa.array(content.decisions.astype(np.uint16))
        probabilities = pa.array(content.probabilities.astype(np.float32))
        halves = content.digests.view(np.uint64)
        table = pa.table(
            {
                "high": halves[:, 0],
                "low": halves[:, 1],
                "decisions": pa.ListArray.from_arrays(offsets, decisions),
                "probabilities": pa.ListArray.from_arrays(offsets, probabilities),
            }
        )
        with duckdb.connect(str(path)) as connection:
            connection.register("content", table)
            connection.execute("CREATE TABLE answers AS SELECT * FROM content ORDER BY high, low")

    def open(self, path: Path):
        import duckdb

        self.connection = duckdb.connect(str(path), read_only=True)
        return self

    def ways(self) -> list[Callable]:
        return [self.batch]

    def wanted(self, keys: np.ndarray):
        import pyarrow as pa

        halves = keys.view(np.uint64)
        return pa.table({"high": halves[:, 0], "low": halves[:, 1]})

    def batch(self, keys) -> int:
        self.connection.register("wanted", keys)
        query = "SELECT answers.* FROM answers JOIN wanted USING (high, low)"
        return self.connection.sql(query).to_arrow_table().num_rows

    def name(self, key: bytes):
        return struct.unpack("QQ", key)

    def one(self, key: tuple[int, int]):
        query = "SELECT decisions, probabilities FROM answers WHERE high = ? AND low = ?"
        return self.connection.execute(query, key).fetchone()


STORES = {"index": Lookup, "sqlite3": Sqlite, "LMDB": Lmdb, "diskcache": Diskcache, "DuckDB": Duckdb}


def best_seconds(action: Callable, arguments: list, at_least: int = 3, seconds: float = 1.0) -> float:
    """Seconds a call of the fastest round, a round being one call for each argument: that least disturbed."""
    action(arguments[0])
    best, ends, rounds = float("inf"), time.perf_counter() + seconds, 0
    while rounds < at_least or time.perf_counter() < ends:
        started = time.perf_counter()
        for argument in arguments:
            action(argument)
        best = min(best, (time.perf_counter() - started) / len(arguments))
        rounds += 1
    return best


def batch_rate(store, keys: np.ndarray, batch: int) -> float:
    """Keys a second, by the store's fastest way."""
    rng = np.random.default_rng(1)
    batches = max(2, store.keys_a_round // batch)
    wanted = [store.wanted(keys[rng.integers(len(keys), size=batch)]) for _ in range(batches)]
    for way in store.ways():
        way(wanted[0])
    quickest = min(store.ways(), key=lambda way: best_seconds(way, wanted[:1], at_least=2, seconds=0))
    return batch / best_seconds(quickest, wanted)


def single_seconds(store, keys: np.ndarray) -> float:
    rng = np.random.default_rng(2)
    names = [store.name(key.tobytes()) for key in keys[rng.integers(len(keys), size=10_000)]]
    if any(store.one(name) is None for name in names[:3]):
        raise SystemExit(f"{type(store).__name__} does not hold what it was given")
    return best_seconds(store.one, names[:20] if isinstance(store, Duckdb) else names)


def cold_seconds(name: str, path: Path, key: bytes) -> float:
    """Opening and one answer, in a fresh process that has done its imports: the best of five."""
    command = [sys.executable, __file__, name, str(path), key.hex()]
    runs = [subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout for _ in range(5)]
    return min(map(float, runs))


def open_cold(name: str, path: str, key: str) -> float:
    store = STORES[name]()
    if name != "index":
        importlib.import_module(MODULES[name])
    started = time.perf_counter()
    answer = store.open(Path(path)).one(store.name(bytes.fromhex(key)))
    seconds = time.perf_counter() - started
    if answer is None:
        raise SystemExit(f"{name} has no answer")
    return seconds


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*")) if path.is_dir() else path.stat().st_size


def report(name: str, unit: str, values: dict[str, float], more_is_better: bool) -> None:
    """`ratio` compares with the best peer: above 1 the index is ahead."""
    value, peers = values["index"], {name: value for name, value in values.items() if name != "index"}
    ratio = None
    if peers:
        ratio = value / max(peers.values()) if more_is_better else min(peers.values()) / value
        ratio = float(f"{ratio:.3g}")
    rounded = {name: float(f"{value:.4g}") for name, value in peers.items()}
    print(
        json.dumps(
            {"name": name, "value": float(f"{value:.4g}"), "unit": unit, "peers": rounded, "ratio": ratio},
            ensure_ascii=False,
        ),
        flush=True,
    )


def against_peers(directory: Path, peers: list[str]) -> dict[int, float]:
    """Prints all lines for a million keys; the index's own batch rates by size of batch."""
    content, few = sampled(KEYS), sampled(FEW_KEYS)
    singles, colds, bytes_a_key = {}, {}, {}
    rates: dict[int, dict[str, float]] = {batch: {} for batch in BATCHES}
    for name in ["index", *peers]:
        held, path = few if name == "diskcache" else content, directory / name
        store = STORES[name]()
        store.build(path, held)
        bytes_a_key[name] = size(path) / len(held.digests)
        colds[name] = 1e3 * cold_seconds(name, path, held.digests[0].tobytes())
        store.open(path)
        for batch in BATCHES:
            rates[batch][name] = batch_rate(store, held.digests, batch)
        singles[name] = 1e6 * single_seconds(store, held.digests)
    for batch in BATCHES:
        report(f"lookup_batch_{batch}", "keys/s", rates[batch], more_is_better=True)
    report("lookup_single", "µs", singles, more_is_better=False)
    report("lookup_cold_open_and_first_answer", "ms", colds, more_is_better=False)
    report("lookup_disk", "bytes/key", bytes_a_key, more_is_better=False)
    return {batch: rates[batch]["index"] for batch in BATCHES}


def disk_where_distributions_differ(directory: Path, peers: list[str]) -> None:
    content, sizes = all_different(KEYS), {}
    # What diskcache needs a key hardly depends on the distribution.
    for name in ["index", *(peer for peer in peers if peer != "diskcache")]:
        path = directory / f"{name}-different"
        STORES[name]().build(path, content)
        sizes[name] = size(path) / KEYS
    report("lookup_disk_all_distributions_different", "bytes/key", sizes, more_is_better=False)


def ten_million(directory: Path, rates: dict[int, float]) -> None:
    content, path = sampled(MANY_KEYS), directory / "many"
    started = time.perf_counter()
    Lookup().build(path, content)
    report("lookup_build_ten_million", "s", {"index": time.perf_counter() - started}, more_is_better=False)
    opened = 1e3 * cold_seconds("index", path, content.digests[0].tobytes())
    report("lookup_open_ten_million", "ms", {"index": opened}, more_is_better=False)
    store = Lookup().open(path)
    for batch in BATCHES:
        report(
            f"lookup_batch_{batch}_ten_million",
            "keys/s",
            {"index": batch_rate(store, content.digests, batch), "index of one million": rates[batch]},
            more_is_better=True,
        )


def main() -> None:
    missing = [name for name, module in MODULES.items() if importlib.util.find_spec(module) is None]
    if missing:
        modules = " ".join(MODULES[name] for name in missing)
        print(f"left out, not being installed: {', '.join(missing)} (pip install {modules})", file=sys.stderr)
    peers = [name for name in MODULES if name not in missing]
    with tempfile.TemporaryDirectory() as directory:
        rates = against_peers(Path(directory), peers)
        disk_where_distributions_differ(Path(directory), peers)
        ten_million(Path(directory), rates)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(open_cold(*sys.argv[1:]))
    else:
        main()
