"""`cli train` and `cli evaluate`."""

from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import wraps
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from askonce.cache.errors import AskonceError
from askonce.commands.asking import llm_of, samples_of, terms_of
from askonce.commands.flags import (
    BaseUrl,
    Episodes,
    Estimator,
    Extra,
    Json,
    LlmFunction,
    MaxCost,
    MaxRequests,
    MaxTokens,
    Model,
    ModelId,
    Preset,
    Prices,
    PromptFile,
    Samples,
    Seed,
    Simulator,
    TaskName,
    TeacherForm,
    Temperature,
    Thinking,
)
from askonce.commands.runs import task_of
from askonce.commands.show import emit, err, going_on, live, print_rows

TEACHER, SCHEDULE, ON_THE_WAY = "The teacher", "How λ falls (Eq. 3)", "On the way"


def _by_workers(command):
    """A command that torchrun may start several times over, for one result."""

    @wraps(command)
    def by_workers(*given, **named):
        from askonce.student.learning import distributed

        with distributed.joined():
            return command(*given, **named)

    return by_workers


def _read_config(context: typer.Context, path: Path | None):
    """What the file sets, as defaults of the flags: those on the command line go before it."""
    if path is None:
        return None
    from askonce.student.learning.config import read

    config = read(path, [parameter.name for parameter in context.command.params if parameter.name != "config"])
    context.default_map = {**(context.default_map or {}), **config.flags}
    return config


@_by_workers
def train(
    task: TaskName,
    config: Annotated[
        Path | None,
        typer.Option(
            callback=_read_config,
            is_eager=True,
            help="A TOML file with these flags (cache-only = true) and the tables hyperparameters and distill_coef, or a "
            "run's run.json.",
        ),
    ] = None,
    simulator: Simulator = None,
    cache: Annotated[Path | None, typer.Option(help="The cache's directory, for methods with a teacher.")] = None,
    method: Annotated[
        Literal["llm4teach", "ppo", "hierarchical"],
        typer.Option(help="PPO and distillation; or without a teacher: PPO alone, PPO over the task's options."),
    ] = "llm4teach",
    cache_only: Annotated[bool, typer.Option("--cache-only", help="Train offline: never ask the LLM.")] = False,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Where checkpoints and curves go; default runs/TASK-SEED, with another --method runs/TASK-METHOD-SEED."
        ),
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option(
            min=1, help="Training iterations; default 3000 of 10 episodes each, for vectors and images 60 of 20."
        ),
    ] = None,
    seed: Seed = 0,
    model: Model = None,
    base_url: BaseUrl = None,
    llm: LlmFunction = None,
    model_id: ModelId = None,
    temperature: Temperature = 1.0,
    max_tokens: MaxTokens = 512,
    extra: Extra = None,
    thinking: Thinking = None,
    samples: Samples = "10",
    estimator: Estimator = "text",
    prompt: PromptFile = "three-stages",
    max_cost: MaxCost = None,
    max_requests: MaxRequests = None,
    prices: Prices = None,
    on_miss: Annotated[
        Literal["ask", "defer", "skip", "error"] | None,
        typer.Option(
            rich_help_panel=TEACHER,
            help="What to do about a text that the cache lacks; default ask, with --cache-only skip.",
        ),
    ] = None,
    teacher_form: TeacherForm = "soft",
    preset: Preset = "default",
    divergence: Annotated[
        Literal["kl", "wasserstein", "mahalanobis"] | None,
        typer.Option(
            rich_help_panel=TEACHER,
            help="How far the student is from its teacher: Eq. 2's cross-entropy (the default), the Wasserstein distance, "
            "or, the default for vectors, a distance in units of the teacher's variance.",
        ),
    ] = None,
    anneal: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=SCHEDULE,
            help="λ's schedule, as of 3000 iterations: stepwise-300 (MiniGrid's default), or the paper's constant, "
            "linear-1000, linear-2000 or stepwise (with --preset paper the default); kept is the default for vectors and images.",
        ),
    ] = None,
    lambda_0: Annotated[
        float | None, typer.Option("--lambda-0", rich_help_panel=SCHEDULE, help="λ at first (Eq. 3).")
    ] = None,
    lambda_c: Annotated[
        float | None, typer.Option("--lambda-c", rich_help_panel=SCHEDULE, help="What λ falls to …")
    ] = None,
    i1: Annotated[int | None, typer.Option("--i1", rich_help_panel=SCHEDULE, help="… by this iteration …")] = None,
    i2: Annotated[
        int | None, typer.Option("--i2", rich_help_panel=SCHEDULE, help="… and keeps until it is 0 from this one on.")
    ] = None,
    decay: Annotated[
        float | None,
        typer.Option(rich_help_panel=SCHEDULE, help="λ's fall an iteration; default, what brings it to λc at i1."),
    ] = None,
    eval_every: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=ON_THE_WAY, min=1, help="Evaluate on 200 held-out layouts every so many iterations."
        ),
    ] = None,
    stop_at_success: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=ON_THE_WAY,
            min=0,
            max=1,
            help="Stop at this success rate of an evaluation, or, without --eval-every, of the last iterations.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", rich_help_panel=ON_THE_WAY, help="Go on with the run in --run.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", rich_help_panel=ON_THE_WAY, help="Say where the time went.")
    ] = False,
    json: Json = False,
) -> None:
    """Train a student by PPO and distillation from the cache, or by a baseline without a teacher."""
    import askonce
    from askonce.student.learning import distributed
    from askonce.student.learning import profile as profiling
    from askonce.student.learning.checkpoint import describe
    from askonce.student.learning.teachers import held_model

    world = askonce.find_task(task, simulator)
    given = {"lambda_0": lambda_0, "lambda_c": lambda_c, "i1": i1, "i2": i2, "decay": decay}
    settings = _settings(world, method, preset, iterations, seed, divergence, anneal, given, config)
    asking = {}
    if method != "llm4teach":
        if cache is not None or anneal is not None or any(value is not None for value in given.values()):
            raise AskonceError(f"--method {method} has no teacher: leave out --cache and what says how λ falls", 2)
        run = run or Path("runs") / f"{world.name}-{method}-{seed}"
    else:
        on_miss = _on_miss(cache, cache_only, on_miss, distributed.size() > 1)
        run = run or Path("runs") / f"{world.name}-{seed}"
        if on_miss in ("ask", "defer"):
            model = held_model(cache, world.name, model)
            asking = {
                "llm": llm_of(
                    llm, estimator, prompt, model, base_url, model_id, temperature, max_tokens, extra, thinking
                ),
                "samples": 1 if estimator == "hard" else samples_of(samples, 0.1, 0.95),
                "terms": terms_of(model, base_url, 256, None, None, None, max_cost, max_requests, prices),
            }
    # torchrun starts the same command anew.
    resume = resume or distributed.restarted() and (run / "run.json").exists()
    laps, teacher = profiling.Laps(), {"model": model, "teacher_form": teacher_form, "on_miss": on_miss, **asking}
    with going_on(f"go on with the same command and --resume --run {run}"), training_progress(settings) as show:
        progress = askonce.train(
            world,
            run,
            cache,
            method=method,
            settings=settings,
            resume=resume,
            evaluate_every=eval_every,
            stop_at_success=stop_at_success,
            show=show,
            laps=laps,
            **teacher,
        )
    figures = training_figures(progress, run, describe(run)["parameters"])
    if profile:
        figures["profile"] = profiling.of_run(laps, world, run, cache, model, teacher_form)
    emit(figures, json, f"{world.name}: {run}", training_rows(figures))
    if profile and not json:
        print_rows("where the time went", _profile_rows(figures["profile"]), json)
    for text, count in Counter(progress.missing).most_common():
        err.print(f"not in the cache, met {count} times: {text}", soft_wrap=True)
    if progress.asking_failure:
        err.print(
            f"error: trained to the end, but asked no more after a failure: {progress.asking_failure}", soft_wrap=True
        )
        raise typer.Exit(3)


def _settings(world, method, preset, iterations, seed, divergence, anneal, given, config):
    from gymnasium.spaces import Discrete

    from askonce.student.learning import anneal as annealing
    from askonce.student.learning import presets
    from askonce.student.learning.config import replaced
    from askonce.student.learning.train import Settings

    usual = presets.preset(preset, world)
    iterations = iterations or usual.iterations
    schedule = annealing.schedule(anneal or usual.schedule, iterations, **given)
    hyperparameters = usual.of(method)
    if config:
        hyperparameters = replaced(hyperparameters, config.hyperparameters)
        if anneal is None and not any(value is not None for value in given.values()):
            schedule = replaced(schedule, config.distill_coef)
    if divergence == "mahalanobis" and isinstance(world.action_space, Discrete):
        raise AskonceError(
            f"{world.name} chooses among actions, which have no variance: give --divergence kl or wasserstein", 2
        )
    if divergence:
        hyperparameters = replace(hyperparameters, divergence=divergence)
    if method != "llm4teach":
        schedule = annealing.WITHOUT_TEACHER
    return Settings(seed, iterations, hyperparameters, schedule, usual.torso)


def _on_miss(cache: Path | None, cache_only: bool, on_miss: str | None, several: bool) -> str:
    if cache is None:
        raise AskonceError("name the teacher's answers by --cache DIR, or train without a teacher by --method ppo", 2)
    if several and not cache_only and on_miss not in ("skip", "error"):
        raise AskonceError("several workers would ask about the same texts: add --cache-only (or --on-miss error)", 2)
    if cache_only and on_miss in ("ask", "defer"):
        raise AskonceError(f"--cache-only never asks: leave out --on-miss {on_miss}, or --cache-only", 2)
    return on_miss or ("skip" if cache_only else "ask")


def evaluate(
    task: TaskName,
    simulator: Simulator = None,
    run: Annotated[Path | None, typer.Option(help="Evaluate the student of this run.")] = None,
    teacher: Annotated[bool, typer.Option("--teacher", help="Evaluate the LLM alone, from --cache.")] = False,
    cache: Annotated[Path | None, typer.Option(help="The cache's directory.")] = None,
    model: Model = None,
    teacher_form: TeacherForm = "soft",
    episodes: Episodes = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Play held-out layouts with a student or with its teacher alone."""
    import askonce

    if teacher == (run is not None) or teacher == (cache is None):
        raise AskonceError("name either --run DIR, or --teacher with --cache DIR", 2)
    world = task_of(run, task, simulator) if run else askonce.find_task(task, simulator)
    whose = {"cache": cache, "model": model, "teacher_form": teacher_form} if teacher else {"run": run}
    found = askonce.evaluate(world, episodes=episodes, seed=seed, **whose)
    emit(asdict(found), json, f"{task}: {'teacher alone' if teacher else run}", evaluation_rows(found))


def training_figures(progress, run: Path, parameters: int) -> dict[str, Any]:
    return asdict(progress) | {
        "iterations": progress.iteration,
        "steps_per_second": progress.steps_per_second,
        "run": str(run),
        "parameters": parameters,
    }


def training_rows(figures: dict[str, Any]) -> dict[str, str]:
    return {
        "iterations": f"{figures['iterations']:,}",
        "environment steps": f"{figures['env_steps']:,}",
        "seconds": f"{figures['seconds']:.1f}",
        "steps a second": f"{figures['steps_per_second']:,.0f}",
        "success rate": f"{figures['success_rate']:.1%}",
        "mean return": f"{figures['return_mean']:.3f}",
        "cache hits / misses": f"{figures['cache_hits']:,} / {figures['cache_misses']:,}",
        "LLM calls": f"{figures['llm_calls']:,}",
        "parameters": f"{figures['parameters']:,}",
    } | (
        {} if figures["stopped_at_success"] is None else {"stopped at success": f"{figures['stopped_at_success']:.1%}"}
    )


def _profile_rows(profile: dict[str, float]) -> dict[str, str]:
    total = sum(profile.values())
    return {part: f"{seconds:6.2f} s  {seconds / total:6.1%}" for part, seconds in profile.items()}


def evaluation_rows(found) -> dict[str, str]:
    interval = lambda ends, form: " – ".join(f"{end:{form}}" for end in ends)
    return {
        "episodes": f"{found.episodes:,}",
        "success rate": f"{found.success_rate:.1%}  ({interval(found.success_ci95, '.1%')})",
        "mean return": f"{found.return_mean:.3f}  ({interval(found.return_ci95, '.3f')})",
        "mean length": f"{found.length_mean:.1f}  ({interval(found.length_ci95, '.1f')})",
    }


@contextmanager
def training_progress(settings):
    """One live line in a terminal, a plain line every tenth of the way elsewhere."""
    total = settings.iterations

    with live("iterations", every=inf, transient=False) as move:

        def show(progress) -> None:
            move(progress.iteration, total, _line(progress))
            if not err.is_terminal and progress.iteration % max(total // 10, 1) == 0:
                err.print(f"iteration {progress.iteration:,}: {_line(progress)}", soft_wrap=True)

        yield show


def _line(progress) -> str:
    misses = f"  {progress.cache_misses:,} misses" if progress.cache_misses else ""
    held_out = f"  held out {progress.evaluations[-1]['success_rate']:.0%}" if progress.evaluations else ""
    return (
        f"{progress.env_steps:,} steps  return {progress.return_mean:.2f}  success {progress.success_rate:.0%}"
        f"{held_out}  λ {progress.distill_coef:.2f}{misses}  {progress.steps_per_second:,.0f} steps/s"
    )
