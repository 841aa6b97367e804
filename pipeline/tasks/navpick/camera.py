"""The head camera: one ray for each pixel of the depth image, which also tells what the pixel shows."""

import mujoco
import numpy as np

from askonce.pipeline.tasks.navpick import rays, robot
from askonce.pipeline.tasks.navpick.simulator import DEPTH_PIXELS, MAX_DEPTH


def directions(width: int, height: int, field: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (height·width, 3) of a pinhole camera that looks along x with y left and z up, row by row from
    the top left, and what a distance along each is to be multiplied with to be along the camera's axis.

    `field` is the field of view across the width, in degrees.
    """
    across, down = tangents(width, field), tangents(height, field) * height / width
    ahead, left, up = np.broadcast_arrays(1.0, across[None], down[:, None])
    rays = np.stack([ahead, left, up], axis=-1).reshape(-1, 3)
    length = np.linalg.norm(rays, axis=1)
    return rays / length[:, None], 1 / length


def tangents(pixels: int, field: float) -> np.ndarray:
    """(P,) of the angles between the camera's axis and a line of pixels, from one side of the field to the other."""
    found: np.ndarray = np.tan(np.radians(field) / 2) * (1 - 2 * (np.arange(pixels) + 0.5) / pixels)
    return found


def tilted(down: float) -> np.ndarray:
    """The rotation of a camera that looks `down` radians below the horizon, as a matrix of columns."""
    c, s = np.cos(down), np.sin(down)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


class Camera:
    """depth (64, 64) float32 in [0, 1] and geoms (64, 64) int32, −1 where a ray meets nothing: as last looked at."""

    def __init__(self) -> None:
        self._tangents = tangents(DEPTH_PIXELS, robot.FIELD_OF_VIEW)
        self._depths = np.zeros((DEPTH_PIXELS, DEPTH_PIXELS))
        self.geoms = np.zeros((DEPTH_PIXELS, DEPTH_PIXELS), np.int32)

    def look(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        site, turns = data.site("camera"), data.geom_xmat.reshape(-1, 3, 3)
        axes = site.xmat.reshape(3, 3) @ tilted(robot.CAMERA_TILT)
        starts = np.matmul((site.xpos - data.geom_xpos)[:, None], turns)[:, 0]
        rays.cast(
            model.geom_type,
            model.geom_size,
            starts,
            turns.transpose(0, 2, 1) @ axes,
            self._tangents,
            self.geoms,
            self._depths,
        )
        self.depth = np.minimum(self._depths / MAX_DEPTH, 1.0).astype(np.float32)
