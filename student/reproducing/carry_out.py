"""Planned runs are carried out, several at a time in processes of their own; those that are finished are left as they are."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
import json
import logging
import multiprocessing
import os
import queue
import time

import pyarrow as pa
import pyarrow.parquet as pq

from askonce.cache import durable
from askonce.cache.errors import AskonceError, Unfinished
from askonce.cache.teachers import choose_teacher
from askonce.pipeline import tasks
from askonce.pipeline.interrupt import interruption
from askonce.student.judging import evaluate
from askonce.student.learning import checkpoint, distill
from askonce.student.learning.forms import lookup_of
from askonce.student.learning.train import Progress, train
from askonce.student.reproducing.planned import PlannedRun
from askonce.student.showing import curves

# How often a worker says how far it is, in seconds.
SAY_EVERY = 0.3


def carry_out(
    runs: Sequence[PlannedRun], processes: int, show: Callable[[int, int, str], None] = lambda done, total, line: None
) -> None:
    """Finishes all runs, some at a time in processes of their own; `show` is told iterations done and of how many.

    Those `before` others among them go first.

    Ctrl-C and SIGTERM write the checkpoints and raise KeyboardInterrupt. Unfinished where runs failed.
    """
    todo = [run for run in dict.fromkeys(runs) if not run.finished]
    total, at, failed = sum(map(_size, todo)), [0.0] * len(todo), {}
    if not todo:
        return
    # Not forked: torch and numba have threads that a fork leaves behind.
    context = multiprocessing.get_context("spawn")
    waiting, news = context.Queue(), context.Queue()
    # What nobody takes any more must not keep this process from ending.
    waiting.cancel_join_thread()
    for number, run in enumerate(todo):
        if run.before not in todo:
            waiting.put((number, run))
    workers = [
        context.Process(target=_work, args=(waiting, news, os.getpid()), daemon=True)
        for _ in range(min(processes, len(todo)))
    ]
    for worker in workers:
        worker.start()
    try:
        with interruption() as interrupted:
            left = len(todo)
            while left and not interrupted.is_set():
                try:
                    number, done, words, error = news.get(timeout=SAY_EVERY)
                except queue.Empty:
                    _all_well(workers)
                    continue
                run = todo[number]
                at[number] = _size(run) if done is None else done
                if error:
                    failed[run.path.name] = error
                if done is None:
                    left -= 1
                    for later, one in enumerate(todo):
                        if one.before == run:
                            news.put((later, None, "", error)) if error else waiting.put((later, one))
                finished = len(todo) - left
                line = f"{finished} of {len(todo)} runs  {run.series.task} {run.series.name} seed {run.seed}{words}"
                show(round(sum(at)), total, line)
        if interrupted.is_set():
            raise KeyboardInterrupt
    finally:
        for worker in workers:
            # Asks for a checkpoint; to one that has nothing left to do it does nothing.
            worker.terminate()
        for worker in workers:
            worker.join()
    if failed:
        why = "; ".join(sorted(set(failed.values())))
        raise Unfinished(f"{len(failed)} of {len(todo)} runs failed: {why}", sorted(failed))


def _size(run: PlannedRun) -> int:
    """In iterations; a run of as many steps as another takes as long as that."""
    return 1 if run.series.method == "teacher" else run.scale.iterations


def _done(run: PlannedRun, progress: Progress) -> float:
    """How much of its size."""
    steps = _steps(run)
    return progress.iteration if steps is None else min(progress.env_steps / steps, 1) * _size(run)


def _all_well(workers) -> None:
    for worker in workers:
        if worker.exitcode:
            raise AskonceError(
                f"a process that trained was ended from outside (exit code {worker.exitcode}): run the same command "
                "again to go on from the checkpoints, with fewer --processes if memory was short"
            )


def _work(waiting, news, parent: int) -> None:
    """One worker: run after run."""
    # The parent alone gets a terminal's Ctrl-C, and asks its workers to stop.
    os.setpgrp()
    # TensorBoard warns of what a killed run wrote twice, which is as it should be.
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    while True:
        number, run = waiting.get()

        def say(progress: Progress) -> None:
            words = f": {progress.env_steps:,} steps, success {progress.success_rate:.0%}"
            news.put((number, _done(run, progress), words, None))

        try:
            finish(run, _every(SAY_EVERY, say, parent))
        except KeyboardInterrupt:
            return
        except Exception as error:
            # Whatever it is, the parent says it, and the other runs go on.
            news.put((number, None, "", str(error) if isinstance(error, AskonceError) else repr(error)))
        else:
            news.put((number, None, "", None))


def _every(seconds: float, say: Callable[[Progress], None], parent: int) -> Callable[[Progress], None]:
    said = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal said
        if time.monotonic() - said >= seconds:
            said = time.monotonic()
            if os.getppid() != parent:
                # Nobody is left to work for.
                raise KeyboardInterrupt
            say(progress)

    return show


def finish(run: PlannedRun, show: Callable[[Progress], None] = lambda progress: None) -> None:
    """Trains and evaluates one run, or the rest of it; the one `before` it is finished."""
    series, world = run.series, tasks.find(run.series.task)
    run.path.mkdir(parents=True, exist_ok=True)
    if series.method == "teacher":
        act = evaluate.teacher(world, _lookup(run))
    else:
        world = world.over_options() if series.method == "hierarchical" else world
        teacher = distill.Teacher(world, _lookup(run) if series.teacher else distill.go_without)
        about = {"method": series.method, "schedule": series.schedule} | (
            {"teacher": series.teacher, "teacher_form": series.form} if series.teacher else {}
        )
        settings = replace(run.settings, steps=_steps(run))
        train(world, teacher, settings, run.path, (run.path / "run.json").exists(), about, show)
        if not run.curve.exists():
            _keep_curve(run)
        act = evaluate.student(world, run.path)
    found = evaluate.evaluate(world, act, run.scale.episodes, run.seed)
    durable.write(run.evaluation, json.dumps(asdict(found)).encode())


def _steps(run: PlannedRun) -> int | None:
    """The environment steps that the run `before` it took."""
    return run.before and checkpoint.describe(run.before.path)["progress"]["env_steps"]


def _lookup(run: PlannedRun):
    world = tasks.find(run.series.task)
    return lookup_of(world, run.cache, choose_teacher(run.cache, world.name, run.series.teacher), run.series.form)


def _keep_curve(run: PlannedRun) -> None:
    """The run's TensorBoard scalars as a small table, a row an iteration."""
    table = curves.read(run.path)
    with durable.unfinished(run.path) as temporary:
        pq.write_table(pa.table(table), temporary)
        durable.rename(temporary, run.curve)
