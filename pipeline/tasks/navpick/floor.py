"""The floor of a home as a grid of cells of `CELL` metres: clearance, what hangs together, shortest paths."""

from collections.abc import Iterable, Sequence
import heapq
from math import cos, hypot, sin

import numpy as np

CELL = 0.1
NEIGHBOURS = [(i, j, hypot(i, j)) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]


def clearance(size: tuple[float, float], footprints: Iterable[tuple[float, ...]]) -> np.ndarray:
    """(W, H) metres from each cell's middle to the nearest of the footprints (x, y, half a, half b, yaw), ≥ 0."""
    width, height = (int(side / CELL) for side in size)
    x, y = np.meshgrid(*((np.arange(n) + 0.5) * CELL for n in (width, height)), indexing="ij")
    nearest = np.full((width, height), np.inf)
    for at_x, at_y, a, b, yaw in footprints:
        c, s = cos(yaw), sin(yaw)
        along, across = c * (x - at_x) + s * (y - at_y), c * (y - at_y) - s * (x - at_x)
        outside = np.hypot(np.maximum(abs(along) - a, 0), np.maximum(abs(across) - b, 0))
        nearest = np.minimum(nearest, outside)
    return nearest


def cell(place: Sequence[float] | np.ndarray) -> tuple[int, int]:
    return int(place[0] / CELL), int(place[1] / CELL)


def middle(at: tuple[int, int]) -> tuple[float, float]:
    return (at[0] + 0.5) * CELL, (at[1] + 0.5) * CELL


def at(grid: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The grid's values at (N, 2) places; those outside of it have its value nearest by."""
    i, j = np.clip((places / CELL).astype(int), 0, np.array(grid.shape) - 1).T
    found: np.ndarray = grid[i, j]
    return found


def largest_region(free: np.ndarray) -> np.ndarray:
    """Of the free cells those of the largest set that hangs together."""
    left, largest = free.copy(), np.zeros_like(free)
    while left.any():
        region = np.isfinite(distances(left, {tuple(np.argwhere(left)[0]): 0.0}))
        left &= ~region
        if region.sum() > largest.sum():
            largest = region
    return largest


def distances(free: np.ndarray, goals: dict[tuple[int, int], float], cost: np.ndarray | None = None) -> np.ndarray:
    """(W, H) metres, weighted by the cells' `cost`, to the best of the goals along free cells; inf where no way leads.

    `goals` are cells with what being there still costs.
    """
    far = np.full(free.shape, np.inf)
    for goal, remaining in goals.items():
        far[goal] = remaining
    queue = [(remaining, *goal) for goal, remaining in goals.items()]
    heapq.heapify(queue)
    while queue:
        so_far, i, j = heapq.heappop(queue)
        if so_far > far[i, j]:
            continue
        for di, dj, step in NEIGHBOURS:
            x, y = i + di, j + dj
            if not (0 <= x < free.shape[0] and 0 <= y < free.shape[1] and free[x, y]):
                continue
            there = so_far + step * CELL * (1.0 if cost is None else cost[x, y])
            if there < far[x, y]:
                far[x, y] = there
                heapq.heappush(queue, (there, x, y))
    return far
