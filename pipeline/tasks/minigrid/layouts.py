"""The layouts of `envs`, drawn by the thousand: world and agent as each environment's reset(seed=…) makes them.

A conformance test holds them to MiniGrid's bit for bit, so every draw is in MiniGrid's order: a place is
drawn again where something stands already.
"""

from minigrid.core.constants import COLOR_NAMES, COLOR_TO_IDX
from numba import njit
import numpy as np

from askonce.pipeline.tasks.minigrid.engine import DOOR, EMPTY, KEY, LAVA, LOCKED, WALL
from askonce.pipeline.tasks.minigrid.envs import GRID
from askonce.pipeline.tasks.minigrid.pcg64 import draw, generator

SIMPLE, WITH_LAVA, COLORED, DIVERGED = range(4)

_SMALLEST = 5
_COLORS = np.array([COLOR_TO_IDX[name] for name in COLOR_NAMES], np.uint8)
_RED, _BLUE, _GREY = (COLOR_TO_IDX[name] for name in ("red", "blue", "grey"))
_NOWHERE = -1


@njit(cache=True, nogil=True)
def draw_layouts(kind: int, seeds: np.ndarray, worlds: np.ndarray, agents: np.ndarray) -> None:
    """Writes worlds (B, W, H, 3) uint8 and agents (B, 3) int64, x, y and direction, from seeds (B,)."""
    for i in range(seeds.shape[0]):
        _draw_layout(kind, generator(seeds[i]), worlds[i], agents[i])


@njit(cache=True, nogil=True)
def _draw_layout(kind, random, world, agent):
    smallest = GRID if kind == DIVERGED else _SMALLEST
    width, height = draw(random, smallest, GRID + 1), draw(random, smallest, GRID + 1)
    _walls(world, width, height)
    agent[:] = _NOWHERE
    color = _BLUE if kind == COLORED else _COLORS[draw(random, 0, len(_COLORS))]
    if kind == DIVERGED:
        side = draw(random, 0, 2)
        _add_door(random, world, width, height, side, color)
        _add_door(random, world, width, height, side + 2, color)
        x, y = _free_cell(random, world, agent, width // 2 - 1, height // 2 - 1, 2, 2, _NOWHERE, _NOWHERE)
        _put(world, x, y, KEY, color, 0)
        _place_agent(random, world, agent, width, height)
        return
    ix, iy = _add_door(random, world, width, height, draw(random, 0, 4), color)
    _place_agent(random, world, agent, width, height)
    if kind == COLORED:
        for key_color in (_BLUE, _RED):
            x, y = _free_cell(random, world, agent, 0, 0, width, height, ix, iy)
            _put(world, x, y, KEY, key_color, 0)
    else:
        x, y = _free_cell(random, world, agent, 0, 0, width, height, _NOWHERE, _NOWHERE)
        _put(world, x, y, KEY, color, 0)
    if kind == WITH_LAVA:
        x, y = _free_cell(random, world, agent, 0, 0, width, height, ix, iy)
        _put(world, x, y, LAVA, _RED, 0)


@njit(cache=True, nogil=True)
def _walls(world, width, height):
    for x in range(world.shape[0]):
        for y in range(world.shape[1]):
            edge = (x == 0 or x == width - 1) and y < height or (y == 0 or y == height - 1) and x < width
            _put(world, x, y, WALL if edge else EMPTY, _GREY if edge else 0, 0)


@njit(cache=True, nogil=True)
def _add_door(random, world, width, height, side, color):
    """A locked door in the right, bottom, left or top wall; returns the cell inside it."""
    along = draw(random, 1, (height if side % 2 == 0 else width) - 1)
    if side == 0:
        x, y, ix, iy = width - 1, along, width - 2, along
    elif side == 1:
        x, y, ix, iy = along, height - 1, along, height - 2
    elif side == 2:
        x, y, ix, iy = 0, along, 1, along
    else:
        x, y, ix, iy = along, 0, along, 1
    _put(world, x, y, DOOR, color, LOCKED)
    return ix, iy


@njit(cache=True, nogil=True)
def _place_agent(random, world, agent, width, height):
    agent[0], agent[1] = _free_cell(random, world, agent, 0, 0, width, height, _NOWHERE, _NOWHERE)
    agent[2] = draw(random, 0, 4)


@njit(cache=True, nogil=True)
def _free_cell(random, world, agent, left, top, width, height, kept_x, kept_y):
    """An empty cell of a rectangle without the agent, and not the one that is kept free."""
    while True:
        x, y = draw(random, left, left + width), draw(random, top, top + height)
        taken = world[x, y, 0] != EMPTY or (x == agent[0] and y == agent[1])
        if not taken and not (x == kept_x and y == kept_y):
            return x, y


@njit(cache=True, nogil=True)
def _put(world, x, y, kind, color, condition):
    world[x, y, 0], world[x, y, 1], world[x, y, 2] = kind, color, condition
