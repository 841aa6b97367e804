"""Homes drawn by a number: rooms with walls and doorways, tables, shelves and chairs. Metres; x east, y north.

The same number is the same home for ever. In every home a robot of `ROBOT` metres' radius can drive from
any free place to at least one side of every table.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import cos, pi, sin

import numpy as np

from askonce.pipeline.tasks.navpick import floor
from askonce.pipeline.tasks.navpick.things import KINDS

WALL_HEIGHT = 2.4
WALL = 0.06  # half a wall's thickness
ROBOT = 0.30  # the base's radius and a little air
DOORWAY = 1.2, 1.6
LEG = 0.025
TOP = 0.02  # half the thickness of a table's top
THINGS = 4  # objects in a home

# Two numbers of metres; a room by two corners, or what is taken by its middle and half its sides; a wall's middle and half
# its sides.
Pair = tuple[float, float]
Room = tuple[float, float, float, float]
Wall = tuple[Pair, Pair]

WALL_COLOR = 0.86, 0.84, 0.80
WOODS = (0.55, 0.38, 0.24), (0.68, 0.52, 0.36), (0.42, 0.30, 0.22)
CHAIR_COLORS = (0.30, 0.42, 0.55), (0.50, 0.30, 0.32), (0.35, 0.45, 0.32)


@dataclass(frozen=True)
class Box:
    """A box that never moves: its middle, half its sides, how it is turned about the vertical, its colour."""

    at: tuple[float, float, float]
    half: tuple[float, float, float]
    yaw: float
    color: tuple[float, float, float]


@dataclass(frozen=True)
class Furniture:
    """A piece that stands at (x, y): `half` the sides of its footprint, `height` of its top or seat."""

    kind: str
    x: float
    y: float
    half: tuple[float, float]
    height: float
    yaw: float
    color: tuple[float, float, float]

    @property
    def boxes(self) -> tuple[Box, ...]:
        (a, b), top = self.half, self.height
        if self.kind == "table":
            legs = [(i * (a - LEG), j * (b - LEG), top / 2 - TOP) for i in (-1, 1) for j in (-1, 1)]
            return (
                self._box((0, 0, top - TOP), (a, b, TOP)),
                *(self._box(leg, (LEG, LEG, top / 2 - TOP)) for leg in legs),
            )
        if self.kind == "chair":
            return (
                self._box((0, 0, top - 0.02), (a, b, 0.02)),
                self._box((0, 0, top / 2 - 0.02), (0.05, 0.05, top / 2 - 0.02)),
                self._box((0.02 - a, 0, top + 0.22), (0.02, b, 0.22)),
            )
        return (self._box((0, 0, top / 2), (a, b, top / 2)),)

    def _box(self, at: tuple[float, float, float], half: tuple[float, float, float]) -> Box:
        x, y, z = at
        c, s = cos(self.yaw), sin(self.yaw)
        return Box((self.x + c * x - s * y, self.y + s * x + c * y, z), half, self.yaw, self.color)


@dataclass(frozen=True)
class Home:
    """The size from (0, 0), the walls, the furniture with tables first, and the kinds of objects in it."""

    number: int
    size: tuple[float, float]
    rooms: tuple[tuple[float, float, float, float], ...]
    walls: tuple[Box, ...]
    furniture: tuple[Furniture, ...]
    kinds: tuple[str, ...]

    @property
    def tables(self) -> tuple[Furniture, ...]:
        return tuple(piece for piece in self.furniture if piece.kind == "table")

    @property
    def standing(self) -> tuple[Box, ...]:
        return tuple(box for piece in self.furniture for box in piece.boxes)

    @cached_property
    def clearance(self) -> np.ndarray:
        """(W, H) metres from the middle of each cell of the floor to the nearest wall or furniture."""
        footprints = [(*box.at[:2], *box.half[:2], box.yaw) for box in self.walls]
        footprints += [(piece.x, piece.y, *piece.half, piece.yaw) for piece in self.furniture]
        return floor.clearance(self.size, footprints)

    @cached_property
    def drivable(self) -> np.ndarray:
        """(W, H) bool: where the robot's middle can be and from where it can reach all else that is so."""
        return floor.largest_region(self.clearance > ROBOT)

    def approaches(self, table: Furniture, gap: float = 0.38) -> np.ndarray:
        """(N, 2) drivable places `gap` metres off the table's edges, opposite to some place on it."""
        (a, b), step = table.half, 0.1
        along_x = np.arange(0.12 - a, a - 0.11, step)
        along_y = np.arange(0.12 - b, b - 0.11, step)
        places = [(x, side * (b + gap)) for x in along_x for side in (-1, 1)]
        places += [(side * (a + gap), y) for y in along_y for side in (-1, 1)]
        c, s = cos(table.yaw), sin(table.yaw)
        around = np.array(places) @ np.array([[c, s], [-s, c]]) + (table.x, table.y)
        reached: np.ndarray = around[floor.at(self.drivable, around)]
        return reached


@lru_cache(maxsize=128)
def home(number: int) -> Home:
    """The home of that number; the first draw in which all tables can be reached."""
    rng = np.random.default_rng([number, 0x40E5])
    while True:
        drawn = _draw(number, rng)
        if len(drawn.tables) >= 2 and all(len(drawn.approaches(table)) >= 4 for table in drawn.tables):
            return drawn


def _draw(number: int, rng: np.random.Generator) -> Home:
    size = float(rng.uniform(6.0, 8.0)), float(rng.uniform(4.5, 6.0))
    rooms, walls, doorways = _rooms(size, rng)
    furniture = _furnish(rooms, doorways, rng)
    kinds = tuple(KINDS[k].name for k in sorted(rng.choice(len(KINDS), THINGS, replace=False)))
    return Home(number, size, rooms, walls, furniture, kinds)


def _rooms(
    size: Pair, rng: np.random.Generator
) -> tuple[tuple[Room, ...], tuple[Box, ...], list[tuple[float, float, float]]]:
    """Two or three rooms: a wall across the home and, in two homes of three, another across one half."""
    width, depth = size
    outer: list[Wall] = [
        ((width / 2, 0), (width / 2, WALL)),
        ((width / 2, depth), (width / 2, WALL)),
        ((0, depth / 2), (WALL, depth / 2)),
        ((width, depth / 2), (WALL, depth / 2)),
    ]
    x = width * rng.uniform(0.42, 0.58)
    gap = rng.uniform(*DOORWAY)
    three = rng.random() < 2 / 3
    y = depth * rng.uniform(0.46, 0.54)
    # With three rooms the doorways are cut so that none ends in a wall.
    middle = rng.uniform(0.3 + gap / 2, depth - 0.3 - gap / 2)
    inner, doorways = _wall_with_doorway((x, 0), (x, depth), middle, gap), [(x, middle, gap)]
    rooms: list[Room] = [(0, 0, x, depth), (x, 0, width, depth)]
    if three:
        left = rng.random() < 0.5
        start, end = (0, x) if left else (x, width)
        gap = rng.uniform(*DOORWAY)
        across = rng.uniform(0.3 + gap / 2, end - start - 0.3 - gap / 2)
        if abs(middle - y) < doorways[0][2] / 2 + 0.3:
            y = middle + (1 if middle < depth / 2 else -1) * (doorways[0][2] / 2 + 0.3)
        inner += _wall_with_doorway((start, y), (end, y), across, gap)
        doorways.append((start + across, y, gap))
        split = rooms.pop(0 if left else 1)
        rooms += [(split[0], split[1], split[2], y), (split[0], y, split[2], split[3])]
    walls = tuple(
        Box((float(cx), float(cy), WALL_HEIGHT / 2), (float(hx), float(hy), WALL_HEIGHT / 2), 0.0, WALL_COLOR)
        for (cx, cy), (hx, hy) in outer + inner
    )
    return tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in rooms), walls, doorways


def _wall_with_doorway(start: Pair, end: Pair, middle: float, gap: float) -> list[Wall]:
    (x0, y0), (x1, y1) = start, end
    pieces: list[Wall] = []
    length = (x1 - x0) + (y1 - y0)
    for near, far in ((0.0, middle - gap / 2), (middle + gap / 2, length)):
        half, at = (far - near) / 2, (far + near) / 2
        pieces.append(((x0, y0 + at), (WALL, half)) if x0 == x1 else ((x0 + at, y0), (half, WALL)))
    return pieces


def _furnish(
    rooms: Sequence[Room], doorways: Sequence[tuple[float, float, float]], rng: np.random.Generator
) -> tuple[Furniture, ...]:
    taken = [(x, y, gap / 2 + 0.25, gap / 2 + 0.25) for x, y, gap in doorways]
    tables = [table for room in rooms for table in _tables(room, taken, rng)]
    rest = [piece for room in rooms for piece in _shelves(room, taken, rng)]
    rest += [chair for table in tables for chair in _chairs(table, rooms, taken, rng)]
    return tuple(tables + rest)


def _tables(room: Room, taken: list[Room], rng: np.random.Generator) -> Iterator[Furniture]:
    for _ in range(1 + (rng.random() < 0.4)):
        half = float(rng.uniform(0.45, 0.7)), float(rng.uniform(0.28, 0.36))
        height, color = float(rng.uniform(0.50, 0.62)), WOODS[rng.integers(len(WOODS))]
        yield from _place("table", room, half, height, color, taken, rng, apart=0.75)


def _shelves(room: Room, taken: list[Room], rng: np.random.Generator) -> Iterator[Furniture]:
    if rng.random() < 0.7:
        half = float(rng.uniform(0.3, 0.55)), 0.16
        height, color = float(rng.uniform(0.9, 1.4)), WOODS[rng.integers(len(WOODS))]
        yield from _place("shelf", room, half, height, color, taken, rng, apart=0.75)


def _place(
    kind: str,
    room: Room,
    half: Pair,
    height: float,
    color: tuple[float, float, float],
    taken: list[Room],
    rng: np.random.Generator,
    apart: float,
) -> Iterator[Furniture]:
    """The piece with its long side against a wall of the room, or with luck free in its middle; none if it is full."""
    x0, y0, x1, y1 = room
    for _ in range(30):
        turned = rng.random() < 0.5
        a, b = half[::-1] if turned else half
        if x1 - x0 < 2 * a + 1 or y1 - y0 < 2 * b + 1:
            continue
        x, y = rng.uniform(x0 + a + 0.1, x1 - a - 0.1), rng.uniform(y0 + b + 0.1, y1 - b - 0.1)
        free = kind == "table" and rng.random() < 0.3
        if free:
            x, y = (x0 + x1) / 2 + rng.uniform(-0.3, 0.3), (y0 + y1) / 2 + rng.uniform(-0.3, 0.3)
        elif turned:
            x = x0 + WALL + a + 0.01 if rng.random() < 0.5 else x1 - WALL - a - 0.01
        else:
            y = y0 + WALL + b + 0.01 if rng.random() < 0.5 else y1 - WALL - b - 0.01
        if not any(abs(x - tx) < a + ta + apart and abs(y - ty) < b + tb + apart for tx, ty, ta, tb in taken):
            taken.append((x, y, a, b))
            yield Furniture(kind, float(x), float(y), half, height, pi / 2 if turned else 0.0, color)
            return


def _chairs(
    table: Furniture, rooms: Sequence[Room], taken: list[Room], rng: np.random.Generator
) -> Iterator[Furniture]:
    """Up to two chairs about a table, a little askew, each turned towards it."""
    for _ in range(int(rng.integers(0, 3))):
        side, end = rng.choice((-1, 1), size=2)
        along = end * rng.uniform(0.3, 1.0) * (table.half[0] - 0.2)
        c, s = cos(table.yaw), sin(table.yaw)
        off = side * (table.half[1] + 0.22)
        x, y = table.x + c * along - s * off, table.y + s * along + c * off
        yaw = table.yaw - side * pi / 2 + rng.uniform(-0.4, 0.4)
        others = [box for box in taken if (box[0], box[1]) != (table.x, table.y)]
        if any(abs(x - tx) < 0.2 + ta + 0.15 and abs(y - ty) < 0.2 + tb + 0.15 for tx, ty, ta, tb in others):
            continue
        if any(x0 + 0.35 < x < x1 - 0.35 and y0 + 0.35 < y < y1 - 0.35 for x0, y0, x1, y1 in rooms):
            taken.append((x, y, 0.2, 0.2))
            yield Furniture(
                "chair", float(x), float(y), (0.2, 0.2), 0.42, float(yaw), CHAIR_COLORS[rng.integers(len(CHAIR_COLORS))]
            )
