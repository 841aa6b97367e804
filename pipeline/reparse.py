"""A better parser applied to what is stored, at no cost, and what it changed.

The index that is there was derived earlier, by whatever parser. It is compared, text by text, with what the
present parser reads, and replaced on the way.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
import heapq
from pathlib import Path

from askonce.cache.index import Entry
from askonce.cache.query import TeacherName
from askonce.cache.teachers import teacher_names, teachers_of
from askonce.pipeline import tasks
from askonce.pipeline.answered import Answered, build, entries, older, place, present, total_variation
from askonce.pipeline.tasks.task import Task

# Of the texts whose distribution changed, so many are told.
LARGEST = 10


@dataclass(frozen=True)
class Change:
    """A text's distributions before and after: decision, its options joined by commas, → probability."""

    text: str
    total_variation: float
    before: dict[str, float]
    after: dict[str, float]


@dataclass
class Reparsed:
    """What changed for one teacher since its index was last built.

    compared            whether there was an index; without one there are no changes
    texts, completions  all that are stored now
    new_texts           texts that had no answer then
    new_completions     those of new texts, and those that others have more
    changed             texts of then whose distribution is another now, be it by new completions
    newly_readable      completions of then in which only the present parser finds a decision
    no_longer_readable  completions of then in which it no longer finds one
    largest             the largest changes, the largest first
    """

    task: str
    teacher: str
    compared: bool
    texts: int = 0
    completions: int = 0
    new_texts: int = 0
    new_completions: int = 0
    changed: int = 0
    newly_readable: int = 0
    no_longer_readable: int = 0
    largest: list[Change] = field(default_factory=list)


def reparse(directory: str | Path, task: Task | None = None) -> tuple[list[Reparsed], list[str]]:
    """Builds the indexes of all teachers, or of those of `task`, anew, and says what changed.

    Also names the tasks that only their own package knows, for which `task` must be given. AskonceError
    where the directory is no cache, is damaged or cannot be written, or holds nothing for `task`.
    """
    if task:
        return [_of_teacher(directory, task, teacher) for teacher in teachers_of(directory, task.name)], []
    everyone = teacher_names(directory)
    # A cache only names tasks: what it names is not imported.
    known = {name: tasks.find(name) for name in tasks.names()}
    unknown = dict.fromkeys(teacher.task for teacher in everyone if teacher.task not in known)
    return [_of_teacher(directory, known[teacher.task], teacher) for teacher in everyone if teacher.task in known], [
        *unknown
    ]


def _of_teacher(directory: str | Path, task: Task, teacher: TeacherName) -> Reparsed:
    which = directory, task, teacher.model, teacher.prompt
    path, source = place(*which), present(*which)
    earlier = older(path)
    found = Reparsed(task.name, teacher.name, compared=earlier is not None)
    build(path, _compared(entries(*which), earlier, found), source)
    return found


def _compared(
    now: Iterator[tuple[str, Entry]], earlier: Answered | None, found: Reparsed
) -> Iterator[tuple[str, Entry]]:
    """The same entries, each counted in `found` as it passes."""
    for text, entry in now:
        found.texts += 1
        found.completions += entry.completions
        before = None if earlier is None else earlier.entry(text)
        if before:
            _count(found, text, before, entry)
        elif found.compared:
            found.new_texts += 1
            found.new_completions += entry.completions
        yield text, entry


def _count(found: Reparsed, text: str, before: Entry, now: Entry) -> None:
    found.new_completions += now.completions - before.completions
    # Samples are numbered in the order in which they were asked, so those of before come first, unless a
    # merge brought older ones: then these figures are approximate.
    unreadable = {sample for sample in now.unreadable if sample < before.completions}
    found.newly_readable += len(set(before.unreadable) - unreadable)
    found.no_longer_readable += len(unreadable - set(before.unreadable))
    variation = total_variation(before, now)
    # Less is rounding.
    if variation > 1e-9:
        found.changed += 1
        change = Change(text, variation, _in_words(before), _in_words(now))
        largest = [*found.largest, change]
        found.largest = heapq.nlargest(LARGEST, largest, key=lambda each: each.total_variation)


def _in_words(entry: Entry) -> dict[str, float]:
    return {", ".join(decision): probability for decision, probability in entry.distribution.items()}
