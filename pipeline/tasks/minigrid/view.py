"""What the student sees: the remembered map cropped and turned about the agent, one-hot.

A policy that sees the world from where it stands need not learn every action once for each place and
direction. The view carries nothing but the observation: each cell of a square window centred on the
agent, turned so that the agent looks up, has one plane for each kind of content the task knows; known
empty cells are zero in all of them. The planes of what is held follow.
"""

from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX
from numba import njit
import numpy as np

from pipeline.tasks.minigrid.engine import DX, DY, EMPTY, UNSEEN

# Cells on each side of the agent.
REACH = 7
WINDOW = 2 * REACH + 1
MOST_ONES = WINDOW * WINDOW + 1
NO_PLANE = -1


def plane_table(contents: tuple[str, ...]) -> np.ndarray:
    """(object, colour) → plane, for contents such as ("unseen", "wall", "blue key"); NO_PLANE elsewhere."""
    planes = np.full((len(OBJECT_TO_IDX), len(COLOR_TO_IDX)), NO_PLANE, np.int64)
    for plane, content in enumerate(contents):
        *color, kind = content.split()
        planes[OBJECT_TO_IDX[kind], COLOR_TO_IDX[color[0]] if color else slice(None)] = plane
    return planes


def view_size(contents: tuple[str, ...]) -> int:
    return (WINDOW * WINDOW + 1) * len(contents)


@njit(cache=True, nogil=True)
def egocentric_ones(state, planes: np.ndarray, count: int, ones: np.ndarray) -> None:
    """Writes which inputs are 1, (N, MOST_ONES) uint16 in ascending order, then F = view_size to the end of a row.

    `planes` is a plane_table of `count` contents.
    """
    width, height = state.world.shape[1], state.world.shape[2]
    for n in range(ones.shape[0]):
        x, y, direction = state.agent[n]
        position, found = 0, 0
        for ahead in range(REACH, -REACH - 1, -1):
            for aside in range(-REACH, REACH + 1):
                cx = x + ahead * DX[direction] - aside * DY[direction]
                cy = y + ahead * DY[direction] + aside * DX[direction]
                kind, color = UNSEEN, 0
                if ahead == 0 and aside == 0:
                    kind = EMPTY
                elif 0 <= cx < width and 0 <= cy < height:
                    kind, color = state.observation[n, cx, cy, 0], state.observation[n, cx, cy, 1]
                plane = planes[kind, color]
                if plane != NO_PLANE:
                    ones[n, found] = position + plane
                    found += 1
                position += count
        plane = planes[state.held[n, 0], state.held[n, 1]]
        if plane != NO_PLANE:
            ones[n, found] = position + plane
            found += 1
        ones[n, found:] = position + count


@njit(cache=True, nogil=True)
def one_hot(ones: np.ndarray, view: np.ndarray) -> None:
    """Writes (N, F) uint8 from (N, M) ones."""
    for n in range(view.shape[0]):
        view[n] = 0
        for one in ones[n]:
            if one == view.shape[1]:
                break
            view[n, one] = 1
