"""The forms in which a teacher's answers are learnt from: all of them, the most probable, or what an audit left."""

from collections.abc import Mapping, Set
from pathlib import Path

from askonce.cache.query import TeacherName
from askonce.pipeline.answered import open_answered
from askonce.pipeline.audit.table import faults
from askonce.pipeline.tasks.task import Decision, Lookup, Task

FORMS = "soft", "hard", "audited"


def lookup_of(task: Task, cache: Path, teacher: TeacherName, form: str = "soft") -> Lookup:
    """What `teacher` has answered for `task` up to now, in one of `FORMS`."""
    return in_form(open_answered(cache, task, teacher.model, teacher.prompt), form, cache, teacher)


def in_form(lookup: Lookup, form: str, cache: Path, teacher: TeacherName) -> Lookup:
    """The answers of `teacher`, which `lookup` gives as they are, in one of `FORMS`.

    AskonceError where there is no audit for the last one.
    """
    if form == "hard":
        return harden(lookup)
    return without(lookup, faults(cache, teacher)) if form == "audited" else lookup


def harden(lookup: Lookup) -> Lookup:
    """The hard teacher of section 4.1.3: each text's most probable decision alone, the first of equals."""

    def hardest(text: str) -> dict[Decision, float] | None:
        found = lookup(text)
        if not found:
            return found
        return {max(found, key=found.__getitem__): 1.0}

    return hardest


def without(lookup: Lookup, mistakes: Mapping[str, Set[Decision]]) -> Lookup:
    """The teacher without its mistakes. Where a text has nothing else, they stay: better than no advice at all."""

    def corrected(text: str) -> Mapping[Decision, float] | None:
        found = lookup(text)
        kept = {decision: share for decision, share in (found or {}).items() if decision not in mistakes.get(text, ())}
        total = sum(kept.values())
        return {decision: share / total for decision, share in kept.items()} if total else found

    return corrected
