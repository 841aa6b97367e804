"""A frame of `watch` for a terminal: the map, and beside it what the student and its teacher would do."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from student.watch import Frame

STYLES = {
    "agent": "bold bright_white on red", "lava": "bright_yellow on dark_orange3", "empty": "grey37",
    "grey": "grey62", "red": "bold red",
    "green": "bold green", "blue": "bold bright_blue", "purple": "bold magenta", "yellow": "bold yellow",
}
STUDENT, TEACHER = "dark_cyan", "dark_orange3"
# How long a bar is for certainty, and the longest name of an action.
BAR, NAME = 14, 12


def screen(
    title: str, frame: Frame, symbols: list[list[tuple[str, str]]] | None, actions: tuple[str, ...],
    bar: str = "━",
) -> RenderableType:
    """`symbols` is the map, None where there is none; `bar` is the letter that bars are made of."""
    head = Text.assemble(
        (title, "bold"), f"  episode {frame.episode}  step {frame.step}  return {frame.returned:.2f}"
    )
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
    policies = [("student", frame.student, STUDENT)]
    if frame.teacher is not None:
        policies.append(("teacher" if frame.teacher.any() else "teacher: no answer", frame.teacher, TEACHER))
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(min_width=1)
    table.add_column(max_width=NAME, no_wrap=True)
    for _ in policies:
        table.add_column(no_wrap=True)
    table.add_row("", "", *(Text(name, f"bold {style}") for name, _, style in policies))
    for action, name in enumerate(actions):
        chosen = action == frame.action
        table.add_row(
            ">" if chosen else "", Text(name, "bold" if chosen else ""),
            *(_probability(float(policy[action]), style, bar) for _, policy, style in policies),
        )
    return table


def _probability(probability: float, style: str, bar: str) -> Text:
    return Text(f"{probability:.2f} {(bar * round(probability * BAR)).ljust(BAR)}", style)


def _result(frame: Frame) -> Text:
    words = "success" if frame.returned > 0 else "no success"
    return Text(f"{words}: return {frame.returned:.2f} in {frame.step} steps", "bold")
