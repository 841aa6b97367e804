"""What people see on stdout and stderr: tables, or one JSON object with --json."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import wraps
import json
import math
import sys
import time
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from askonce.cache.errors import AskonceError

# Paths, texts and what LLMs write are shown as they are: "[red]" is no colour and ":key:" no picture.
PLAIN = dict(highlight=False, markup=False, emoji=False)


def visible(words: str) -> str:
    """What an LLM, a server or a cache of others wrote may hold codes that would steer the terminal: shown, not obeyed."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in words)


class Terminal(Console):
    """Every string that is printed, in a table or alone, comes through here."""

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(visible(text), **how)


out, err = Terminal(**PLAIN), Terminal(stderr=True, **PLAIN)
# Where a command's own results go; None: wherever stdout is.
_results: TextIO | None = None


def alone_on_stdout(command: Callable[..., None]) -> Callable[..., None]:
    """The command with stdout for itself: what a world or a library prints meanwhile goes to stderr."""

    @wraps(command)
    def alone(*given: Any, **named: Any) -> None:
        with _own_stdout():
            command(*given, **named)

    return alone


@contextmanager
def _own_stdout() -> Iterator[None]:
    global _results
    _results = out.file = sys.stdout
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _results = out.file = None


def emit(figures: dict[str, Any], as_json: bool, title: str, rows: dict[str, str]) -> None:
    if as_json:
        print_json(figures)
    else:
        print_rows(title, rows, as_json)


def print_rows(title: str | None, rows: dict[str, str], as_json: bool) -> None:
    """A table of two columns, on stderr where stdout is kept for JSON."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for label, value in rows.items():
        table.add_row(label, str(value))
    (err if as_json else out).print(table)


def print_json(figures: dict[str, Any]) -> None:
    print(json.dumps(_finite(figures), default=str, allow_nan=False), file=_results or sys.stdout, flush=True)


def _finite(value: Any) -> Any:
    """JSON has no word for infinity, as the interval around a single episode's figure is: null."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_title(words: str) -> None:
    err.print(f"\n{words}", style="bold")


@contextmanager
def going_on(how: str):
    """Says after Ctrl-C how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise AskonceError(f"interrupted; everything obtained is stored: {how}", 130) from None


@contextmanager
def live(label: str, every: float = 60, transient: bool = True) -> Iterator[Callable[..., None]]:
    """A function (done, total, words) that moves one live line in a terminal, and elsewhere prints a plain one every so
    many seconds; `label` is what is counted."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TextColumn(f"{label}  {{task.description}}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=err, transient=transient, disable=not err.is_terminal) as bar:
        job, shown = bar.add_task("", total=None), time.monotonic()
        began: tuple[float, int] | None = None

        def show(done: int, total: int, words: str = "") -> None:
            nonlocal shown, began
            bar.update(job, completed=done, total=total, description=words)
            # What is done at once was done before: it tells nothing about the rest.
            began = began or (time.monotonic(), done)
            if not err.is_terminal and time.monotonic() - shown >= every:
                shown = time.monotonic()
                rest = _left(shown - began[0], done - began[1], total - done)
                err.print(f"{done:,} of {total:,} {label}: {words}{rest}", soft_wrap=True)

        yield show


def _left(seconds: float, done: int, left: int) -> str:
    """ "  about 12 min left", by how long what is done has taken."""
    if not (done and left):
        return ""
    minutes = seconds / done * left / 60
    return f"  about {minutes / 60:,.1f} h left" if minutes > 90 else f"  about {max(1, round(minutes))} min left"
