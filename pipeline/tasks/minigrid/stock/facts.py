"""What is remembered → the facts that a text states, and the names it gives them.

Named are keys, balls, boxes, the goal, lava, and of the doors those that are locked, or that the mission
tells by their colour. Other doors are opened on the way, and would only make texts many. Things of the same
name are named once. A locked door with a ball or a box before it is a blocked one: one has to know that.

Colours are canonical: first those that the mission names, in its order, then the others by order of
mention. Situations that differ only by the names of colours are one text, and the mission is the same
in every episode, so that it can stand in the prompt.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
import re
from typing import NamedTuple

from minigrid.core.constants import COLOR_TO_IDX
from numba import njit
import numpy as np

from askonce.pipeline.tasks.minigrid.describe import describe
from askonce.pipeline.tasks.minigrid.engine import DOOR, DX, DY, EMPTY, KEY, LAVA, LOCKED, OPEN
from askonce.pipeline.tasks.minigrid.stock.sight import BALL, BOX, GOAL, Worlds

CANONICAL_COLORS = ("red", "blue", "green", "purple", "yellow", "grey")
COLORS = len(COLOR_TO_IDX)
CLOSED, BLOCKED = 1, 3

# The groups of things that have a colour: a bit for each colour, group after group, in the order of a text.
_GROUPS = (
    (KEY, 0, "key"),
    (DOOR, LOCKED, "locked door"),
    (DOOR, BLOCKED, "blocked door"),
    (DOOR, CLOSED, "closed door"),
    (DOOR, OPEN, "open door"),
    (BALL, 0, "ball"),
    (BOX, 0, "box"),
)
_GROUP = np.full((max(KEY, DOOR, BALL, BOX) + 1, BLOCKED + 1), -1)
for _number, (_kind, _state, _) in enumerate(_GROUPS):
    _GROUP[_kind, _state] = _number
_GOAL_BIT = len(_GROUPS) * COLORS
_LAVA_BIT = _GOAL_BIT + 1
# Then what is held: 0 for nothing, else 1 + group · COLORS + colour.
_HELD_BIT = _LAVA_BIT + 1


class Thing(NamedTuple):
    """A name in a text and what it stands for: MiniGrid's numbers, -1 where any will do."""

    name: str
    kind: int
    color: int = -1
    state: int = -1


@dataclass(frozen=True, eq=False)
class Facts:
    """What a text says, in its order; `holds` is None for nothing. `facts_of` makes one of each."""

    sees: tuple[Thing, ...]
    holds: Thing | None

    @cached_property
    def text(self) -> str:
        return describe([thing.name for thing in self.sees], self.holds and self.holds.name)


@dataclass(frozen=True)
class Mission:
    """A mission in canonical colours, the colours (MiniGrid's numbers) that those stand for, in order, and of
    these a bit for each by which it calls a door or a room."""

    words: str
    colors: tuple[int, ...]
    doors: int


@lru_cache(maxsize=1024)
def mission_of(said: str) -> Mission:
    """ "pick up the yellow box" → "pick up the red box". A goal's colour is not one that tells anything."""
    words = re.sub(r"\bgreen goal square\b", "goal", said)
    color = rf"\b({'|'.join(COLOR_TO_IDX)})\b"
    colors = tuple(dict.fromkeys(re.findall(color, words)))
    doors = set(re.findall(rf"{color} (?:door|room)", words))
    renamed = dict(zip(colors, CANONICAL_COLORS))
    return Mission(
        re.sub(color, lambda found: renamed[found[0]], words),
        tuple(COLOR_TO_IDX[name] for name in colors),
        sum(1 << COLOR_TO_IDX[name] for name in doors),
    )


@njit(cache=True, nogil=True)
def perceive(worlds: Worlds, index: np.ndarray, doors: np.ndarray, perceived: np.ndarray) -> None:
    """Writes what the agents of `index` remember, as far as a text depends on it, into `perceived` (N,) int64.

    `doors` (N,) int64 are the missions' doors; `facts_of` reads the number.
    """
    memory = worlds.memory
    for n in index:
        number = 0
        for x in range(memory.shape[1]):
            for y in range(memory.shape[2]):
                kind, color, state = memory[n, x, y, 0], memory[n, x, y, 1], memory[n, x, y, 2]
                if kind == GOAL:
                    number |= 1 << _GOAL_BIT
                elif kind == LAVA:
                    number |= 1 << _LAVA_BIT
                elif kind == KEY or kind == BALL or kind == BOX:
                    number |= 1 << (_GROUP[kind, 0] * COLORS + color)
                elif kind == DOOR and (state == LOCKED or doors[n] >> color & 1):
                    if state == LOCKED and (is_beside(memory[n], x, y, BALL, 0) or is_beside(memory[n], x, y, BOX, 0)):
                        state = BLOCKED
                    number |= 1 << (_GROUP[DOOR, state] * COLORS + color)
        if worlds.held[n, 0] != EMPTY:
            number |= (1 + _GROUP[worlds.held[n, 0], 0] * COLORS + worlds.held[n, 1]) << _HELD_BIT
        perceived[n] = number


@njit(cache=True, nogil=True)
def is_beside(memory, x, y, kind, state):
    """Whether something of this kind and state is next to cell (x, y) of a (W, H, 3) map."""
    for direction in range(4):
        bx, by = x + DX[direction], y + DY[direction]
        if 0 <= bx < memory.shape[0] and 0 <= by < memory.shape[1]:  # noqa: SIM102
            if memory[bx, by, 0] == kind and memory[bx, by, 2] == state:
                return True
    return False


@lru_cache(maxsize=1 << 16)
def facts_of(perceived: int, mission_colors: tuple[int, ...]) -> Facts:
    """The facts of one number that `perceive` wrote."""
    held = perceived >> _HELD_BIT
    found = [divmod(bit, COLORS) for bit in range(_GOAL_BIT) if perceived >> bit & 1]
    in_hand = [divmod(held - 1, COLORS)] if held else []
    mentioned = dict.fromkeys((*mission_colors, *(color for _, color in found + in_hand)))
    ranks = {color: rank for rank, color in enumerate(mentioned)}
    found.sort(key=lambda one: (one[0], ranks[one[1]]))
    named = [_thing(group, color, ranks[color]) for group, color in found]
    if perceived >> _GOAL_BIT & 1:
        named.append(Thing("goal", GOAL))
    if perceived >> _LAVA_BIT & 1:
        named.append(Thing("lava", LAVA))
    return Facts(tuple(named), next((_thing(group, color, ranks[color]) for group, color in in_hand), None))


def _thing(group: int, color: int, rank: int) -> Thing:
    kind, state, words = _GROUPS[group]
    *adjective, noun = words.split()
    # That a door is blocked is a matter of what lies before it.
    state = LOCKED if state == BLOCKED else state
    return Thing(" ".join((*adjective, CANONICAL_COLORS[rank], noun)), kind, color, state if kind == DOOR else -1)
