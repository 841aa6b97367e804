"""All that a report says, as plain data. The same cache and runs give the same."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
import shlex

import numpy as np

from askonce.cache import query
from askonce.cache.errors import AskonceError
from askonce.cache.query import TeacherEntry
from askonce.pipeline import answered, collect, tasks
from askonce.pipeline.asking.prices import Price, price_of
from askonce.pipeline.build import EPISODES, first_visits
from askonce.pipeline.deduplicate import distinct_texts, merge
from askonce.pipeline.tasks.task import Playout, Task
from askonce.student.judging import evaluate
from askonce.student.judging.evaluate import Evaluation
from askonce.student.judging.side_by_side import Told, told_of
from askonce.student.judging.unlearned import Habit
from askonce.student.learning.forms import lookup_of
from askonce.student.showing import curves, runs
from askonce.student.showing.report import audits
from askonce.student.showing.report.audits import Decision


@dataclass(frozen=True)
class Held:
    """What the cache holds of a teacher. What cannot be known is None: for what is no built-in task, no reading of
    its completions and no rollouts for a coverage that no build kept; the cost in USD where the price is unknown."""

    entry: TeacherEntry
    told: Told | None
    unparsable: int | None
    coverage: float | None
    cost: float | None


@dataclass(frozen=True)
class Student:
    run: runs.Run
    curve: Mapping[str, np.ndarray] | None


@dataclass(frozen=True)
class Evaluated:
    """How a policy did alone: a student's, or that of the teacher (NAME@PROMPT) itself.

    `figures` is None where it was not played.
    """

    task: str
    teacher: str | None
    student: Student | None
    figures: Evaluation | None


@dataclass(frozen=True)
class Note:
    """What the report lacks, and the command by which it comes, if any."""

    words: str
    command: str | None = None


@dataclass(frozen=True)
class Report:
    """`contents` is what completions say, by task and id; `unlearnt` what the given runs have, by decision.

    `playouts` are of the tasks that can play decisions out, and draw what came of them.
    """

    cache: Path
    held: list[Held]
    evaluated: list[Evaluated]
    decisions: list[Decision]
    contents: Mapping[tuple[str, str], str]
    unlearnt: Mapping[tuple, list[Habit]]
    playouts: Mapping[str, Playout]
    notes: list[Note]


def gather(
    cache: Path,
    given: Sequence[Path] = (),
    task: Task | None = None,
    prices: Mapping[str, Price] = {},
    episodes: int = 1000,
    seed: int = 0,
) -> Report:
    """About the whole cache, or `task` alone, and the runs `given`. Every policy plays `episodes` held-out layouts.

    AskonceError where there is nothing to report, a run is of another task, or anything is damaged.
    """
    entries = [entry for entry in query.stats(cache).teachers if task is None or entry.task == task.name]
    names = list(dict.fromkeys(entry.task for entry in entries))
    if not entries:
        what = task.name if task else "any task"
        raise AskonceError(f"{cache} holds no answers for {what}: ask for them by `cli build-cache` first")
    students = [_student(run, cache, names) for run in dict.fromkeys(given)]
    decisions, unlearnt = audits.read(cache)
    decisions = [found for found in decisions if found.task in names]
    named = _of_runs(unlearnt, [student.run.run for student in students])
    worlds = {name: task or _built_in(name) for name in names}
    notes = [
        Note(f"{name} is no built-in task, so it was not played: name it by --task package.module:NAME.")
        for name, world in worlds.items()
        if world is None
    ]
    held, evaluated = [], []
    for name, world in worlds.items():
        teachers = [entry for entry in entries if entry.task == name]
        held += _held(cache, world, teachers, prices)
        learnt = [student for student in students if student.run.task == name]
        evaluated += _evaluated(cache, name, world, teachers, learnt, episodes, seed)
    playouts = {name: playout for name, world in worlds.items() if world and (playout := world.playout())}
    # What the others decide is not played out, and nobody can say what of it a student has unlearned.
    compared = [student for student in students if student.run.task in playouts]
    notes += _missing_audits(cache, entries, compared, decisions, named)
    contents = query.contents(cache, (found.completion for found in decisions))
    by_decision: dict[tuple, list[Habit]] = {}
    for found in named:
        by_decision.setdefault(identity(found), []).append(found)
    return Report(cache, held, evaluated, decisions, contents, by_decision, playouts, notes)


def identity(found: Decision | Habit) -> tuple:
    """What a row of an audit is about."""
    return found.task, found.model, found.prompt, found.text, found.decision


def _student(path: Path, cache: Path, names: Sequence[str]) -> Student:
    run = runs.read(path)
    if run.task not in names:
        raise AskonceError(
            f"{path} is a run of {run.task}, and {cache} is reported on for {', '.join(names)}: "
            "leave the run out, or name its cache",
            2,
        )
    return Student(run, curves.read(path))


def _built_in(name: str) -> Task | None:
    try:
        return tasks.find(name)
    except AskonceError:
        return None


def _held(
    cache: Path, task: Task | None, entries: Sequence[TeacherEntry], prices: Mapping[str, Price]
) -> Iterator[Held]:
    """The teachers of one task."""
    at_random = None
    said = {one.name: dict(answered.entries(cache, task, one.model, one.prompt)) for one in entries} if task else {}
    for entry in entries:
        price = price_of(entry.model, prices)
        cost = None if price is None else price.of(entry.prompt_tokens, entry.completion_tokens)
        covered = entry.coverage and entry.coverage.share
        if task is None:
            yield Held(entry, None, None, covered, cost)
            continue
        found = said[entry.name]
        if covered is None:
            # Nothing was built here, so it is over the rollouts with which `build-cache` would begin.
            at_random = at_random or first_visits(task, EPISODES, 0)
            distributions = {text: one.distribution for text, one in found.items()}
            driven = distinct_texts(task, collect.teacher(task, distributions, -(-EPISODES // 3), 0))
            covered = merge(at_random, driven).coverage(distributions)
        unparsable = sum(len(one.unreadable) for one in found.values())
        yield Held(entry, told_of(task, cache, entry, said), unparsable, covered, cost)


def _evaluated(
    cache: Path,
    name: str,
    task: Task | None,
    entries: Sequence[TeacherEntry],
    students: Sequence[Student],
    episodes: int,
    seed: int,
) -> Iterator[Evaluated]:
    """The task's teachers, then its students."""
    played = task is not None and episodes > 0
    for entry in entries:
        figures = None
        if played:
            figures = evaluate.evaluate(task, evaluate.teacher(task, lookup_of(task, cache, entry)), episodes, seed)
        yield Evaluated(name, entry.name, None, figures)
    for student in students:
        figures = None
        if played:
            world = evaluate.as_learnt(task, student.run.run)
            figures = evaluate.evaluate(world, evaluate.student(world, student.run.run), episodes, seed)
        yield Evaluated(name, student.run.teacher, student, figures)


def _of_runs(unlearnt: Sequence[Habit], given: Sequence[Path]) -> list[Habit]:
    """In the order of the runs, which go by the paths that are `given`."""
    return [found for run in given for found in unlearnt if Path(found.run).resolve() == run.resolve()]


def _missing_audits(
    cache: Path,
    entries: Sequence[TeacherEntry],
    students: Sequence[Student],
    decisions: Sequence[Decision],
    unlearnt: Sequence[Habit],
) -> list[Note]:
    audited = Counter[tuple[str, str]]()
    for found in decisions:
        audited[found.task, found.teacher] += found.completions
    notes = []
    for entry in entries:
        known = audited[entry.task, entry.name]
        if known < entry.completions:
            what = "has not been audited" if not known else "was audited when there were fewer completions"
            notes.append(
                Note(
                    f"What {entry.name} decides in {entry.task} {what}.",
                    _command("audit", "--task", entry.task, "--cache", cache, "--model", entry.name),
                )
            )
    seen = {Path(found.run).resolve() for found in unlearnt}
    for run in (student.run for student in students):
        if audited[run.task, run.teacher] and run.run.resolve() not in seen:
            notes.append(
                Note(
                    f"What {run.run} has unlearned of {run.teacher} has not been audited.",
                    _command("audit", "--task", run.task, "--cache", cache, "--model", run.teacher, "--run", run.run),
                )
            )
    return notes


def _command(*words: object) -> str:
    return shlex.join(["cli", *map(str, words)])
