"""What the student sees of any MiniGrid world: the remembered map turned about the agent, one-hot.

As in the DoorKey tasks (`pipeline.tasks.minigrid.view`): a window about the agent, turned so that it looks
up, with a plane for each kind of content; cells not seen yet are zero in all of them; the planes of what is
held follow. The window ends at 7 cells, or maps of 25 × 25 would leave no room for a network within its 24
thousand parameters; goals and things beyond it are drawn on its edge, which tells the way to them.
"""

from dataclasses import dataclass

from minigrid.core.constants import OBJECT_TO_IDX
from numba import njit
import numpy as np

from askonce.pipeline.tasks.minigrid.engine import DOOR, DX, DY, EMPTY, LOCKED, OPEN, UNSEEN, WALL
from askonce.pipeline.tasks.minigrid.stock.facts import CLOSED
from askonce.pipeline.tasks.minigrid.stock.sight import BOX, FLOOR, Worlds

MOST_REACH = 7
_STATES = 3


@dataclass(frozen=True)
class Window:
    """`reach` cells to each side; `planes` (object, state) → plane, -1 for none.

    `wanted` is the plane of what has the mission's first colour, -1 where kinds say enough.
    """

    reach: int
    planes: np.ndarray
    count: int
    wanted: int

    @property
    def size(self) -> int:
        """F, the number of inputs."""
        return ((2 * self.reach + 1) ** 2 + 1) * self.count


def window(width: int, height: int, kinds: tuple[str, ...], rivals: bool) -> Window:
    """The window for a map of W × H with these kinds of things; `rivals`: of the kind that the mission names
    there are some of other colours."""
    planes = np.full((len(OBJECT_TO_IDX), _STATES), -1)
    planes[EMPTY], planes[FLOOR], planes[DOOR, OPEN], planes[WALL] = 0, 0, 0, 1
    count = 2
    for kind in kinds:
        if kind == "door":
            planes[DOOR, CLOSED], planes[DOOR, LOCKED] = count, count + 1
            count += 2
        else:
            planes[OBJECT_TO_IDX[kind]] = count
            count += 1
    # No cell inside the walls is further away than this.
    reach = min(MOST_REACH, max(width, height) - 2)
    return Window(reach, planes, count + rivals, count if rivals else -1)


@njit(cache=True, nogil=True)
def egocentric_view(
    worlds: Worlds, colors: np.ndarray, reach: int, planes: np.ndarray, count: int, wanted: int, view: np.ndarray
) -> None:
    """Writes (N, F) uint8; `colors` (N,) are the missions' first colours, the rest a `Window`."""
    memory, side = worlds.memory, 2 * reach + 1
    for n in range(view.shape[0]):
        view[n] = 0
        x, y, direction = worlds.agent[n, 0], worlds.agent[n, 1], worlds.agent[n, 2]
        for cx in range(memory.shape[1]):
            for cy in range(memory.shape[2]):
                kind, color, state = memory[n, cx, cy, 0], memory[n, cx, cy, 1], memory[n, cx, cy, 2]
                if kind == UNSEEN:
                    continue
                ahead = (cx - x) * DX[direction] + (cy - y) * DY[direction]
                aside = (cy - y) * DX[direction] - (cx - x) * DY[direction]
                if abs(ahead) > reach or abs(aside) > reach:
                    if planes[kind, state] < 2:
                        continue
                    ahead, aside = min(max(ahead, -reach), reach), min(max(aside, -reach), reach)
                cell = ((reach - ahead) * side + reach + aside) * count
                _draw(view, n, cell, planes, wanted, kind, color == colors[n], state)
        _draw(view, n, side * side * count, planes, wanted, worlds.held[n, 0], worlds.held[n, 1] == colors[n], 0)


@njit(cache=True, nogil=True)
def _draw(view, n, cell, planes, wanted, kind, is_wanted, state):
    if planes[kind, state] >= 0:
        view[n, cell + planes[kind, state]] = 1
    # Doors, keys, balls and boxes; the others have a colour that tells nothing.
    if wanted >= 0 and is_wanted and DOOR <= kind <= BOX:
        view[n, cell + wanted] = 1


def most_ones(width: int, height: int, seen: Window) -> int:
    """M: the most inputs that can be 1 at once."""
    planes_of_a_thing = 2 if seen.wanted >= 0 else 1
    return min((width * height + 1) * planes_of_a_thing, seen.size)


@njit(cache=True, nogil=True)
def list_ones(view: np.ndarray, ones: np.ndarray) -> None:
    """Writes which inputs of (N, F) views are 1, (N, M) uint16, each row filled up with F."""
    for n in range(view.shape[0]):
        found = 0
        for i in range(view.shape[1]):
            if view[n, i]:
                ones[n, found] = i
                found += 1
        ones[n, found:] = view.shape[1]
