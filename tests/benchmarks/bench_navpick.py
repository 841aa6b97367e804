"""Environment steps a second of NavPick on one core, by CPU time: physics, depth image, observation and resets.

The peer is the same batch on two threads, by wall time: what two cores make of it.
"""

import json
import time

import numpy as np

from pipeline.tasks.navpick.batch import NavPickBatch

ENVIRONMENTS = 8
STEPS = 60
REPEATS = 5


def rate(batch: NavPickBatch, clock) -> float:
    """Steps a second of the fastest of some repeats; arms wave and wheels turn, and nothing ends on purpose."""
    rng, index = np.random.default_rng(0), np.arange(batch.size)
    rates = []
    for repeat in range(REPEATS + 1):
        taken, started = 0, clock()
        batch.reset(index, 2 * (index + repeat))
        for _ in range(STEPS):
            actions = rng.uniform(-0.5, 0.5, (batch.size, 11))
            actions[:, -1] = -1
            _, terminated, truncated = batch.step(actions)
            taken += int((~(terminated | truncated)).sum())
        rates.append(taken / (clock() - started))
    return max(rates[1:])


def main() -> None:
    one = rate(NavPickBatch(ENVIRONMENTS, threads=1), time.process_time)
    one_by_wall = rate(NavPickBatch(ENVIRONMENTS, threads=1), time.perf_counter)
    two = rate(NavPickBatch(ENVIRONMENTS, threads=2), time.perf_counter)
    print(json.dumps({
        "name": "navpick", "value": round(one), "unit": "environment steps/s a core",
        "peers": {"one_thread": round(one_by_wall), "two_threads": round(two)}, "ratio": round(two / one_by_wall, 2),
    }), flush=True)


if __name__ == "__main__":
    main()
