"""Where the task's stages begin and end, read off what the sensors and the referee know: the options' goals."""

from math import atan2, hypot

import numpy as np

from askonce.pipeline.tasks.navpick.simulator import Reading

REACH = 0.40, 0.68  # m on the floor from the robot's middle to an object that the arm can take from above
FACING = 0.35  # rad between straight ahead and the object
LIFTED = 0.03  # m
CARRY_WITHIN = 0.15  # m: habitat-lab's ee_resting_success_threshold


def beside(now: Reading) -> bool:
    """Whether the robot stands where it can pick up the wanted object: what Navigate is for."""
    return reached(now.object) and now.clear


def reached(place: np.ndarray) -> bool:
    """Whether the arm can take what is at that place (x, y, z) from above."""
    x, y, _ = place
    return REACH[0] < hypot(x, y) < REACH[1] and abs(atan2(y, x)) < FACING


def lifted(now: Reading, wanted: str) -> bool:
    return now.held == wanted and now.lifted > LIFTED


def carried(now: Reading, wanted: str) -> bool:
    """Whether the wanted object is lifted and the hand back at rest: what Pick is for."""
    return lifted(now, wanted) and to_rest(now) < CARRY_WITHIN


def to_object(now: Reading) -> float:
    """m from the end effector to the wanted object."""
    return float(np.linalg.norm(now.end_effector - now.object))


def to_rest(now: Reading) -> float:
    """m from the end effector to where it carries the object."""
    return float(np.linalg.norm(now.end_effector - now.rest))
