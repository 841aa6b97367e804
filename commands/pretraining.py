"""`cli pretrain`."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from askonce.commands.flags import Json, Seed, TaskName
from askonce.commands.show import emit, err


def pretrain(
    option: Annotated[str, typer.Option(help="Which of the task's options: navigate or pick.")],
    task: TaskName = "NavPick",
    to: Annotated[
        Path | None, typer.Option(help="The weights' file; default the project's own, which is replaced.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of driving and learning.")] = 10,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes a round.")] = 100,
    evaluate: Annotated[int, typer.Option(min=1, help="Held-out episodes to measure the option by.")] = 100,
    only_evaluate: Annotated[
        bool, typer.Option("--only-evaluate", help="Train nothing: measure the file's weights.")
    ] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Pre-train an option of a task by its scripted expert, and measure it on layouts that it has never seen."""
    import askonce
    from askonce.student.learning.pretrain import Settings, lesson_of

    world = askonce.find_task(task)
    path = to or lesson_of(world, option).weights
    if not only_evaluate:
        settings = Settings(seed, rounds, episodes)
        askonce.pretrain_option(world, option, path, settings, lambda ended: err.print(_line(ended), soft_wrap=True))
    network, endings = askonce.evaluate_option(world, option, path, evaluate, seed)
    figures = _figures(option, path, endings)
    figures["parameters"] = sum(parameter.numel() for parameter in network.parameters())
    emit(figures, json, f"{option}: {path}", _rows(figures))


def _line(ended) -> str:
    endings = ", ".join(f"{count} {ending or 'too long'}" for ending, count in ended.endings.most_common())
    return f"round {ended.round}: {ended.states:,} states  error {ended.error:.4f}  {endings}"


def _figures(option: str, path: Path, endings: list[tuple[str, int]]) -> dict[str, Any]:
    from askonce.pipeline.statistics import Z95, wilson

    counts = Counter(ending or "too long" for ending, _ in endings)
    rate = counts["success"] / len(endings)
    return {
        "option": option,
        "weights": str(path),
        "episodes": len(endings),
        "success_rate": rate,
        "success_ci95": wilson(rate, len(endings), Z95),
        "endings": dict(counts),
        "length_mean": sum(steps for _, steps in endings) / len(endings),
    }


def _rows(figures: dict[str, Any]) -> dict[str, str]:
    low, high = figures["success_ci95"]
    return {
        "held-out episodes": f"{figures['episodes']:,}",
        "success rate": f"{figures['success_rate']:.1%}  ({low:.1%} – {high:.1%})",
        "how they ended": ", ".join(f"{count} {ending}" for ending, count in figures["endings"].items()),
        "mean length": f"{figures['length_mean']:.1f}",
        "parameters": f"{figures['parameters']:,}",
    }
