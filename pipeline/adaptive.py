"""How many more samples until a text's option distribution is known well enough.

"Known" means: with the stated confidence, the total-variation distance between the true distribution and
the observed frequencies is at most `max_tv`. The decisions that an LLM may give are not known beforehand,
so the posterior is that of a Dirichlet process (Ferguson 1973) with concentration 1: after counts
c_1 … c_m, the probabilities of the m decisions seen and of all others together are
Dirichlet(c_1, …, c_m, 1). Where all answers agree this is the classical rule: 1 − p ≤ 0.1 at 95 % after 29.

A Bayesian statement needs no correction for looking often, but it holds on average over the prior. So that it
also holds for each single distribution, half of the error that is allowed is kept in reserve;
tests/benchmarks/bench_adaptive.py measures that the promise is then kept, near the worst cases too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from askonce.cache.errors import AskonceError

# Draws from the posterior; at a level of 2.5 % their error is a quarter of a percent.
DRAWS = 4000
CONCENTRATION = 1.0
RESERVE = 0.5


@dataclass(frozen=True)
class Precision:
    """A total-variation distance that the observed frequencies keep within, with this confidence."""

    max_tv: float = 0.1
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not (0 < self.max_tv < 1 and 0 < self.confidence < 1):
            raise AskonceError("--max-tv and --confidence lie between 0 and 1", 2)

    def needed(self, counts: Mapping[Any, int]) -> int:
        """How many more samples to ask for (`needed`)."""
        return needed(counts, self.max_tv, self.confidence)


def needed(counts: Mapping[Any, int] | Iterable[int], max_tv: float, confidence: float = 0.95) -> int:
    """How many more samples to ask for; 0 once the distribution is known.

    `counts` are those of each decision; count completions without one as a decision of their own, for
    they too are part of what the LLM answers. More may be needed after these if they differ from
    those before. The same counts always give the same number. ValueError outside of 0 < max_tv < 1 and
    0 < confidence < 1.
    """
    if not (0 < max_tv < 1 and 0 < confidence < 1):
        raise ValueError("max_tv and confidence lie between 0 and 1")
    values = counts.values() if isinstance(counts, Mapping) else counts
    seen = sorted((int(count) for count in values if count > 0), reverse=True)
    return _needed(tuple(seen), max_tv, confidence)


@lru_cache(maxsize=1 << 16)
def _needed(counts: tuple[int, ...], max_tv: float, confidence: float) -> int:
    total = sum(counts)
    frequencies = np.array(counts or (1,), dtype=float) / max(total, 1)
    level = (1 - confidence) * RESERVE
    if total and _risk(frequencies, total, max_tv) <= level:
        return 0
    # The least total at which the same frequencies would do.
    low, high = total, max(2 * total, 8)
    while _risk(frequencies, high, max_tv) > level:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _risk(frequencies, middle, max_tv) <= level else (middle, high)
    return high - total


def _risk(frequencies: np.ndarray, total: int, max_tv: float) -> float:
    """The posterior probability of a greater distance, after `total` samples with these frequencies."""
    shape = np.append(frequencies * total, CONCENTRATION)
    drawn = np.random.default_rng(0).standard_gamma(shape, size=(DRAWS, len(shape)))
    drawn /= drawn.sum(axis=1, keepdims=True)
    distances = np.abs(drawn - np.append(frequencies, 0.0)).sum(axis=1) / 2
    return float((distances > max_tv).mean())


def fixed(decisions: int, max_tv: float, confidence: float = 0.95) -> int:
    """How many samples of *every* text guarantee the same, whatever its distribution over `decisions`.

    By the bound P(|p̂ − p|₁ ≥ ε) ≤ (2^K − 2) exp(−n ε² / 2) of Weissman et al. (2003), with ε = 2 max_tv.
    """
    ways = np.log(2.0**decisions - 2) if decisions > 1 else 0.0
    return int(np.ceil((ways - np.log(1 - confidence)) / (2 * max_tv**2)))
