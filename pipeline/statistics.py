"""Every interval of the house. `z` is the normal quantile, `Z95` for 95 %."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

Z95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Interval:
    """A figure, and between which two its true value lies."""

    mean: float
    low: float
    high: float


def mean(figures: np.ndarray, clusters: np.ndarray, z: float) -> Interval:
    """Of figures that come in clusters: normal, its variance that of the clusters' sums."""
    middle, half = float(figures.mean()), z * variance(figures, clusters) ** 0.5
    return Interval(middle, middle - half, middle + half)


def normal(figures: np.ndarray, z: float = Z95) -> tuple[float, float]:
    """The ends of the normal interval of the mean of (N,) independent figures; infinite for a single one."""
    half = z * figures.std(ddof=1) / len(figures) ** 0.5 if len(figures) > 1 else float("inf")
    return float(figures.mean() - half), float(figures.mean() + half)


def over_seeds(figures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, …) figures of N seeds → the mean and half of its 95 % interval by Student's t; nan for a single seed."""
    # Imported late: it takes half a second.
    from scipy.stats import t

    count = len(figures)
    if count == 1:
        return figures[0], np.full(figures.shape[1:], np.nan)
    half = t.ppf(0.975, count - 1) * figures.std(axis=0, ddof=1) / count**0.5
    return figures.mean(axis=0), half


def variance(figures: np.ndarray, clusters: np.ndarray) -> float:
    """Of the mean of figures that come in clusters."""
    _, cluster = np.unique(clusters, return_inverse=True)
    sums = np.bincount(cluster, figures - figures.mean())
    few = len(sums) / max(len(sums) - 1, 1)
    return float(few * (sums**2).sum() / len(figures) ** 2)


def wilson(share: float, count: float, z: float) -> tuple[float, float]:
    """The ends of Wilson's interval of a share of `count` (Journal of the American Statistical Association 22, 1927)."""
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5
    # At none and all, rounding would go beyond.
    return max(middle - half, 0.0), min(middle + half, 1.0)
