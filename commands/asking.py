"""`cli build-cache`, which asks the LLM, and `cli serve-teacher`, which offers a simulated one."""

from contextlib import contextmanager
from dataclasses import asdict
import json
from pathlib import Path
import sys
import time
from typing import Annotated

import typer

from askonce.cache.errors import AskonceError
from askonce.commands.flags import (
    BaseUrl,
    CacheDir,
    Concurrency,
    Confidence,
    Episodes,
    Estimator,
    Extra,
    Json,
    LlmFunction,
    MaxCost,
    MaxRequests,
    MaxTokens,
    MaxTv,
    ModelId,
    Prices,
    PromptFile,
    Retry,
    Rpm,
    Samples,
    Seed,
    Simulator,
    TaskName,
    Temperature,
    Thinking,
    Timeout,
    Tpm,
    Transport,
)
from askonce.commands.show import emit, err, going_on, live, out, print_json
from askonce.pipeline.simulated.response import SIMULATED


def build_cache(
    task: TaskName,
    cache: CacheDir,
    simulator: Simulator = None,
    episodes: Episodes = None,
    samples: Samples = "10",
    max_tv: MaxTv = 0.1,
    confidence: Confidence = 0.95,
    estimator: Estimator = "text",
    prompt: PromptFile = "three-stages",
    model: Annotated[str, typer.Option(help="The LLM's name; the default is the built-in simulated one.")] = SIMULATED,
    base_url: BaseUrl = None,
    llm: LlmFunction = None,
    model_id: ModelId = None,
    temperature: Temperature = 1.0,
    max_tokens: MaxTokens = 512,
    extra: Extra = None,
    thinking: Thinking = None,
    retry: Retry = (),
    transport: Transport = "online",
    concurrency: Concurrency = 256,
    rpm: Rpm = None,
    tpm: Tpm = None,
    timeout: Timeout = None,
    max_cost: MaxCost = None,
    max_requests: MaxRequests = None,
    prices: Prices = None,
    seed: Seed = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked and what it costs; ask nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Find the texts that an agent meets and ask the LLM about each that the cache does not hold."""
    import askonce

    world = askonce.find_task(task, simulator)
    who = llm_of(llm, estimator, prompt, model, base_url, model_id, temperature, max_tokens, extra, thinking)
    asked = {
        "samples": 1 if estimator == "hard" else samples_of(samples, max_tv, confidence),
        "retry": tuple(retry),
        "episodes": episodes,
        "seed": seed,
        "terms": terms_of(model, base_url, concurrency, rpm, tpm, timeout, max_cost, max_requests, prices),
    }
    if dry_run:
        plan = askonce.plan_cache(world, cache, who, **asked)
        return emit(asdict(plan), json, f"would ask: {task}", _plan_rows(plan))
    with going_on("run the same command again to go on"), asking_progress() as show:
        report = askonce.build_cache(world, cache, who, show=show, in_batches=transport == "batch", **asked)
    emit(asdict(report), json, f"{task}: {cache}", report_rows(report))
    if report.samples_alike:
        err.print(
            "every text got the same words each time: the server draws no samples, and what looks certain is not. Make it "
            "sample (transformers serve: do_sample in the model's generation_config.json), or use --estimator scored",
            soft_wrap=True,
        )
    for text, reason in report.unanswered.items():
        err.print(f"  missing: {text} ({reason})", soft_wrap=True)
    if report.unanswered:
        raise typer.Exit(3)


def serve_teacher(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free port.")] = 8000,
    incorrect: Annotated[float, typer.Option(help="Share of answers that lead to failure.")] = 0.1,
    inefficient: Annotated[float, typer.Option(help="Share of answers that waste steps.")] = 0.1,
    inconsistent: Annotated[float, typer.Option(help="Share of answers that cannot be executed.")] = 0.05,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Offer the simulated LLM on loopback, to try the network path. Ends with Ctrl-C."""
    import askonce
    from askonce.pipeline.simulated.llm import Errors

    with askonce.serve_simulated(Errors(incorrect, inefficient, inconsistent), seed, port) as base_url:
        if json:
            print_json({"base_url": base_url, "model": SIMULATED})
        else:
            out.print(
                f"the simulated LLM answers at {base_url}; ask it, for instance, by\n"
                f"  cli build-cache --task ColoredDoorKey --cache DIR --base-url {base_url}",
                soft_wrap=True,
            )
        sys.stdout.flush()
        while True:
            time.sleep(3600)


def llm_of(
    function: str | None,
    estimator: str,
    prompt: str,
    model: str,
    base_url: str | None,
    model_id: str | None,
    temperature: float,
    max_tokens: int,
    extra: str | None,
    thinking: str | None,
):
    from askonce.pipeline import models
    from askonce.pipeline.asking.function import model_of
    from askonce.pipeline.llm import LLM

    try:
        fields = json.loads(extra) if extra else {}
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise AskonceError("""--extra is a JSON object, such as '{"top_p": 0.9}'""", 2)
    if function and base_url:
        raise AskonceError("an LLM is asked either by --llm or by --base-url: leave one out", 2)
    asked = models.find(function) if function else None
    if asked and model == SIMULATED:
        model = model_of(asked)
    return LLM(
        model,
        base_url,
        0.0 if estimator == "hard" else temperature,
        max_tokens,
        model_id=model_id,
        extra=fields,
        estimator="text" if estimator == "hard" else estimator,
        prompt=prompt,
        thinking=thinking,
        function=asked,
    )


def samples_of(samples: str, max_tv: float, confidence: float):
    from askonce.pipeline.adaptive import Precision

    if samples == "auto":
        return Precision(max_tv, confidence)
    if not samples.isdecimal() or int(samples) < 1:
        raise AskonceError("--samples is a number above 0, or auto", 2)
    return int(samples)


def terms_of(
    model: str,
    base_url: str | None,
    concurrency: int,
    rpm: float | None,
    tpm: float | None,
    timeout: float | None,
    max_cost: float | None,
    max_requests: int | None,
    prices: Path | None,
):
    from askonce.pipeline.asking.budget import Budget
    from askonce.pipeline.asking.prices import price_of, read_prices
    from askonce.pipeline.asking.retry import Patience
    from askonce.pipeline.asking.terms import Terms

    price = price_of(model, read_prices(prices) if prices else {}, base_url)
    return Terms(concurrency, rpm, tpm, Budget(max_cost, max_requests), price, Patience(timeout=timeout))


def report_rows(report) -> dict[str, str]:
    return (
        {
            "states seen": f"{report.states:,}",
            "distinct texts": f"{report.texts:,}",
            "answered before": f"{report.hits:,}",
            "asked now": f"{report.asked:,}",
            "completions": f"{report.completions:,}",
            "unparsable": f"{report.unparsable:,}",
            "asked for": report.estimator,
            "requests": f"{report.requests:,}{_errors(report.errors)}",
            "tokens in / out": f"{report.prompt_tokens:,} / {report.completion_tokens:,}",
            "cost": _usd(report.cost),
        }
        | ({"of them thinking": f"{report.reasoning_tokens:,}"} if report.reasoning_tokens else {})
        | ({"the server takes": report.server} if report.server else {})
        | ({} if report.saved is None else {"completions saved": f"{report.saved:,}"})
        | {"coverage": f"{report.coverage:.2%}", "seconds": f"{report.seconds:.1f}"}
    )


def _plan_rows(plan) -> dict[str, str]:
    return {
        "states seen": f"{plan.states:,}",
        "distinct texts": f"{plan.texts:,}",
        "answered before": f"{plan.hits:,}",
        "requests": f"{plan.requests:,}",
        "tokens in / out": f"{plan.prompt_tokens:,} / {plan.completion_tokens:,}",
        "cost": _usd(plan.cost),
    }


def _usd(cost: float | None) -> str:
    return "unknown: give --prices FILE" if cost is None else f"{cost:,.4f} USD"


def _errors(errors: dict[str, int]) -> str:
    """Such as "  failed 429 ×3, timeout ×1"; empty without any."""
    return "  failed " + ", ".join(f"{kind} ×{count}" for kind, count in errors.items()) if errors else ""


@contextmanager
def asking_progress():
    started = time.monotonic()
    with live("texts") as show:
        yield lambda progress: show(progress.done, progress.total, _line(progress, time.monotonic() - started))


def _line(progress, seconds: float) -> str:
    tally = progress.tally
    spent = tally.prompt_tokens + tally.completion_tokens
    cost = f"  {tally.cost:.2f} USD" if tally.cost else ""
    return (
        f"{progress.hits:,} hits  {tally.completions:,} completions  {spent / max(seconds, 1e-9):,.0f} tokens/s  "
        f"{tally.in_flight} in flight{cost}{_errors(tally.errors)}"
    )
