"""Two teachers beside each other: what each gets wrong that the other does not, and what each is worth as a policy."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from askonce.pipeline.audit.audit import Audit, Show, audit
from askonce.pipeline.audit.summary import costliest
from askonce.pipeline.audit.table import AuditRow
from askonce.pipeline.audit.verdict import FAULTY
from askonce.pipeline.tasks.task import Lookup, Task
from askonce.student.judging.evaluate import Evaluation, evaluate, teacher
from askonce.student.learning.forms import lookup_of


@dataclass(frozen=True)
class Side:
    """One of the two: its mistakes that the other never makes, costliest first, each with how often it is met."""

    name: str
    evaluation: Evaluation
    alone: tuple[tuple[AuditRow, float], ...]


def compared(
    task: Task,
    first: Audit,
    cache: Path,
    form: str,
    other_cache: Path,
    other_model: str | None,
    other_form: str,
    episodes: int = 1000,
    seed: int = 0,
    show: Show = lambda done, total: None,
) -> tuple[Side, Side]:
    """`first` is the audit of a teacher in `cache`; a form is one of `student.learning.forms.FORMS`."""
    other = audit(task, other_cache, other_model, seed, show)
    given = ((first, cache, form), (other, other_cache, other_form))
    lookups = [lookup_of(task, where, each.teacher, form) for each, where, form in given]
    rows = [
        each.rows if form == "soft" else _as_decided(each.rows, lookup)
        for (each, _, form), lookup in zip(given, lookups)
    ]
    sides = []
    for (each, where, form), lookup, mine, theirs in zip(given, lookups, rows, reversed(rows)):
        wrong_too = {(row.text, row.decision) for row in theirs if row.verdict in FAULTY}
        alone = [row for row in mine if row.verdict in FAULTY and (row.text, row.decision) not in wrong_too]
        found = evaluate(task, teacher(task, lookup), episodes, seed)
        sides.append(Side(f"{each.teacher.name} in {where}, {form}", found, tuple(costliest(alone))))
    return sides[0], sides[1]


def _as_decided(rows: Sequence[AuditRow], lookup: Lookup) -> Sequence[AuditRow]:
    """The rows of what `lookup` leaves of a teacher's decisions, as probable as it makes them."""
    decided = {
        text: {", ".join(decision): share for decision, share in (lookup(text) or {}).items()}
        for text in {row.text for row in rows}
    }
    return [
        replace(row, probability=decided[row.text][row.decision]) for row in rows if row.decision in decided[row.text]
    ]
