"""Algorithm 1: the student plays, its teacher advises from the cache, PPO and distillation improve it.

Every iteration's randomness comes from (seed, iteration) alone, and from which of several workers it is, so a
resumed run ends bit for bit where an unbroken one does.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
import json
import math
from pathlib import Path
import threading
import time
from typing import Any, NoReturn

import numpy as np
import torch

from askonce.cache.errors import AskonceError
from askonce.pipeline.interrupt import interruption
from askonce.pipeline.tasks.task import Batch, Task
from askonce.student.learning import checkpoint, compiled_rollout, distributed, fused, ppo, tensorboard
from askonce.student.learning.anneal import Schedule
from askonce.student.learning.distill import Teacher
from askonce.student.learning.network import ActorCritic, build
from askonce.student.learning.profile import Laps
from askonce.student.learning.rollout import Rollout

# Figures are means over the episodes of so many iterations, or over those of the last tenth of a shorter run.
RECENT = 100
# A checkpoint is written after so many iterations, or seconds where an iteration takes long.
CHECKPOINT_EVERY, CHECKPOINT_SECONDS = 200, 120
# Held-out episodes of an evaluation on the way.
EVALUATED = 200
EVALUATION = "success_rate", "return_mean", "length_mean"

# (task, act, episodes, seed) → what has the figures named in EVALUATION; `judging.evaluate.evaluate` is one.
Evaluate = Callable[[Task, Callable[..., np.ndarray], int, int], Any]


@dataclass(frozen=True)
class Settings:
    """What a run depends on besides its task and its teacher; the defaults are the paper's (Table 1, A.7) save one.

    That one is the learning rate, see `ppo.Hyperparameters`.

    seed             of everything that is random
    iterations       of `hyperparameters.num_envs` episodes each
    hyperparameters  of PPO
    distill_coef     λ of Eq. 2 as it falls by Eq. 3
    torso            one of `network.IMAGE_TORSOS`, for images
    steps            where given, the run ends once it has taken so many environment steps, and what falls over
                     `iterations` falls over these
    """

    seed: int = 0
    iterations: int = 3000
    hyperparameters: ppo.Hyperparameters = ppo.Hyperparameters()
    distill_coef: Schedule = Schedule()
    torso: str = "small"
    steps: int | None = None


# What a run.json that does not say otherwise means.
DEFAULTS = {"method": "llm4teach", "workers": 1, "simulator": "mujoco", "settings": asdict(Settings())}


@dataclass
class Progress:
    """How far a run has come, all workers together; rates and means are over the last iterations (`RECENT`).

    `evaluations` are on held-out layouts, a dict each: iteration, env_steps, success_rate, return_mean, length_mean.
    `seconds` are without them. `stopped_at_success` is the success rate at which the run was to stop, and did.
    `asking_failure` is why missing texts were asked about no more.
    """

    iteration: int = 0
    env_steps: int = 0
    seconds: float = 0.0
    distill_coef: float = 0.0
    return_mean: float = 0.0
    length_mean: float = 0.0
    success_rate: float = 0.0
    cache_hits: int = 0
    cache_misses: int = 0
    llm_calls: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    evaluations: list[dict[str, float]] = field(default_factory=list)
    stopped_at_success: float | None = None
    asking_failure: str | None = None

    @property
    def steps_per_second(self) -> float:
        return self.env_steps / self.seconds if self.seconds else 0.0


def train(
    task: Task,
    teacher: Teacher,
    settings: Settings,
    run: Path | None = None,
    resume: bool = False,
    about: dict[str, Any] | None = None,
    show: Callable[[Progress], None] = lambda progress: None,
    laps: Laps | None = None,
    evaluate: Evaluate | None = None,
    evaluate_every: int | None = None,
    stop_at_success: float | None = None,
) -> tuple[ActorCritic, Progress]:
    """Trains a student of `teacher`; `run` keeps checkpoints and TensorBoard curves, `about` goes to run.json.

    `show` is called after every iteration; `laps` is told what the time was spent on. Ctrl-C and SIGTERM end the
    iteration, write a checkpoint and raise KeyboardInterrupt.

    Every `evaluate_every` iterations the student plays held-out layouts by `evaluate`, which changes nothing of its
    training. It stops early once it succeeds in a share `stop_at_success` of the episodes of an evaluation, or,
    without any, of those of the last ones (`RECENT`). AskonceError where a loss is not finite; see `_not_finite`.

    Of several workers (`distributed`) each plays as many episodes an iteration as one alone, and counts what its own
    teacher is asked; the first of them writes.
    """
    # More threads only get in each other's way at these sizes.
    torch.set_num_threads(1)
    training = _begun(
        task, teacher, settings, run if distributed.first() else None, resume, about or {}, laps or Laps()
    )
    progress = training.progress
    over = lambda: _over(training, bool(evaluate_every), stop_at_success)
    # What is not finite shows in the losses; numpy need not warn of it on the way there.
    quietly = np.errstate(invalid="ignore", over="ignore")
    with tensorboard.writing(training.kept, progress.iteration) as (write, flush), interruption() as came, quietly:
        training.flush = flush
        last = over()
        while not last:
            losses = _iterate(training)
            evaluated: dict[str, float] = {}
            if evaluate and evaluate_every and progress.iteration % evaluate_every == 0:
                evaluated = _evaluate(training, evaluate)
            last = over()
            write(progress.iteration, _scalars(training, losses, evaluated))
            show(progress)
            training.laps.end("figures")
            _keep_up(training, last, came)
    training.learner.write()
    return training.network, progress


@dataclass
class _Training:
    """A run under way. `kept` is its folder for the worker that writes, `recent` the figures of the last iterations."""

    task: Task
    teacher: Teacher
    settings: Settings
    kept: Path | None
    about: dict[str, Any]
    network: ActorCritic
    adam: torch.optim.Adam
    progress: Progress
    recent: deque[list[float]]
    batch: Batch
    learner: ppo.TorchLearner | fused.FusedLearner
    play: Callable[..., Rollout]
    laps: Laps
    started: float
    saved: float = 0.0
    flush: Callable[[], None] = lambda: None


def _begun(
    task: Task, teacher: Teacher, settings: Settings, kept: Path | None, resume: bool, about: dict[str, Any], laps: Laps
) -> _Training:
    torch.manual_seed(settings.seed)
    network = build(task, settings.torso)
    adam = ppo.optimizer(network, settings.hyperparameters)
    progress, recent = Progress(), deque[list[float]](maxlen=min(RECENT, math.ceil(settings.iterations / 10)))
    own = {"task": task.name, "settings": asdict(settings), "parameters": network.parameter_count}
    simulator = {"simulator": task.simulator} if task.simulator else {}
    about = own | {"workers": distributed.size()} | simulator | about
    if kept is not None:
        recent.extend(_open(kept, about, network, adam, progress, resume))
        teacher.count(progress.cache_hits, progress.missing, progress.llm_calls)
    _begin_alike(network, adam, progress, recent)
    batch = task.batch(settings.hyperparameters.num_envs)
    learner = fused.learner_of(network, adam, settings.hyperparameters, batch)
    play = compiled_rollout.player(batch, learner)
    started = time.perf_counter() - progress.seconds
    return _Training(
        task,
        teacher,
        settings,
        kept,
        about,
        network,
        adam,
        progress,
        recent,
        batch,
        learner,
        play,
        laps,
        started,
        time.monotonic(),
    )


def _iterate(training: _Training) -> dict[str, float]:
    """One iteration of Algorithm 1; returns its losses."""
    settings, progress, teacher, laps = training.settings, training.progress, training.teacher, training.laps
    laps.start()
    iteration = progress.iteration
    at = iteration if settings.steps is None else settings.iterations * progress.env_steps / settings.steps
    distill_coef = settings.distill_coef.at(at)
    rng = np.random.default_rng([distributed.own(settings.seed), iteration])
    teacher.update()
    seeds = training.task.seeds(training.batch.size, distributed.own(settings.seed << 32 | iteration))
    laps.end("layouts")
    teacher_acts = settings.hyperparameters.teacher_acts * distill_coef / (settings.distill_coef.initial or 1)
    try:
        rollout = training.play(seeds, teacher if distill_coef else None, rng, teacher_acts)
    except (AskonceError, KeyboardInterrupt):
        # Asking about a missing text failed, or was interrupted; the last iteration still stands.
        if training.kept is not None and iteration:
            _save(training)
        raise
    laps.end("playing")
    losses = training.learner.update(rollout, distill_coef, rng, at / settings.iterations)
    laps.end("learning")
    if not (np.isfinite(list(losses.values())).all() and training.learner.finite()):
        _not_finite(training.kept, iteration + 1, rollout, losses)
    _count(training, rollout, distill_coef)
    laps.end("figures")
    return losses


def _count(training: _Training, rollout: Rollout, distill_coef: float) -> None:
    """Brings the progress up to date, of all workers together."""
    progress, teacher, laps = training.progress, training.teacher, training.laps
    steps = int(rollout.lengths.sum())
    laps.steps += steps
    laps.advised += steps if distill_coef else 0
    own = _figures(rollout), steps, teacher.hits, teacher.missing, teacher.asked
    figures, played, hits, missing, asked = zip(*distributed.gather(own), strict=True)
    training.recent.append(np.mean(figures, axis=0).tolist())
    progress.iteration += 1
    progress.env_steps += sum(played)
    progress.seconds = time.perf_counter() - training.started
    progress.distill_coef = distill_coef
    progress.return_mean, progress.length_mean, progress.success_rate = np.mean(training.recent, axis=0).tolist()
    progress.missing = dict(sum(missing, Counter()))
    progress.cache_hits, progress.cache_misses = sum(hits), sum(progress.missing.values())
    progress.llm_calls = sum(asked)


def _figures(rollout: Rollout) -> list[float]:
    return [float(column.mean()) for column in (rollout.returns, rollout.lengths, rollout.successes)]


def _over(training: _Training, evaluating: bool, stop_at_success: float | None) -> bool:
    progress, recent, settings = training.progress, training.recent, training.settings
    known = bool(progress.evaluations) if evaluating else len(recent) == recent.maxlen
    success = progress.evaluations[-1]["success_rate"] if evaluating and known else progress.success_rate
    reached = known and stop_at_success is not None and success >= stop_at_success
    progress.stopped_at_success = stop_at_success if reached else None
    if settings.steps is not None:
        return reached or progress.env_steps >= settings.steps
    return reached or progress.iteration == settings.iterations


def _evaluate(training: _Training, evaluate: Evaluate) -> dict[str, float]:
    """The student as it is, on the same held-out layouts every time, which are not those of `cli evaluate`."""
    learner, seed, progress = training.learner, training.settings.seed, training.progress
    acts = learner.network.actor.acts
    act = lambda batch, running, rng: acts(learner.policy(learner.see(batch))[0], rng)
    episodes = math.ceil(EVALUATED / distributed.size())
    found = evaluate(training.task, act, episodes, distributed.own(seed << 32 | 0xFFFFFFFF))
    told = distributed.gather([float(getattr(found, name)) for name in EVALUATION])
    evaluated = dict(zip(EVALUATION, np.mean(told, axis=0).tolist(), strict=True))
    progress.evaluations.append({"iteration": progress.iteration, "env_steps": progress.env_steps} | evaluated)
    training.started += training.laps.end("evaluating")
    return evaluated


def _scalars(training: _Training, losses: Mapping[str, float], evaluated: Mapping[str, float]) -> dict[str, float]:
    progress = training.progress
    mean_return, mean_length, success_rate = training.recent[-1]
    return {
        "rollout/return_mean": mean_return,
        "rollout/length_mean": mean_length,
        "rollout/success_rate": success_rate,
        "rollout/env_steps": progress.env_steps,
        "teacher/distill_coef": progress.distill_coef,
        "teacher/misses": progress.cache_misses,
        "time/steps_per_second": progress.steps_per_second,
        **{f"loss/{name}": value for name, value in losses.items()},
        **{f"eval/{name}": value for name, value in evaluated.items()},
    }


def _keep_up(training: _Training, last: bool, came: threading.Event) -> None:
    """Writes a checkpoint where one is due; KeyboardInterrupt where the run is to stop."""
    stopping = distributed.agreed(came.is_set())
    late = time.monotonic() - training.saved >= CHECKPOINT_SECONDS
    due = late or training.progress.iteration % CHECKPOINT_EVERY == 0
    if training.kept is not None and (last or stopping or due):
        _save(training)
    training.laps.end("checkpoints")
    if stopping and not last:
        raise KeyboardInterrupt


def _save(training: _Training) -> None:
    # No checkpoint is ahead of its curves, whenever the process is killed.
    training.flush()
    training.learner.write()
    progress = training.progress
    reached = {"iteration": progress.iteration, "progress": asdict(progress), "recent": list(training.recent)}
    checkpoint.save(training.kept, training.network, training.adam, training.about | reached)
    training.saved = time.monotonic()


def _open(
    run: Path, about: dict[str, Any], network: ActorCritic, adam: torch.optim.Adam, progress: Progress, resume: bool
) -> list[list[float]]:
    """Makes `run` a new run, or fills everything from it to go on; returns its recent figures."""
    if not resume:
        if (run / "run.json").exists():
            raise AskonceError(
                f"{run} already holds a run: add --resume to go on with it, or name another directory", 2
            )
        run.mkdir(parents=True, exist_ok=True)
        return []
    stored = checkpoint.load(run, about["task"], network, adam)
    # As JSON keeps them, with every setting by its own name. A run from before there was a setting has its default.
    then = _flat(DEFAULTS) | _flat({name: stored[name] for name in about if name in stored})
    now = _flat(json.loads(json.dumps(about)))
    other = [f"{name} {then.get(name)}, not {value}" for name, value in now.items() if then.get(name) != value]
    if other:
        raise AskonceError(f"{run} was started with {'; '.join(other)}: resume it with the same options", 2)
    if not {"progress", "recent"} <= stored.keys():
        raise AskonceError(f"{run / 'run.json'} does not tell how far it came: train the run again")
    usual = asdict(progress)
    for name, value in stored["progress"].items():
        counted = type(usual.get(name)) is int
        if name not in usual or not checkpoint.like(value, usual[name]) or counted and not 0 <= value < 2**62:
            raise AskonceError(f"{run / 'run.json'} tells its {name} as {value!r}: train the run again")
        setattr(progress, name, value)
    recent: list[list[float]] = stored["recent"]
    if not all(
        isinstance(one, list) and len(one) == 3 and all(type(figure) is float for figure in one) for one in recent
    ):
        raise AskonceError(f"{run / 'run.json'} tells figures that are none: train the run again")
    return recent


def _begin_alike(network: ActorCritic, adam: torch.optim.Adam, progress: Progress, recent: deque[list[float]]) -> None:
    """All workers begin with what the first one has: a run's directory may be on its machine alone."""
    if distributed.size() == 1:
        return
    state = network.state_dict(), adam.state_dict(), asdict(progress), list(recent)
    weights, moments, reached, figures = distributed.from_first(state)
    network.load_state_dict(weights)
    adam.load_state_dict(moments)
    vars(progress).update(reached)
    recent.clear()
    recent.extend(figures)


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """{"settings": {"seed": 0}} → {"seed": 0}, at any depth."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value) if isinstance(value, dict) else {name: value}
    return flat


def _not_finite(run: Path | None, iteration: int, rollout: Rollout, losses: dict[str, float]) -> NoReturn:
    """Keeps the batch of which a loss, or the weights that it led to, are not finite; weights are not written.

    Of several workers' batches it is the first that is not finite.
    """
    bad = ", ".join(name for name, value in losses.items() if not np.isfinite(value)) or "no, but a weight's,"
    batches = distributed.gather(vars(rollout))
    spoilt = [[name for name, column in batch.items() if not np.isfinite(column).all()] for batch in batches]
    worst = next((n for n, names in enumerate(spoilt) if names), 0)
    found = ", ".join(spoilt[worst])
    kept = distributed.from_first(run and checkpoint.keep_batch(run, iteration, batches[worst]))
    raise AskonceError(
        f"iteration {iteration} has a loss that is not finite ({bad}); of its batch {found or 'all'} "
        f"{'is not finite either' if found else 'is finite'}{f'; the batch is kept in {kept}' if kept else ''}; the "
        "last checkpoint stands: look for what is not finite in the task's views and rewards and in the teacher's "
        "probabilities"
    )
