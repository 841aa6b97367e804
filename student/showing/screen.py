"""A frame of `watch` for a terminal: the map, and beside it what the student and its teacher would do."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from askonce.student.showing.watch import Frame

STYLES = {
    "agent": "bold bright_white on red",
    "lava": "bright_yellow on dark_orange3",
    "empty": "grey37",
    "grey": "grey62",
    "red": "bold red",
    "green": "bold green",
    "blue": "bold bright_blue",
    "purple": "bold magenta",
    "yellow": "bold yellow",
}
STUDENT, TEACHER = "dark_cyan", "dark_orange3"
# How long a bar is for certainty, and the longest name of an action.
BAR, NAME = 14, 14


def screen(
    title: str, frame: Frame, symbols: list[list[tuple[str, str]]] | None, actions: tuple[str, ...], bar: str = "━"
) -> RenderableType:
    """`symbols` is the map, None where there is none; `bar` is the letter that bars are made of."""
    head = Text.assemble((title, "bold"), f"  episode {frame.episode}  step {frame.step}  return {frame.returned:.2f}")
    what = _result(frame) if frame.ended else _bars(frame, actions, bar)
    beside = Group(Text(frame.text), *_held(frame), Text(), what)
    if symbols is None:
        return Group(head, Text(), beside, Text())
    columns = Table.grid(padding=(0, 3, 0, 0))
    columns.add_row(_map(symbols), beside)
    return Group(head, Text(), columns, Text())


def _map(symbols: list[list[tuple[str, str]]]) -> Text:
    # A letter is half as wide as it is high: every cell is two wide.
    styled = [[(symbol + " ", STYLES.get(color, "")) for symbol, color in row] for row in symbols]
    return Text("\n").join(Text.assemble(*row) for row in styled)


def _held(frame: Frame) -> list[Text]:
    return [] if frame.holds is None else [Text(f"In hand: {frame.holds}", "dim")]


def _bars(frame: Frame, actions: tuple[str, ...], bar: str) -> Table:
    styles = {name: TEACHER if name.startswith("teacher") else STUDENT for name in frame.policies}
    show = _signed if frame.is_vector else _probability
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(min_width=1)
    table.add_column(max_width=NAME, no_wrap=True)
    for _ in styles:
        table.add_column(no_wrap=True)
    table.add_row("", "", *(Text(name, f"bold {style}") for name, style in styles.items()))
    for action, name in enumerate(actions):
        chosen = not frame.is_vector and action == frame.action
        table.add_row(
            ">" if chosen else "",
            Text(name, "bold" if chosen else ""),
            *(show(float(policy[action]), styles[who], bar) for who, policy in frame.policies.items()),
        )
    return table


def _probability(probability: float, style: str, bar: str) -> Text:
    return Text(f"{probability:.2f} {(bar * round(probability * BAR)).ljust(BAR)}", style)


def _signed(value: float, style: str, bar: str) -> Text:
    """Of a number in [−1, 1], left or right of the middle."""
    half = BAR // 2
    long = bar * round(min(abs(value), 1.0) * half)
    sides = (long.rjust(half), " " * half) if value < 0 else (" " * half, long.ljust(half))
    return Text(f"{value:+.2f} {'|'.join(sides)}", style)


def _result(frame: Frame) -> Text:
    words = "success" if frame.success else "no success"
    return Text(f"{words}: return {frame.returned:.2f} in {frame.step} steps", "bold")
