"""One fixed competent policy for the DoorKey worlds, with which the audit goes on where a decision has ended.

It sees what the agent sees, the observation: colours and lava as well, which texts may not tell. What to do
next it tells from the situation alone, as a text would, and carries it out with the task's own options, gone
around lava: so it is no better at walking or exploring than a decision, and to leave things to it early is no
advantage. Of several doors or keys that will do it takes the first that the text names.

    a key, its door in sight and free       go to the door and open it
    a key, its door has a key before it     drop the one, then as with free hands
    a key, that of a door is in sight       the same
    nothing, a door has a key before it that is not its own     pick that up
    nothing, a door and its key in sight    go to the key and pick it up
    nothing, a key and no door in sight     the same
    else                                    explore
    nothing left to explore                 make way: pick up what key there is, or drop the one held

It drops keys where they are in no door's way.
"""

from numba import njit
import numpy as np

from askonce.pipeline.tasks.minigrid.engine import DONE, DROP, EMPTY, FIRST_DOOR, HELD, PICK_UP, TOGGLE
from askonce.pipeline.tasks.minigrid.options import (
    DROP_X,
    ENDED,
    EXPLORE,
    FREE_CELL_ASIDE,
    GO_TO,
    beside_a_door,
    option_action,
    shortest_path,
)

# Two doors, a key or dropping one, exploring, and two keys or dropping one.
MOST_WISHES = 6


@njit(cache=True, nogil=True)
def competent_action(state, n, scratch, careful):
    """The next action in environment n; `scratch` is `options.Scratch.search`.

    `careful` is True; written out here, it would have all of the options compiled once more.
    """
    wishes = np.empty((MOST_WISHES, 2), np.int64)
    for k in range(_write_wishes(state, n, wishes)):
        verb, slot, action = wishes[k, 0], wishes[k, 1], DONE
        if verb == DROP_X:
            action = shortest_path(state, n, FREE_CELL_ASIDE, 0, 0, DONE, scratch, careful)
            action = DROP if action == ENDED else action
        if action == DONE:
            action = option_action(state, n, verb, slot, scratch, careful)
        if action == ENDED and verb == GO_TO:
            return PICK_UP if slot < FIRST_DOOR else TOGGLE
        if action != ENDED and action != DONE:
            return action
    return DONE


@njit(cache=True, nogil=True)
def _write_wishes(state, n, wishes):
    """Writes (verb, slot) of what there is to do, the most wanted first, and returns how many there are."""
    count, holds = 0, state.held[n, 0] != EMPTY
    if holds:
        for door in range(FIRST_DOOR, HELD):
            if _in_sight(state, n, door) and _color(state, n, door) == state.held[n, 1]:
                wishes[count, 0], wishes[count, 1] = GO_TO, door
                count += 1
    key = _wanted_key(state, n)
    if key >= 0:
        wishes[count, 0], wishes[count, 1] = (DROP_X, HELD) if holds else (GO_TO, key)
        count += 1
    wishes[count, 0], wishes[count, 1] = EXPLORE, -1
    count += 1
    if holds:
        wishes[count, 0], wishes[count, 1] = DROP_X, HELD
        return count + 1
    for key in range(FIRST_DOOR):
        if _in_sight(state, n, key):
            wishes[count, 0], wishes[count, 1] = GO_TO, key
            count += 1
    return count


@njit(cache=True, nogil=True)
def _wanted_key(state, n):
    """The slot of the key that is to be taken next, -1 if there is none: one in a door's way before any other."""
    doors, wanted = False, -1
    for door in range(FIRST_DOOR, HELD):
        doors = doors or _in_sight(state, n, door)
    for key in range(FIRST_DOOR):
        if not _in_sight(state, n, key):
            continue
        fits = False
        for door in range(FIRST_DOOR, HELD):
            fits = fits or (_in_sight(state, n, door) and _color(state, n, door) == _color(state, n, key))
        if not fits and beside_a_door(state.observation, n, state.cells[n, key, 0], state.cells[n, key, 1]):
            return key
        if wanted < 0 and (fits or (not doors and state.held[n, 0] == EMPTY)):
            wanted = key
    return wanted


@njit(cache=True, nogil=True)
def _in_sight(state, n, slot):
    return state.cells[n, slot, 0] >= 0


@njit(cache=True, nogil=True)
def _color(state, n, slot):
    return state.observation[n, state.cells[n, slot, 0], state.cells[n, slot, 1], 1]
