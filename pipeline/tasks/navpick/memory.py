"""What the robot has seen so far, on a map, and the way over it: all of it comes from the observations alone.

A robot that sees 90° of a home and keeps nothing in mind cannot know where the doorways are. So what the depth
camera has shown is kept, as MiniGrid's agents remember every cell that they have seen: the points of each depth
image are put where odometry says, floor or obstacle.
"""

from collections.abc import Mapping
from typing import NamedTuple

from numba import njit
import numpy as np

from askonce.pipeline.tasks.navpick import robot, way
from askonce.pipeline.tasks.navpick.camera import directions, tilted
from askonce.pipeline.tasks.navpick.simulator import DEPTH_PIXELS, MAX_DEPTH

CELL = 0.15  # m
EXTENT = 15.0  # m: the map's half side, more than a home is long
SIDE = 2 * round(EXTENT / CELL)
UNKNOWN, FLOOR, OBSTACLE = 0, 1, 2
FLOOR_HEIGHT = 0.06  # m
ROBOT_HEIGHT = 1.6  # m
OWN = 0.55  # m from the robot's middle, within which the camera sees the folded arm
MARGIN = 8  # cells: ways lead so far around what was seen
PLANNED = 5  # updates after which a way is planned anew
AHEAD = 8  # cells down the way


class Way(NamedTuple):
    """`to` is the place (x, y) on the way for which the robot makes, m in its frame; `left` m, weighted, from here on.

    At the way's end, 0 being left, that is the goal itself, which the robot turns to.
    """

    to: tuple[float, float]
    left: float


class Memory:
    """The map of one episode, `seen`: (S, S) uint8 in the frame in which the robot began, which is the middle."""

    def __init__(self) -> None:
        self.seen = np.zeros((SIDE, SIDE), np.uint8)
        self.reset()

    def reset(self) -> None:
        self.seen[:] = UNKNOWN
        self._updates = 0

    def update(self, observation: Mapping[str, np.ndarray]) -> None:
        """Puts what one observation of `NavPick` shows on the map."""
        if np.hypot(*observation["end_effector"][:2]) <= OWN:  # else the arm is out, and would be taken for furniture
            _put(self.seen, observation["depth"].ravel(), RAYS, *observation["pose"].astype(float))
        if self._updates % PLANNED == 0:
            self._cost = way.costs(self.seen == OBSTACLE)
            self._low, self._high = _window(self.seen)
            self._distances: dict[tuple[int, int], np.ndarray] = {}
        self._updates += 1

    def around(self, pose: np.ndarray) -> np.ndarray:
        """(64, 64) float32 in [0, 1]: the map about the robot, ahead up; 0 unknown, ½ floor, 1 an obstacle."""
        return _picture(self.seen, pose) / np.float32(2)

    def way(self, pose: np.ndarray, place: np.ndarray) -> Way:
        """From the robot in `pose` to a stand about `place` (x, y), m in its frame."""
        here, far = _on_map((0.0, 0.0), pose), self._far(pose, place)
        chosen = way.ahead(far, self._cost, here[0], here[1], AHEAD)
        if chosen == _cell_of(here):
            return Way((float(place[0]), float(place[1])), 0.0)
        x, y = CELL * (np.array(chosen) + 0.5 - here)
        c, s = np.cos(pose[2]), np.sin(pose[2])
        return Way((float(c * x + s * y), float(c * y - s * x)), _left(far, here))

    def nearer(self, pose: np.ndarray, place: np.ndarray) -> np.ndarray:
        """(64, 64) float32 in [0, 1]: how much nearer than the robot to such a stand the places about it are; 1 by 2 m."""
        far = self._far(pose, place)
        left = _left(far, _on_map((0.0, 0.0), pose))
        return np.clip(0.5 + (left - _picture(far, pose)) / 4, 0, 1)

    def _far(self, pose: np.ndarray, place: np.ndarray) -> np.ndarray:
        """(S, S) as `way.distances`, to a stand about `place`."""
        goal = _on_map(place, pose)
        key = _cell_of(goal)
        if key not in self._distances:
            low, high = np.minimum(self._low, goal - MARGIN), np.maximum(self._high, goal + MARGIN + 1)
            low, high = np.clip([low, high], 0, SIDE).astype(np.int64).tolist()
            self._distances[key] = way.distances(self._cost, CELL, tuple(goal), tuple(low), tuple(high))
        return self._distances[key]


def _window(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest cell and the one beyond the highest about all that was seen and where the robot began."""
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    first = [min(np.append(at, SIDE // 2)) for at in (rows, columns)]
    last = [max(np.append(at, SIDE // 2)) for at in (rows, columns)]
    return np.array(first) - MARGIN, np.array(last) + MARGIN + 1


def _picture(grid: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(64, 64) the grid's values about the robot."""
    return _about(grid, AROUND, *pose.astype(float)).reshape(DEPTH_PIXELS, DEPTH_PIXELS)


@njit(cache=True, nogil=True)
def _about(grid: np.ndarray, places: np.ndarray, x: float, y: float, heading: float) -> np.ndarray:
    """(P,) the grid's values at (P, 2) places about a robot in that pose."""
    found, c, s = np.empty(len(places), grid.dtype), np.cos(heading), np.sin(heading)
    for n in range(len(places)):
        ahead, left = places[n]
        found[n] = grid[_cell(c * ahead - s * left + x), _cell(s * ahead + c * left + y)]
    return found


@njit(cache=True, nogil=True)
def _put(seen: np.ndarray, depth: np.ndarray, rays: np.ndarray, x: float, y: float, heading: float) -> None:
    """Marks what (P,) rays, depths as observed, met about a robot in that pose."""
    c, s = np.cos(heading), np.sin(heading)
    for n in range(len(depth)):
        far = depth[n] * MAX_DEPTH
        ahead, left, height = far * rays[n, 0], far * rays[n, 1], robot.CAMERA_HEIGHT + far * rays[n, 2]
        if depth[n] >= 1 or height >= ROBOT_HEIGHT or np.hypot(ahead, left) <= OWN:
            continue
        i, j = _cell(c * ahead - s * left + x), _cell(s * ahead + c * left + y)
        seen[i, j] = max(seen[i, j], FLOOR) if height < FLOOR_HEIGHT else OBSTACLE


@njit(cache=True, nogil=True)
def _cell(place: float) -> int:
    """What is off the map is at its edge."""
    return int(min(max((place + EXTENT) / CELL, 0), SIDE - 1))


def _on_map(place: tuple[float, float] | np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(x, y) m about a robot in `pose` → (2,) in cells, with fractions."""
    x, y, heading = pose
    c, s = np.cos(heading), np.sin(heading)
    on_map = np.array([c * place[0] - s * place[1] + x, s * place[0] + c * place[1] + y])
    return np.clip((on_map + EXTENT) / CELL, 0, SIDE - 1)


def _cell_of(place: np.ndarray) -> tuple[int, int]:
    """The cell of a place in cells."""
    i, j = place.astype(np.int64).tolist()
    return i, j


def _left(far: np.ndarray, here: np.ndarray) -> float:
    """m, weighted, from a place in cells; bounded, as from some cells there is no way."""
    return min(float(far[_cell_of(here)]), 2 * EXTENT)


def _rays() -> np.ndarray:
    """(4096, 3) where each pixel looks from the camera in the robot's frame, for a metre along the camera's axis."""
    rays, along = directions(DEPTH_PIXELS, DEPTH_PIXELS, robot.FIELD_OF_VIEW)
    found: np.ndarray = ((rays / along[:, None]) @ tilted(robot.CAMERA_TILT).T).astype(np.float32)
    return found


def _around() -> np.ndarray:
    """(4096, 2) the places of the map's picture about the robot, row by row from ahead on the left."""
    steps = ((DEPTH_PIXELS - 1) / 2 - np.arange(DEPTH_PIXELS)) * CELL
    return np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)


RAYS, AROUND = _rays(), _around()
