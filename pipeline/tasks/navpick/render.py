"""Pictures of an episode for people, shaded ray by ray: no display, no graphics library, the same everywhere.

Views side by side: the home from above and outside with its walls cut low, the robot from close by, and
what its head camera sees, as colours and as the depth image that the agent gets.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from askonce.pipeline.tasks.navpick import robot, world
from askonce.pipeline.tasks.navpick.camera import directions, tilted
from askonce.pipeline.tasks.navpick.homes import home

if TYPE_CHECKING:
    from askonce.pipeline.tasks.navpick.mujoco_simulator import MujocoSimulator

CUT_WALLS = 0.7  # m
# Width and depth of a home, m.
Size = tuple[float, float]
SKY = np.array([0.93, 0.95, 0.98])
SUN = np.array([0.35, -0.5, 0.8]) / np.linalg.norm([0.35, -0.5, 0.8])
SAMPLES = 3  # rays a side of a pixel on an edge
TILE = 0.5  # m
FAR = 200.0  # m


def picture(simulator: "MujocoSimulator", side: int) -> np.ndarray:
    """(side, 2.5·side, 3) uint8: from outside, from close by, and the head camera's colours above its depth."""
    cut = _cut(simulator.number)
    data = mujoco.MjData(cut)
    data.qpos[:] = simulator.data.qpos
    mujoco.mj_kinematics(cut, data)
    size = simulator.episode.home.size
    head = _head(simulator.model, simulator.data, size, side // 2)
    seen = np.concatenate([head, _depth(simulator.camera.depth, side - side // 2, side // 2)])
    close = _close(simulator.pose, cut, data, size, side)
    return np.concatenate([_outside(cut, data, size, side), close, seen], axis=1)


@lru_cache(maxsize=4)
def _cut(number: int) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(world.xml(home(number), wall_height=CUT_WALLS))


def _outside(model: mujoco.MjModel, data: mujoco.MjData, size: Size, side: int) -> np.ndarray:
    middle = np.array([size[0] / 2, size[1] / 2, 0.0])
    eye = middle + 1.65 * max(size) * np.array([0.0, -0.55, 0.84])
    return _shade(model, data, size, *_camera(eye, middle), 42, side, side)


def _close(
    pose: tuple[float, float, float], model: mujoco.MjModel, data: mujoco.MjData, size: Size, side: int
) -> np.ndarray:
    """From behind the robot's left shoulder towards what is before it, high enough to see over the walls."""
    x, y, heading = pose
    turn = heading + 2.3
    eye = np.array([x + 1.3 * np.cos(turn), y + 1.3 * np.sin(turn), 2.1])
    ahead = np.array([x + 0.35 * np.cos(heading), y + 0.35 * np.sin(heading), 0.8])
    return _shade(model, data, size, *_camera(eye, ahead), 52, side, side)


def _head(model: mujoco.MjModel, data: mujoco.MjData, size: Size, side: int) -> np.ndarray:
    site = data.site("camera")
    matrix = site.xmat.reshape(3, 3) @ tilted(robot.CAMERA_TILT)
    return _shade(model, data, size, site.xpos.copy(), matrix, robot.FIELD_OF_VIEW, side, side)


def _depth(depth: np.ndarray, height: int, width: int) -> np.ndarray:
    """Near is bright; beyond four metres is black."""
    near = (255 * (1 - np.clip(depth * 2.5, 0, 1))).astype(np.uint8)
    rows, columns = (np.arange(pixels) * len(near) // pixels for pixels in (height, width))
    found: np.ndarray = near[rows][:, columns, None].repeat(3, axis=2)
    return found


def _camera(eye: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The eye and the rotation whose columns are ahead, left, up."""
    ahead = (at - eye) / np.linalg.norm(at - eye)
    left = np.cross((0, 0, 1), ahead)
    left /= np.linalg.norm(left)
    return eye, np.stack([ahead, left, np.cross(ahead, left)], axis=1)


def _shade(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    size: Size,
    eye: np.ndarray,
    matrix: np.ndarray,
    field: float,
    width: int,
    height: int,
) -> np.ndarray:
    """One ray a pixel, and more where neighbours show different things."""
    rays, _ = directions(width, height, field)
    colors, geoms = _colors(model, data, size, eye, rays @ matrix.T)
    edges = _edges(geoms.reshape(height, width)).ravel()
    finer, _ = directions(width * SAMPLES, height * SAMPLES, field)
    finer = finer.reshape(height, SAMPLES, width, SAMPLES, 3).swapaxes(1, 2).reshape(len(rays), -1, 3)[edges]
    found, _ = _colors(model, data, size, eye, finer.reshape(-1, 3) @ matrix.T)
    colors[edges] = found.reshape(len(finer), -1, 3).mean(axis=1)
    shaded: np.ndarray = (255 * np.clip(colors, 0, 1)).astype(np.uint8)
    return shaded.reshape(height, width, 3)


def _edges(geoms: np.ndarray) -> np.ndarray:
    edges = np.zeros(geoms.shape, bool)
    across, down = geoms[:, 1:] != geoms[:, :-1], geoms[1:] != geoms[:-1]
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    edges[1:] |= down
    edges[:-1] |= down
    return edges


def _colors(
    model: mujoco.MjModel, data: mujoco.MjData, size: Size, eye: np.ndarray, rays: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) colours by the sun's angle, with its shadows, and what each ray meets."""
    geoms, distances, normals = _cast(model, data, eye, rays)
    points = eye + rays * distances[:, None]
    floor = geoms == 0
    nothing = (geoms < 0) | floor & ((points[:, :2] < 0) | (points[:, :2] > size)).any(axis=1)
    light = np.abs(normals @ SUN) * 0.55
    light[~nothing] *= ~_shadowed(model, data, points[~nothing])
    colors = model.geom_rgba[geoms, :3] * (0.5 + light)[:, None]
    colors[floor] *= 1 + 0.05 * (np.floor(points[floor, :2] / TILE).sum(axis=1) % 2)[:, None]
    colors[nothing] = SKY
    return colors, np.where(nothing, -1, geoms)


def _cast(
    model: mujoco.MjModel, data: mujoco.MjData, eye: np.ndarray, rays: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    geoms, distances = np.zeros(len(rays), np.int32), np.zeros(len(rays))
    normals = np.zeros(3 * len(rays))
    mujoco.mj_multiRay(
        model, data, eye, np.ascontiguousarray(rays).ravel(), None, True, -1, geoms, distances, normals, len(geoms), FAR
    )
    return geoms, distances, normals.reshape(-1, 3)


def _shadowed(model: mujoco.MjModel, data: mujoco.MjData, points: np.ndarray) -> np.ndarray:
    """Whether something stands between each point and the sun: what the sun itself does not see first.

    The sun is so far away that its rays are all but parallel, and one camera there casts them all.
    """
    sun = points.mean(axis=0) + 60 * SUN
    way = points - sun
    far = np.linalg.norm(way, axis=1)
    geoms, distances = np.zeros(len(points), np.int32), np.zeros(len(points))
    mujoco.mj_multiRay(
        model,
        data,
        sun,
        np.ascontiguousarray(way / far[:, None]).ravel(),
        None,
        True,
        -1,
        geoms,
        distances,
        None,
        len(points),
        FAR,
    )
    shadowed: np.ndarray = (distances >= 0) & (distances < far - 0.01)
    return shadowed
