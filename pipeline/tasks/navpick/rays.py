"""What a pinhole camera's rays meet first, among planes, spheres, capsules, cylinders and boxes.

MuJoCo's `mj_multiRay` gives the same and serves every shape, one ray after the other through all of them; here each
shape is cast to where the picture can show it alone, several times as fast (bench_navpick).
"""

from math import hypot, sqrt

import mujoco
from numba import njit
import numpy as np

PLANE, SPHERE, CAPSULE, CYLINDER, BOX = (
    int(getattr(mujoco.mjtGeom, f"mjGEOM_{name}")) for name in ("PLANE", "SPHERE", "CAPSULE", "CYLINDER", "BOX")
)
NOTHING = np.inf
NEAR = 1e-3  # m before the camera
TINY = 1e-12
Triple = tuple[float, float, float]


@njit(cache=True, nogil=True, error_model="numpy")
def cast(
    kinds: np.ndarray,
    sizes: np.ndarray,
    starts: np.ndarray,
    turns: np.ndarray,
    tangents: np.ndarray,
    geoms: np.ndarray,
    depths: np.ndarray,
) -> None:
    """Fills `geoms` (P, P) with the first thing that each pixel's ray meets, −1 for none, and `depths` (P, P) with how
    far along the camera's axis that is, inf for none.

    kinds (G,), sizes (G, 3)  of the shapes, as in `MjModel`
    starts (G, 3), turns (G, 3, 3)  where the camera is in each shape's frame, and the matrix from its frame (x ahead,
        y left, z up) into that
    tangents (P,)  of the pixels' angles to the camera's axis, from left to right and from the top down
    """
    geoms[:] = -1
    depths[:] = NOTHING
    side = len(tangents)
    for geom in range(len(kinds)):
        kind, size, start, turn = kinds[geom], sizes[geom], starts[geom], turns[geom]
        top, bottom, left, right = 0, side, 0, side
        if kind != PLANE:
            top, bottom, left, right = _shown(_extent(kind, size), start, turn, tangents)
        for row in range(top, bottom):
            up = tangents[row]
            ahead = (turn[0, 0] + up * turn[0, 2], turn[1, 0] + up * turn[1, 2], turn[2, 0] + up * turn[2, 2])
            for column in range(left, right):
                aside = tangents[column]
                ray = (ahead[0] + aside * turn[0, 1], ahead[1] + aside * turn[1, 1], ahead[2] + aside * turn[2, 1])
                met = _meet(kind, size, start, ray)
                if met < depths[row, column]:
                    depths[row, column], geoms[row, column] = met, geom


@njit(cache=True, nogil=True, error_model="numpy")
def _extent(kind: int, size: np.ndarray) -> Triple:
    """Half the sides of the box around a shape."""
    if kind == BOX:
        return size[0], size[1], size[2]
    if kind == CYLINDER:
        return size[0], size[0], size[1]
    return size[0], size[0], size[0] + (size[1] if kind == CAPSULE else 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _shown(extent: Triple, start: np.ndarray, turn: np.ndarray, tangents: np.ndarray) -> tuple[int, int, int, int]:
    """Rows and columns, first and beyond the last, of the pixels that can show a box seen from `start` in its frame.

    They are those of its corners, and of where its edges pass the camera.
    """
    low_y, high_y, low_z, high_z = np.inf, -np.inf, np.inf, -np.inf
    for corner in range(8):
        x, y, z = _corner(corner, extent, start, turn)
        if x >= NEAR:
            low_y, high_y = min(low_y, y / x), max(high_y, y / x)
            low_z, high_z = min(low_z, z / x), max(high_z, z / x)
            continue
        for axis in range(3):
            to_x, to_y, to_z = _corner(corner ^ 1 << axis, extent, start, turn)
            if to_x >= NEAR:
                share = (NEAR - x) / (to_x - x)
                at_y, at_z = (y + share * (to_y - y)) / NEAR, (z + share * (to_z - z)) / NEAR
                low_y, high_y = min(low_y, at_y), max(high_y, at_y)
                low_z, high_z = min(low_z, at_z), max(high_z, at_z)
    if low_y > high_y:
        return 0, 0, 0, 0
    top, bottom = _pixels(high_z, low_z, tangents)
    left, right = _pixels(high_y, low_y, tangents)
    return top, bottom, left, right


@njit(cache=True, nogil=True, error_model="numpy")
def _corner(corner: int, extent: Triple, start: np.ndarray, turn: np.ndarray) -> Triple:
    """One of a box's eight corners in the camera's frame."""
    a = (extent[0] if corner & 1 else -extent[0]) - start[0]
    b = (extent[1] if corner & 2 else -extent[1]) - start[1]
    c = (extent[2] if corner & 4 else -extent[2]) - start[2]
    return (
        a * turn[0, 0] + b * turn[1, 0] + c * turn[2, 0],
        a * turn[0, 1] + b * turn[1, 1] + c * turn[2, 1],
        a * turn[0, 2] + b * turn[1, 2] + c * turn[2, 2],
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _pixels(high: float, low: float, tangents: np.ndarray) -> tuple[int, int]:
    """Those between two tangents: they fall from one end to the other by equal steps."""
    last = len(tangents) - 1
    step = (tangents[0] - tangents[last]) / last
    first = int(min(max((tangents[0] - high) / step, -1.0), last + 1.0))
    end = int(min(max((tangents[0] - low) / step, -1.0), last + 1.0)) + 1
    return max(first, 0), min(end, last + 1)


@njit(cache=True, nogil=True, error_model="numpy")
def _meet(kind: int, size: np.ndarray, start: np.ndarray, ray: Triple) -> float:
    """By how many times its own length the ray meets the shape, in the shape's frame."""
    if kind == BOX:
        return _meet_box(size, start, ray)
    x, y, z = start[0], start[1], start[2]
    dx, dy, dz = ray
    if kind == PLANE:
        return -z / dz if z >= 0 and dz < 0 else NOTHING
    radius, flat = size[0], dx * dx + dy * dy
    length = flat + dz * dz
    if kind == SPHERE:
        return _least(length, x * dx + y * dy + z * dz, x * x + y * y + z * z - radius * radius, 0.0, z, dz, NOTHING)
    # Capsule and cylinder: the side, as far as it goes, and the ends.
    half, across, off = size[1], x * dx + y * dy, x * x + y * y - radius * radius
    met = _least(flat, across, off, 0.0, z, dz, half)
    for end in (-half, half):
        up = z - end
        if kind == CAPSULE:
            # The half of a ball, beyond the side's end.
            met = min(met, _least(length, across + up * dz, off + up * up, end, up, dz, NOTHING))
        elif abs(dz) > TINY:
            at = -up / dz
            if at >= 0 and hypot(x + at * dx, y + at * dy) <= radius:
                met = min(met, at)
    return met


@njit(cache=True, nogil=True, error_model="numpy")
def _meet_box(half: np.ndarray, start: np.ndarray, ray: Triple) -> float:
    """Between the farthest of its three slabs' entries and the nearest of their exits."""
    enter, leave = -NOTHING, NOTHING
    for axis in range(3):
        if abs(ray[axis]) < TINY:
            if abs(start[axis]) > half[axis]:
                return NOTHING
            continue
        one, other = (-half[axis] - start[axis]) / ray[axis], (half[axis] - start[axis]) / ray[axis]
        enter, leave = max(enter, min(one, other)), min(leave, max(one, other))
    if enter > leave or leave < 0:
        return NOTHING
    return enter if enter >= 0 else leave


@njit(cache=True, nogil=True, error_model="numpy")
def _least(a: float, b: float, c: float, beyond: float, z: float, dz: float, within: float) -> float:
    """The least root t ≥ 0 of a t² + 2 b t + c where z + t dz is no farther from 0 than `within`, on `beyond`'s side."""
    under = b * b - a * c
    if under < 0 or a < TINY:
        return NOTHING
    under = sqrt(under)
    for root in ((-b - under) / a, (-b + under) / a):
        at = z + root * dz
        if root >= 0 and abs(at) <= within and at * beyond >= 0:
            return root
    return NOTHING
