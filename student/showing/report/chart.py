"""Learning curves as SVG: numbers alone, in the page's colours; what a line is of is said beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

from markupsafe import Markup
import numpy as np

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 10, 34
POINTS = 150
# About so many numbers along the axis.
TICKS = 5


@dataclass(frozen=True)
class Line:
    """`color` numbers the page's colours; `x` rises."""

    color: int
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Level:
    """A line across."""

    color: int
    y: float


def chart(words: str, x_axis: str, percent: bool, lines: Sequence[Line], levels: Sequence[Level] = ()) -> Markup:
    """`words` and `x_axis` are the project's own and not escaped. Up goes from 0 to 1, or as far as there are values."""
    longest = max(float(line.x[-1]) for line in lines)
    across = lambda x: LEFT + (WIDTH - LEFT - RIGHT) * x / longest
    marks = heights(np.concatenate([[level.y for level in levels], *(line.y for line in lines)]))
    down = lambda y: TOP + (HEIGHT - TOP - BOTTOM) * (marks[-1] - y) / (marks[-1] - marks[0])
    parts = []
    for y in marks:
        label = f"{y:.0%}" if percent else f"{y:g}"
        parts.append(f'<path class="grid" d="M{LEFT} {down(y):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 6, down(y) + 4, "end", label))
    for x in ticks(longest):
        parts.append(_text(across(x), HEIGHT - BOTTOM + 16, "middle", _short(x)))
    parts.append(_text(WIDTH - RIGHT, HEIGHT - 3, "end", x_axis))
    for level in levels:
        parts.append(f'<path class="level c{level.color}" d="M{LEFT} {down(level.y):.1f}H{WIDTH - RIGHT}"/>')
    for line in lines:
        at = np.linspace(line.x[0], line.x[-1], POINTS)
        points = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in zip(at, np.interp(at, line.x, line.y)))
        parts.append(f'<polyline class="curve c{line.color}" points="{points}"/>')
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{words}">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, anchor: str, words: str) -> str:
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def ticks(longest: float) -> list[float]:
    """Round numbers from 0 on, at most `longest`."""
    step = _step(longest)
    return [step * number for number in range(int(longest / step) + 1)]


def heights(values: np.ndarray) -> list[float]:
    """Quarters from 0 to 1, or where values are beyond these round numbers about all of them."""
    least, most = min(float(values.min()), 0.0), max(float(values.max()), 1.0)
    if (least, most) == (0.0, 1.0):
        return [0.0, 0.25, 0.5, 0.75, 1.0]
    step = _step(most - least)
    return [step * number for number in range(floor(least / step), ceil(most / step) + 1)]


def _step(length: float) -> float:
    """A round number that goes about `TICKS` times into `length`."""
    rough = length / TICKS
    power = 10 ** np.floor(np.log10(rough))
    return next(float(power * by) for by in (1, 2, 5, 10) if power * by >= rough)


def _short(number: float) -> str:
    """12000 → 12k"""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"
