"""What adaptive sampling saves, and whether its promise holds, on distributions that are known.

The promise: with 95 % confidence the frequencies are within 0.1 of the truth in total variation. Each
distribution is sampled many times over. Peers, which give every text the same number of samples: what the
bound of Weissman et al. guarantees, knowing how many decisions there are at most; and the smallest number
that keeps the promise on all of these distributions, found by trying, which nobody knows beforehand.
"""

from collections.abc import Sequence
import json

import numpy as np

from askonce.pipeline.adaptive import fixed, needed

MAX_TV, CONFIDENCE = 0.1, 0.95
RUNS = 400
TRIALS = 2000

# How often the LLM gave each decision in each situation: recorded by the authors of "Large Language Model
# as a Policy Teacher for Training Reinforcement Learning Agents" (IJCAI 2024) for SimpleDoorKey,
# ColoredDoorKey and DivergedDoorKey, in this order.
RECORDED = [
    [1.0],
    [1.0],
    [0.98, 0.02],
    [0.68, 0.22, 0.04, 0.02, 0.02, 0.02],
    [0.62, 0.3, 0.06, 0.02],
    [0.84, 0.08, 0.04, 0.02, 0.02],
    [1.0],
    [0.94, 0.06],
    [0.87, 0.13],
    [1.0],
    [0.72, 0.28],
    [0.98, 0.02],
    [0.87, 0.13],
    [0.81, 0.19],
    [0.73, 0.27],
    [0.84, 0.16],
    [0.79, 0.21],
    [0.71, 0.29],
    [0.72, 0.24, 0.04],
    [0.94, 0.06],
    [1.0],
    [1.0],
    [1.0],
    [1.0],
    [1.0],
    [1.0],
    [1.0],
    [1.0],
    [0.5, 0.5],
]
# Where a rule that looks often may fail: something rare that the first answers miss, and many rare things.
HARD = [
    *([1 - rare, rare] for rare in (0.08, 0.11, 0.13, 0.15, 0.18, 0.22, 0.3, 0.4)),
    [0.88, *[0.01] * 12],
    [0.8, *[0.02] * 10],
    [1 / 3] * 3,
    [1 / 6] * 6,
]


def random_distributions() -> list[np.ndarray]:
    """Six decisions, from nearly certain to nearly even."""
    rng = np.random.default_rng(0)
    return [rng.dirichlet([concentration / 6] * 6) for concentration in (0.3, 1.0, 3.0) for _ in range(8)]


def distance(counts: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Total variation between frequencies (…, K) and p (K,), less what rounding may add."""
    return -1e-9 + np.abs(counts / counts.sum(axis=-1, keepdims=True) - p).sum(axis=-1) / 2


def sampled(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    counts = np.zeros(len(p), dtype=int)
    while more := needed(counts, MAX_TV, CONFIDENCE):
        counts += rng.multinomial(more, p)
    return counts


def holds(n: int, distributions: Sequence[np.ndarray]) -> bool:
    rng = np.random.default_rng(2)
    drawn = ((rng.multinomial(n, p, size=TRIALS), p) for p in distributions)
    return all((distance(counts, p) <= MAX_TV).mean() >= CONFIDENCE for counts, p in drawn)


def smallest_in_hindsight(distributions: Sequence[np.ndarray]) -> int:
    """The least multiple of 10 that keeps the promise on all."""
    return next(n for n in range(10, 2000, 10) if holds(n, distributions))


def main() -> None:
    groups = {"recorded": RECORDED, "random": random_distributions(), "hard": HARD}
    for name, listed in groups.items():
        distributions, rng = [np.array(p) / np.sum(p) for p in listed], np.random.default_rng(1)
        runs = [[sampled(p, rng) for _ in range(RUNS)] for p in distributions]
        samples = float(np.mean([counts.sum() for of_one in runs for counts in of_one]))
        within = [np.mean(distance(np.array(of_one), p) <= MAX_TV) for p, of_one in zip(distributions, runs)]
        guaranteed = fixed(max(map(len, distributions)), MAX_TV, CONFIDENCE)
        print(
            json.dumps(
                {
                    "name": f"adaptive_{name}",
                    "value": round(samples, 1),
                    "unit": "samples a text",
                    "peers": {"fixed_by_bound": guaranteed, "fixed_in_hindsight": smallest_in_hindsight(distributions)},
                    "ratio": round(guaranteed / samples, 2),
                }
            ),
            flush=True,
        )
        print(
            json.dumps(
                {
                    "name": f"adaptive_{name}_coverage",
                    "value": round(float(np.mean(within)), 4),
                    "unit": f"share within {MAX_TV}",
                    "peers": {"promised": CONFIDENCE, "least_of_one_distribution": round(float(min(within)), 4)},
                    "ratio": round(float(np.mean(within)) / CONFIDENCE, 3),
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
