"""What an agent sees in a MiniGrid environment, and what it remembers of it.

The invariant, held by a test against MiniGrid's own `gen_obs`: `memory` is the world wherever the agent has
ever looked, as it is now, and 0 elsewhere. (Nothing but the agent changes these worlds, and it changes
nothing but the cell ahead, which it sees.)
"""

from typing import NamedTuple

from minigrid.core.constants import OBJECT_TO_IDX
from minigrid.minigrid_env import MiniGridEnv
from numba import njit
import numpy as np

from askonce.pipeline.tasks.minigrid.engine import DOOR, DX, DY, EMPTY, OPEN, WALL
from askonce.pipeline.tasks.minigrid.envs import NO_AGENT

FLOOR, BALL, BOX, GOAL = (OBJECT_TO_IDX[name] for name in ("floor", "ball", "box", "goal"))


class Worlds(NamedTuple):
    """N environments of W × H cells as arrays; a thing held has left the world.

    world    (N, W, H, 3) uint8: object, colour, state, as MiniGrid encodes them
    memory   (N, W, H, 3) uint8: the same wherever the agent has looked, 0 elsewhere
    agent    (N, 3) int64: x, y, direction
    held     (N, 3) uint8: the thing held, EMPTY if none
    """

    world: np.ndarray
    memory: np.ndarray
    agent: np.ndarray
    held: np.ndarray


def empty_worlds(size: int, width: int, height: int) -> Worlds:
    return Worlds(
        world=np.zeros((size, width, height, 3), np.uint8),
        memory=np.zeros((size, width, height, 3), np.uint8),
        agent=np.ones((size, 3), np.int64),
        held=np.full((size, 3), (EMPTY, 0, 0), np.uint8),
    )


def encode(env: MiniGridEnv) -> np.ndarray:
    """(W, H, 3) uint8, what `env.grid.encode()` gives, faster."""
    world = np.zeros((env.height, env.width, 3), np.uint8)
    world[..., 0] = EMPTY
    flat = world.reshape(-1, 3)
    for cell, thing in enumerate(env.grid.grid):
        if thing is not None:
            flat[cell] = thing.encode()
    return world.transpose(1, 0, 2)


def observation(worlds: Worlds) -> np.ndarray:
    """(N, W, H, 4) uint8, as `pipeline.tasks.minigrid.envs` lays it out."""
    size, width, height, _ = worlds.memory.shape
    seen = np.full((size, width, height, 4), NO_AGENT, np.uint8)
    seen[..., :3] = worlds.memory
    own = (np.arange(size), worlds.agent[:, 0], worlds.agent[:, 1])
    seen[(*own, slice(0, 3))], seen[(*own, 3)] = worlds.held, worlds.agent[:, 2]
    return seen


@njit(cache=True, nogil=True)
def look(worlds: Worlds, index: np.ndarray, size: int, through_walls: bool) -> None:
    """Writes what the agents of `index` see, `size` × `size` cells from their own row on, into their memories.

    Sight spreads as in MiniGrid's `Grid.process_vis`: row by row away from the agent, to the right and to
    the left along each row, and from every clear cell to the cells beside it and ahead of these.
    """
    width, height, half = worlds.world.shape[1], worlds.world.shape[2], size // 2
    visible = np.empty((size, size), np.bool_)
    for n in index:
        x, y, direction = worlds.agent[n, 0], worlds.agent[n, 1], worlds.agent[n, 2]
        ahead_x, ahead_y = DX[direction], DY[direction]
        visible[:] = through_walls
        visible[0, half] = True
        for row in range(size):
            for turn in (1, -1):
                for step in range(size - 1):
                    column = step if turn == 1 else size - 1 - step
                    cx = x + row * ahead_x - (column - half) * ahead_y
                    cy = y + row * ahead_y + (column - half) * ahead_x
                    if not visible[row, column] or not _is_clear(worlds.world, n, cx, cy):
                        continue
                    visible[row, column + turn] = True
                    if row + 1 < size:
                        visible[row + 1, column] = visible[row + 1, column + turn] = True
            for column in range(size):
                cx = x + row * ahead_x - (column - half) * ahead_y
                cy = y + row * ahead_y + (column - half) * ahead_x
                if visible[row, column] and 0 <= cx < width and 0 <= cy < height:
                    worlds.memory[n, cx, cy] = worlds.world[n, cx, cy]


@njit(cache=True, nogil=True)
def _is_clear(world, n, x, y):
    if not (0 <= x < world.shape[1] and 0 <= y < world.shape[2]):
        return False
    kind = world[n, x, y, 0]
    return kind != WALL and (kind != DOOR or world[n, x, y, 2] == OPEN)
