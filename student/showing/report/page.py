"""A report as one HTML file that asks for nothing and runs nothing but its own script.

Whatever a cache, an audit or a task says is escaped where it is written, marks that steer text are shown as codes,
and a content security policy lets the browser run this script and load nothing, whatever was written.
"""

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from pathlib import Path
import unicodedata

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from askonce.cache import durable
from askonce.pipeline.audit.summary import Shares, said, shares
from askonce.pipeline.audit.verdict import VERDICTS
from askonce.pipeline.tasks.task import Playout, Trace
from askonce.student.judging.unlearned import Habit
from askonce.student.learning.anneal import ITERATIONS
from askonce.student.showing.curves import METHOD_NAMES, SMOOTHED_OVER, smooth
from askonce.student.showing.report.audits import Decision
from askonce.student.showing.report.chart import Level, Line, chart
from askonce.student.showing.report.gather import Evaluated, Held, Report, identity

# More would make a page that is slow to open; the table beside the cache holds them all.
MOST_DECISIONS = 1000
MOST_LETTERS = 6000
# What a student has made of a decision; the last where both actions are always the same.
STATUSES = "unlearned", "kept", "undecided", "no difference"
# What steers how text is shown: controls, marks of direction, halves of pairs, separators of lines.
STEERING = "Cc", "Cf", "Cs", "Zl", "Zp"
# Joiners, which are letters' own.
JOINERS = "\u200c\u200d"


def write(report: Report, to: Path) -> int:
    """Writes the page in one piece and returns its bytes."""
    page = render(report).encode()
    durable.write(to, page)
    return len(page)


def render(report: Report) -> str:
    environment = Environment(
        loader=PackageLoader("askonce.student.showing.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda share, digits=1: "–" if share is None else f"{share:.{digits}%}",
        "number": lambda figure, digits=0: "–" if figure is None else _signed(f"{figure:,.{digits}f}"),
        "change": lambda figure, digits=2: "–" if figure is None else _signed(f"{figure:+,.{digits}f}"),
        "usd": lambda cost: "unknown" if cost is None else f"{cost:,.2f} USD",
    }
    files = resources.files("askonce.student.showing.report")
    style, script = ((files / name).read_text() for name in ("style.css", "script.js"))
    met = [found.visits * likely for found, likely in zip(report.decisions, said(report.decisions))]
    shown = sorted(zip(report.decisions, met), key=_rank)[:MOST_DECISIONS]
    return environment.get_template("template.html").render(
        report=report,
        style=Markup(style),
        script=Markup(script),
        style_digest=_digest(style),
        script_digest=_digest(script),
        totals=totals(report.held),
        audits=list(_audits(report.decisions)),
        tasks=list(_of_tasks(report.evaluated)),
        verdicts=VERDICTS,
        statuses=STATUSES,
        students=list(_students(report.unlearnt)),
        left_out=len(report.decisions) - len(shown),
        decisions=[_shown_decision(found, met, report) for found, met in shown],
    )


# ---- What is written ---------------------------------------------------------------------------------------------


def _shown(value: object) -> object:
    """Every value that the template writes."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def visible(words: str) -> str:
    """Marks that would steer how text is shown, as codes."""
    lines = words.replace("\r\n", "\n").split("\n")
    return "\n".join(line if line.isprintable() else _coded(line) for line in lines)


def _coded(line: str) -> str:
    return "".join(
        letter if letter in "\t" + JOINERS or unicodedata.category(letter) not in STEERING else ascii(letter)[1:-1]
        for letter in line
    )


def _signed(number: str) -> str:
    return number.replace("-", "−")


def _digest(code: str) -> str:
    return f"sha256-{b64encode(sha256(code.encode()).digest()).decode()}"


# ---- The cache ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Totals:
    """Sums; None where nothing is known of what is summed, `unpriced` where it is not known of all teachers."""

    tasks: int
    teachers: int
    texts: int
    completions: int
    unparsable: float | None
    tokens: int
    cost: float | None
    unpriced: bool


def totals(held: Sequence[Held]) -> Totals:
    read = [one for one in held if one.unparsable is not None]
    completions = sum(one.entry.completions for one in read)
    priced = [one.cost for one in held if one.cost is not None]
    return Totals(
        tasks=len({one.entry.task for one in held}),
        teachers=len({one.entry.name for one in held}),
        texts=sum(one.entry.texts for one in held),
        completions=sum(one.entry.completions for one in held),
        unparsable=sum(one.unparsable for one in read) / completions if read else None,
        tokens=sum(one.entry.prompt_tokens + one.entry.completion_tokens for one in held),
        cost=sum(priced) if priced else None,
        unpriced=0 < len(priced) < len(held),
    )


# ---- Who plays how well --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DecisionRow:
    """A policy, with the colour in which it is drawn."""

    color: int
    name: str
    about: str
    found: Evaluated


@dataclass(frozen=True)
class OfTask:
    name: str
    rows: list[DecisionRow]
    charts: list[Markup]


def _of_tasks(evaluated: Sequence[Evaluated]) -> Iterator[OfTask]:
    """Those with anything to show."""
    for name in dict.fromkeys(found.task for found in evaluated):
        rows = [_row(color, found) for color, found in enumerate(one for one in evaluated if one.task == name)]
        if any(row.found.student or row.found.figures for row in rows):
            yield OfTask(name, rows, list(_charts(rows)))


def _row(color: int, found: Evaluated) -> DecisionRow:
    if found.student is None:
        return DecisionRow(color, found.teacher or "", "the LLM alone", found)
    run = found.student.run
    method = METHOD_NAMES.get(run.method or "llm4teach", run.method)
    taught = f" from {run.teacher}" if run.teacher else ""
    length = f"{run.iterations:,} iterations, {run.env_steps:,} steps"
    return DecisionRow(color, str(run.run), f"{method}{taught}, {length}", found)


def _charts(rows: Sequence[DecisionRow]) -> Iterator[Markup]:
    drawn = [row for row in rows if row.found.student and row.found.student.curve is not None]
    if not drawn:
        return
    # A teacher nobody here has learnt from would only be in the way.
    taught = {row.found.teacher for row in drawn}
    alone = [row for row in rows if not row.found.student and row.found.figures and row.found.teacher in taught]
    for column, figure, words, percent in (
        ("success", "success_rate", "Success rate", True),
        ("return", "return_mean", "Mean return", False),
    ):
        lines = [_curve(row, column) for row in drawn]
        levels = [Level(row.color, getattr(row.found.figures, figure)) for row in alone]
        yield chart(f"{words} by environment steps; the table has figures", "environment steps", percent, lines, levels)


def _curve(row: DecisionRow, column: str) -> Line:
    run, curve = row.found.student.run, row.found.student.curve
    window = max(SMOOTHED_OVER * run.iterations_wanted // ITERATIONS, 1)
    return Line(row.color, curve["env_steps"], smooth(curve[column], window))


# ---- The audit ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Audit:
    task: str
    teacher: str
    shares: dict[str, Shares]  # by verdict


@dataclass(frozen=True)
class Student:
    """How many faulty decisions of a teacher have which status with a run."""

    run: str
    teacher: str
    counts: Counter[str]


@dataclass(frozen=True)
class Picture:
    """One of the two pictures of a decision."""

    title: str
    decision: str
    trace: Trace
    drawing: Markup


@dataclass(frozen=True)
class Shown:
    """A decision with all that is said of it."""

    found: Decision
    lost: float | None  # of return, over all visits
    pictures: list[Picture]
    words: str
    cut: int
    unlearnt: list[Habit]

    @property
    def statuses(self) -> list[str]:
        return sorted({one.status for one in self.unlearnt if one.status})


def _audits(decisions: Sequence[Decision]) -> Iterator[Audit]:
    for task, teacher in dict.fromkeys((found.task, found.teacher) for found in decisions):
        rows = [found for found in decisions if (found.task, found.teacher) == (task, teacher)]
        yield Audit(task, teacher, {verdict: each for verdict, each in shares(rows).items() if each.decisions})


def _students(unlearnt: Mapping[tuple, list[Habit]]) -> Iterator[Student]:
    found = [one for each in unlearnt.values() for one in each]
    for run, teacher in sorted({(one.run, f"{one.model}@{one.prompt}") for one in found}):
        those = [one for one in found if (one.run, f"{one.model}@{one.prompt}") == (run, teacher)]
        yield Student(run, teacher, Counter(one.status or STATUSES[-1] for one in those))


def _rank(one: tuple[Decision, float]) -> tuple:
    """What costs most over all visits first, then what is worst."""
    found, met = one
    return (
        -max(_lost(found, met) or 0.0, 0.0),
        VERDICTS.index(found.verdict),
        -met,
        found.task,
        found.teacher,
        found.text,
        found.decision or "",
        found.rule or "",
    )


def _lost(found: Decision, met: float) -> float | None:
    return None if found.cost is None else found.cost.mean * met


def _shown_decision(found: Decision, met: float, report: Report) -> Shown:
    words = report.contents.get((found.task, found.completion), "")
    playout = report.playouts.get(found.task)
    pictured = playout and found.example and found.verdict != "sound"
    pictures = list(_pictures(found, playout)) if pictured else []
    return Shown(
        found,
        _lost(found, met),
        pictures,
        words[:MOST_LETTERS],
        max(len(words) - MOST_LETTERS, 0),
        report.unlearnt.get(identity(found), []),
    )


def _pictures(found: Decision, playout: Playout) -> Iterator[Picture]:
    example = found.example
    drawn = lambda trace: Markup(playout.drawing(example.world, example.knowledge, trace))
    yield Picture("what the LLM decided", found.decision or "", example.path, drawn(example.path))
    if len(example.best.poses):
        # Executed with care, the same decision may end well.
        best = "the same, carried out with care" if found.best == found.decision else "the best decision"
        yield Picture(best, found.best or "", example.best, drawn(example.best))
