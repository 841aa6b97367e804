"""The audit of a teacher: every decision in a cache judged, by the rules where they tell, else by playing it out.

The best decision of a text is chosen by the mean return over some states, and all decisions are then compared
with it over others: chosen and compared on the same ones, the luckiest would look like the best.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from askonce.cache import query
from askonce.cache.errors import AskonceError
from askonce.cache.query import Answer, TeacherName
from askonce.cache.teachers import choose_teacher
from askonce.pipeline import estimators
from askonce.pipeline.audit import table
from askonce.pipeline.audit.alternatives import alternatives
from askonce.pipeline.audit.rules import Broken, broken
from askonce.pipeline.audit.states import Visited, part, visited
from askonce.pipeline.audit.table import AuditRow
from askonce.pipeline.audit.verdict import LOOKS, SUCCESS, Evidence, compare, verdict
from askonce.pipeline.statistics import Interval
from askonce.pipeline.tasks.task import Decision, Outcomes, Playout, Scene, Task

# States by which a text's best decision is chosen.
CHOICE = 1024


@dataclass(frozen=True)
class Said:
    """What a teacher said about one text.

    decisions   decision → (probability, completions, one of them by its id)
    unparsable  reason → (share of all completions, completions, one of them by its id)
    """

    decisions: Mapping[Decision, tuple[float, int, str]]
    unparsable: Mapping[str, tuple[float, int, str]]


@dataclass(frozen=True)
class Audit:
    """`unmet` are the texts that no rollout met: their decisions are judged by the rules alone. `playable`: whether
    the task's decisions can be played out at all. `visited`: every text with its visits."""

    teacher: TeacherName
    rows: tuple[AuditRow, ...]
    unmet: tuple[str, ...]
    playable: bool
    visited: Mapping[str, Visited]


# Called with the texts judged and how many there are.
Show = Callable[[int, int], None]


def audit(
    task: Task, cache: Path, model: str | None = None, seed: int = 0, show: Show = lambda done, total: None
) -> Audit:
    """Judges every decision of a teacher (as `choose_teacher` takes it) and writes its table beside the cache.

    AskonceError where the cache holds nothing of this task, or texts that the task does not write.
    """
    teacher = choose_teacher(cache, task.name, model)
    said = {
        text: _said(task, answers) for text, answers in query.texts(cache, task.name, teacher.model, teacher.prompt)
    }
    scenes = {text: _scene(task, text, cache) for text in said}
    playout = task.playout()
    distributions = {
        text: {decision: each[0] for decision, each in found.decisions.items()} for text, found in said.items()
    }
    met = visited(task, playout, distributions, CHOICE + LOOKS[-1], seed)
    rows: list[AuditRow] = []
    for done, text in enumerate(said):
        show(done, len(said))
        rows += _judged(task, playout, teacher, text, said[text], scenes[text], met.get(text, Visited(0.0)))
    show(len(said), len(said))
    table.write(cache, teacher, rows)
    unmet = tuple(text for text in said if text not in met)
    return Audit(teacher, tuple(rows), unmet, playout is not None, met)


def _said(task: Task, answers: Sequence[Answer]) -> Said:
    estimator, options = estimators.of(answers), task.prompt.options
    distribution, left_out = estimator.distribution_of(answers, options)
    weight = sum(answer.weight for answer in answers)
    by_decision: dict[Decision, list[Answer]] = {decision: [] for decision in distribution}
    by_reason: dict[str, list[Answer]] = {}
    reasons = dict(left_out)
    for answer in answers:
        if answer.sample in reasons:
            by_reason.setdefault(reasons[answer.sample], []).append(answer)
            continue
        for decision in estimator.decisions_in(answer, options):
            by_decision.get(decision, []).append(answer)
    return Said(
        {
            decision: (distribution[decision], len(found), found[0].completion_id)
            for decision, found in by_decision.items()
        },
        {
            reason: (sum(answer.weight for answer in found) / weight, len(found), found[0].completion_id)
            for reason, found in by_reason.items()
        },
    )


def _scene(task: Task, text: str, cache: Path) -> Scene | None:
    try:
        return task.scene(text)
    except (KeyError, ValueError):
        raise AskonceError(
            f"{cache} holds {text!r}, which is no text of {task.name}: it was asked for another task or with other "
            "words; audit the cache that was built for this one"
        ) from None


def _judged(
    task: Task, playout: Playout | None, teacher: TeacherName, text: str, said: Said, scene: Scene | None, met: Visited
) -> Iterator[AuditRow]:
    about: dict[str, Any] = dict(
        task=teacher.task, model=teacher.model, prompt=teacher.prompt, text=text, visits=met.share
    )
    for reason, (share, completions, completion) in said.unparsable.items():
        yield AuditRow(
            **about,
            decision=None,
            verdict="unparsable",
            rule=reason,
            reason=reason,
            probability=share,
            completions=completions,
            completion=completion,
        )
    judge = Judge(task, playout, text, scene, said, met) if playout and met.states is not None else None
    for decision, (probability, completions, completion) in said.decisions.items():
        about |= dict(
            decision=", ".join(decision), probability=probability, completions=completions, completion=completion
        )
        fault = broken(decision, task.prompt.options, scene)
        found = judge(decision, fault) if judge else {}
        if fault:
            found |= dict(verdict="inconsistent", rule=fault.rule, reason=fault.reason)
        yield AuditRow(**about, **{"verdict": "undecided", "reason": _why_not_played(playout)} | found)


def _why_not_played(playout: Playout | None) -> str:
    return "no rollout met this text" if playout else "breaks no rule; this task cannot play decisions out"


class Judge:
    """Plays the decisions of one text; what was played from a state is not played again."""

    def __init__(self, task: Task, playout: Playout, text: str, scene: Scene | None, said: Said, met: Visited):
        self.playout, self.met = playout, met
        # Few visits are all compared; the best is then chosen by half of them.
        self.choice = min(CHOICE, len(met.episodes) // 2)
        self.played: dict[tuple[Decision, bool], Outcomes] = {}
        probable = sorted(said.decisions, key=lambda decision: -said.decisions[decision][0])
        self.best = self._best(alternatives(task, text, scene, probable))

    def __call__(self, decision: Decision, fault: Broken | None) -> dict[str, Any]:
        """The columns of a row that come from playing."""
        found = None
        for look in LOOKS:
            last = min(self.choice + look, len(self.met.episodes))
            evidence, ours, best = self._compared(decision, last)
            # The best one against itself differs nowhere, however few the states.
            found = "sound" if decision == self.best and not self.playout.dangerous else verdict(evidence)
            if fault or found or last == len(self.met.episodes):
                break
        return self._columns(decision, evidence, ours, best, found)

    def _best(self, candidates: list[Decision]) -> Decision:
        """The one of highest mean return, the first of equals."""
        first = {decision: self._outcomes(decision, self.playout.dangerous, 0, self.choice) for decision in candidates}
        return max(candidates, key=lambda decision: self.playout.returns(first[decision]).mean())

    def _compared(self, decision: Decision, last: int) -> tuple[Evidence, Outcomes, Outcomes]:
        ours = self._outcomes(decision, False, self.choice, last)
        best = self._outcomes(self.best, self.playout.dangerous, self.choice, last)
        cost = self.playout.returns(best) - self.playout.returns(ours)
        return compare(ours, best, self.met.episodes[self.choice : last], cost), ours, best

    def _outcomes(self, decision: Decision, careful: bool, first: int, last: int) -> Outcomes:
        held = self.played.get((decision, careful))
        reached = len(held.steps) if held else 0
        if reached < last:
            more = self.playout.play(part(self.met.states, reached, last), decision, careful)
            held = (
                more
                if held is None
                else Outcomes(*(np.concatenate(pair) for pair in zip(vars(held).values(), vars(more).values())))
            )
            self.played[decision, careful] = held
        return Outcomes(*(array[first:last] for array in vars(held).values()))

    def _columns(
        self, decision: Decision, evidence: Evidence, ours: Outcomes, best: Outcomes, found: str | None
    ) -> dict[str, Any]:
        success, steps, cost = evidence.success_difference, evidence.steps_difference, evidence.cost
        at = self.choice + _telling(ours, best, found)
        state = part(self.met.states, at, at + 1)
        world, knowledge = self.playout.picture(state)
        path = self.playout.trace(state, decision)
        best_path = self.playout.trace(state, self.best, self.playout.dangerous)
        return dict(
            verdict=found or "undecided",
            reason=_in_words(evidence, ours, found),
            states=evidence.states,
            success=evidence.success,
            best_success=evidence.best_success,
            success_difference=success.mean,
            success_low=success.low,
            success_high=success.high,
            steps_difference=steps and steps.mean,
            steps_low=steps and steps.low,
            steps_high=steps and steps.high,
            cost=cost.mean,
            cost_low=cost.low,
            cost_high=cost.high,
            best=", ".join(self.best),
            world=world.tobytes(),
            knowledge=knowledge.tobytes(),
            width=world.shape[0],
            height=world.shape[1],
            path=_poses(path.poses),
            path_decision=path.decided,
            path_end=path.end,
            best_path=_poses(best_path.poses),
            best_path_decision=best_path.decided,
            best_path_end=best_path.end,
        )


def _telling(ours: Outcomes, best: Outcomes, found: str | None) -> int:
    """The state to show: one in which only the best decision succeeds, or one that costs about what all do."""
    lost, both = best.success & ~ours.success, best.success & ours.success
    if found == "incorrect" or not both.any():
        return int(np.argmax(lost))
    longer = np.where(both, ours.steps - best.steps, np.inf)
    return int(np.argmin(abs(longer - longer[both].mean())))


def _in_words(evidence: Evidence, ours: Outcomes, found: str | None) -> str:
    success, steps = evidence.success_difference, evidence.steps_difference
    match found:
        case "incorrect":
            how = f"killed in {ours.killed.mean():.1%}" if ours.killed.any() else "the time runs out"
            return f"fails in {-success.mean:.1%} more of the states than the best decision ({how})"
        case "inefficient" if steps:
            return f"takes {steps.mean:.1f} steps more than the best decision"
        case "sound":
            return "as good as any decision that was found"
    doubts = [f"success {_interval(success, '+.1%')}"] if success.low < -SUCCESS else []
    doubts += [f"steps {_interval(steps, '+.1f')}"] if steps else ["no state in which both succeed"]
    return f"{evidence.states:,} states do not decide: {', '.join(doubts)}"


def _interval(interval: Interval, form: str) -> str:
    return f"{interval.mean:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def _poses(poses: np.ndarray) -> list[dict[str, int]]:
    return [dict(zip(("x", "y", "direction", "action"), pose)) for pose in poses.tolist()]
