"""A MiniGrid world for people: as a picture drawn by MiniGrid itself, and as symbols for a terminal.

Both show the room alone, whose top left corner is cell (0, 0). The picture shows the world as it is, with
what the agent has not seen yet in fog; the symbols show what the agent knows, and nothing more.
"""

from minigrid.core.constants import IDX_TO_COLOR, IDX_TO_OBJECT
from minigrid.core.grid import Grid
import numpy as np

from askonce.pipeline.tasks.minigrid.engine import DOOR, EMPTY, OPEN, UNSEEN
from askonce.pipeline.tasks.minigrid.envs import NO_AGENT

FOG = np.array([38, 42, 51], np.uint8)
FOG_DENSITY = 0.7

AGENTS = ">v<^"
SYMBOLS = {
    "unseen": " ",
    "empty": ".",
    "wall": "#",
    "floor": ".",
    "door": "D",
    "key": "k",
    "ball": "o",
    "box": "b",
    "goal": "G",
    "lava": "~",
}
OPEN_DOOR = "/"
# They have a colour's number, but it is not theirs.
COLORLESS = "unseen", "empty", "lava"


def picture(world: np.ndarray, observation: np.ndarray, side: int) -> np.ndarray:
    """(h, w, 3) uint8, of at most `side` pixels a side but at least 4 a cell.

    `world` is (W, H, 3) and `observation` (W, H, 4), as the engine and the environments write them.
    """
    width, height = room(world)
    tile = max(side // max(width, height), 4)
    x, y = agent_of(observation)
    grid, _ = Grid.decode(world[:width, :height])
    image = grid.render(tile, (x, y), int(observation[x, y, 3]))
    unseen = (observation[:width, :height, 0] == UNSEEN).T.repeat(tile, 0).repeat(tile, 1)
    image[unseen] = (1 - FOG_DENSITY) * image[unseen] + FOG_DENSITY * FOG
    return image


def symbols(world: np.ndarray, observation: np.ndarray) -> list[list[tuple[str, str]]]:
    """The rows of the map, each cell a symbol and its colour's name; the world only says how large it is."""
    width, height = room(world)
    return [[_symbol(*observation[x, y].tolist()) for x in range(width)] for y in range(height)]


def held(observation: np.ndarray) -> str:
    """What the agent holds, in words: "a blue key" or "nothing"."""
    kind, color, *_ = observation[agent_of(observation)].tolist()
    return "nothing" if kind == EMPTY else f"a {IDX_TO_COLOR[color]} {IDX_TO_OBJECT[kind]}"


def _symbol(kind: int, color: int, condition: int, direction: int) -> tuple[str, str]:
    if direction != NO_AGENT:
        return AGENTS[direction], "agent"
    if kind == DOOR and condition == OPEN:
        return OPEN_DOOR, IDX_TO_COLOR[color]
    name = IDX_TO_OBJECT[kind]
    return SYMBOLS[name], name if name in COLORLESS else IDX_TO_COLOR[color]


def agent_of(observation: np.ndarray) -> tuple[int, int]:
    x, y = np.argwhere(observation[..., 3] != NO_AGENT)[0]
    return int(x), int(y)


def room(world: np.ndarray) -> tuple[int, int]:
    """Columns and rows up to the last that is not empty."""
    width, height = np.argwhere(world[..., 0] != EMPTY).max(axis=0) + 1
    return int(width), int(height)
