"""Whether a student still makes its teacher's mistakes: the paper's claim that it corrects them, as a number.

In real states of a faulty decision's text, those in which its next action and the best decision's are not the same,
the student's probabilities of the two are compared. The mistake is *unlearned* where it prefers the best decision's
action, *kept* where it prefers the other, *undecided* where the interval of the mean difference holds 0.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from askonce.cache.errors import AskonceError
from askonce.pipeline.audit.audit import Audit
from askonce.pipeline.audit.states import part
from askonce.pipeline.audit.table import place, schema_of, write_table
from askonce.pipeline.audit.verdict import FAULTY
from askonce.pipeline.statistics import Z95, mean
from askonce.pipeline.tasks.task import Task
from askonce.student.judging.evaluate import trained
from askonce.student.learning.network import as_policy

STATES = 2048


@dataclass(frozen=True)
class Habit:
    """What a student does where its teacher decides wrongly; None where the two actions never differ.

    states                 in which the next actions of the decision and of the best one differ
    follows, follows_best  the student's mean probability of each
    difference             follows_best − follows, with its 95 % interval
    status                 unlearned, kept or undecided
    """

    run: str
    task: str
    model: str
    prompt: str
    text: str
    decision: str
    states: int
    follows: float | None = None
    follows_best: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    status: str | None = None


SCHEMA = schema_of(Habit)


def habits(task: Task, audit: Audit, run: Path, cache: Path) -> list[Habit]:
    """One for each faulty decision that was played out, and their table beside the audit's.

    AskonceError where the run is not of this task, or the task cannot be played out.
    """
    if not audit.playable:
        raise AskonceError(f"{task.name} cannot play decisions out: leave out --run", 2)
    torch.set_num_threads(1)
    policy = as_policy(trained(task, run))
    playout, found = task.playout(), []
    for row in audit.rows:
        if row.verdict in FAULTY and row.best is not None:
            met = audit.visited[row.text]
            states, episodes = part(met.states, 0, STATES), met.episodes[:STATES]
            about = str(run), row.task, row.model, row.prompt, row.text, row.decision
            wrong = playout.next_actions(states, _options(row.decision))
            right = playout.next_actions(states, _options(row.best), playout.dangerous)
            probabilities = policy(playout.load(states).view)[0]
            found.append(Habit(*about, *_compared(probabilities, wrong, right, episodes)))
    _write(cache, audit, run, found)
    return found


def place_of(cache: Path, audit: Audit, run: Path) -> Path:
    """Where the table of one run is."""
    digest = hashlib.sha256(str(run).encode()).hexdigest()[:8]
    return place(cache, audit.teacher, f"--student-{digest}")


def _compared(probabilities: np.ndarray, wrong: np.ndarray, right: np.ndarray, episodes: np.ndarray) -> tuple:
    """From (P, A) probabilities and (P,) actions: the last columns of `Habit`."""
    differ = np.flatnonzero(wrong != right)
    if not len(differ):
        return (0,)
    follows, follows_best = (probabilities[differ, actions[differ]].astype(float) for actions in (wrong, right))
    difference = mean(follows_best - follows, episodes[differ], Z95)
    status = "unlearned" if difference.low > 0 else "kept" if difference.high < 0 else "undecided"
    if len(np.unique(episodes[differ])) < 2:
        status = "undecided"
    return (
        len(differ),
        float(follows.mean()),
        float(follows_best.mean()),
        difference.mean,
        difference.low,
        difference.high,
        status,
    )


def _options(decision: str) -> tuple[str, ...]:
    return tuple(decision.split(", "))


def _write(cache: Path, audit: Audit, run: Path, found: Sequence[Habit]) -> None:
    rows = [asdict(habit) for habit in found]
    write_table(place_of(cache, audit, run), pa.Table.from_pylist(rows, SCHEMA))
