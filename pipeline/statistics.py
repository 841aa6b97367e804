"""Figures with intervals around them. `z` is the normal quantile: 1.96 for 95 %."""

from dataclasses import dataclass

import numpy as np


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
