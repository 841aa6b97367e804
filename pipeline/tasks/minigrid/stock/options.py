"""The options in MiniGrid's registered environments: each chooses one action from what the agent remembers.

explore   goes to the nearest pose that shows something unseen straight ahead; ended when no way leads to any
go to X   takes a shortest path to a cell from which it faces X, or onto the goal; ended when it faces X or
          holds it. Where no known way leads there, through the unseen as if it were free
pick up X takes X, if that is ahead and the hands are free; ended when it holds X
drop X    puts X down on the nearest free cell where it bars no way; ended when X is not held
open X    acts on X if that is ahead; ended when X is open

Unlike in the DoorKey tasks they keep clear of lava that has been seen. On their way they open closed doors,
but for those that the texts name (locked ones, and those that the mission names): these are the LLM's to
open. Of several things of one name, X is any that lies before a locked door, else any. What cannot be
carried out makes the agent stand still for a step (`DONE`).
"""

from numba import njit
import numpy as np

from askonce.pipeline.tasks.minigrid.engine import (
    DONE,
    DOOR,
    DROP,
    DX,
    DY,
    EMPTY,
    FORWARD,
    KEY,
    LAVA,
    LEFT,
    LOCKED,
    OPEN,
    PICK_UP,
    RIGHT,
    TOGGLE,
    UNSEEN,
    WALL,
)
from askonce.pipeline.tasks.minigrid.options import DROP_X, ENDED, EXPLORE, GO_TO, OPEN_X, PICK_UP_X
from askonce.pipeline.tasks.minigrid.stock.facts import CLOSED, is_beside
from askonce.pipeline.tasks.minigrid.stock.sight import BALL, BOX, FLOOR, GOAL

# What a shortest path leads to: a pose that faces the target, or one of its kind that lies before a locked door, a
# cell to drop something on, something unseen.
_TARGET, _BLOCKING_TARGET, _FREE_CELL, _ANY_FREE_CELL, _UNSEEN_CELL = range(5)

# Cells that MiniGrid's agents see straight ahead.
SIGHT = 6


def scratch_for(width: int, height: int) -> np.ndarray:
    """What `option_action` works in."""
    return np.empty((2, 8 * width * height), np.int64)


@njit(cache=True, nogil=True)
def option_action(
    memory: np.ndarray,
    agent: np.ndarray,
    held: np.ndarray,
    doors: int,
    verb: int,
    kind: int,
    color: int,
    state: int,
    scratch: np.ndarray,
) -> int:
    """The next action of one option in one environment, ENDED once it has ended.

    memory (W, H, 3), agent (3,), held (3,) as in `sight.Worlds`; `doors` is the mission's. The option's
    object is of a kind, a colour and a state, -1 where any will do; kind -1 is one that is not in the text.
    """
    if verb == EXPLORE:
        return _path(memory, agent, doors, _UNSEEN_CELL, 0, 0, 0, False, ENDED, scratch)
    if kind < 0:
        return DONE
    holds_it = held[0] == kind and (color < 0 or held[1] == color)
    ahead_x, ahead_y = agent[0] + DX[agent[2]], agent[1] + DY[agent[2]]
    is_ahead = _is_target(memory, ahead_x, ahead_y, kind, color, state)
    if verb == DROP_X:
        return _drop(memory, agent, doors, scratch) if holds_it else ENDED
    if verb == GO_TO or verb == PICK_UP_X:
        if holds_it:
            return ENDED
        if verb == PICK_UP_X:
            return PICK_UP if is_ahead and held[0] == EMPTY else DONE
        return _go_to(memory, agent, doors, kind, color, state, scratch)
    if verb == OPEN_X:
        if kind == DOOR and state == OPEN:
            return ENDED
        return TOGGLE if is_ahead and (kind == DOOR or kind == BOX) else DONE
    return DONE


@njit(cache=True, nogil=True)
def _go_to(memory, agent, doors, kind, color, state, scratch):
    goal = _BLOCKING_TARGET if _some_block(memory, kind, color) else _TARGET
    action = _path(memory, agent, doors, goal, kind, color, state, False, DONE, scratch)
    if action == DONE:
        action = _path(memory, agent, doors, goal, kind, color, state, True, DONE, scratch)
    return FORWARD if action == ENDED and kind == GOAL else action


@njit(cache=True, nogil=True)
def _drop(memory, agent, doors, scratch):
    action = _path(memory, agent, doors, _FREE_CELL, 0, 0, 0, False, DONE, scratch)
    if action == DONE:
        action = _path(memory, agent, doors, _ANY_FREE_CELL, 0, 0, 0, False, DONE, scratch)
    return DROP if action == ENDED else action


@njit(cache=True, nogil=True)
def _path(memory, agent, doors, goal, kind, color, state, through_unseen, otherwise, scratch):
    """The first action of a shortest path over (x, y, direction, whether a door ahead was just opened).

    Breadth first; of equally short ones it prefers walking on, then left. ENDED if the goal is already met,
    `otherwise` if no path leads there. `scratch` is (2, 8·W·H) int64.
    """
    height = memory.shape[1]
    first, queue = scratch[0], scratch[1]
    first[:] = ENDED
    start = ((agent[0] * height + agent[1]) * 4 + agent[2]) * 2
    first[start] = DONE
    queue[0] = start
    head, tail = 0, 1
    while head < tail:
        place = queue[head]
        head += 1
        opened, pose = place % 2, place // 2
        x, y, direction = pose // 4 // height, pose // 4 % height, pose % 4
        fx, fy = x + DX[direction], y + DY[direction]
        if not opened and (
            _shows_unseen(memory, fx, fy, direction)
            if goal == _UNSEEN_CELL
            else _is_met(memory, fx, fy, goal, kind, color, state)
        ):
            return ENDED if place == start else first[place]
        for action in (FORWARD, TOGGLE, LEFT, RIGHT):
            if action == FORWARD:
                if not opened and not _can_enter(memory, fx, fy, through_unseen):
                    continue
                following = ((fx * height + fy) * 4 + direction) * 2
            elif opened:
                break
            elif action == TOGGLE:
                if not _opens_on_the_way(memory, fx, fy, doors):
                    continue
                following = place + 1
            else:
                following = (pose - direction + (direction + (1 if action == RIGHT else 3)) % 4) * 2
            if first[following] == ENDED:
                first[following] = action if place == start else first[place]
                queue[tail] = following
                tail += 1
    return otherwise


@njit(cache=True, nogil=True)
def _is_met(memory, x, y, goal, kind, color, state):
    if not (0 <= x < memory.shape[0] and 0 <= y < memory.shape[1]):
        return False
    if goal == _TARGET or goal == _BLOCKING_TARGET:
        blocks_or_need_not = goal == _TARGET or is_beside(memory, x, y, DOOR, LOCKED)
        return _is_target(memory, x, y, kind, color, state) and blocks_or_need_not
    return memory[x, y, 0] == EMPTY and (goal == _ANY_FREE_CELL or not _is_passage(memory, x, y))


@njit(cache=True, nogil=True)
def _shows_unseen(memory, x, y, direction):
    """Whether something from cell (x, y) straight on is unseen, and nothing hides it; things and lava do not."""
    for _ in range(SIGHT):
        if not (0 <= x < memory.shape[0] and 0 <= y < memory.shape[1]):
            return False
        kind = memory[x, y, 0]
        if kind == UNSEEN:
            return True
        if kind == WALL or (kind == DOOR and memory[x, y, 2] != OPEN):
            return False
        x, y = x + DX[direction], y + DY[direction]
    return False


@njit(cache=True, nogil=True)
def _is_target(memory, x, y, kind, color, state):
    return (
        memory[x, y, 0] == kind and (color < 0 or memory[x, y, 1] == color) and (state < 0 or memory[x, y, 2] == state)
    )


@njit(cache=True, nogil=True)
def _some_block(memory, kind, color):
    """Whether a ball or a box of this colour lies before a locked door."""
    if kind != BALL and kind != BOX:
        return False
    for x in range(memory.shape[0]):
        for y in range(memory.shape[1]):
            if memory[x, y, 0] == kind and memory[x, y, 1] == color and is_beside(memory, x, y, DOOR, LOCKED):
                return True
    return False


@njit(cache=True, nogil=True)
def _can_enter(memory, x, y, through_unseen):
    if not (0 <= x < memory.shape[0] and 0 <= y < memory.shape[1]):
        return False
    kind = memory[x, y, 0]
    if kind == UNSEEN:
        return through_unseen
    return kind == EMPTY or kind == GOAL or kind == FLOOR or (kind == DOOR and memory[x, y, 2] == OPEN)


@njit(cache=True, nogil=True)
def _opens_on_the_way(memory, x, y, doors):
    if not (0 <= x < memory.shape[0] and 0 <= y < memory.shape[1]):
        return False
    return memory[x, y, 0] == DOOR and memory[x, y, 2] == CLOSED and not doors >> memory[x, y, 1] & 1


@njit(cache=True, nogil=True)
def _is_passage(memory, x, y):
    """Whether something put on a cell might come between its neighbours.

    It does not if the cells beside it are joined to each other by the cells at its corners.
    """
    beside = joined = 0
    for side in range(4):
        following = (side + 1) % 4
        if not _lets_through(memory, x + DX[side], y + DY[side]):
            continue
        beside += 1
        corner_x, corner_y = x + DX[side] + DX[following], y + DY[side] + DY[following]
        next_x, next_y = x + DX[following], y + DY[following]
        joined += _lets_through(memory, corner_x, corner_y) and _lets_through(memory, next_x, next_y)
    return beside - joined > 1


@njit(cache=True, nogil=True)
def _lets_through(memory, x, y):
    if not (0 <= x < memory.shape[0] and 0 <= y < memory.shape[1]):
        return False
    kind = memory[x, y, 0]
    return not (kind == WALL or kind == LAVA or kind == KEY or kind == BALL or kind == BOX)
