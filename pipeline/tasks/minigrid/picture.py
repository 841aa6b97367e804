"""A real state with the path that was played out from it, as SVG.

What is written into it are numbers and the names of objects and colours alone, nothing that an LLM or a task said.
The symbols that it uses, and its colours by the page's theme, are the page's.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from minigrid.core.constants import IDX_TO_COLOR, IDX_TO_OBJECT
import numpy as np

from askonce.pipeline.tasks.minigrid.describe import CANONICAL_COLORS
from askonce.pipeline.tasks.minigrid.draw import agent_of, held, room
from askonce.pipeline.tasks.minigrid.engine import DOOR, DROP, EMPTY, KEY, LOCKED, OPEN, PICK_UP, TOGGLE, UNSEEN, WALL
from askonce.pipeline.tasks.minigrid.envs import NO_AGENT
from askonce.pipeline.tasks.task import Trace

# Units a cell, and how far to the right of its way a path is drawn, so that there and back are two lines.
CELL, ASIDE = 20, 3
# Pixels a cell where there is room.
SHOWN = 26
# Where in its cell a thing that is held lies on the agent.
HELD_AT = 3
EAST_SOUTH_WEST_NORTH = (1, 0), (0, 1), (-1, 0), (0, -1)
COMPASS = "east", "south", "west", "north"
MARKS = {PICK_UP: "pick-up", DROP: "drop", TOGGLE: "open"}
DRAWN = "key", "ball", "box", "goal", "lava", "floor"


class Pose(NamedTuple):
    """Where the agent is, and what it does there: an action of the engine, -1 at the end."""

    x: int
    y: int
    direction: int
    action: int


def picture(world: np.ndarray, knowledge: np.ndarray, trace: Trace) -> str:
    """`world` (W, H, 3) and `knowledge` (W, H, 4) as the path begins."""
    width, height = room(world)
    world, knowledge = world[:width, :height], knowledge[:width, :height]
    parts = [
        f'<path class="floor" d="M0 0h{CELL * width}v{CELL * height}H0z"/>',
        f'<path class="wall" d="{_cells(world[..., 0] == WALL)}"/>',
        *_things(world),
        f'<path class="unseen" d="{_cells(knowledge[..., 0] == UNSEEN)}"/>',
        *_agent(knowledge),
        *_path(_poses(trace), trace.decided),
    ]
    return (
        f'<svg class="room" viewBox="0 0 {CELL * width} {CELL * height}" width="{SHOWN * width}" '
        f'height="{SHOWN * height}" role="img" '
        f'aria-label="{_words(width, height, knowledge, trace)}">{"".join(parts)}</svg>'
    )


def as_named(world: np.ndarray, knowledge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both with the colours by which a text names them: canonical ones, in the order of mention."""
    x, y = agent_of(knowledge)
    things = [cell for cell in knowledge.reshape(-1, 4).tolist() if cell[3] == NO_AGENT]
    mentioned = [color for wanted in (KEY, DOOR) for kind, color, *_ in things if kind == wanted]
    if knowledge[x, y, 0] != EMPTY:
        mentioned.append(int(knowledge[x, y, 1]))
    others = [color for kind, color, _ in world.reshape(-1, 3).tolist() if kind in (KEY, DOOR)]
    number = {name: number for number, name in IDX_TO_COLOR.items()}
    canonical = [number[name] for name in CANONICAL_COLORS]
    names = canonical + sorted(set(IDX_TO_COLOR) - set(canonical))
    order = list(dict.fromkeys([*mentioned, *others, *IDX_TO_COLOR]))
    renamed = np.arange(256, dtype=np.uint8)
    renamed[order] = names
    return _recolored(world, renamed), _recolored(knowledge, renamed)


def _recolored(cells: np.ndarray, renamed: np.ndarray) -> np.ndarray:
    cells, colored = cells.copy(), np.isin(cells[..., 0], (KEY, DOOR))
    cells[..., 1] = np.where(colored, renamed[cells[..., 1]], cells[..., 1])
    return cells


def _cells(wanted: np.ndarray) -> str:
    """One outline for each run of cells in a row."""
    return "".join(
        f"M{CELL * run[0]} {CELL * y}h{CELL * len(run)}v{CELL}h{-CELL * len(run)}z"
        for y in range(wanted.shape[1])
        for run in _runs(wanted[:, y])
    )


def _runs(row: np.ndarray) -> Iterator[list[int]]:
    for wanted, run in groupby(range(len(row)), lambda x: bool(row[x])):
        if wanted:
            yield list(run)


def _things(world: np.ndarray) -> Iterator[str]:
    for x, y in np.argwhere((world[..., 0] != WALL) & (world[..., 0] != EMPTY)).tolist():
        kind, color, condition = world[x, y].tolist()
        name = IDX_TO_OBJECT.get(kind, "")
        if kind == DOOR:
            name = {OPEN: "door-open", LOCKED: "door-locked"}.get(condition, "door")
        if name in DRAWN or kind == DOOR:
            yield _use(name, x, y, IDX_TO_COLOR.get(color))


def _agent(knowledge: np.ndarray) -> Iterator[str]:
    x, y = agent_of(knowledge)
    kind, color, _, direction = knowledge[x, y].tolist()
    middle = f"{CELL * x + CELL // 2} {CELL * y + CELL // 2}"
    yield f'<use href="#agent" x="{CELL * x}" y="{CELL * y}" transform="rotate({90 * direction} {middle})"/>'
    if kind in (KEY, *(number for number, name in IDX_TO_OBJECT.items() if name in ("ball", "box"))):
        corner = f"{CELL * x + HELD_AT} {CELL * y + HELD_AT}"
        yield (
            f'<use href="#{IDX_TO_OBJECT[kind]}" class="held {IDX_TO_COLOR.get(color)}" '
            f'transform="translate({corner}) scale(.7)"/>'
        )


def _use(name: str, x: int, y: int, style: str | None) -> str:
    return f'<use href="#{name}" x="{CELL * x}" y="{CELL * y}" class="{style}"/>'


def _poses(trace: Trace) -> list[Pose]:
    return [Pose(*row) for row in trace.poses.tolist()]


def _path(poses: Sequence[Pose], decided: int) -> Iterator[str]:
    """The continuation below the decision's own part; the arrow's head points where the agent looks at last."""
    points = [_point(pose) for pose in poses]
    first, rest = _line(points[: decided + 1]), _line(points[decided:])
    if rest or first:
        # Else it would be lost on lava.
        yield f'<path class="under" d="{first}{rest}"/>'
    if rest:
        yield f'<path class="way then" d="{rest}"/>'
    if first:
        yield f'<path class="way" d="{first}"/>'
    if rest or first:
        (x, y), turned = points[-1], 90 * (poses[-1].direction % 4)
        yield f'<path class="head" d="M5 0-3 4V-4z" transform="translate({x} {y}) rotate({turned})"/>'
    for x, y, mark in dict.fromkeys(_marks(poses)):
        yield f'<use href="#{mark}" x="{CELL * x}" y="{CELL * y}" class="mark"/>'


def _point(pose: Pose) -> tuple[int, int]:
    x, y = EAST_SOUTH_WEST_NORTH[(pose.direction + 1) % 4]
    return CELL * pose.x + CELL // 2 + ASIDE * x, CELL * pose.y + CELL // 2 + ASIDE * y


def _line(points: Sequence[tuple[int, int]]) -> str:
    """The path's data, a point in the middle of a straight line left out; empty for one that stands still."""
    points = [point for point, _ in groupby(points)]
    steps = [(x - from_x, y - from_y) for (from_x, from_y), (x, y) in zip(points, points[1:])]
    joined = [
        (sum(dx for dx, _ in run), sum(dy for _, dy in run))
        for _, run in ((way, list(run)) for way, run in groupby(steps, _way))
    ]
    if not joined:
        return ""
    return f"M{points[0][0]} {points[0][1]}" + "".join(
        f"h{dx}" if not dy else f"v{dy}" if not dx else f"l{dx} {dy}" for dx, dy in joined
    )


def _way(step: tuple[int, int]) -> tuple[int, int, bool]:
    return int(np.sign(step[0])), int(np.sign(step[1])), 0 in step


def _marks(poses: Sequence[Pose]) -> Iterator[tuple[int, int, str]]:
    for pose in poses:
        if pose.action in MARKS:
            dx, dy = EAST_SOUTH_WEST_NORTH[pose.direction % 4]
            yield pose.x + dx, pose.y + dy, MARKS[pose.action]


def _words(width: int, height: int, knowledge: np.ndarray, trace: Trace) -> str:
    x, y = agent_of(knowledge)
    return (
        f"A room of {width} by {height} cells. The agent starts in column {x + 1}, row {y + 1}, facing "
        f"{COMPASS[knowledge[x, y, 3] % 4]}, holding {held(knowledge)}, and takes {trace.steps} steps."
    )
