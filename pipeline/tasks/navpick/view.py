"""What the robot observes, and what it has seen so far → the inputs of a network: three pictures and a few numbers."""

from collections.abc import Mapping, Sequence

import numpy as np

from askonce.pipeline.tasks.navpick import robot
from askonce.pipeline.tasks.navpick.memory import Memory
from askonce.pipeline.tasks.navpick.simulator import DEPTH_PIXELS

# Depth; the map about the robot, which looks up in it; how much nearer to the wanted object each place of it is.
IMAGE_SHAPE = (DEPTH_PIXELS, DEPTH_PIXELS, 3)
SENSORS = 34  # of which the last `WAY` tell the way to the wanted object
WAY = 4
VIEW_SIZE = DEPTH_PIXELS * DEPTH_PIXELS * 3 + SENSORS

JOINTS = np.array([2.0] * 7 + [robot.OPEN], np.float32)  # what joints are measured by
FAR = 10.0  # m


def view(observations: Mapping[str, np.ndarray], memories: Sequence[Memory]) -> np.ndarray:
    """(N, VIEW_SIZE) float32 from `NavPick`'s observations (N, …) and each environment's map."""
    size = len(memories)
    images, ways = np.zeros((size, *IMAGE_SHAPE), np.float32), np.zeros((size, WAY), np.float32)
    images[..., 0] = observations["depth"][..., 0]
    for n, (memory, pose) in enumerate(zip(memories, observations["pose"])):
        images[n, ..., 1] = memory.around(pose)
        if not observations["holding"][n, 0]:
            # To what is held there is no way.
            place = observations["object"][n, :2]
            way, images[n, ..., 2] = memory.way(pose, place), memory.nearer(pose, place)
            bearing = np.arctan2(way.to[1], way.to[0])
            ways[n] = np.hypot(*way.to), np.sin(bearing), np.cos(bearing), min(way.left, FAR) / 5
    return np.concatenate([images.reshape(size, -1), _sensors(observations), ways], axis=1)


def _sensors(observations: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N, SENSORS − WAY) float32, each of the order of 1; what is near is told at three scales."""
    thing, hand, target = (observations[name] for name in ("object", "end_effector", "target"))
    away, bearing = np.hypot(thing[:, 0], thing[:, 1]), np.arctan2(thing[:, 1], thing[:, 0])
    to_thing = thing - hand
    return np.concatenate(
        [
            observations["joints"] / JOINTS,
            observations["holding"],
            hand,
            np.clip(thing, -1, 1),
            np.clip(to_thing, -1, 1),
            np.tanh(5 * to_thing),
            np.tanh(20 * to_thing),
            np.stack([away / 5, np.sin(bearing), np.cos(bearing)], axis=1),
            np.stack([target[:, 0] / 5, np.sin(target[:, 1]), np.cos(target[:, 1])], axis=1),
        ],
        axis=1,
        dtype=np.float32,
    )
