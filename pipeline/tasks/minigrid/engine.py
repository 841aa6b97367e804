"""The batch engine: N DoorKey worlds that advance together over flat arrays, compiled with numba.

The invariant, held by a conformance test bit for bit: after any actions, `observation`, the rewards
and the endings are those of the MiniGrid environment started from the same layout. What the agent
remembers is the observation itself, so a step only writes what it reveals or changes.
"""

from typing import NamedTuple

from minigrid.core.constants import OBJECT_TO_IDX, STATE_TO_IDX
from numba import njit
import numpy as np

from askonce.pipeline.tasks.minigrid.envs import NO_AGENT

UNSEEN, EMPTY, WALL = OBJECT_TO_IDX["unseen"], OBJECT_TO_IDX["empty"], OBJECT_TO_IDX["wall"]
DOOR, KEY, LAVA = OBJECT_TO_IDX["door"], OBJECT_TO_IDX["key"], OBJECT_TO_IDX["lava"]
OPEN, LOCKED = STATE_TO_IDX["open"], STATE_TO_IDX["locked"]

LEFT, RIGHT, FORWARD, PICK_UP, DROP, TOGGLE, DONE = range(7)
ACTIONS = 7

# East, south, west, north: MiniGrid's directions as steps in x and y.
DX = np.array([1, 0, -1, 0])
DY = np.array([0, 1, 0, -1])

# What a text can name: up to two keys, then up to two doors, each in the order of the scan
# (x outer, y inner), then the thing held.
SLOTS = 5
FIRST_DOOR, HELD = 2, 4
SITUATIONS = 4**SLOTS

RUNNING, TERMINATED, TRUNCATED = 0, 1, 2


class State(NamedTuple):
    """N environments as arrays. Positions are cells (x, y); a thing held has left the world.

    world        (N, W, H, 3) uint8: object, colour, state, as MiniGrid encodes them
    observation  (N, W, H, 4) uint8: what the agent knows (see `envs`)
    agent        (N, 3) int64: x, y, direction
    held         (N, 3) uint8: the thing held, EMPTY if none
    steps        (N,) int64: steps since the reset
    ended        (N,) uint8: TERMINATED and TRUNCATED as bits
    cells        (N, SLOTS, 2) int64: where the named things are; x is -1 for none
    situation    (N,) int64: what the text depends on, see `_perceive`
    """

    world: np.ndarray
    observation: np.ndarray
    agent: np.ndarray
    held: np.ndarray
    steps: np.ndarray
    ended: np.ndarray
    cells: np.ndarray
    situation: np.ndarray


def empty_state(size: int, width: int, height: int) -> State:
    return State(
        world=np.zeros((size, width, height, 3), np.uint8),
        observation=np.zeros((size, width, height, 4), np.uint8),
        agent=np.ones((size, 3), np.int64),
        held=np.zeros((size, 3), np.uint8),
        steps=np.zeros(size, np.int64),
        ended=np.full(size, TERMINATED, np.uint8),
        cells=np.full((size, SLOTS, 2), -1, np.int64),
        situation=np.zeros(size, np.int64),
    )


@njit(cache=True, nogil=True)
def reset(state: State, index: np.ndarray, worlds: np.ndarray, agents: np.ndarray, colored: bool) -> None:
    """Starts environments `index` from layouts: worlds (B, W, H, 3) uint8, agents (B, 3)."""
    for i in range(index.shape[0]):
        n = index[i]
        state.world[n] = worlds[i]
        state.agent[n] = agents[i]
        state.observation[n, :, :, :3] = 0
        state.observation[n, :, :, 3] = NO_AGENT
        _hold(state, n, EMPTY, 0, 0)
        state.steps[n] = 0
        state.ended[n] = RUNNING
        _look(state, n)
        _perceive(state, n, colored)


@njit(cache=True, nogil=True)
def step(state: State, actions: np.ndarray, max_steps: int, colored: bool, rewards: np.ndarray) -> None:
    """Advances every environment that has not ended; `rewards` (N,) float64 is written in place."""
    for n in range(actions.shape[0]):
        rewards[n] = 0.0
        if state.ended[n] == RUNNING:
            rewards[n] = step_one(state, n, actions[n], max_steps, colored)


@njit(cache=True, nogil=True)
def step_one(state, n, action, max_steps, colored):
    """Advances environment n and returns its reward."""
    reward = _act(state, n, action, max_steps)
    _look(state, n)
    _perceive(state, n, colored)
    return reward


@njit(cache=True, nogil=True)
def _act(state, n, action, max_steps):
    state.steps[n] += 1
    x, y, direction = state.agent[n, 0], state.agent[n, 1], state.agent[n, 2]
    fx, fy = x + DX[direction], y + DY[direction]
    kind, color, condition = state.world[n, fx, fy, 0], state.world[n, fx, fy, 1], state.world[n, fx, fy, 2]
    reward = 0.0
    if action == LEFT:
        state.agent[n, 2] = (direction + 3) % 4
    elif action == RIGHT:
        state.agent[n, 2] = (direction + 1) % 4
    elif action == FORWARD:
        if kind == EMPTY or kind == LAVA or (kind == DOOR and condition == OPEN):
            _leave(state, n, x, y)
            state.agent[n, 0], state.agent[n, 1] = fx, fy
        if kind == LAVA:
            state.ended[n] |= TERMINATED
    elif action == PICK_UP:
        if kind == KEY and state.held[n, 0] == EMPTY:
            _hold(state, n, kind, color, condition)
            _put(state, n, fx, fy, EMPTY, 0, 0)
    elif action == DROP:
        if kind == EMPTY and state.held[n, 0] != EMPTY:
            _put(state, n, fx, fy, state.held[n, 0], state.held[n, 1], state.held[n, 2])
            _hold(state, n, EMPTY, 0, 0)
    elif action == TOGGLE and kind == DOOR:
        fits = state.held[n, 0] == KEY and state.held[n, 1] == color
        if condition != LOCKED or fits:
            _put(state, n, fx, fy, DOOR, color, OPEN)
            reward = 1 - 0.9 * (state.steps[n] / max_steps)
            state.ended[n] |= TERMINATED
    if state.steps[n] >= max_steps:
        state.ended[n] |= TRUNCATED
    return reward


@njit(cache=True, nogil=True)
def _hold(state, n, kind, color, condition):
    state.held[n, 0], state.held[n, 1], state.held[n, 2] = kind, color, condition


@njit(cache=True, nogil=True)
def _put(state, n, x, y, kind, color, condition):
    # The cell ahead is always in view, so world and memory change together.
    state.world[n, x, y, 0], state.world[n, x, y, 1], state.world[n, x, y, 2] = kind, color, condition
    state.observation[n, x, y, 0] = kind
    state.observation[n, x, y, 1] = color
    state.observation[n, x, y, 2] = condition


@njit(cache=True, nogil=True)
def _leave(state, n, x, y):
    for channel in range(3):
        state.observation[n, x, y, channel] = state.world[n, x, y, channel]
    state.observation[n, x, y, 3] = NO_AGENT


@njit(cache=True, nogil=True)
def _look(state, n):
    """Writes the visible ones of the 3 × 3 cells ahead into the observation.

    Sight spreads as in MiniGrid: row by row away from the agent, sideways along each row, and from
    every transparent cell of a row to the three cells ahead of it.
    """
    world, observation = state.world, state.observation
    width, height = world.shape[1], world.shape[2]
    x, y, direction = state.agent[n, 0], state.agent[n, 1], state.agent[n, 2]
    ahead_x, ahead_y = DX[direction], DY[direction]
    left, middle, right = False, True, False
    for row in range(3):
        # Columns left, middle and right of the row as bits 1, 2 and 4.
        inside, clear = 0, 0
        for column in range(3):
            cx = x + row * ahead_x - (column - 1) * ahead_y
            cy = y + row * ahead_y + (column - 1) * ahead_x
            if 0 <= cx < width and 0 <= cy < height:
                inside |= 1 << column
                kind = world[n, cx, cy, 0]
                if kind != WALL and (kind != DOOR or world[n, cx, cy, 2] == OPEN):
                    clear |= 1 << column
        clear_left, clear_middle, clear_right = clear & 1 > 0, clear & 2 > 0, clear & 4 > 0
        middle |= (left & clear_left) | (right & clear_right)
        left |= middle & clear_middle
        right |= middle & clear_middle
        visible = inside & (left | middle << 1 | right << 2)
        for column in range(3):
            if visible >> column & 1:
                cx = x + row * ahead_x - (column - 1) * ahead_y
                cy = y + row * ahead_y + (column - 1) * ahead_x
                for channel in range(3):
                    observation[n, cx, cy, channel] = world[n, cx, cy, channel]
        clear_left, clear_middle, clear_right = left & clear_left, middle & clear_middle, right & clear_right
        left, right = clear_left | clear_middle, clear_middle | clear_right
        middle = left | right
    for channel in range(3):
        observation[n, x, y, channel] = state.held[n, channel]
    observation[n, x, y, 3] = direction


@njit(cache=True, nogil=True)
def _perceive(state, n, colored):
    """Finds what the text names and numbers the situation.

    `situation` has two bits a slot: 0 for nothing, else one more than the colour's rank in the order
    in which the text names colours, so that situations which differ only by the colours' names are
    one. Uncoloured texts give every thing rank 0.
    """
    width, height = state.world.shape[1], state.world.shape[2]
    for slot in range(SLOTS):
        state.cells[n, slot, 0] = -1
    keys, doors = 0, FIRST_DOOR
    for x in range(width):
        for y in range(height):
            kind = state.observation[n, x, y, 0]
            if kind == KEY and keys < FIRST_DOOR and state.observation[n, x, y, 3] == NO_AGENT:
                state.cells[n, keys, 0], state.cells[n, keys, 1] = x, y
                keys += 1
            elif kind == DOOR and doors < HELD:
                state.cells[n, doors, 0], state.cells[n, doors, 1] = x, y
                doors += 1
    if state.held[n, 0] != EMPTY:
        # The agent's own cell shows what it holds.
        state.cells[n, HELD, 0], state.cells[n, HELD, 1] = state.agent[n, 0], state.agent[n, 1]
    situation, ranks = 0, 0
    for slot in range(SLOTS):
        if state.cells[n, slot, 0] >= 0:
            rank = 0
            if colored:
                rank = _rank(state, n, slot, situation, ranks)
                ranks = max(ranks, rank + 1)
            situation |= (1 + rank) << (2 * slot)
    state.situation[n] = situation


@njit(cache=True, nogil=True)
def _rank(state, n, slot, situation, ranks):
    """How many other colours were named before this slot's colour was first named."""
    for earlier in range(slot):
        if state.cells[n, earlier, 0] >= 0 and _color(state, n, earlier) == _color(state, n, slot):
            return ((situation >> (2 * earlier)) & 3) - 1
    return ranks


@njit(cache=True, nogil=True)
def _color(state, n, slot):
    return state.observation[n, state.cells[n, slot, 0], state.cells[n, slot, 1], 1]
