"""Algorithm 1: the student plays, its teacher advises from the cache, PPO and distillation improve it.

Every iteration's randomness comes from (seed, iteration) alone, and from which of several workers it is, so a
resumed run ends bit for bit where an unbroken one does.
"""

from collections import Counter, deque
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
import json
import math
from pathlib import Path
import time
from typing import NoReturn

import numpy as np
import torch

from askonce.cache.errors import AskonceError
from askonce.pipeline.interrupt import interruption
from askonce.pipeline.tasks.task import Task
from askonce.student.judging import evaluate
from askonce.student.learning import checkpoint, compiled_rollout, distributed, fused, ppo
from askonce.student.learning.anneal import Annealing
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


@dataclass(frozen=True)
class Settings:
    """What a run depends on besides its task and its teacher; the defaults are the paper's (Table 1, A.7) save one.

    That one is the learning rate, see `ppo.Hyperparameters`. `torso` is one of `network.IMAGE_TORSOS`, for images.
    Where `steps` is given, the run ends once it has taken so many environment steps, and what falls over `iterations`
    falls over these.
    """

    seed: int = 0
    iterations: int = 3000
    hyperparameters: ppo.Hyperparameters = ppo.Hyperparameters()
    annealing: Annealing = Annealing()
    torso: str = "small"
    steps: int | None = None


# What a run.json that does not say otherwise means.
DEFAULTS = {"method": "llm4teach", "workers": 1, "simulator": "mujoco", "settings": asdict(Settings())}


@dataclass
class Progress:
    """How far a run has come, all workers together; rates and means are over the last iterations (`RECENT`).

    `evaluations` are on held-out layouts, a dict each: iteration, env_steps, success_rate, return_mean, length_mean.
    `seconds` are without them. `stopped_at_success` is the success rate at which the run was to stop, and did.
    """

    iteration: int = 0
    env_steps: int = 0
    seconds: float = 0.0
    teacher_weight: float = 0.0
    return_mean: float = 0.0
    length_mean: float = 0.0
    success_rate: float = 0.0
    cache_hits: int = 0
    cache_misses: int = 0
    llm_calls: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    evaluations: list[dict[str, float]] = field(default_factory=list)
    stopped_at_success: float | None = None

    @property
    def steps_per_second(self) -> float:
        return self.env_steps / self.seconds if self.seconds else 0.0


def train(
    task: Task,
    teacher: Teacher,
    settings: Settings,
    run: Path | None = None,
    resume: bool = False,
    about: dict | None = None,
    show: Callable[[Progress], None] = lambda progress: None,
    laps: Laps | None = None,
    evaluate_every: int | None = None,
    stop_at_success: float | None = None,
) -> tuple[ActorCritic, Progress]:
    """Trains a student of `teacher`; `run` keeps checkpoints and TensorBoard curves, `about` goes to run.json.

    `show` is called after every iteration; `laps` is told what the time was spent on. Ctrl-C and SIGTERM end the
    iteration, write a checkpoint and raise KeyboardInterrupt.

    Every `evaluate_every` iterations the student plays held-out layouts, which changes nothing of its training. It
    stops early once it succeeds in a share `stop_at_success` of the episodes of an evaluation, or, without any, of
    those of the last ones (`RECENT`). AskonceError where a loss is not finite; see `_keep_from_going_on`.

    Of several workers (`distributed`) each plays as many episodes an iteration as one alone, and counts what its own
    teacher is asked; the first of them writes.
    """
    # More threads only get in each other's way at these sizes.
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    hyperparameters = settings.hyperparameters
    network = build(task, settings.torso)
    adam = ppo.optimizer(network, hyperparameters)
    progress = Progress()
    recent: deque[list[float]] = deque(maxlen=min(RECENT, math.ceil(settings.iterations / 10)))
    about = (
        {
            "task": task.name,
            "settings": asdict(settings),
            "parameters": network.parameter_count,
            "workers": distributed.size(),
        }
        | ({"simulator": task.simulator} if task.simulator else {})
        | (about or {})
    )
    kept = run if distributed.first() else None
    if kept is not None:
        recent.extend(_open(kept, about, network, adam, progress, resume))
        teacher.count(progress.cache_hits, progress.missing, progress.llm_calls)
    _begin_alike(network, adam, progress, recent)
    batch = task.batch(hyperparameters.trajectories)
    learner = fused.learner_of(network, adam, hyperparameters, batch)
    play = compiled_rollout.player(batch, learner)
    laps = laps or Laps()
    started = time.perf_counter() - progress.seconds

    def over() -> bool:
        known = progress.evaluations if evaluate_every else len(recent) == recent.maxlen
        success = progress.evaluations[-1]["success_rate"] if evaluate_every and known else progress.success_rate
        reached = bool(known) and stop_at_success is not None and success >= stop_at_success
        progress.stopped_at_success = stop_at_success if reached else None
        if settings.steps is not None:
            return reached or progress.env_steps >= settings.steps
        return reached or progress.iteration == settings.iterations

    def save() -> None:
        nonlocal saved
        # No checkpoint is ahead of its curves, whenever the process is killed.
        flush()
        learner.write()
        checkpoint.save(
            kept,
            network,
            adam,
            about | {"iteration": progress.iteration, "progress": asdict(progress), "recent": list(recent)},
        )
        saved = time.monotonic()

    # What is not finite shows in the losses; numpy need not warn of it on the way there.
    quietly = np.errstate(invalid="ignore", over="ignore")
    with _curves(kept, progress.iteration) as (write, flush), interruption() as interrupted, quietly:
        last, saved = over(), time.monotonic()
        while not last:
            iteration = progress.iteration
            laps.start()
            rng = np.random.default_rng([distributed.own(settings.seed), iteration])
            at = iteration if settings.steps is None else settings.iterations * progress.env_steps / settings.steps
            weight = settings.annealing.weight(at)
            teacher.update()
            seeds = task.seeds(batch.size, distributed.own(settings.seed << 32 | iteration))
            laps.end("layouts")
            try:
                led = hyperparameters.led * weight / (settings.annealing.initial or 1)
                rollout = play(seeds, teacher if weight else None, rng, led)
            except (AskonceError, KeyboardInterrupt):
                # Asking about a missing text failed, or was interrupted; the last iteration still stands.
                if kept is not None and progress.iteration:
                    save()
                raise
            laps.end("playing")
            losses = learner.update(rollout, weight, rng, at / settings.iterations)
            laps.end("learning")
            if not (np.isfinite(list(losses.values())).all() and learner.finite()):
                _keep_from_going_on(kept, iteration + 1, rollout, losses)
            steps = int(rollout.lengths.sum())
            laps.steps += steps
            laps.advised += steps if weight else 0
            figures, played, hits, missing, asked = zip(
                *distributed.gather((_figures(rollout), steps, teacher.hits, teacher.missing, teacher.asked))
            )
            recent.append(np.mean(figures, axis=0).tolist())
            progress.iteration = iteration + 1
            progress.env_steps += sum(played)
            progress.seconds = time.perf_counter() - started
            progress.teacher_weight = weight
            progress.return_mean, progress.length_mean, progress.success_rate = np.mean(recent, axis=0).tolist()
            progress.missing = dict(sum(missing, Counter()))
            progress.cache_hits, progress.cache_misses = sum(hits), sum(progress.missing.values())
            progress.llm_calls = sum(asked)
            laps.end("figures")
            evaluated = {}
            if evaluate_every and progress.iteration % evaluate_every == 0:
                evaluated = _evaluate(task, learner, settings.seed)
                progress.evaluations.append(
                    {"iteration": progress.iteration, "env_steps": progress.env_steps} | evaluated
                )
                started += laps.end("evaluating")
            last = over()
            write(progress, recent[-1], losses, evaluated)
            show(progress)
            laps.end("figures")
            stopping = distributed.agreed(interrupted.is_set())
            due = progress.iteration % CHECKPOINT_EVERY == 0 or time.monotonic() - saved >= CHECKPOINT_SECONDS
            if kept is not None and (last or stopping or due):
                save()
            laps.end("checkpoints")
            if stopping and not last:
                raise KeyboardInterrupt
    learner.write()
    return network, progress


def _open(run: Path, about: dict, network, adam, progress: Progress, resume: bool) -> list[list[float]]:
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
    for name, value in stored["progress"].items():
        setattr(progress, name, value)
    return stored["recent"]


def _begin_alike(network, adam, progress: Progress, recent: deque[list[float]]) -> None:
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


def _flat(values: dict) -> dict:
    """{"settings": {"seed": 0}} → {"seed": 0}, at any depth."""
    flat = {}
    for name, value in values.items():
        flat |= _flat(value) if isinstance(value, dict) else {name: value}
    return flat


def _figures(rollout: Rollout) -> list[float]:
    return [float(column.mean()) for column in (rollout.returns, rollout.lengths, rollout.successes)]


def _evaluate(task: Task, learner: ppo.Learner | fused.Learner, seed: int) -> dict[str, float]:
    """The student as it is, on the same held-out layouts every time, which are not those of `cli evaluate`."""
    acts = learner.network.actor.acts
    act = lambda batch, running, rng: acts(learner.policy(learner.see(batch))[0], rng)
    episodes = math.ceil(EVALUATED / distributed.size())
    found = evaluate.evaluate(task, act, episodes, distributed.own(seed << 32 | 0xFFFFFFFF))
    names = "success_rate", "return_mean", "length_mean"
    told = distributed.gather([float(getattr(found, name)) for name in names])
    return dict(zip(names, np.mean(told, axis=0).tolist()))


def _keep_from_going_on(run: Path | None, iteration: int, rollout: Rollout, losses: dict[str, float]) -> NoReturn:
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


@contextmanager
def _curves(run: Path | None, iteration: int):
    """Two functions: one writes an iteration's TensorBoard scalars, by iteration, counted from 1; one waits for them."""
    if run is None:
        yield lambda *figures: None, lambda: None
        return
    # Imported late: it takes a second, and only a kept run needs it.
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch.utils.tensorboard import SummaryWriter

    # What a killed run wrote after its last checkpoint is written again.
    # With room in its queue, training does not wait for the thread that writes to disk.
    writer = SummaryWriter(run, purge_step=iteration + 1, max_queue=CHECKPOINT_EVERY)

    def write(progress: Progress, figures: list[float], losses: dict[str, float], evaluated: dict[str, float]) -> None:
        mean_return, mean_length, success_rate = figures
        scalars = (
            {
                "rollout/return_mean": mean_return,
                "rollout/length_mean": mean_length,
                "rollout/success_rate": success_rate,
                "rollout/env_steps": progress.env_steps,
                "teacher/weight": progress.teacher_weight,
                "teacher/misses": progress.cache_misses,
                "time/steps_per_second": progress.steps_per_second,
            }
            | {f"loss/{name}": value for name, value in losses.items()}
            | {f"eval/{name}": value for name, value in evaluated.items()}
        )
        # All in one record, which takes a fraction of the time of one for each.
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        writer.file_writer.add_summary(Summary(value=values), progress.iteration)

    try:
        yield write, writer.flush
    finally:
        writer.close()
