"""Where a training run's time goes: what `cli train --profile` prints.

`train` keeps laps in any case: a reading of the clock after each part of an iteration costs nothing.
But episodes are played in one compiled loop, which no clock can look into, so what its parts cost is
measured afterwards, over some more episodes of the finished student: with a teacher and without, and its
network and its view alone.
"""

from collections import Counter
from copy import copy
from pathlib import Path
from time import perf_counter

import numpy as np

from askonce.pipeline.tasks.task import Task
from askonce.student.learning import checkpoint, compiled_rollout, fused, ppo
from askonce.student.learning.distill import Teacher, go_without
from askonce.student.learning.network import ActorCritic, build
from askonce.student.learning.teachers import offline_teacher

EPISODES, REPEATS = 100, 10


class Laps:
    """Seconds by what they were spent on, each lap from where the one before it ended; and what was done in them."""

    def __init__(self):
        self.seconds: Counter[str] = Counter()
        self.steps = self.advised = 0
        self.start()

    def start(self) -> None:
        self._since = perf_counter()

    def end(self, name: str) -> float:
        """The seconds of this lap."""
        now = perf_counter()
        lap, self._since = now - self._since, now
        self.seconds[name] += lap
        return lap


def breakdown(laps: Laps, task: Task, network: ActorCritic, teacher: Teacher) -> dict[str, float]:
    """The seconds of a run, with those of playing in the shares of a finished student's."""
    seconds = laps.seconds
    shares = _shares_of_playing(task, network, _uncounted(teacher), laps.advised / max(laps.steps, 1))
    return (
        {"drawing layouts": seconds["layouts"]}
        | {f"playing: {part}": share * seconds["playing"] for part, share in shares.items()}
        | {
            "learning": seconds["learning"],
            "figures and curves": seconds["figures"],
            "checkpoints": seconds["checkpoints"],
        }
        | ({"evaluating": seconds["evaluating"]} if seconds["evaluating"] else {})
    )


def of_run(
    laps: Laps, task: Task, run: Path, cache: Path | None, model: str | None, teacher_form: str
) -> dict[str, float]:
    """The `breakdown` of a run that has ended, from what it kept."""
    about = checkpoint.describe(run)
    world = task.over_options() if about["method"] == "hierarchical" else task
    network = build(world, about["settings"]["torso"])
    checkpoint.load(run, task.name, network)
    teacher = offline_teacher(task, cache, model, teacher_form)[0] if cache else Teacher(world, go_without)
    return breakdown(laps, world, network, teacher)


def _uncounted(teacher: Teacher) -> Teacher:
    """One that asks nobody, and whose counts are its own."""
    other = copy(teacher)
    other.on_miss, other.met, other.states = go_without, teacher.met.copy(), teacher.states.copy()
    return other


def _shares_of_playing(task: Task, network: ActorCritic, teacher: Teacher, advised: float) -> dict[str, float]:
    """Shares of the teacher, the network, the view and the engine, where a share `advised` of all steps has a teacher.

    The engine's is what the others leave, drawing actions included.
    """
    given = ppo.Hyperparameters()
    # Where environments cost much, as many as an iteration has, once.
    count, repeats = (given.num_envs, 1) if task.together else (EPISODES, REPEATS)
    batch, seeds, laps = task.batch(count), task.seeds(count, seed=0), Laps()
    learner = fused.learner_of(network, ppo.optimizer(network, given), given, batch)
    play = compiled_rollout.player(batch, learner)
    fastest = {}
    for _ in range(repeats):
        laps.start()
        if advised:
            play(seeds, teacher, np.random.default_rng(0))
        laps.end("with a teacher")
        rollout = play(seeds, None, np.random.default_rng(0))
        laps.end("without")
        learner.policy(rollout.view)
        laps.end("network")
        learner.see(batch)
        laps.end("view")
        fastest = {name: min(spent, fastest.get(name, spent)) for name, spent in laps.seconds.items()}
        laps.seconds.clear()
    parts = {
        "teacher": advised * max(fastest["with a teacher"] - fastest["without"], 0.0),
        "network": fastest["network"],
        "view": fastest["view"] * len(rollout.action) / batch.size,
    }
    parts["engine"] = max(fastest["without"] - parts["network"] - parts["view"], 0.0)
    return {part: spent / sum(parts.values()) for part, spent in parts.items()}
