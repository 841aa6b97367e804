"""The paper's Table 3 and Figures 3, 4 and 7 from a cache: every run they need, once.

    DIR/runs/<task>-<what>-<seed>-<digest>/   a run, its evaluation-N.json, its curve.parquet
    DIR/table-3.*, DIR/figure-N*              what was made of them (see `figures`); quick ones say so in their names

The digest is of all that a run depends on: its task, method and settings, what its teacher has answered, and the
code that plays and learns. So a finished run is not repeated, whatever is asked for next, one that was killed goes
on from its checkpoint, and neither is taken for what other code would have made.
"""

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache as cached
import hashlib
import json
import logging
import multiprocessing
import os
from pathlib import Path
import queue
import time

import pyarrow as pa
import pyarrow.parquet as pq

from cache import durable
from cache.errors import AskonceError, Unfinished
from cache.teachers import choose_teacher
from pipeline import answered, tasks
from pipeline.interrupt import interruption
from student import anneal, curve, distill, evaluate, presets
from student.forms import lookup_of
from student.hierarchical import over_options
from student.train import Progress, Settings, train

METHODS = "llm4teach", "hierarchical", "ppo", "teacher"
# Where the paper compares the forms of a teacher (section 4.1.3).
DIVERGED = "DivergedDoorKey"
# Modules of student/ that only show what runs did or are told to do; all others have a part in what they do.
SHOWING = {"animation", "curve", "export", "figures", "paper", "profile", "reproduce", "runs", "screen", "unlearned",
           "watch"}
PLAYING = "pipeline/collect.py", "pipeline/growing_plans.py", "pipeline/tasks/minigrid/*.py"
# How often a worker says how far it is, in seconds.
SAY_EVERY = 0.3


@dataclass(frozen=True)
class Series:
    """What is run with several seeds: `teacher` is NAME@PROMPT and `answers` a digest of them, None without one."""

    task: str
    method: str
    form: str | None = None
    schedule: str | None = None
    teacher: str | None = None
    answers: str | None = None

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.method, self.form, self.schedule)))


@dataclass(frozen=True)
class Scale:
    """How much is run; a quick one shows that all works, and little about methods."""

    seeds: int = 5
    iterations: int = anneal.ITERATIONS
    episodes: int = 1000
    preset: str = "default"
    quick: bool = False


QUICK = Scale(seeds=3, iterations=300, episodes=200, quick=True)


@dataclass(frozen=True)
class Run:
    """One seed of a series, and the directory under which it lives."""

    series: Series
    seed: int
    scale: Scale
    cache: Path
    runs: Path

    @property
    def settings(self) -> Settings:
        annealing = anneal.WITHOUT_TEACHER
        if self.series.schedule:
            annealing = anneal.schedule(self.series.schedule, self.scale.iterations)
        preset = presets.MINIGRID[self.scale.preset]
        return Settings(self.seed, self.scale.iterations, preset.of(self.series.method), annealing)

    @property
    def path(self) -> Path:
        # What a teacher alone does depends on no setting of training.
        settings = {"seed": self.seed} if self.series.method == "teacher" else asdict(self.settings)
        known = json.dumps([code(), asdict(self.series), settings], sort_keys=True)
        digest = hashlib.sha256(known.encode()).hexdigest()[:16]
        return self.runs / f"{self.series.task}-{self.series.name}-{self.seed}-{digest}"

    @property
    def evaluation(self) -> Path:
        return self.path / f"evaluation-{self.scale.episodes}.json"

    @property
    def curve(self) -> Path:
        return self.path / "curve.parquet"

    @property
    def finished(self) -> bool:
        return self.evaluation.exists() and (self.series.method == "teacher" or self.curve.exists())


@cached
def code() -> str:
    """A digest of all code that a run's course depends on."""
    root = Path(__file__).parents[1]
    paths = [path for pattern in PLAYING for path in root.glob(pattern)]
    paths += [path for path in root.glob("student/*.py") if path.stem not in SHOWING]
    return digest_of({path.relative_to(root).as_posix(): path.read_text() for path in paths})


def digest_of(sources: Mapping[str, str]) -> str:
    """Of Python sources by their names, as they are carried out: comments, docstrings and layout do not count."""
    trees = {name: ast.parse(source) for name, source in sources.items()}
    for tree in trees.values():
        for node in ast.walk(tree):
            documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            if documented and ast.get_docstring(node, clean=False) is not None:
                del node.body[0]
    carried_out = [(name, ast.dump(tree)) for name, tree in sorted(trees.items())]
    return hashlib.sha256(json.dumps(carried_out).encode()).hexdigest()[:16]


def series_of(
    cache: Path, names: Sequence[str], table: bool, figures: Sequence[int], model: str | None = None,
    logprobs: str | None = None, preset: str = "default",
) -> dict[str, list[Series]]:
    """"table-3", "figure-4", … → what it is made of. `logprobs` names a teacher made of log-probabilities."""
    usual = presets.MINIGRID[preset].annealing
    known = {name: _answers(cache, name, model) for name in names}
    taught = lambda name, form, schedule, about: Series(name, "llm4teach", form, schedule, *about)
    methods = [
        taught(name, "soft", usual, known[name]) if method == "llm4teach"
        else Series(name, method, "soft", None, *known[name]) if method == "teacher"
        else Series(name, method)
        for name in names for method in METHODS
    ]
    made = {"table-3": methods} if table else {}
    if 3 in figures:
        made["figure-3"] = methods
    if 4 in figures:
        if DIVERGED not in names:
            raise AskonceError(f"figure 4 is about {DIVERGED}: add it to --tasks, or leave out --figure 4", 2)
        made["figure-4"] = [taught(DIVERGED, form, usual, known[DIVERGED]) for form in ("soft", "hard")]
        if logprobs:
            made["figure-4"].append(taught(DIVERGED, "soft", usual, _answers(cache, DIVERGED, logprobs)))
    if 7 in figures:
        made["figure-7"] = [taught(name, "soft", one, known[name]) for name in names for one in anneal.PRESETS]
    return made


def _answers(cache: Path, name: str, model: str | None) -> tuple[str, str]:
    """A teacher's NAME@PROMPT, and a digest of what it has answered, in whatever order it is stored."""
    chosen, total = choose_teacher(cache, name, model), hashlib.sha256()
    entries = answered.entries(cache, tasks.find(name), chosen.model, chosen.prompt)
    said = (json.dumps([text, sorted(map(list, entry.distribution.items()))]) for text, entry in entries)
    for digest in sorted(hashlib.sha256(one.encode()).digest() for one in said):
        total.update(digest)
    return chosen.name, total.hexdigest()[:16]


# ---- Running -----------------------------------------------------------------------------------------------

def carry_out(
    runs: Sequence[Run], processes: int, show: Callable[[int, int, str], None] = lambda done, total, line: None,
) -> None:
    """Finishes all runs, some at a time in processes of their own; `show` is told iterations done and of how many.

    Ctrl-C and SIGTERM write the checkpoints and raise KeyboardInterrupt. Unfinished where runs failed.
    """
    todo = [run for run in dict.fromkeys(runs) if not run.finished]
    size = lambda run: 1 if run.series.method == "teacher" else run.scale.iterations
    total, at, failed = sum(map(size, todo)), [0] * len(todo), {}
    if not todo:
        return
    # Not forked: torch and numba have threads that a fork leaves behind.
    context = multiprocessing.get_context("spawn")
    waiting, news = context.Queue(), context.Queue()
    # What nobody takes any more must not keep this process from ending.
    waiting.cancel_join_thread()
    for item in [*enumerate(todo), *[None] * processes]:
        waiting.put(item)
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
                    number, iteration, error = news.get(timeout=SAY_EVERY)
                except queue.Empty:
                    _all_well(workers)
                    continue
                run = todo[number]
                if error:
                    failed[run.path.name] = error
                at[number] = size(run) if iteration is None else iteration
                left -= iteration is None
                finished = len(todo) - left
                line = f"{finished} of {len(todo)} runs  {run.series.task} {run.series.name} seed {run.seed}"
                show(sum(at), total, line)
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
    for number, run in iter(waiting.get, None):
        try:
            finish(run, _every(SAY_EVERY, lambda iteration: news.put((number, iteration, None)), parent))
        except KeyboardInterrupt:
            return
        except Exception as error:
            # Whatever it is, the parent says it, and the other runs go on.
            news.put((number, None, str(error) if isinstance(error, AskonceError) else repr(error)))
        else:
            news.put((number, None, None))


def _every(seconds: float, say: Callable[[int], None], parent: int) -> Callable[[Progress], None]:
    said = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal said
        if time.monotonic() - said >= seconds:
            said = time.monotonic()
            if os.getppid() != parent:
                # Nobody is left to work for.
                raise KeyboardInterrupt
            say(progress.iteration)

    return show


def finish(run: Run, show: Callable[[Progress], None] = lambda progress: None) -> None:
    """Trains and evaluates one run, or the rest of it."""
    series, world = run.series, tasks.find(run.series.task)
    run.path.mkdir(parents=True, exist_ok=True)
    if series.method == "teacher":
        act = evaluate.teacher(world, _lookup(run))
    else:
        world = over_options(world) if series.method == "hierarchical" else world
        teacher = distill.Teacher(world, _lookup(run) if series.teacher else distill.go_without)
        about = {"method": series.method, "schedule": series.schedule} | (
            {"teacher": series.teacher, "teacher_form": series.form} if series.teacher else {}
        )
        train(world, teacher, run.settings, run.path, (run.path / "run.json").exists(), about, show)
        if not run.curve.exists():
            _keep_curve(run)
        act = evaluate.student(world, run.path)
    found = evaluate.evaluate(world, act, run.scale.episodes, run.seed)
    durable.write(run.evaluation, json.dumps(asdict(found)).encode())


def _lookup(run: Run):
    world = tasks.find(run.series.task)
    return lookup_of(world, run.cache, choose_teacher(run.cache, world.name, run.series.teacher), run.series.form)


def _keep_curve(run: Run) -> None:
    """The run's TensorBoard scalars as a small table, a row an iteration."""
    table = curve.read(run.path)
    with durable.unfinished(run.path) as temporary:
        pq.write_table(pa.table(table), temporary)
        durable.rename(temporary, run.curve)


def runs_of(series: Sequence[Series], scale: Scale, cache: Path, to: Path) -> Iterator[Run]:
    for one in series:
        for seed in range(scale.seeds):
            yield Run(one, seed, scale, cache, to / "runs")


def teachers(made: dict[str, list[Series]]) -> dict[str, list[str]]:
    """Task → whose answers its results stand on, as NAME@PROMPT."""
    named = sorted({(one.task, one.teacher) for series in made.values() for one in series if one.teacher})
    return {task: [name for of_task, name in named if of_task == task] for task, _ in named}
