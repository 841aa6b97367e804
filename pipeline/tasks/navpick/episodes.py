"""Seed → episode: a home, where its objects lie, which of them is wanted, where the robot starts.

Even seeds are for training and take turns at ten homes; odd seeds are for evaluation, in a hundred others.
"""

from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np

from askonce.pipeline.tasks.navpick import floor
from askonce.pipeline.tasks.navpick.homes import Furniture, Home, home
from askonce.pipeline.tasks.navpick.stages import FACING, REACH
from askonce.pipeline.tasks.navpick.things import BY_NAME

TRAIN_HOMES = 10
HELD_OUT_HOMES = 100
# Those from 1000 to 1099 and from 2000 to 2099 were held out while settings were chosen, and so had a part in them.
FIRST_HELD_OUT = 3000

TRIES = 100  # to find room for an object
APART = 0.20  # m between the middles of objects: room for a finger
INSIDE = 0.12, 0.24  # m from a table's edge to an object's middle
START_CLEARANCE = 0.55  # m: the folded arm reaches a little over the base
START_DISTANCE = 1.5  # m from the wanted object


@dataclass(frozen=True)
class Placed:
    """An object at rest on a table (a number among `Home.tables`): its middle and turn about the vertical."""

    name: str
    table: int
    at: tuple[float, float, float]
    yaw: float


@dataclass(frozen=True)
class Episode:
    """`start` is x, y and heading of the robot; `wanted` is the name of the object to be picked up."""

    home: Home
    things: tuple[Placed, ...]
    wanted: str
    start: tuple[float, float, float]

    @property
    def target(self) -> Placed:
        return next(thing for thing in self.things if thing.name == self.wanted)


def home_number(seed: int) -> int:
    held_out, turn = seed % 2, seed // 2
    return FIRST_HELD_OUT + turn % HELD_OUT_HOMES if held_out else turn % TRAIN_HOMES


def episode(seed: int, beside: bool = False) -> Episode:
    """With `beside`, the robot starts beside the table, facing the wanted object more or less."""
    rng = np.random.default_rng([seed, 0xE915])
    where = home(home_number(seed))
    things = _things(where, rng)
    target = things[rng.integers(len(things))]
    start = (_start_beside if beside else _start)(where, target, rng)
    return Episode(where, tuple(things), target.name, start)


def _things(where: Home, rng: np.random.Generator) -> list[Placed]:
    """One of each kind; all are placed anew where the first ones have left no room for another."""
    things: list[Placed] = []
    while len(things) < len(where.kinds):
        placed = _place(where.kinds[len(things)], where, things, rng)
        things = [*things, placed] if placed else []
    return things


def _place(name: str, where: Home, others: list[Placed], rng: np.random.Generator) -> Placed | None:
    """On a random table, opposite to a place from where the robot can reach it, apart from the others."""
    for _ in range(TRIES):
        number = int(rng.integers(len(where.tables)))
        table = where.tables[number]
        approaches = where.approaches(table)
        x, y = _opposite(table, approaches[rng.integers(len(approaches))], rng.uniform(*INSIDE))
        if all(np.hypot(x - other.at[0], y - other.at[1]) > APART for other in others):
            height = table.height + BY_NAME[name].height / 2
            return Placed(name, number, (float(x), float(y), height), float(rng.uniform(-pi, pi)))
    return None


def _opposite(table: Furniture, approach: np.ndarray, inside: float) -> np.ndarray:
    """The place on the table `inside` metres from the edge, straight ahead of one who stands at the approach."""
    c, s = cos(table.yaw), sin(table.yaw)
    turn = np.array([[c, s], [-s, c]])
    place, half = turn @ (approach - (table.x, table.y)), np.array(table.half)
    place = np.clip(place, inside - half, half - inside)
    return turn.T @ place + (table.x, table.y)


def _start(where: Home, target: Placed, rng: np.random.Generator) -> tuple[float, float, float]:
    free = np.argwhere(where.drivable & (where.clearance > START_CLEARANCE))
    places = (free + 0.5) * floor.CELL
    far = places[np.hypot(*(places - target.at[:2]).T) > START_DISTANCE]
    x, y = far[rng.integers(len(far))]
    return float(x), float(y), float(rng.uniform(-pi, pi))


def stands(where: Home, target: Placed) -> np.ndarray:
    """(N, 2) places beside the table from where the arm reaches the object with centimetres to spare; N ≥ 1."""
    places = where.approaches(where.tables[target.table])
    near: np.ndarray = places[np.hypot(*(places - target.at[:2]).T) < REACH[1] - 0.04]
    return near


def _start_beside(where: Home, target: Placed, rng: np.random.Generator) -> tuple[float, float, float]:
    places = stands(where, target)
    x, y = places[rng.integers(len(places))]
    facing = np.arctan2(target.at[1] - y, target.at[0] - x)
    return float(x), float(y), float(facing + 0.9 * rng.uniform(-FACING, FACING))
