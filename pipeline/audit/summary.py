"""An audit at a glance: what share each verdict has, and which decisions cost most."""

from collections.abc import Sequence
from dataclasses import dataclass

from askonce.pipeline.audit.table import AuditRow
from askonce.pipeline.audit.verdict import FAULTY, VERDICTS


@dataclass(frozen=True)
class Shares:
    """Of distinct decisions; of what the teacher says in each text alike; of what it says where texts are met."""

    decisions: float
    probability: float
    visits: float


def said(rows: Sequence[AuditRow]) -> list[float]:
    """How likely each row is among all that its teacher says of its text: readable decisions share what unparsable ones leave."""
    unread: dict[tuple[str, ...], float] = {}
    for row in rows:
        if row.decision is None:
            unread[_asked(row)] = unread.get(_asked(row), 0.0) + row.probability
    return [row.probability * (1 if row.decision is None else 1 - unread.get(_asked(row), 0.0)) for row in rows]


def _asked(row: AuditRow) -> tuple[str, ...]:
    return row.task, row.model, row.prompt, row.text


def shares(rows: Sequence[AuditRow]) -> dict[str, Shares]:
    """Of one teacher's rows, by verdict."""
    likely = said(rows)
    met = sum(row.visits * share for row, share in zip(rows, likely))
    found = {}
    for verdict in VERDICTS:
        of = [(row.visits, share) for row, share in zip(rows, likely) if row.verdict == verdict]
        found[verdict] = Shares(
            len(of) / len(rows),
            sum(share for _, share in of) / sum(likely),
            sum(visits * share for visits, share in of) / met if met else 0.0,
        )
    return found


def costliest(rows: Sequence[AuditRow]) -> list[tuple[AuditRow, float]]:
    """The faulty decisions, and unparsable answers last, by what they cost in all, or where that is not known by how
    often they are met: each with that, as a share of all visits."""
    met = [(row, row.visits * share) for row, share in zip(rows, said(rows)) if row.verdict in (*FAULTY, "unparsable")]
    return sorted(met, key=lambda one: (-(one[0].cost or 0.0) * one[1], one[0].verdict == "unparsable", -one[1]))
