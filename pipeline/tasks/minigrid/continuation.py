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

from pipeline.tasks.minigrid.engine import DONE, DROP, EMPTY, FIRST_DOOR, HELD, PICK_UP, TOGGLE
from pipeline.tasks.minigrid.options import (
    DROP_X, ENDED, EXPLORE, FREE_CELL_ASIDE, GO_TO, beside_a_door, option_action, shortest_path,
)


@njit(cache=True, nogil=True)
def competent_action(state, n, scratch):
    """The next action in environment n; `scratch` is `options.Scratch.search`."""
    holds = state.held[n, 0] != EMPTY
    if holds:
        for door in range(FIRST_DOOR, HELD):
            if _in_sight(state, n, door) and _color(state, n, door) == state.held[n, 1]:
                action = option_action(state, n, GO_TO, door, scratch, True)
                if action != DONE:
                    return TOGGLE if action == ENDED else action
    key = _wanted_key(state, n)
    if key >= 0:
        action = _drop_aside(state, n, scratch) if holds else _fetch(state, n, key, scratch)
        if action != DONE:
            return action
    action = option_action(state, n, EXPLORE, -1, scratch, True)
    if action != ENDED:
        return action
    if holds:
        return _drop_aside(state, n, scratch)
    for key in range(FIRST_DOOR):
        if _in_sight(state, n, key):
            action = _fetch(state, n, key, scratch)
            if action != DONE:
                return action
    return DONE


@njit(cache=True, nogil=True)
def _fetch(state, n, key, scratch):
    action = option_action(state, n, GO_TO, key, scratch, True)
    return PICK_UP if action == ENDED else action


@njit(cache=True, nogil=True)
def _drop_aside(state, n, scratch):
    action = shortest_path(state, n, FREE_CELL_ASIDE, 0, 0, DONE, scratch, True)
    if action == DONE:
        return option_action(state, n, DROP_X, HELD, scratch, True)
    return DROP if action == ENDED else action


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
