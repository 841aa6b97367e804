"""What `NavPick` asks of the simulator below it: start an episode, take ten commands, tell what there is.

All positions are metres in the robot's frame: x ahead, y left, z up, from the floor below its middle.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

DEPTH_PIXELS = 64  # a side of the depth image
MAX_DEPTH = 10.0  # m: habitat-lab's max_depth
ARM_STEP = 0.1  # rad: what a joint's command changes by at full
LAG = 0.25  # rad: how far a joint's command may be ahead of the joint, so that a blocked arm does not wind up
MAX_FORCE = 300.0  # N of a collision, by MuJoCo's contacts: more ends the episode
COMMANDS = 10  # ahead, turn left, the arm's seven joints, close the gripper


@dataclass(frozen=True)
class Reading:
    """What the robot's sensors and the referee know after a step.

    depth         (64, 64) float32: metres along the camera's axis, by `MAX_DEPTH`, at most 1
    joints        (8,) rad of the arm's seven, and m from the gripper's middle to its fingers
    end_effector  (3,) between the tips of the fingers
    rest          (3,) where the end effector was when the episode began, and is to carry the object
    object        (3,) the middle of the wanted object, wherever it is now
    target        (3,) the middle of the top of the table on which it stood
    held          the name of the object between both fingers, None without one
    lifted        m: how far the wanted object is above where it stood
    clear         whether nothing of the home stands between the head and the wanted object
    force         N: the largest that pushed the robot against the home during the step
    pose          (3,) x, y and heading of the robot since the episode began, as its odometry tells
    """

    depth: np.ndarray
    joints: np.ndarray
    end_effector: np.ndarray
    rest: np.ndarray
    object: np.ndarray
    target: np.ndarray
    held: str | None
    lifted: float
    clear: bool
    force: float
    pose: np.ndarray


@dataclass(frozen=True)
class Sight:
    """An identified object in view: what it stands on ("table", "floor", "gripper") and its `pixels`."""

    name: str
    on: str
    at: np.ndarray
    pixels: int


class Simulator(Protocol):
    """One episode at a time; the same seed and commands give the same bits.

    wanted  the name of the object to be picked up
    """

    wanted: str

    def reset(self, seed: int, beside: bool = False) -> None:
        """Even seeds are for training, odd ones for evaluation in homes that training never sees.

        With `beside`, the robot starts where it can pick up the wanted object, facing it more or less.
        """

    def step(self, commands: np.ndarray) -> None:
        """(10,) in [−1, 1]: speeds ahead and of turning left, changes of the seven joints, closing of the gripper."""

    def read(self) -> Reading:
        """After `reset` and each `step`."""

    def sights(self) -> list[Sight]:
        """What the camera shows, the largest first."""

    def picture(self, side: int) -> np.ndarray:
        """(h, w, 3) uint8, for people."""
