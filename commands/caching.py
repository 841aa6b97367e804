"""`cli cache …`: look into a cache, or bring decisions into it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from rich.table import Table
import typer

from askonce.cache.errors import AskonceError
from askonce.commands.asking import llm_of
from askonce.commands.flags import (
    BaseUrl,
    CacheDir,
    Estimator,
    Extra,
    Json,
    LlmFunction,
    MaxTokens,
    ModelId,
    PromptFile,
    Strict,
    TaskName,
    Temperature,
    Thinking,
)
from askonce.commands.show import emit, err, out, print_json
from askonce.pipeline.simulated.response import SIMULATED


def stats(cache: CacheDir, json: Json = False) -> None:
    """Who answered how much, for which task, and the room it takes."""
    import askonce

    found = askonce.cache_stats(cache)
    if json:
        return print_json(asdict(found))
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
    for entry in found.teachers:
        if entry.coverage:
            # The table's columns fill a terminal's width.
            share, visits = entry.coverage.share, entry.coverage.visits
            out.print(
                f"{entry.name} answers {share:.2%} of visits in {entry.task}, estimated over {visits:,}", soft_wrap=True
            )
    out.print(f"{found.segments} segments, {found.bytes:,} bytes")


def show(
    what: Annotated[str, typer.Argument(help="A completion's id, the start of a key, a text or a part of one.")],
    cache: CacheDir,
    limit: Annotated[int, typer.Option(min=1, help="At most so many completions.")] = 20,
    json: Json = False,
) -> None:
    """Completions word for word."""
    import askonce

    found = askonce.find_completions(cache, what)
    if not found:
        raise AskonceError(f"{cache} holds nothing that {what!r} names: give a completion's id or a part of a text")
    if json:
        rows = [asdict(row) | {"id": row.completion_id} for row in found[:limit]]
        return print_json({"found": len(found), "completions": rows})
    for row in found[:limit]:
        out.rule(f"{row.completion_id}  {row.task}  {row.model}", align="left")
        out.print(f"{row.text}\n", style="bold", soft_wrap=True)
        out.print(row.content, soft_wrap=True)
    if len(found) > limit:
        err.print(f"{len(found) - limit} more: --limit {len(found)} shows them all")


def explain(
    task: TaskName,
    text: Annotated[str, typer.Option(help="The text that would be asked about.")],
    cache: CacheDir,
    model: Annotated[str, typer.Option(help="The LLM's name.")] = SIMULATED,
    estimator: Estimator = "text",
    prompt: PromptFile = "three-stages",
    base_url: BaseUrl = None,
    llm: LlmFunction = None,
    model_id: ModelId = None,
    temperature: Temperature = 1.0,
    max_tokens: MaxTokens = 512,
    extra: Extra = None,
    thinking: Thinking = None,
    json: Json = False,
) -> None:
    """Say whether a question would be answered from the cache, and if not, what is different."""
    import askonce

    who = llm_of(llm, estimator, prompt, model, base_url, model_id, temperature, max_tokens, extra, thinking)
    found = askonce.explain(cache, task, text, who)
    if json:
        return print_json(asdict(found) | {"hit": found.completions > 0})
    out.print(f"key {found.key}", soft_wrap=True)
    if found.completions:
        return out.print(f"a hit: {found.completions} completions are stored")
    if found.elsewhere:
        return out.print(f"a hit at the next build: completion {found.nearest} of another task answers it")
    out.print(
        "a miss: it would be asked"
        if found.nearest is None
        else f"a miss: it would be asked; the nearest that is stored, {found.nearest}, differs in",
        soft_wrap=True,
    )
    for difference in found.differences:
        out.print(f"  {difference.field}: {difference.asked!r}, stored {difference.stored!r}", soft_wrap=True)


def import_(
    source: Annotated[Path, typer.Argument(help="Decisions recorded elsewhere (.jsonl), or an exported dataset.")],
    cache: CacheDir,
    model: Annotated[str, typer.Option(help="What to call who decided.")] = "recorded",
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Bring in decisions recorded elsewhere, or a dataset that `cli cache export` wrote."""
    import askonce

    if source.is_dir():
        found = askonce.import_dataset(source, cache, strict)
        added = {"completions added": found.added, "held before": found.held, "refused": len(found.refused)}
        emit(asdict(found), json, f"{source} → {cache}", added)
        return _say_refused(found.refused)
    read = askonce.import_decisions(source, cache, model)
    figures = {"tasks": ", ".join(read.tasks), "texts": read.texts, "decisions": read.completions}
    emit(asdict(read), json, f"{source} → {cache}", figures)


def export(
    cache: CacheDir,
    to: Annotated[Path, typer.Option(help="A new directory for the dataset.")],
    license: Annotated[str, typer.Option(help="The licence's id, for the card.")] = "unknown",
    json: Json = False,
) -> None:
    """Write the cache as a Hugging Face dataset, with its card."""
    import askonce

    written = asdict(askonce.export_dataset(cache, to, license))
    emit(written, json, f"{cache} → {to}", {name: f"{figure:,}" for name, figure in written.items()})


def verify(
    cache: CacheDir,
    repair: Annotated[bool, typer.Option("--repair", help="Quarantine what is damaged, keep what is sound.")] = False,
    json: Json = False,
) -> None:
    """Read every byte of the cache and name every file that is not as it was written."""
    import askonce

    repaired = askonce.repair_cache(cache) if repair else None
    found = repaired.found if repaired else askonce.verify_cache(cache)
    emit(
        asdict(repaired or found),
        json,
        str(cache),
        {
            "segments": f"{found.segments:,}",
            "journals": f"{found.journals:,}",
            "rows": f"{found.rows:,}",
            "bytes": f"{found.bytes:,}",
            "damaged files": f"{len(found.damaged):,}",
        }
        | (
            {"rows saved": f"{repaired.saved:,}", "keys to ask again": f"{len(repaired.ask_again):,}"}
            if repaired
            else {}
        ),
    )
    for finding in found.findings:
        err.print(f"{finding.kind}: {finding.path}: {finding.detail}", soft_wrap=True)
    for lost in repaired.ask_again if repaired else ():
        err.print(f"to ask again: {lost.key} ({lost.answers} answers): {lost.text or 'text unknown'}", soft_wrap=True)
    if repaired and (repaired.ask_again or repaired.unknown):
        raise typer.Exit(3)
    if found.damaged and not repair:
        raise typer.Exit(1)


def merge(
    other: Annotated[Path, typer.Argument(help="The cache whose answers are added.")],
    cache: CacheDir,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Add another cache's answers; say where the two disagree."""
    import askonce

    merged = askonce.merge_caches(cache, other, strict)
    emit(
        asdict(merged),
        json,
        f"{other} → {cache}",
        {
            "added": f"{merged.added:,}",
            "held before": f"{merged.held:,}",
            "disagreements": f"{len(merged.disagreements):,}",
            "refused": f"{len(merged.refused):,}",
        },
    )
    for differing in merged.disagreements[:10]:
        err.print(
            f"total variation {differing.total_variation:.2f}: {differing.task}: {differing.text}", soft_wrap=True
        )
    _say_refused(merged.refused)


def _say_refused(lines: list[str]) -> None:
    for line in lines[:20]:
        err.print(f"refused: {line}", soft_wrap=True)
    if len(lines) > 20:
        err.print(f"refused: {len(lines) - 20:,} more")
    if lines:
        raise typer.Exit(3)


def compact(cache: CacheDir, json: Json = False) -> None:
    """Join small segments and seal what killed writers left; others may go on using the cache."""
    import askonce

    found = asdict(askonce.compact_cache(cache))
    emit(
        found,
        json,
        str(cache),
        {"journals sealed": found["sealed"], "segments before": found["before"], "segments after": found["after"]},
    )


def reparse(
    cache: CacheDir,
    task: Annotated[str | None, typer.Option(help="This task alone; one of your own must be named.")] = None,
    json: Json = False,
) -> None:
    """Read all stored completions with the present parser, and say what that changed."""
    import askonce

    found, unknown = askonce.reparse_cache(cache, askonce.find_task(task) if task else None)
    if json:
        print_json({"teachers": [asdict(each) for each in found], "unknown_tasks": unknown})
    else:
        _show_reparsed(found)
    for name in unknown:
        err.print(f"left out: {name} is no built-in task; name it with --task package.module:NAME", soft_wrap=True)
    if unknown:
        raise typer.Exit(3)


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
                err.print(f"  {when}: {said or 'no decision'}", soft_wrap=True)
