"""The commands. Each parses, calls one function, and prints: a table for people, one JSON object with --json.

Figures go to stdout, all else to stderr. Exit codes: 0 done, 1 failed, 2 wrong use, 3 finished in part
(everything obtained is stored), 130 interrupted (likewise).
"""

from collections.abc import Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from itertools import groupby
import json
import math
import os
from pathlib import Path
import shutil
import sys
import time
from typing import Annotated, Any, Literal, NoReturn

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
import typer

from cache import query, store
from cache.errors import AskonceError, Unfinished

app = typer.Typer(
    name="cli", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Ask a large language model once, train a small policy as often as you like.",
)
cache_app = typer.Typer(no_args_is_help=True, help="Look into a cache, or bring decisions into it.")
app.add_typer(cache_app, name="cache")

# Paths, texts and what LLMs write are shown as they are: "[red]" is no colour and ":key:" no picture.
PLAIN = dict(highlight=False, markup=False, emoji=False)
out, err = Console(**PLAIN), Console(stderr=True, **PLAIN)

TaskName = Annotated[str, typer.Option("--task", help="A task's name, or package.module:NAME for your own.")]
CacheDir = Annotated[Path, typer.Option("--cache", help="The cache's directory.")]
Model = Annotated[str | None, typer.Option(help="The LLM's name, NAME or NAME@PROMPT where a cache holds several.")]
BaseUrl = Annotated[str | None, typer.Option(help="An OpenAI-compatible server; default OPENAI_BASE_URL.")]
Samples = Annotated[str, typer.Option(help="Completions a text, or auto: until its distribution is known.")]
MaxTv = Annotated[float, typer.Option(help="With --samples auto: known to this total-variation distance …")]
Confidence = Annotated[float, typer.Option(help="… with this confidence.")]
ModelId = Annotated[str | None, typer.Option(help="A name of yours for a model served under several addresses.")]
Extra = Annotated[str | None, typer.Option(help="Further fields of the request, as JSON: '{\"top_p\": 0.9}'.")]
Estimator = Annotated[Literal["sampling", "logprobs", "hard"], typer.Option(
    help="How distributions are made: counted, from letters' log-probabilities, or one answer at temperature 0.")]
Concurrency = Annotated[int, typer.Option(min=1, help="The most requests at once; fewer until the server shows that it takes more.")]
Rpm = Annotated[float | None, typer.Option(help="The most requests a minute.")]
Tpm = Annotated[float | None, typer.Option(help="The most tokens a minute.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds for one request.")]
MaxCost = Annotated[float | None, typer.Option(min=0, help="Stop before more USD would be spent.")]
MaxRequests = Annotated[int | None, typer.Option(min=0, help="Stop before more requests would be sent.")]
Prices = Annotated[Path | None, typer.Option(help="A JSON file: {MODEL: {input: USD, output: USD}}, a million tokens.")]
Transport = Annotated[Literal["online", "batch"], typer.Option(
    help="One request at a time, or files of requests by the OpenAI Batch API: half the price, within a day.")]
Retry = Annotated[list[str], typer.Option(
    help="Ask again for completions that were truncated, refused or filtered; those stay, but do not count.")]
Temperature = Annotated[float, typer.Option(min=0, help="The LLM's sampling temperature.")]
MaxTokens = Annotated[int, typer.Option(min=1, help="The longest completion; reasoning models need thousands.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Same seed, same result.")]
Episodes = Annotated[int, typer.Option(min=1, help="Episodes to play.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
RunDir = Annotated[Path, typer.Option("--run", help="The run's directory.")]
TaskOfRun = Annotated[str | None, typer.Option(
    "--task", help="The run's task where it is your own, as package.module:NAME.")]
Preset = Annotated[Literal["default", "paper"], typer.Option(
    help="The defaults, or the paper's hyperparameters, whose learning rate stays as it is.")]
TeacherForm = Annotated[Literal["soft", "hard"], typer.Option(help="The whole distribution, or its best decision.")]


def main() -> None:
    """The console script: turns what is meant for a person into one line and an exit code."""
    # A script finds no module in the directory where it is started, and that is where a user's task is.
    sys.path.append("")
    # A table that a terminal cannot show in full is better than none, after an hour of work.
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except AskonceError as error:
        _fail(str(error), error.exit_code, error.missing if isinstance(error, Unfinished) else ())
    except OSError as error:
        _fail(f"{error}; check the path and the disk", 1)


def _fail(message: str, exit_code: int, missing: Sequence[str] = ()) -> NoReturn:
    if "--json" in sys.argv:
        _print_json({"error": message} | ({"missing": list(missing)} if missing else {}))
    print(f"error: {message}", file=sys.stderr)
    for text in missing:
        print(f"  missing: {text}", file=sys.stderr)
    sys.exit(exit_code)


@app.command("build-cache")
def build_cache(
    task: TaskName, cache: CacheDir, episodes: Episodes = 500, samples: Samples = "10",
    max_tv: MaxTv = 0.1, confidence: Confidence = 0.95, estimator: Estimator = "sampling",
    model: Annotated[str, typer.Option(help="The LLM's name; the default is the built-in simulated one.")] = "simulated",
    base_url: BaseUrl = None, model_id: ModelId = None, temperature: Temperature = 1.0,
    max_tokens: MaxTokens = 512, extra: Extra = None, retry: Retry = (), transport: Transport = "online",
    concurrency: Concurrency = 256,
    rpm: Rpm = None, tpm: Tpm = None, timeout: Timeout = 120.0, max_cost: MaxCost = None,
    max_requests: MaxRequests = None, prices: Prices = None, seed: Seed = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be asked and what it costs; ask nothing.")] = False,
    json: Json = False,
) -> None:
    """Find the texts that an agent meets and ask the LLM about each that the cache does not hold."""
    from pipeline import build, tasks
    from pipeline.questions import Wanted

    world = tasks.find(task)
    teacher = _teacher(estimator, model, base_url, model_id, temperature, max_tokens, extra)
    wanted = Wanted(1 if estimator == "hard" else _samples(samples, max_tv, confidence), tuple(retry))
    terms = _terms(model, concurrency, rpm, tpm, timeout, max_cost, max_requests, prices)
    if dry_run:
        plan = build.plan(world, cache, teacher, episodes, wanted, seed, terms.price)
        return _emit(asdict(plan), json, f"would ask: {task}", _plan_rows(plan))
    with _going_on("run the same command again to go on"), _asking() as show:
        report = build.build_cache(
            world, cache, teacher, episodes, wanted, seed, terms, show, in_batches=transport == "batch"
        )
    _emit(asdict(report), json, f"{task}: {cache}", _report_rows(report))
    for text, reason in report.unanswered.items():
        err.print(f"  missing: {text} ({reason})", soft_wrap=True)
    if report.unanswered:
        raise typer.Exit(3)


@app.command()
def train(
    task: TaskName,
    cache: Annotated[Path | None, typer.Option(help="The cache's directory, for methods with a teacher.")] = None,
    method: Annotated[Literal["llm4teach", "ppo", "hierarchical"], typer.Option(
        help="PPO and distillation; or without a teacher: PPO alone, PPO over the task's options.")] = "llm4teach",
    cache_only: Annotated[bool, typer.Option("--cache-only", help="Train offline: never ask the LLM.")] = False,
    run: Annotated[Path | None, typer.Option(
        help="Where checkpoints and curves go; default runs/TASK-SEED, with another --method runs/TASK-METHOD-SEED.")] = None,
    iterations: Annotated[int, typer.Option(min=1, help="Training iterations of 10 episodes each.")] = 3000,
    seed: Seed = 0, model: Model = None, base_url: BaseUrl = None, model_id: ModelId = None,
    temperature: Temperature = 1.0, max_tokens: MaxTokens = 512, extra: Extra = None, samples: Samples = "10",
    estimator: Estimator = "sampling", max_cost: MaxCost = None, max_requests: MaxRequests = None,
    prices: Prices = None,
    on_miss: Annotated[Literal["ask", "defer", "skip", "error"] | None, typer.Option(
        help="What to do about a text that the cache lacks; default ask, with --cache-only skip.")] = None,
    teacher_form: TeacherForm = "soft", preset: Preset = "default",
    divergence: Annotated[Literal["kl", "wasserstein"], typer.Option(
        help="How far the student is from its teacher: Eq. 2's cross-entropy, or the Wasserstein distance.")] = "kl",
    anneal: Annotated[str | None, typer.Option(
        help="λ's schedule: constant, linear-1000, linear-2000 or stepwise (the default), as of 3000 iterations.")] = None,
    lambda_0: Annotated[float | None, typer.Option("--lambda-0", help="λ at first (Eq. 3).")] = None,
    lambda_c: Annotated[float | None, typer.Option("--lambda-c", help="What λ falls to …")] = None,
    i1: Annotated[int | None, typer.Option("--i1", help="… by this iteration …")] = None,
    i2: Annotated[int | None, typer.Option("--i2", help="… and keeps until it is 0 from this one on.")] = None,
    decay: Annotated[float | None, typer.Option(help="λ's fall an iteration; default, what brings it to λc at i1.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --run.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Say where the time went.")] = False,
    json: Json = False,
) -> None:
    """Train a student by PPO and distillation from the cache, or by a baseline without a teacher."""
    from pipeline import tasks
    from student import anneal as annealing, ppo
    from student.train import Settings

    world = tasks.find(task)
    given = {"lambda_0": lambda_0, "lambda_c": lambda_c, "i1": i1, "i2": i2, "decay": decay}
    schedule = annealing.schedule(anneal or "stepwise", iterations, **given)
    settings = Settings(seed, iterations, replace(ppo.PRESETS[preset], divergence=divergence), schedule)
    if method != "llm4teach":
        if cache is not None or anneal is not None or any(value is not None for value in given.values()):
            raise AskonceError(f"--method {method} has no teacher: leave out --cache and what says how λ falls", 2)
        return _train_alone(world, method, settings, run, resume, profile, json)
    if cache is None:
        raise AskonceError("name the teacher's answers by --cache DIR, or train without a teacher by --method ppo", 2)
    run = run or Path("runs") / f"{world.name}-{seed}"
    if cache_only and on_miss in ("ask", "defer"):
        raise AskonceError(f"--cache-only never asks: leave out --on-miss {on_miss}, or --cache-only", 2)
    if cache_only or on_miss in ("skip", "error"):
        opened = nullcontext((*_offline_teacher(world, cache, model, teacher_form, on_miss == "error"), None))
    else:
        model = _held_model(cache, world.name, model)
        llm = _teacher(estimator, model, base_url, model_id, temperature, max_tokens, extra)
        wanted = 1 if estimator == "hard" else _samples(samples, 0.1, 0.95)
        terms = _terms(model, 256, None, None, 120.0, max_cost, max_requests, prices)
        opened = _asking_teacher(world, cache, llm, wanted, terms, teacher_form, defer=on_miss == "defer")
    with opened as (teacher, name, questions):
        about = {"method": method, "teacher": name, "teacher_form": teacher_form}
        figures = _train(world, teacher, about, settings, run, resume, profile)
    _show_trained(world, figures, json)
    for text, count in teacher.missing.most_common():
        err.print(f"not in the cache, met {count} times: {text}", soft_wrap=True)
    if questions and questions.failure:
        raise AskonceError(f"trained to the end, but asked no more after a failure: {questions.failure}", 3)


@app.command()
def evaluate(
    task: TaskName,
    run: Annotated[Path | None, typer.Option(help="Evaluate the student of this run.")] = None,
    teacher: Annotated[bool, typer.Option("--teacher", help="Evaluate the LLM alone, from --cache.")] = False,
    cache: Annotated[Path | None, typer.Option(help="The cache's directory.")] = None,
    model: Model = None, teacher_form: TeacherForm = "soft", episodes: Episodes = 1000, seed: Seed = 0,
    json: Json = False,
) -> None:
    """Play held-out layouts with a student or with its teacher alone."""
    from pipeline import tasks
    from student import evaluate as evaluation

    world = tasks.find(task)
    if teacher == (run is not None) or teacher == (cache is None):
        raise AskonceError("name either --run DIR, or --teacher with --cache DIR", 2)
    if teacher:
        act = evaluation.teacher(world, _lookup(world, cache, model, teacher_form)[0])
    else:
        world = evaluation.as_learnt(world, run)
        act = evaluation.student(world, run)
    found = evaluation.evaluate(world, act, episodes, seed)
    _emit(asdict(found), json, f"{task}: {'teacher alone' if teacher else run}", _evaluation_rows(found))


@app.command()
def reproduce(
    cache: CacheDir, to: Annotated[Path, typer.Option(help="Where runs, tables and figures go.")],
    table: Annotated[list[int], typer.Option(help="3: success, return and length beside the paper's.")] = (),
    figure: Annotated[list[int], typer.Option(
        help="3: learning curves of all methods; 4: soft and hard teachers; 7: the four schedules.")] = (),
    everything: Annotated[bool, typer.Option("--all", help="The table and all figures.")] = False,
    wanted: Annotated[str, typer.Option("--tasks", help="Names, separated by commas; default all four.")] = "",
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each; default 5, quick 3.")] = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="Of each run; default 3000, quick 300.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Much less of everything, and marked so.")] = False,
    preset: Preset = "default", model: Model = None,
    logprobs: Annotated[str | None, typer.Option(
        help="NAME@PROMPT in the cache, made of log-probabilities, for figure 4.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 2, json: Json = False,
) -> None:
    """The paper's table and figures from a cache, beside the paper's own; what was run is not run again."""
    from student import figures, reproduce as reproducing
    from student.paper import TASKS

    if unknown := set(table) - {3} | set(figure) - {3, 4, 7}:
        raise AskonceError(f"there is no {min(unknown)} to reproduce: --table 3, --figure 3, 4 or 7, or --all", 2)
    if not (table or figure or everything):
        raise AskonceError("say what to reproduce: --table 3, --figure 3, 4 or 7, or --all", 2)
    names = tuple(dict.fromkeys(name.strip() for name in wanted.split(","))) if wanted else TASKS
    if unknown := [name for name in names if name not in TASKS]:
        raise AskonceError(f"the paper has no task {unknown[0]!r}: --tasks takes {', '.join(TASKS)}", 2)
    scale = reproducing.QUICK if quick else reproducing.Scale()
    given = {"seeds": seeds, "iterations": iterations, "preset": preset}
    scale = replace(scale, **{name: value for name, value in given.items() if value is not None})
    numbers = (3, *((4,) if reproducing.DIVERGED in names else ()), 7) if everything else tuple(figure)
    made = reproducing.series_of(cache, names, bool(table) or everything, numbers, model, logprobs)
    runs = {name: list(reproducing.runs_of(series, scale, cache, to)) for name, series in made.items()}
    with _going_on("run the same command again to go on"), _reproducing() as show:
        reproducing.carry_out([run for of_one in runs.values() for run in of_one], processes, show)
    rows, files = figures.write(runs, scale, to)
    if json:
        return _print_json({
            "quick": quick, "scale": asdict(scale), "teachers": reproducing.teachers(made),
            "rows": [asdict(row) | {"difference": row.difference} for row in rows], "files": files,
        })
    if rows:
        _show_reproduced(rows, figures, scale)
    for path in files:
        out.print(str(path), soft_wrap=True)


@app.command()
def runs(
    directory: Annotated[Path, typer.Argument(
        metavar="DIR", help="Where to look for runs, at any depth.")] = Path("runs"),
    json: Json = False,
) -> None:
    """List runs with their figures."""
    from student.runs import find

    found, damaged = find(directory)
    if json:
        listed = [asdict(run) | {"when": run.when.isoformat()} for run in found]
        _print_json({"runs": listed, "damaged": damaged})
    elif found:
        out.print(_runs_table(directory, found))
    else:
        err.print(f"no runs in {directory}", soft_wrap=True)
    for line in damaged:
        err.print(f"damaged: {line}", soft_wrap=True)
    if damaged:
        raise typer.Exit(3)


@app.command()
def watch(
    run: RunDir, task: TaskOfRun = None,
    cache: Annotated[Path | None, typer.Option(help="Show this cache's teacher beside the student.")] = None,
    model: Model = None, teacher_form: TeacherForm = "soft",
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to play.")] = 3, seed: Seed = 0,
    to: Annotated[Path | None, typer.Option(help="Write a GIF instead of playing in the terminal.")] = None,
    fps: Annotated[float, typer.Option(min=0.1, max=50, help="Steps shown a second.")] = 4,
    json: Json = False,
) -> None:
    """Play held-out episodes of a student, with what it and its teacher think of every action."""
    from student import watch as watching

    if to:
        if to.suffix.lower() != ".gif":
            raise AskonceError(f"{to}: watch writes GIFs, name it *.gif", 2)
        _check_target(to)
    world = _task_of(run, task)
    teacher = _offline_teacher(world, cache, model, teacher_form, refuse=False)[0] if cache else None
    shown = watching.watched(world)
    frames = watching.frames(world, shown, run, teacher, episodes, seed)
    if to:
        kept = _write_gif(world, shown, frames, to, fps)
    elif json:
        kept = list(frames)
    else:
        return _play(world, shown, frames, fps)
    played = _played(world, kept)
    if json:
        return _print_json({"task": world.name, "run": str(run), "to": to and str(to), "episodes": played})
    out.print(f"{to}: {len(played)} episodes, {to.stat().st_size:,} bytes", soft_wrap=True)


@app.command("export")
def export_student(
    run: RunDir, to: Annotated[Path, typer.Option(help="The file to write: *.onnx or *.pt.")],
    task: TaskOfRun = None,
    format: Annotated[Literal["onnx", "torchscript"] | None, typer.Option(help="Else by the suffix.")] = None,
    json: Json = False,
) -> None:
    """Write the policy that is deployed alone, and print a program that runs it without this project."""
    from student import export as exporting

    form = format or exporting.SUFFIXES.get(to.suffix.lower())
    if form is None:
        raise AskonceError(f"{to}: name it *.onnx or *.pt, or say which by --format", 2)
    _check_target(to)
    found = exporting.export(_task_of(run, task), run, to, form)
    if json:
        return _print_json(asdict(found))
    given = f"{found.input} (N, {', '.join(map(str, found.shape))}) {found.dtype}"
    taken = f"probabilities (N, {len(found.actions)})"
    err.print(f"{to}: {found.bytes:,} bytes, {given} → {taken}", soft_wrap=True)
    out.print(found.example, end="", soft_wrap=True)


@app.command("tasks")
def list_tasks(json: Json = False) -> None:
    """List the tasks, and how the simulated LLM and its student do on them."""
    from pipeline import tasks
    from pipeline.tasks import measured

    found = measured.read()
    names = (*tasks.names(), *tasks.registered_names())
    if json:
        rows = [{"name": name, "measured": name in found} | found.get(name, {}) for name in names]
        return _print_json({"tasks": rows})
    table = Table()
    table.add_column("--task", no_wrap=True)
    for column in ("texts", "LLM alone", "student", "steps"):
        table.add_column(column, justify="right", no_wrap=True)
    for name in names:
        table.add_row(name, *_task_row(found.get(name)))
    out.print(table)
    err.print(
        "Success and mean return over held-out episodes, with the simulated LLM, after so many steps of training; "
        "* where the layouts are too few to hold any out; – where nobody has built, trained and evaluated yet. "
        "--json has intervals, commands and commits."
    )


@app.command("serve-teacher")
def serve_teacher(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free port.")] = 8000,
    incorrect: Annotated[float, typer.Option(help="Share of answers that lead to failure.")] = 0.1,
    inefficient: Annotated[float, typer.Option(help="Share of answers that waste steps.")] = 0.1,
    inconsistent: Annotated[float, typer.Option(help="Share of answers that cannot be executed.")] = 0.05,
    seed: Seed = 0, json: Json = False,
) -> None:
    """Offer the simulated LLM on loopback, to try the network path. Ends with Ctrl-C."""
    from pipeline.simulated.llm import Errors
    from pipeline.simulated.serve import serve

    with serve(Errors(incorrect, inefficient, inconsistent), seed, port) as base_url:
        if json:
            _print_json({"base_url": base_url, "model": "simulated"})
        else:
            out.print(f"the simulated LLM answers at {base_url}; ask it, for instance, by\n"
                      f"  cli build-cache --task ColoredDoorKey --cache DIR --base-url {base_url}", soft_wrap=True)
        sys.stdout.flush()
        while True:
            time.sleep(3600)


@app.command()
def demo(
    directory: Annotated[Path, typer.Option(help="Where the cache and the run go.")] = Path("demo"),
    iterations: Annotated[int, typer.Option(min=1)] = 900, json: Json = False,
) -> None:
    """Build a cache with the simulated LLM, train a student from it alone, and compare the two."""
    from pipeline import build, tasks
    from pipeline.teacher import Teacher
    from student import evaluate as evaluation
    from student.anneal import schedule
    from student.train import Settings

    world, cache, run = tasks.find("ColoredDoorKey"), directory / "cache", directory / "run"
    if (run / "run.json").exists():
        shutil.rmtree(run)
    _title("1. Ask once: the simulated LLM, about every situation that an agent meets in ColoredDoorKey")
    err.print("(the very first run also compiles the engine, for about half a minute)")
    with _asking() as show:
        report = build.build_cache(world, cache, Teacher(), show=show)
    _show(None, _report_rows(report), json)

    _title("2. Train a student from the cache alone")
    teacher, name = _offline_teacher(world, cache, None, "soft", refuse=False)
    settings = Settings(iterations=iterations, annealing=schedule("stepwise", iterations))
    about = {"method": "llm4teach", "teacher": name, "teacher_form": "soft"}
    figures = _train(world, teacher, about, settings, run, resume=False)
    _show(None, _training_rows(figures), json)

    _title("3. Let both play the same 1,000 layouts, none of which was trained on")
    alone = evaluation.evaluate(world, evaluation.teacher(world, teacher.lookup), 1000, seed=0)
    learnt = evaluation.evaluate(world, evaluation.student(world, run), 1000, seed=0)
    if json:
        return _print_json({"build_cache": asdict(report), "train": figures,
                            "teacher": asdict(alone), "student": asdict(learnt)})
    table = Table("", "teacher alone", "student")
    for (label, of_teacher), of_student in zip(_evaluation_rows(alone).items(), _evaluation_rows(learnt).values()):
        table.add_row(label, of_teacher, of_student)
    out.print(table)
    _title("Next")
    err.print(
        f"  cli cache show 'holds a red key' --cache {cache}\n"
        "  cli build-cache --task DivergedDoorKey --cache my-cache\n"
        "  cli train --task DivergedDoorKey --cache my-cache --cache-only\n"
        "  cli evaluate --task DivergedDoorKey --run runs/DivergedDoorKey-0\n"
        f"  tensorboard --logdir {directory}",
        soft_wrap=True,
    )


@cache_app.command()
def stats(cache: CacheDir, json: Json = False) -> None:
    """Who answered how much, for which task, and the room it takes."""
    found = query.stats(cache)
    if json:
        return _print_json(asdict(found))
    table = Table()
    # Names are there to be copied, the second one to --model.
    for name in ("task", "model@prompt"):
        table.add_column(name, overflow="fold")
    for figure in ("texts", "completions", "tokens in / out"):
        table.add_column(figure, justify="right", no_wrap=True)
    for entry in found.teachers:
        tokens = f"{entry.prompt_tokens:,} / {entry.completion_tokens:,}"
        table.add_row(entry.task, entry.name, f"{entry.texts:,}", f"{entry.completions:,}", tokens)
    out.print(table)
    out.print(f"{found.segments} segments, {found.bytes:,} bytes")


@cache_app.command()
def show(
    what: Annotated[str, typer.Argument(help="A completion's id, the start of a key, a text or a part of one.")],
    cache: CacheDir, limit: Annotated[int, typer.Option(min=1, help="At most so many completions.")] = 20,
    json: Json = False,
) -> None:
    """Completions word for word."""
    found = query.show(cache, what)
    if not found:
        raise AskonceError(f"{cache} holds nothing that {what!r} names: give a completion's id or a part of a text")
    if json:
        rows = [asdict(row) | {"id": row.completion_id} for row in found[:limit]]
        return _print_json({"found": len(found), "completions": rows})
    for row in found[:limit]:
        out.rule(f"{row.completion_id}  {row.task}  {row.model}", align="left")
        out.print(f"{row.text}\n", style="bold", soft_wrap=True)
        out.print(_visible(row.content), soft_wrap=True)
    if len(found) > limit:
        err.print(f"{len(found) - limit} more: --limit {len(found)} shows them all")


@cache_app.command()
def explain(
    task: TaskName, text: Annotated[str, typer.Option(help="The text that would be asked about.")], cache: CacheDir,
    model: Annotated[str, typer.Option(help="The LLM's name.")] = "simulated",
    base_url: BaseUrl = None, model_id: ModelId = None, temperature: Temperature = 1.0,
    max_tokens: MaxTokens = 512, extra: Extra = None, json: Json = False,
) -> None:
    """Say whether a question would be answered from the cache, and if not, what is different."""
    from cache.explain import explain as explain_question
    from pipeline import tasks
    from pipeline.teacher import endpoint, request

    world = tasks.find(task)
    teacher = _teacher("sampling", model, base_url, model_id, temperature, max_tokens, extra)
    found = explain_question(cache, world.name, request(teacher, world.prompt, text), endpoint(teacher), text)
    if json:
        return _print_json(asdict(found) | {"hit": found.completions > 0})
    out.print(f"key {found.key}", soft_wrap=True)
    if found.completions:
        return out.print(f"a hit: {found.completions} completions are stored")
    if found.elsewhere:
        return out.print(f"a hit at the next build: completion {found.nearest} of another task answers it")
    out.print("a miss: it would be asked" if found.nearest is None else
              f"a miss: it would be asked; the nearest that is stored, {found.nearest}, differs in", soft_wrap=True)
    for difference in found.differences:
        out.print(f"  {difference.field}: {difference.asked!r}, stored {difference.stored!r}", soft_wrap=True)


@cache_app.command("import")
def import_answers(
    source: Annotated[Path, typer.Argument(help="Decisions recorded elsewhere (.jsonl), or an exported dataset.")],
    cache: CacheDir, model: Annotated[str, typer.Option(help="What to call who decided.")] = "recorded",
    json: Json = False,
) -> None:
    """Bring in decisions recorded elsewhere, or a dataset that `cli cache export` wrote."""
    from pipeline import recorded

    if source.is_dir():
        from cache.dataset import import_dataset

        found = asdict(import_dataset(source, cache))
        return _emit(found, json, f"{source} → {cache}", {"completions added": found["added"], "held before": found["held"]})
    rows = recorded.read(source, model)
    store.append(cache, rows)
    figures = {"texts": len({(row.task, row.text) for row in rows}), "completions": len(rows),
               "tasks": list(dict.fromkeys(row.task for row in rows))}
    _emit(figures, json, f"{source} → {cache}", {
        "tasks": ", ".join(figures["tasks"]), "texts": figures["texts"], "decisions": figures["completions"],
    })


@cache_app.command("export")
def export_dataset(
    cache: CacheDir, to: Annotated[Path, typer.Option(help="A new directory for the dataset.")],
    license: Annotated[str, typer.Option(help="The licence's id, for the card.")] = "unknown", json: Json = False,
) -> None:
    """Write the cache as a Hugging Face dataset, with its card."""
    from cache.dataset import export

    written = asdict(export(cache, to, license))
    _emit(written, json, f"{cache} → {to}", {name: f"{figure:,}" for name, figure in written.items()})


@cache_app.command()
def verify(
    cache: CacheDir,
    repair: Annotated[bool, typer.Option("--repair", help="Quarantine what is damaged, keep what is sound.")] = False,
    json: Json = False,
) -> None:
    """Read every byte of the cache and name every file that is not as it was written."""
    from cache import repair as repairing
    from cache import verify as verifying

    repaired = repairing.repair(cache) if repair else None
    found = repaired.found if repaired else verifying.verify(cache)
    _emit(asdict(repaired or found), json, str(cache), {
        "segments": f"{found.segments:,}", "journals": f"{found.journals:,}", "rows": f"{found.rows:,}",
        "bytes": f"{found.bytes:,}", "damaged files": f"{len(found.damaged):,}",
    } | ({"rows saved": f"{repaired.saved:,}", "keys to ask again": f"{len(repaired.ask_again):,}"} if repaired else {}))
    for finding in found.findings:
        err.print(f"{finding.kind}: {finding.path}: {finding.detail}", soft_wrap=True)
    for lost in repaired.ask_again if repaired else ():
        err.print(f"to ask again: {lost.key} ({lost.answers} answers): {lost.text or 'text unknown'}", soft_wrap=True)
    if repaired and (repaired.ask_again or repaired.unknown):
        raise typer.Exit(3)
    if found.damaged and not repair:
        raise typer.Exit(1)


@cache_app.command()
def merge(
    into: Annotated[Path, typer.Argument(help="The cache that receives.")],
    other: Annotated[Path, typer.Argument(help="The cache whose answers it gets.")], json: Json = False,
) -> None:
    """Add another cache's answers; say where the two disagree."""
    from cache.merge import merge as merge_caches

    merged = merge_caches(into, other)
    _emit(asdict(merged), json, f"{other} → {into}", {
        "added": f"{merged.added:,}", "held before": f"{merged.held:,}", "disagreements": f"{len(merged.disagreements):,}",
    })
    for differing in merged.disagreements[:10]:
        err.print(f"total variation {differing.total_variation:.2f}: {differing.task}: {differing.text}", soft_wrap=True)


@cache_app.command()
def compact(cache: CacheDir, json: Json = False) -> None:
    """Join small segments and seal what killed writers left; others may go on using the cache."""
    from cache.compact import compact as compact_cache

    found = asdict(compact_cache(cache))
    _emit(found, json, str(cache), {
        "journals sealed": found["sealed"], "segments before": found["before"], "segments after": found["after"],
    })


@cache_app.command()
def reparse(
    cache: CacheDir,
    task: Annotated[str | None, typer.Option(help="This task alone; one of your own must be named.")] = None,
    json: Json = False,
) -> None:
    """Read all stored completions with the present parser, and say what that changed."""
    from pipeline import reparse as reparsing
    from pipeline import tasks

    found, unknown = reparsing.reparse(cache, tasks.find(task) if task else None)
    if json:
        _print_json({"teachers": [asdict(each) for each in found], "unknown_tasks": unknown})
    else:
        _show_reparsed(found)
    for name in unknown:
        err.print(f"left out: {name} is no built-in task; name it with --task package.module:NAME", soft_wrap=True)
    if unknown:
        raise typer.Exit(3)


# ---- Which answers a student learns from -----------------------------------------------------------------------

def _lookup(world, cache: Path, model: str | None, teacher_form: str):
    """text → the chosen teacher's distribution, and its name as NAME@PROMPT."""
    from cache.teachers import choose_teacher
    from pipeline.answered import open_answered
    from student.distill import harden

    chosen = choose_teacher(cache, world.name, model)
    answered = open_answered(cache, world, chosen.model, chosen.prompt)
    return harden(answered) if teacher_form == "hard" else answered, chosen.name


def _offline_teacher(world, cache: Path, model: str | None, teacher_form: str, refuse: bool):
    from student import distill

    lookup, name = _lookup(world, cache, model, teacher_form)
    return distill.Teacher(world, lookup, distill.refuse if refuse else distill.go_without), name


def _held_model(cache: Path, task: str, model: str | None) -> str:
    """The model whose answers the cache holds for the task, or that is chosen by name; else the named one."""
    from cache.teachers import choose_teacher, teacher_names

    store.create(cache)
    held = any(teacher.task == task for teacher in teacher_names(cache))
    return choose_teacher(cache, task, model).model if held else model or "simulated"


@contextmanager
def _asking_teacher(world, cache: Path, llm, wanted, terms, teacher_form: str, defer: bool):
    """A teacher that is asked about a missing text, once; `defer`: in the background."""
    from cache.teachers import teacher_names
    from pipeline import build
    from pipeline.answered import open_answered
    from pipeline.defer import deferred
    from pipeline.questions import Wanted
    from pipeline.teacher import prompt_digest
    from student import distill

    prompt = prompt_digest(llm, world.prompt)
    held = [one.name for one in teacher_names(cache) if one.task == world.name and one.model == llm.model]
    name = f"{llm.model}@{prompt}"
    if held and name not in held:
        raise AskonceError(
            f"{cache} holds answers of {', '.join(held)} for {world.name}, and {name} would be asked for more: add "
            "--cache-only, or the --base-url, --temperature and --max-tokens that they were asked with", 2,
        )
    answered = open_answered(cache, world, llm.model, prompt)
    lookup = distill.harden(answered) if teacher_form == "hard" else answered

    def learn(text: str, found) -> Any:
        # Read back as a later run reads it, to the last bit.
        answered.add(text, found)
        return lookup(text)

    with build.builder(world, cache, llm, Wanted(wanted), terms) as builder:
        if not defer:
            ask = lambda text: None if (found := build.answer_of(builder, text)) is None else learn(text, found)
            yield distill.Teacher(world, lookup, ask), name, None
            return
        with deferred(builder) as questions:
            arrived = lambda: {text: learn(text, found) for text, found in questions.arrived().items()}
            yield distill.Teacher(world, lookup, questions.ask, arrived), name, questions


def _train_alone(world, method: str, settings, run: Path | None, resume: bool, profile: bool, json: bool) -> None:
    """A baseline without a teacher."""
    from student import anneal, distill, hierarchical

    run = run or Path("runs") / f"{world.name}-{method}-{settings.seed}"
    settings = replace(settings, annealing=anneal.WITHOUT_TEACHER)
    world = hierarchical.over_options(world) if method == "hierarchical" else world
    teacher = distill.Teacher(world, distill.go_without)
    _show_trained(world, _train(world, teacher, {"method": method}, settings, run, resume, profile), json)


def _train(world, teacher, about: dict, settings, run: Path, resume: bool, profile: bool = False) -> dict[str, Any]:
    from student import profile as profiling
    from student.train import train

    with _going_on(f"go on with the same command and --resume --run {run}"), _training(settings.iterations) as show:
        laps = profiling.Laps()
        network, progress = train(world, teacher, settings, run, resume, about, show, laps)
    spent = {"profile": profiling.breakdown(laps, world, network, teacher)} if profile else {}
    return asdict(progress) | spent | {
        "iterations": progress.iteration, "steps_per_second": progress.steps_per_second, "run": str(run),
        "parameters": network.parameter_count,
    }


# ---- What a run is of, and where things are written -------------------------------------------------------------

def _task_of(run: Path, name: str | None):
    from pipeline import tasks
    from student.checkpoint import describe

    name = name or describe(run)["task"]
    if name not in tasks.names() and ":" not in name:
        raise AskonceError(
            f"{run} is a run of {name}, a task of your own: name it by --task package.module:NAME", 2,
        )
    return tasks.find(name)


def _check_target(to: Path) -> None:
    """Whether a file can be written to `to`, before an effort is made."""
    if to.is_dir():
        raise AskonceError(f"{to} is a directory: name a file")
    if not to.parent.is_dir():
        raise AskonceError(f"there is no directory {to.parent} to write {to.name} to: make it first")
    if not os.access(to.parent, os.W_OK):
        raise AskonceError(f"{to.parent} cannot be written to: name another place")


# ---- Who is asked, and how --------------------------------------------------------------------------------------

def _teacher(estimator: str, model: str, base_url: str | None, model_id: str | None, temperature: float,
             max_tokens: int, extra: str | None):
    from pipeline.teacher import LOGPROBS, SAMPLING, Teacher

    try:
        fields = json.loads(extra) if extra else {}
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise AskonceError("""--extra is a JSON object, such as '{"top_p": 0.9}'""", 2)
    return Teacher(
        model, base_url, 0.0 if estimator == "hard" else temperature, max_tokens, model_id=model_id, extra=fields,
        estimator=LOGPROBS if estimator == "logprobs" else SAMPLING,
    )


def _samples(samples: str, max_tv: float, confidence: float):
    from pipeline.adaptive import Precision

    if samples == "auto":
        return Precision(max_tv, confidence)
    if not samples.isdecimal() or int(samples) < 1:
        raise AskonceError("--samples is a number above 0, or auto", 2)
    return int(samples)


def _terms(model: str, concurrency: int, rpm: float | None, tpm: float | None, timeout: float,
           max_cost: float | None, max_requests: int | None, prices: Path | None):
    from pipeline.asking.budget import Budget
    from pipeline.asking.prices import price_of, read_prices
    from pipeline.asking.retry import Patience
    from pipeline.asking.terms import Terms

    price = price_of(model, read_prices(prices) if prices else {})
    return Terms(concurrency, rpm, tpm, Budget(max_cost, max_requests), price, Patience(timeout=timeout))


# ---- What people see -------------------------------------------------------------------------------------------

def _report_rows(report) -> dict[str, str]:
    return {
        "states seen": f"{report.states:,}", "distinct texts": f"{report.texts:,}",
        "answered before": f"{report.hits:,}", "asked now": f"{report.asked:,}",
        "completions": f"{report.completions:,}", "unparsable": f"{report.unparsable:,}",
        "requests": f"{report.requests:,}{_errors(report.errors)}",
        "tokens in / out": f"{report.prompt_tokens:,} / {report.completion_tokens:,}",
        "cost": _usd(report.cost),
    } | ({} if report.saved is None else {"completions saved": f"{report.saved:,}"}) | {
        "coverage": f"{report.coverage:.2%}", "seconds": f"{report.seconds:.1f}",
    }


def _plan_rows(plan) -> dict[str, str]:
    return {
        "states seen": f"{plan.states:,}", "distinct texts": f"{plan.texts:,}", "answered before": f"{plan.hits:,}",
        "requests": f"{plan.requests:,}", "tokens in / out": f"{plan.prompt_tokens:,} / {plan.completion_tokens:,}",
        "cost": _usd(plan.cost),
    }


def _usd(cost: float | None) -> str:
    return "unknown: give --prices FILE" if cost is None else f"{cost:,.4f} USD"


def _errors(errors: dict[str, int]) -> str:
    """Such as "  failed 429 ×3, timeout ×1"; empty without any."""
    return "  failed " + ", ".join(f"{kind} ×{count}" for kind, count in errors.items()) if errors else ""


def _training_rows(figures: dict[str, Any]) -> dict[str, str]:
    return {
        "iterations": f"{figures['iterations']:,}", "environment steps": f"{figures['env_steps']:,}",
        "seconds": f"{figures['seconds']:.1f}", "steps a second": f"{figures['steps_per_second']:,.0f}",
        "success rate": f"{figures['success_rate']:.1%}", "mean return": f"{figures['return_mean']:.3f}",
        "cache hits / misses": f"{figures['cache_hits']:,} / {figures['cache_misses']:,}",
        "LLM calls": f"{figures['llm_calls']:,}", "parameters": f"{figures['parameters']:,}",
    }


def _show_trained(world, figures: dict[str, Any], json: bool) -> None:
    _emit(figures, json, f"{world.name}: {figures['run']}", _training_rows(figures))
    if "profile" in figures and not json:
        _show("where the time went", _profile_rows(figures["profile"]), json)


def _show_reproduced(rows, figures, scale) -> None:
    title = "Table 3: ours, the paper's, the difference" + (" (QUICK: compare nothing by it)" if scale.quick else "")
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    shown.add_column("task\nmethod")
    for name in ("length", "return", "success"):
        shown.add_column(f"{name}\npaper, difference", justify="right", no_wrap=True)
    for row in rows:
        cells = figures.cells(row)
        pairs = [f"{cells[i]}\n{cells[i + 1]}  {cells[i + 2]}" for i in (0, 3, 6)]
        shown.add_row(f"{row.task}\n{figures.NAMES[row.method]}", *pairs)
    out.print(shown)


def _profile_rows(profile: dict[str, float]) -> dict[str, str]:
    total = sum(profile.values())
    return {part: f"{seconds:6.2f} s  {seconds / total:6.1%}" for part, seconds in profile.items()}


def _show_reparsed(found) -> None:
    table = Table()
    for name in ("task", "model@prompt"):
        table.add_column(name, overflow="fold")
    for figure in ("texts", "changed", "newly read", "no longer read"):
        table.add_column(figure, justify="right")
    for each in found:
        changes = each.changed, each.newly_readable, each.no_longer_readable
        shown = [f"{figure:,}" if each.compared else "–" for figure in changes]
        table.add_row(each.task, each.teacher, f"{each.texts:,}", *shown)
    out.print(table)
    for each in found:
        if not each.compared:
            err.print(f"{each.task}: no earlier index of {each.teacher} to compare with; built one", soft_wrap=True)
        for change in each.largest:
            variation = f"total variation {change.total_variation:.2f}"
            err.print(f"{variation}: {each.task}: {change.text}", soft_wrap=True)
            for when, decisions in (("before", change.before), ("now", change.after)):
                said = "; ".join(f"{probability:.0%} {words}" for words, probability in decisions.items())
                err.print(f"  {when}: {_visible(said) or 'no decision'}", soft_wrap=True)


def _task_row(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return ["–"] * 4
    shown = [f"{found[who]['success_rate']:.0%} {found[who]['return_mean']:.2f}" for who in ("teacher", "student")]
    kept = "" if found["held_out"] else "*"
    return [str(found["texts"]), shown[0], shown[1] + kept, f"{found['env_steps'] / 1000:,.0f}k"]


def _evaluation_rows(found) -> dict[str, str]:
    interval = lambda ends, form: " – ".join(f"{end:{form}}" for end in ends)
    return {
        "episodes": f"{found.episodes:,}",
        "success rate": f"{found.success_rate:.1%}  ({interval(found.success_ci95, '.1%')})",
        "mean return": f"{found.return_mean:.3f}  ({interval(found.return_ci95, '.3f')})",
        "mean length": f"{found.length_mean:.1f}  ({interval(found.length_ci95, '.1f')})",
    }


def _runs_table(directory: Path, found) -> Table:
    """Two lines a run, so that a terminal of 80 columns holds all of it."""
    table = Table(title=str(directory), title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("run", "task\nteacher"):
        table.add_column(name, overflow="fold")
    for figure in ("iteration\nof", "env steps\nsteps/s", "success\nreturn", "when"):
        table.add_column(figure, justify="right", no_wrap=True)
    for run in found:
        table.add_row(
            str(run.run.relative_to(directory)),
            f"{run.task}\n{' '.join(filter(None, (run.method, run.teacher))) or 'none'}",
            f"{run.iterations:,}\n{run.iterations_wanted:,}",
            f"{run.env_steps:,}\n{run.steps_per_second:,.0f}",
            f"{run.success_rate:.1%}\n{run.return_mean:.3f}", f"{run.when.astimezone():%Y-%m-%d\n%H:%M}",
        )
    return table


def _play(world, shown, frames, fps: float) -> None:
    """Frame over frame in a terminal, one after another elsewhere; each episode's last frame stays."""
    from pipeline.tasks.task import action_names
    from student.screen import screen

    actions, bar = action_names(world), "━" if out.encoding.startswith("utf") else "="
    view = lambda frame: screen(world.name, frame, shown.symbols and shown.symbols(), actions, bar)
    if not out.is_terminal:
        for frame in frames:
            out.print(view(frame))
        return
    with _going_on("watch again with the same --seed for the same episodes"):
        for _, episode in groupby(frames, lambda frame: frame.episode):
            with Live(console=out, auto_refresh=False) as live:
                for frame in episode:
                    live.update(view(frame), refresh=True)
                    time.sleep(1 / fps)


def _write_gif(world, shown, frames, to: Path, fps: float) -> list:
    from pipeline.tasks.task import action_names
    from student import animation

    kept, images, actions = [], [], action_names(world)
    for frame in frames:
        picture = shown.picture and shown.picture(animation.SIDE)
        images.append(animation.draw(world.name, frame, picture, actions))
        kept.append(frame)
    animation.save(to, images, [frame.ended for frame in kept], fps)
    return kept


def _played(world, frames) -> list[dict[str, Any]]:
    """Each episode with its figures and, step by step, who would have done what."""
    from pipeline.tasks.task import action_names

    actions = action_names(world)
    by_action = lambda policy: None if policy is None else dict(zip(actions, map(float, policy)))
    played = []
    for _, episode in groupby(frames, lambda frame: frame.episode):
        *steps, last = episode
        played.append({
            "layout": last.layout, "length": last.step, "return": last.returned, "success": last.returned > 0,
            "steps": [
                {"text": frame.text, "holds": frame.holds, "action": actions[frame.action],
                 "student": by_action(frame.student), "teacher": by_action(frame.teacher)}
                for frame in steps
            ],
        })
    return played


def _emit(figures: dict[str, Any], as_json: bool, title: str, rows: dict[str, str]) -> None:
    if as_json:
        _print_json(figures)
    else:
        _show(title, rows, as_json)


def _show(title: str | None, rows: dict[str, str], as_json: bool) -> None:
    """A table of two columns, on stderr where stdout is kept for JSON."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for label, value in rows.items():
        table.add_row(label, str(value))
    (err if as_json else out).print(table)


def _print_json(figures: dict[str, Any]) -> None:
    print(json.dumps(_finite(figures), default=str, allow_nan=False))


def _finite(value: Any) -> Any:
    """JSON has no word for infinity, as the interval around a single episode's figure is: null."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _visible(content: str) -> str:
    """What an LLM wrote may hold codes that would steer the terminal; they are shown instead of obeyed."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in content)


def _title(words: str) -> None:
    err.print(f"\n{words}", style="bold")


@contextmanager
def _going_on(how: str):
    """Says after Ctrl-C how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise AskonceError(f"interrupted; everything obtained is stored: {how}", 130) from None


@contextmanager
def _asking():
    """One live line over texts in a terminal, a plain line every minute elsewhere."""
    columns = (
        BarColumn(bar_width=12), MofNCompleteColumn(), TextColumn("texts  {task.description}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        job = bar.add_task("", total=None)
        started = shown = time.monotonic()

        def show(progress) -> None:
            nonlocal shown
            now = time.monotonic()
            line = _asking_line(progress, now - started)
            bar.update(job, completed=progress.done, total=progress.total, description=line)
            if not err.is_terminal and now - shown >= 60:
                shown = now
                err.print(f"{progress.done:,} of {progress.total:,} texts: {line}", soft_wrap=True)

        yield show


def _asking_line(progress, seconds: float) -> str:
    tally = progress.tally
    spent = tally.prompt_tokens + tally.completion_tokens
    cost = f"  {tally.cost:.2f} USD" if tally.cost else ""
    return (
        f"{progress.hits:,} hits  {tally.requests:,} requests  {tally.requests / max(seconds, 1e-9):,.1f}/s  "
        f"{tally.in_flight} in flight  {spent:,} tokens{cost}{_errors(tally.errors)}"
    )


@contextmanager
def _training(iterations: int):
    """One live line in a terminal, a plain line every tenth of the way elsewhere."""
    columns = (
        BarColumn(bar_width=12), MofNCompleteColumn(), TextColumn("{task.description}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        job = bar.add_task("", total=iterations)

        def show(progress) -> None:
            bar.update(job, completed=progress.iteration, description=_training_line(progress))
            if not err.is_terminal and progress.iteration % max(iterations // 10, 1) == 0:
                err.print(f"iteration {progress.iteration:,}: {_training_line(progress)}", soft_wrap=True)

        yield show


@contextmanager
def _reproducing():
    """One live line over all runs in a terminal, a plain line every minute elsewhere."""
    columns = BarColumn(bar_width=12), TextColumn("{task.percentage:3.0f} %  {task.description}"), TimeRemainingColumn()
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        job, shown = bar.add_task("", total=None), time.monotonic()

        def show(done: int, total: int, line: str) -> None:
            nonlocal shown
            bar.update(job, completed=done, total=total, description=line)
            if not err.is_terminal and time.monotonic() - shown >= 60:
                shown = time.monotonic()
                err.print(f"{done / total:.0%}: {line}", soft_wrap=True)

        yield show


def _training_line(progress) -> str:
    misses = f"  {progress.cache_misses:,} misses" if progress.cache_misses else ""
    return (
        f"{progress.env_steps:,} steps  return {progress.return_mean:.2f}  success {progress.success_rate:.0%}  "
        f"λ {progress.teacher_weight:.2f}{misses}  {progress.steps_per_second:,.0f} steps/s"
    )
