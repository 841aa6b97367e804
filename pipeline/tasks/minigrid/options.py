"""The options of the DoorKey worlds, executed in the batch engine (appendix A.4.1).

Every option may start in any state and chooses one action from what the agent knows, never from the
world itself:

explore   sweeps the room row by row until walls close the area; ended when nothing inside them is unseen
go to X   takes a shortest path to a cell from which it faces X; ended when it faces or holds X
pick up X tries to pick up what is ahead, after dropping whatever else is held; ended when it holds X
drop X    drops X on the nearest free cell; ended when X is not held
open X    acts on what is ahead, in one step

They are compiled for SimpleDoorKey and blind to lava, as in the paper; `careful` ones go around lava that has
been seen, for the audit to tell by the difference what lava did. An option that names nothing the text names
cannot be carried out: the agent then does nothing for a step (`DONE`).
"""

from typing import NamedTuple

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
    HELD,
    KEY,
    LAVA,
    LEFT,
    OPEN,
    PICK_UP,
    RIGHT,
    SITUATIONS,
    SLOTS,
    TOGGLE,
    UNSEEN,
    WALL,
    State,
)
from askonce.pipeline.tasks.minigrid.envs import NO_AGENT, VIEW

EXPLORE, GO_TO, PICK_UP_X, DROP_X, OPEN_X, NO_SUCH_OPTION = range(6)
NO_MORE = -1  # pads the decisions of a plan and the options of a decision
ENDED = -1  # what an option answers in place of an action once it has ended

# What a shortest path leads to: a pose that faces the target, faces a free cell (one in no door's way), or shows
# something unseen.
_TARGET, _FREE_CELL, FREE_CELL_ASIDE, _UNSEEN_CELL = range(4)


class Plans(NamedTuple):
    """The teacher's decisions for S situations, at most K a situation and L options a decision.

    row            (SITUATIONS,) int64: a situation's row, -1 without an answer
    verb           (S, K, L) int8: EXPLORE … NO_SUCH_OPTION, NO_MORE at the end
    slot           (S, K, L) int8: which named thing, -1 for one the text does not name
    probability    (S, K) float32
    """

    row: np.ndarray
    verb: np.ndarray
    slot: np.ndarray
    probability: np.ndarray


def with_room(plans: Plans | None, used: int, shape: tuple[int, int, int]) -> Plans:
    """Plans of at least this (S, K, L), which hold the first `used` situations of `plans`.

    The same where they have the room. They grow by half and more, so that growing costs little a situation.
    """
    held = (0, 1, 1) if plans is None else plans.verb.shape
    if plans is not None and all(has >= needs for has, needs in zip(held, shape, strict=True)):
        return plans
    situations = held[0] if held[0] >= shape[0] else max(shape[0], held[0] * 3 // 2, 1)
    shape = (situations, max(held[1], shape[1]), max(held[2], shape[2]))
    grown = Plans(
        row=np.full(SITUATIONS, -1, np.int64) if plans is None else plans.row,
        verb=np.full(shape, NO_MORE, np.int8),
        slot=np.full(shape, -1, np.int8),
        probability=np.zeros(shape[:2], np.float32),
    )
    if plans is not None:
        grown.verb[:used, : held[1], : held[2]] = plans.verb[:used]
        grown.slot[:used, : held[1], : held[2]] = plans.slot[:used]
        grown.probability[:used, : held[1]] = plans.probability[:used]
    return grown


@njit(cache=True, nogil=True)
def advise(state: State, plans: Plans, actions: np.ndarray, probabilities: np.ndarray) -> None:
    """Writes each decision's next action, (N, K) int64, and its probability, (N, K) float32."""
    scratch = make_scratch(state)
    for n in range(actions.shape[0]):
        advise_one(state, n, plans, actions[n], probabilities[n], scratch)


class Scratch(NamedTuple):
    """Room to work in: what each option would do now, and a search's marks and queue."""

    known: np.ndarray
    search: np.ndarray


@njit(cache=True, nogil=True)
def make_scratch(state):
    return Scratch(
        np.empty((NO_SUCH_OPTION + 1, SLOTS + 1), np.int64),
        np.empty((2, 4 * state.world.shape[1] * state.world.shape[2]), np.int64),
    )


@njit(cache=True, nogil=True)
def advise_one(state, n, plans, actions, probabilities, scratch):
    """`advise` for environment n: writes (K,) actions and probabilities."""
    row, known = plans.row[state.situation[n]], scratch.known
    probabilities[:] = 0
    actions[:] = DONE
    if row < 0 or state.ended[n]:
        return
    known[:] = ENDED - 1
    for k in range(plans.verb.shape[1]):
        probabilities[k] = plans.probability[row, k]
        for i in range(plans.verb.shape[2]):
            verb, slot = plans.verb[row, k, i], plans.slot[row, k, i]
            if verb == NO_MORE:
                break
            if known[verb, slot] < ENDED:
                known[verb, slot] = option_action(state, n, verb, slot, scratch.search, False)
            if known[verb, slot] != ENDED:
                actions[k] = known[verb, slot]
                break


@njit(cache=True, nogil=True)
def option_action(state, n, verb, slot, scratch, careful):
    """The next action of one option in environment n, ENDED once it has ended."""
    if verb == EXPLORE:
        return _explore(state, n, scratch, careful)
    if verb == NO_SUCH_OPTION or slot < 0 or state.cells[n, slot, 0] < 0:
        return DONE
    holds_it = slot == HELD
    if verb == GO_TO:
        if holds_it:
            return ENDED
        return shortest_path(
            state, n, _TARGET, state.cells[n, slot, 0], state.cells[n, slot, 1], DONE, scratch, careful
        )
    if verb == PICK_UP_X:
        if holds_it:
            return ENDED
        if state.held[n, 0] != EMPTY:
            return _drop(state, n, scratch, careful)
        return PICK_UP
    if verb == DROP_X:
        return _drop(state, n, scratch, careful) if holds_it else ENDED
    return TOGGLE


@njit(cache=True, nogil=True)
def _drop(state, n, scratch, careful):
    action = shortest_path(state, n, _FREE_CELL, 0, 0, DONE, scratch, careful)
    return DROP if action == ENDED else action


@njit(cache=True, nogil=True)
def _explore(state, n, scratch, careful):
    """A sweep, and a shortest path to any pose that shows something new for what the sweep leaves.

    Keys that lie about can stand in a sweep's way and turn it in circles, so with one in sight the
    shortest paths do all the work: each step brings the agent nearer to something new. So can lava that
    is gone around.
    """
    right_wall, bottom_wall = _walls(state.observation, n)
    if state.cells[n, 0, 0] < 0 and not (careful and _lava_in_sight(state.observation, n)):
        action = _sweep(state, n, right_wall, bottom_wall)
        if action != ENDED:
            return action
    return shortest_path(state, n, _UNSEEN_CELL, right_wall, bottom_wall, ENDED, scratch, careful)


@njit(cache=True, nogil=True)
def _lava_in_sight(observation, n):
    return bool((observation[n, :, :, 0] == LAVA).any())


@njit(cache=True, nogil=True)
def _sweep(state, n, right_wall, bottom_wall):
    """Ahead, left, right or back: towards the first side where something inside the walls is unseen.

    A strip as wide as the view is swept as the agent walks, so only what lies beyond it counts, by the
    same measure on every side: a turn is always followed by a step.
    """
    x, y, direction = state.agent[n, 0], state.agent[n, 1], state.agent[n, 2]
    for turn, action in ((0, FORWARD), (3, LEFT), (1, RIGHT), (2, LEFT)):
        side = (direction + turn) % 4
        sx, sy = x + DX[side], y + DY[side]
        if _can_enter(state.observation, n, sx, sy) and _unseen_beyond(
            state.observation, n, sx, sy, side, right_wall, bottom_wall
        ):
            return action
    return ENDED


@njit(cache=True, nogil=True)
def _walls(observation, n):
    """The x of the right and the y of the bottom wall, as far as known; else the grid's last.

    Apart from the left and the top wall, only the right one has two wall cells one below the other,
    and only the bottom one two side by side.
    """
    width, height = observation.shape[1], observation.shape[2]
    right_wall, bottom_wall = width - 1, height - 1
    for x in range(1, width):
        for y in range(1, height):
            kind = observation[n, x, y, 0]
            if kind != WALL and kind != DOOR:
                continue
            above, beside = observation[n, x, y - 1, 0], observation[n, x - 1, y, 0]
            if above == WALL or above == DOOR:
                right_wall = min(right_wall, x)
            if beside == WALL or beside == DOOR:
                bottom_wall = min(bottom_wall, y)
    return right_wall, bottom_wall


@njit(cache=True, nogil=True)
def _can_enter(observation, n, x, y):
    """Whether the agent may enter a cell, as far as it knows: blind to lava, hopeful of the unseen."""
    kind = observation[n, x, y, 0]
    return kind != WALL and kind != KEY and (kind != DOOR or observation[n, x, y, 2] == OPEN)


@njit(cache=True, nogil=True)
def _unseen_beyond(observation, n, x, y, side, right_wall, bottom_wall):
    """Whether any cell inside the walls further to `side` than cell (x, y) is unseen."""
    from_x = x + 1 if side == 0 else 0
    from_y = y + 1 if side == 1 else 0
    to_x = x if side == 2 else right_wall + 1
    to_y = y if side == 3 else bottom_wall + 1
    for i in range(from_x, to_x):
        for j in range(from_y, to_y):
            if observation[n, i, j, 0] == UNSEEN:
                return True
    return False


@njit(cache=True, nogil=True)
def shortest_path(state, n, goal, gx, gy, otherwise, scratch, careful):
    """The first action of a shortest path over poses (x, y, direction) through what is known to be free.

    Breadth first, so exactly as short as A*; of equally short ones it prefers walking on, then left.
    ENDED if the goal is already met, `otherwise` if no path leads there. `scratch` is (2, 4·W·H) int64.
    """
    observation = state.observation
    height = observation.shape[2]
    first, queue = scratch[0], scratch[1]
    first[:] = ENDED
    start = (state.agent[n, 0] * height + state.agent[n, 1]) * 4 + state.agent[n, 2]
    first[start] = DONE
    queue[0] = start
    head, tail = 0, 1
    while head < tail:
        pose = queue[head]
        head += 1
        x, y, direction = pose // 4 // height, pose // 4 % height, pose % 4
        fx, fy = x + DX[direction], y + DY[direction]
        # The agent's own cell shows what it holds, but is free once it has stepped off it.
        free = observation[n, fx, fy, 0] == EMPTY or observation[n, fx, fy, 3] != NO_AGENT
        if (
            (goal == _TARGET and fx == gx and fy == gy)
            or (goal == _FREE_CELL and free)
            or (goal == FREE_CELL_ASIDE and free and not beside_a_door(observation, n, fx, fy))
            or (goal == _UNSEEN_CELL and _shows_unseen(observation, n, x, y, direction, gx, gy))
        ):
            return ENDED if pose == start else first[pose]
        for action in (FORWARD, LEFT, RIGHT):
            if action == FORWARD:
                kind = observation[n, fx, fy, 0]
                if not free and (kind == UNSEEN or not _can_enter(observation, n, fx, fy)):
                    continue
                if careful and kind == LAVA:
                    continue
                following = (fx * height + fy) * 4 + direction
            else:
                following = pose - direction + (direction + (1 if action == RIGHT else 3)) % 4
            if first[following] == ENDED:
                first[following] = action if pose == start else first[pose]
                queue[tail] = following
                tail += 1
    return otherwise


@njit(cache=True, nogil=True)
def beside_a_door(observation, n, x, y):
    """Whether cell (x, y), inside the walls, is next to a door that has been seen."""
    for direction in range(4):
        if observation[n, x + DX[direction], y + DY[direction], 0] == DOOR:
            return True
    return False


@njit(cache=True, nogil=True)
def _shows_unseen(observation, n, x, y, direction, right_wall, bottom_wall):
    for ahead in range(VIEW):
        for aside in range(-(VIEW // 2), VIEW // 2 + 1):
            vx = x + ahead * DX[direction] - aside * DY[direction]
            vy = y + ahead * DY[direction] + aside * DX[direction]
            if 0 <= vx <= right_wall and 0 <= vy <= bottom_wall and observation[n, vx, vy, 0] == UNSEEN:
                return True
    return False
