"""The way to a place over a map of obstacles: planned, not learnt, as in Chaplot et al. (2020), "Learning to Explore
using Active Neural SLAM".

What is not known to be an obstacle counts as floor, so a way leads through it until it is seen to be closed. Coming
close to an obstacle costs, and passing through one so much that any way around it is taken; but no place is out of
reach, as cells are coarse.
"""

from numba import njit
import numpy as np

# What a metre costs by the squared distance, in cells of 0.15 m, to the nearest obstacle; 1 beyond. There is no 3, 6, 7.
COSTS = np.array([40, 25, 12, 0, 4, 3, 0, 0, 1.8, 1.5], np.float32)
AIRY = np.float32(1.5)  # what costs no more is passed straight on
NEAR = 3  # cells
Cell = tuple[int, int]
STAND = 0.45, 0.66  # m on the floor about a place: where the robot stands to take what is there


@njit(cache=True, nogil=True)
def costs(obstacles: np.ndarray) -> np.ndarray:
    """(S, S) bool → (S, S) float32, at least 1."""
    side = len(obstacles)
    cost = np.ones((side, side), np.float32)
    for i in range(side):
        for j in range(side):
            if not obstacles[i, j]:
                continue
            for k in range(max(0, i - NEAR), min(side, i + NEAR + 1)):
                for l in range(max(0, j - NEAR), min(side, j + NEAR + 1)):  # noqa: E741
                    squared = (k - i) ** 2 + (l - j) ** 2
                    if squared < len(COSTS):
                        cost[k, l] = max(cost[k, l], COSTS[squared])
    return cost


@njit(cache=True, nogil=True)
def distances(cost: np.ndarray, cell: float, goal: tuple[float, float], low: Cell, high: Cell) -> np.ndarray:
    """(S, S) float32 m, weighted by `cost`, from each cell between `low` and `high` to a stand about `goal`; else inf.

    Places are (i, j) in cells, the goal's with fractions. Sweeps to and fro until nothing gets nearer.
    """
    far = np.full(cost.shape, np.inf, np.float32)
    for i in range(low[0], high[0]):
        for j in range(low[1], high[1]):
            if STAND[0] < cell * np.hypot(i + 0.5 - goal[0], j + 0.5 - goal[1]) < STAND[1]:
                far[i, j] = cost[i, j] - 1
    straight, slanted = np.float32(cell / 2), np.float32(cell / 2 * np.sqrt(2))
    changed = True
    while changed:
        changed = False
        for turn in (1, -1):
            first = low if turn > 0 else (high[0] - 1, high[1] - 1)
            for row in range(high[0] - low[0]):
                for column in range(high[1] - low[1]):
                    i, j = first[0] + turn * row, first[1] + turn * column
                    nearest = far[i, j]
                    for di, dj in ((-turn, -turn), (-turn, 0), (-turn, turn), (0, -turn)):
                        k, l = i + di, j + dj  # noqa: E741
                        if low[0] <= k < high[0] and low[1] <= l < high[1]:
                            length = straight if di == 0 or dj == 0 else slanted
                            nearest = min(nearest, far[k, l] + length * (cost[i, j] + cost[k, l]))
                    if nearest < far[i, j] - 1e-4:
                        far[i, j] = nearest
                        changed = True
    return far


@njit(cache=True, nogil=True)
def ahead(far: np.ndarray, cost: np.ndarray, x: float, y: float, most: int) -> Cell:
    """The farthest cell down the way from (x, y), at most so many, to which going straight comes no closer to obstacles.

    The next one in any case; its own where the way ends.
    """
    side = len(far)
    i, j = int(x), int(y)
    chosen, worst = (i, j), max(cost[i, j], AIRY)
    for step in range(most):
        to_i, to_j = i, j
        for k in range(max(0, i - 1), min(side, i + 2)):
            for l in range(max(0, j - 1), min(side, j + 2)):  # noqa: E741
                if far[k, l] < far[to_i, to_j]:
                    to_i, to_j = k, l
        if to_i == i and to_j == j:
            break
        i, j = to_i, to_j
        worst = max(worst, cost[i, j])
        if step and _highest(cost, x, y, i + 0.5, j + 0.5) > worst:
            break
        chosen = i, j
    return chosen


@njit(cache=True, nogil=True)
def _highest(cost: np.ndarray, x: float, y: float, to_x: float, to_y: float) -> np.float32:
    """The highest cost on a straight line."""
    highest = np.float32(1)
    parts = int(2 * max(abs(to_x - x), abs(to_y - y))) + 1
    for part in range(1, parts + 1):
        at = part / parts
        highest = max(highest, cost[int(x + at * (to_x - x)), int(y + at * (to_y - y))])
    return highest
