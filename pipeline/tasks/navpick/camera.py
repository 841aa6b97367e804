"""The head camera: one ray for each pixel of the depth image, which also tells what the pixel shows."""

import mujoco
import numpy as np

from pipeline.tasks.navpick import robot
from pipeline.tasks.navpick.simulator import DEPTH_PIXELS, MAX_DEPTH


def directions(width: int, height: int, field: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (height·width, 3) of a pinhole camera that looks along x with y left and z up, row by row from
    the top left, and what a distance along each is to be multiplied with to be along the camera's axis.

    `field` is the field of view across the width, in degrees.
    """
    half = np.tan(np.radians(field) / 2)
    across = half * (1 - 2 * (np.arange(width) + 0.5) / width)
    down = half * (1 - 2 * (np.arange(height) + 0.5) / height) * height / width
    ahead, left, up = np.broadcast_arrays(1.0, across[None], down[:, None])
    rays = np.stack([ahead, left, up], axis=-1).reshape(-1, 3)
    length = np.linalg.norm(rays, axis=1)
    return rays / length[:, None], 1 / length


def tilted(down: float) -> np.ndarray:
    """The rotation of a camera that looks `down` radians below the horizon, as a matrix of columns."""
    c, s = np.cos(down), np.sin(down)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


class Camera:
    """depth (64, 64) float32 in [0, 1] and geoms (4096,) int32, −1 where a ray meets nothing: as last looked at."""

    def __init__(self):
        rays, self._along = directions(DEPTH_PIXELS, DEPTH_PIXELS, robot.FIELD_OF_VIEW)
        self._rays = rays @ tilted(robot.CAMERA_TILT).T
        self._distances = np.zeros(len(rays))
        self.geoms = np.zeros(len(rays), np.int32)

    def look(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        site = data.site("camera")
        cast(model, data, site.xpos, self._rays @ site.xmat.reshape(3, 3).T, self.geoms, self._distances)
        depth = np.where(self.geoms >= 0, self._distances * self._along, MAX_DEPTH)
        self.depth = np.minimum(depth / MAX_DEPTH, 1.0).astype(np.float32).reshape(DEPTH_PIXELS, DEPTH_PIXELS)


def cast(model, data, origin, rays, geoms, distances, normals=None) -> None:
    """Fills `geoms` and `distances` with the first thing that each ray meets; −1 where it meets none."""
    mujoco.mj_multiRay(
        model, data, origin, np.ascontiguousarray(rays).ravel(), None, True, -1, geoms, distances, normals,
        len(geoms), 4 * MAX_DEPTH,
    )
