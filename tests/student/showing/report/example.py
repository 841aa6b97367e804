"""Tables as an audit leaves them, of real states of the engine: rough verdicts, paths that were really played."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from askonce.cache import query
from askonce.cache.layout import AUDIT
from askonce.cache.query import TeacherName
from askonce.pipeline import tasks
from askonce.pipeline.audit.table import SCHEMA
from askonce.pipeline.collect import draw
from askonce.pipeline.estimators import option_distributions
from askonce.pipeline.estimators.text import read_decision
from askonce.pipeline.tasks.task import Decision, Task
from askonce.student.judging import unlearned
from askonce.student.showing.report import audits

EXPLORE = ("explore",)


def competent(task: Task) -> dict[str, dict[Decision, float]]:
    """The key that fits a seen door, else any; the door, once held; explores without."""
    found = {}
    for text, situation in task.situations.items():
        known = task.facts(situation)
        doors = [name for name in known.sees if "door" in name]
        keys = [name for name in known.sees if "key" in name]
        color = lambda name: name.split()[0] if task.colored else "any"
        fits = lambda key: not doors or color(key) in map(color, doors)
        decision = EXPLORE
        if known.holds and doors and fits(known.holds):
            decision = (f"go to {doors[0]}", f"open {doors[0]}")
        elif known.holds and not fits(known.holds) and any(map(fits, keys)):
            decision = (f"drop {known.holds}",)
        elif not known.holds and any(map(fits, keys)):
            key = next(filter(fits, keys))
            decision = (f"go to {key}", f"pick up {key}")
        found[text] = {decision: 1.0}
    return found


def write_audit(cache: Path, teacher: TeacherName) -> Path:
    task = tasks.find(teacher.task)
    path = place(cache, teacher)
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(_rows(cache, task, teacher)), SCHEMA), path)
    return path


def rewrite(path: Path, words: dict[str, str]) -> None:
    """Puts `words` in place of what a table's columns of strings say."""
    table = pq.read_table(path)
    rows = [row | {name: said for name, said in words.items() if row[name] is not None} for row in table.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)


def place(cache: Path, teacher: TeacherName) -> Path:
    return cache / AUDIT / f"{teacher.task}--{teacher.name}.parquet"


def write_student(cache: Path, teacher: TeacherName, run: Path, statuses: tuple[str, ...]) -> Path:
    """Faulty decisions get one status after another."""
    decisions, _ = audits.read(cache)
    whose = teacher.task, teacher.name
    faulty = [found for found in decisions if found.verdict != "sound" and (found.task, found.teacher) == whose]
    rows = [
        {
            "run": str(run),
            "task": found.task,
            "model": found.model,
            "prompt": found.prompt,
            "text": found.text,
            "decision": found.decision,
            "states": 20,
            "status": statuses[number % len(statuses)],
            "follows": 0.125,
            "follows_best": 0.75,
        }
        for number, found in enumerate(faulty)
    ]
    path = cache / AUDIT / f"{teacher.task}--{teacher.name}--student-{run.name}.parquet"
    pq.write_table(pa.Table.from_pylist(rows, unlearned.SCHEMA), path)
    return path


def _rows(cache: Path, task: Task, teacher: TeacherName):
    answers = query.answers(cache, task.name, teacher.model, teacher.prompt)
    distributions, _ = option_distributions(answers, task.prompt.options)
    whose = {"task": task.name, "model": teacher.model, "prompt": teacher.prompt}
    ids = {
        (row.text, row.content): row.completion_id
        for text in answers
        for row in query.show(cache, text)
        if (row.task, row.model) == (task.name, teacher.model)
    }
    best, common = competent(task), len(distributions)
    for text, found in distributions.items():
        here = whose | {"text": text, "visits": 1 / common}
        read = [(read_decision(answer, task.prompt.options), answer) for answer in answers[text]]
        missed = [(parsed, answer) for parsed, answer in read if parsed.decision is None]
        if missed:
            parsed, answer = missed[0]
            yield here | {
                "decision": None,
                "verdict": "unparsable",
                "rule": parsed.reason,
                "reason": parsed.reason,
                "probability": len(missed) / len(read),
                "completions": len(missed),
                "states": 0,
                "completion": ids[text, answer.content],
            }
        for decision, probability in found.items():
            said = [answer for parsed, answer in read if parsed.decision == decision]
            yield here | {
                "decision": ", ".join(decision),
                "probability": probability,
                "completions": len(said),
                "completion": ids[text, said[0].content],
                **_judged(task, text, decision, best),
            }


def _judged(task: Task, text: str, decision: Decision, best: dict[str, dict[Decision, float]]) -> dict:
    wanted = next(iter(best[text]))
    state = _state(task, text)
    plans = task.plans({text: {decision: 1.0}})
    strange = [
        words
        for words, verb, slot in zip(decision, plans.verb[0, 0], plans.slot[0, 0])
        if verb < 0 or (" " in words and slot < 0)
    ]
    rule = {"rule": "names nothing", "reason": f"“{strange[0]}” names nothing that the text does."} if strange else {}
    if state is None:
        return {"reason": "Never met."} | rule | {"verdict": "inconsistent" if strange else "undecided", "states": 0}
    path, decided, end = _play(task, state, decision, best)
    best_path, best_decided, best_end = _play(task, state, wanted, best)
    longer = len(path) - len(best_path)
    verdict = "incorrect" if end != best_end else "inefficient" if longer > 0 else "sound"
    lost = {"incorrect": 0.6, "inefficient": 0.006 * longer}.get(verdict, 0.0)
    world, observation = (getattr(state, name)[0] for name in ("world", "observation"))
    return {
        "verdict": "inconsistent" if strange else verdict,
        "rule": None,
        "reason": f"Played out, it ends with {end} after {len(path) - 1} steps.",
        "states": 20,
        "success": float(end == "success"),
        "best_success": float(best_end == "success"),
        "success_difference": (end == "success") - 1.0,
        "success_low": (end == "success") - 1.0,
        "success_high": 0.0,
        "steps_difference": float(longer),
        "steps_low": longer - 1.5,
        "steps_high": longer + 1.5,
        "cost": lost,
        "cost_low": lost - 0.01,
        "cost_high": lost + 0.01,
        "best": ", ".join(wanted),
        "world": world.tobytes(),
        "knowledge": observation.tobytes(),
        "width": world.shape[0],
        "height": world.shape[1],
        "path": path,
        "path_decision": decided,
        "path_end": end,
        "best_path": best_path,
        "best_path_decision": best_decided,
        "best_path_end": best_end,
    } | rule


@lru_cache
def _state(task: Task, text: str):
    """A state that describes to `text`, from options drawn at random; None where none was met."""
    batch, rng = task.batch(300), np.random.default_rng(0)
    batch.reset(np.arange(300), task.seeds(300, 5))
    everything = task.plans({one: {decision: 1.0 for decision in task.decisions(one)} for one in task.situations})
    choice = np.zeros(300, np.int64)
    for _ in range(70):
        met = (batch.situations == task.situations[text]) & (batch.state.ended == 0)
        if met.any():
            at = int(np.argmax(met))
            return batch.state._replace(
                **{name: getattr(batch.state, name)[at : at + 1].copy() for name in batch.state._fields}
            )
        advice = batch.advise(everything)
        choice = np.where(rng.random(300) < 0.9, choice, draw(advice.probabilities, rng))
        batch.step(advice.actions[np.arange(300), choice])
    return None


def _play(task: Task, state, decision: Decision, best: dict[str, dict[Decision, float]]):
    """Its options one after another, each for as long as it changes anything; then competently, text by text."""
    batch, poses = task.batch(1), []
    for name in state._fields:
        getattr(batch.state, name)[...] = getattr(state, name)

    def go(plans) -> bool:
        action = int(batch.advise(plans).actions[0, 0])
        x, y, direction = batch.state.agent[0].tolist()
        before = batch.state.world[0].tobytes(), (x, y, direction), batch.state.held[0].tobytes()
        batch.step(np.array([action]))
        poses.append({"x": x, "y": y, "direction": direction, "action": action})
        return before != (
            batch.state.world[0].tobytes(),
            tuple(batch.state.agent[0].tolist()),
            batch.state.held[0].tobytes(),
        )

    for words in decision:
        plans = task.plans({text: {(words,): 1.0} for text in task.situations})
        while not batch.state.ended[0] and len(poses) < 100 and go(plans):
            pass
    decided, plans = len(poses), task.plans(best)
    while not batch.state.ended[0]:
        go(plans)
    x, y, direction = batch.state.agent[0].tolist()
    poses.append({"x": x, "y": y, "direction": direction, "action": -1})
    ended = int(batch.state.ended[0])
    end = "too long" if ended & 2 and not ended & 1 else "success" if _opened(batch) else "lava"
    return poses, decided, end


def _opened(batch) -> bool:
    world = batch.state.world[0]
    return bool(((world[..., 0] == 4) & (world[..., 2] == 0)).any())
