"""What the student sees: the remembered map cropped and turned about the agent, one-hot.

A policy that sees the world from where it stands need not learn every action once for each place and
direction. The view carries nothing but the observation: each cell of a square window centred on the
agent, turned so that the agent looks up, has one plane for each kind of content the task knows; cells not
seen yet are zero in all of them. The planes of what is held follow.
"""

from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX
from numba import njit
import numpy as np

from askonce.pipeline.tasks.minigrid.engine import DX, DY, UNSEEN, State
from askonce.pipeline.tasks.minigrid.envs import GRID

# Cells on each side of the agent.
REACH = 7
WINDOW = 2 * REACH + 1
# The whole map, and what is held.
MOST_ONES = GRID * GRID + 1
NO_PLANE = -1


def plane_table(contents: tuple[str, ...]) -> np.ndarray:
    """(object, colour) → plane, for contents such as ("empty", "wall", "blue key"); NO_PLANE elsewhere."""
    planes = np.full((len(OBJECT_TO_IDX), len(COLOR_TO_IDX)), NO_PLANE, np.int64)
    for plane, content in enumerate(contents):
        *color, kind = content.split()
        planes[OBJECT_TO_IDX[kind], COLOR_TO_IDX[color[0]] if color else slice(None)] = plane
    return planes


def view_size(contents: tuple[str, ...]) -> int:
    return (WINDOW * WINDOW + 1) * len(contents)


@njit(cache=True, nogil=True)
def egocentric_ones(state: State, planes: np.ndarray, count: int, ones: np.ndarray) -> None:
    """Writes which inputs are 1, (N, MOST_ONES) uint16 filled up with view_size.

    `planes` is a plane_table of `count` contents.
    """
    for n in range(ones.shape[0]):
        ones_of(state, n, planes, count, ones[n])


@njit(cache=True, nogil=True)
def ones_of(state, n, planes, count, ones):
    """`egocentric_ones` of environment n."""
    x, y, direction = state.agent[n, 0], state.agent[n, 1], state.agent[n, 2]
    ahead_x, ahead_y = DX[direction], DY[direction]
    found, end = 0, (WINDOW * WINDOW + 1) * count
    for cx in range(state.world.shape[1]):
        for cy in range(state.world.shape[2]):
            kind = state.observation[n, cx, cy, 0]
            if kind == UNSEEN or (cx == x and cy == y):
                continue
            plane = planes[kind, state.observation[n, cx, cy, 1]]
            ahead = (cx - x) * ahead_x + (cy - y) * ahead_y
            aside = (cy - y) * ahead_x - (cx - x) * ahead_y
            if plane != NO_PLANE and abs(ahead) <= REACH and abs(aside) <= REACH:
                ones[found] = ((REACH - ahead) * WINDOW + REACH + aside) * count + plane
                found += 1
    plane = planes[state.held[n, 0], state.held[n, 1]]
    if plane != NO_PLANE:
        ones[found] = end - count + plane
        found += 1
    for i in range(found, ones.shape[0]):
        ones[i] = end


@njit(cache=True, nogil=True)
def one_hot(ones: np.ndarray, view: np.ndarray) -> None:
    """Writes (N, F) uint8 from (N, M) ones."""
    for n in range(view.shape[0]):
        view[n] = 0
        for one in ones[n]:
            if one == view.shape[1]:
                break
            view[n, one] = 1
