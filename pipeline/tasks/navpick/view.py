"""What the robot has observed so far → the inputs of a network: three pictures and a few numbers.

A robot that sees 90° of a home and keeps nothing in mind cannot know where the doorways are. So what the depth
camera has shown is kept on a map, as MiniGrid's agents remember every cell that they have seen: the points of
each depth image are put where odometry says, floor or obstacle. All of it comes from the observations alone.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.tasks.navpick import robot
from pipeline.tasks.navpick.camera import directions, tilted
from pipeline.tasks.navpick.simulator import DEPTH_PIXELS, MAX_DEPTH

# Depth; the map about the robot, which looks up in it; how near each place of the map is to the wanted object.
IMAGE_SHAPE = (DEPTH_PIXELS, DEPTH_PIXELS, 3)
SENSORS = 30
VIEW_SIZE = DEPTH_PIXELS * DEPTH_PIXELS * 3 + SENSORS

CELL = 0.15  # m
EXTENT = 15.0  # m: the map's half side, more than a home is long
SIDE = 2 * round(EXTENT / CELL)
UNKNOWN, FLOOR, OBSTACLE = 0, 1, 2
FLOOR_HEIGHT = 0.06  # m
ROBOT_HEIGHT = 1.6  # m
JOINTS = np.float32([2.0] * 7 + [robot.OPEN])  # what joints are measured by
OWN = 0.55  # m from the robot's middle, within which the camera sees the folded arm


class Memory:
    """The map of one episode: (S, S) uint8 in the frame in which the robot began, which is the middle."""

    def __init__(self):
        self.seen = np.zeros((SIDE, SIDE), np.uint8)

    def reset(self) -> None:
        self.seen[:] = UNKNOWN

    def update(self, observation: Mapping[str, np.ndarray]) -> None:
        """Puts what one observation of `NavPick` shows on the map."""
        if np.hypot(*observation["end_effector"][:2]) > OWN:
            # The arm is out, and would be taken for furniture.
            return
        depth = observation["depth"].ravel()
        points = RAYS * (depth * MAX_DEPTH)[:, None]
        away = np.hypot(points[:, 0], points[:, 1])
        height = robot.CAMERA_HEIGHT + points[:, 2]
        shown = (depth < 1) & (away > OWN) & (height < ROBOT_HEIGHT)
        cells = _cells(points[shown, :2], observation["pose"])
        low = height[shown] < FLOOR_HEIGHT
        seen = self.seen.reshape(-1)
        floor = cells[low]
        seen[floor] = np.maximum(seen[floor], FLOOR)
        seen[cells[~low]] = OBSTACLE

    def around(self, pose: np.ndarray) -> np.ndarray:
        """(64, 64) float32 in [0, 1]: the map about the robot, ahead up; 0 unknown, ½ floor, 1 an obstacle."""
        return self.seen.reshape(-1)[_cells(AROUND, pose)].reshape(DEPTH_PIXELS, DEPTH_PIXELS) / np.float32(2)


def view(observations: Mapping[str, np.ndarray], memories: Sequence[Memory]) -> np.ndarray:
    """(N, VIEW_SIZE) float32 from `NavPick`'s observations (N, …) and each environment's map."""
    size = len(memories)
    images = np.empty((size, *IMAGE_SHAPE), np.float32)
    images[..., 0] = observations["depth"][..., 0]
    for image, memory, pose in zip(images, memories, observations["pose"]):
        image[..., 1] = memory.around(pose)
    way = AROUND[None] - observations["object"][:, None, :2]
    images[..., 2] = (1 / (1 + np.hypot(way[..., 0], way[..., 1]))).reshape(size, DEPTH_PIXELS, DEPTH_PIXELS)
    return np.concatenate([images.reshape(size, -1), sensors(observations)], axis=1)


def sensors(observations: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N, SENSORS) float32, each of the order of 1; what is near is told at three scales."""
    thing, hand, target = (observations[name] for name in ("object", "end_effector", "target"))
    away, bearing = np.hypot(thing[:, 0], thing[:, 1]), np.arctan2(thing[:, 1], thing[:, 0])
    to_thing = thing - hand
    return np.concatenate([
        observations["joints"] / JOINTS, observations["holding"], hand, np.clip(thing, -1, 1),
        np.clip(to_thing, -1, 1), np.tanh(5 * to_thing), np.tanh(20 * to_thing),
        np.stack([away / 5, np.sin(bearing), np.cos(bearing)], axis=1),
        np.stack([target[:, 0] / 5, np.sin(target[:, 1]), np.cos(target[:, 1])], axis=1),
    ], axis=1, dtype=np.float32)


def _cells(places: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(P, 2) places about a robot in `pose` → their cells in the raveled map; those off it are at its edge."""
    x, y, heading = pose
    c, s = np.cos(heading), np.sin(heading)
    on_map = np.stack([c * places[:, 0] - s * places[:, 1] + x, s * places[:, 0] + c * places[:, 1] + y])
    i, j = np.clip(((on_map + EXTENT) / CELL).astype(np.int64), 0, SIDE - 1)
    return i * SIDE + j


def _rays() -> np.ndarray:
    """(4096, 3) where each pixel looks from the camera in the robot's frame, for a metre along the camera's axis."""
    rays, along = directions(DEPTH_PIXELS, DEPTH_PIXELS, robot.FIELD_OF_VIEW)
    return ((rays / along[:, None]) @ tilted(robot.CAMERA_TILT).T).astype(np.float32)


def _around() -> np.ndarray:
    """(4096, 2) the places of the map's picture about the robot, row by row from ahead on the left."""
    steps = ((DEPTH_PIXELS - 1) / 2 - np.arange(DEPTH_PIXELS)) * CELL
    return np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)


RAYS, AROUND = _rays(), _around()
