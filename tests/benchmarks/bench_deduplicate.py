"""Ten million described states, heavily repeated, to distinct texts by `distinct_texts`: time and memory.

States come as rollouts yield them, 64 at a time, drawn by a power law from a million situations, so that
some thousands make up most of the visits and some hundred thousands occur at all. The peer writes every
state's text and counts it in a `collections.Counter`. Each runs in a process of its own, whose peak
memory (everything in it: Python, numpy, DuckDB, the result) the system tells.
"""

from collections import Counter
from collections.abc import Iterator
import json
import resource
import subprocess
import sys
import time

import numpy as np

STATES = 10_000_000
SITUATIONS = 1_000_000
ENVIRONMENTS = 64
MiB = 1 << 20


class Described:
    """As much of a task as deduplication needs: a situation's text."""

    def text(self, situation: int) -> str:
        row, column = divmod(situation, 1000)
        return f"Agent sees a key in row {row}, column {column} and a locked door, and holds nothing."


def states() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for done in range(0, STATES, 1 << 20):
        # The density of u ** 8 falls as a power law.
        visited = (SITUATIONS * rng.random(min(1 << 20, STATES - done)) ** 8).astype(np.int64)
        yield from np.split(visited, range(ENVIRONMENTS, len(visited), ENVIRONMENTS))


def duckdb() -> int:
    from askonce.pipeline.deduplicate import distinct_texts

    return len(distinct_texts(Described(), states()).counts)


def counter() -> int:
    task, counts = Described(), Counter()
    for visited in states():
        counts.update(map(task.text, visited.tolist()))
    return len(counts)


def measured(name: str) -> dict:
    done = subprocess.run([sys.executable, __file__, name], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def measure(name: str) -> dict:
    started = time.perf_counter()
    texts = {"duckdb": duckdb, "counter": counter}[name]()
    seconds = time.perf_counter() - started
    # In KiB on Linux, in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1 << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"texts": texts, "s": seconds, "MiB": peak / MiB}


def main() -> None:
    ours, peer = measured("duckdb"), measured("counter")
    if ours["texts"] != peer["texts"]:
        raise SystemExit(f"the numbers of distinct texts differ: {ours['texts']} and {peer['texts']}")
    for name, unit in (("deduplicate_10_million_states", "s"), ("deduplicate_peak_memory", "MiB")):
        print(
            json.dumps(
                {
                    "name": name,
                    "value": round(ours[unit], 1),
                    "unit": unit,
                    "peers": {"counter_of_texts": round(peer[unit], 1)},
                    "ratio": round(peer[unit] / ours[unit], 2),
                    "distinct_texts": ours["texts"],
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
    else:
        main()
