"""`cli pretrain`."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from askonce.commands.flags import Json, Seed
from askonce.commands.show import emit, err


def pretrain(
    option: Annotated[Literal["navigate", "pick"], typer.Option(help="Which of NavPick's options.")],
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
    """Pre-train an option of NavPick by its scripted expert, and measure it in homes that it has never seen."""
    import torch

    from askonce.pipeline.tasks.navpick import options
    from askonce.student.learning import pretrain as pretraining

    torch.set_num_threads(1)
    path = to or options.weights(option)
    if not only_evaluate:
        settings = pretraining.Settings(seed, rounds, episodes)
        network = pretraining.pretrain(option, settings, lambda progress: err.print(_line(progress), soft_wrap=True))
        options.save(network, path, {"option": option} | asdict(settings))
    network = options.load(option, path)
    endings = pretraining.evaluate(option, options.as_policy(network), evaluate, seed)
    figures = _figures(option, path, endings)
    figures["parameters"] = sum(parameter.numel() for parameter in network.parameters())
    emit(figures, json, f"{option}: {path}", _rows(figures))


def _line(progress) -> str:
    ended = ", ".join(f"{count} {ending or 'too long'}" for ending, count in progress.endings.most_common())
    return f"round {progress.round}: {progress.states:,} states  error {progress.error:.4f}  {ended}"


def _figures(option: str, path: Path, endings: list[tuple[str, int]]) -> dict[str, Any]:
    from askonce.pipeline.statistics import wilson
    from askonce.student.judging.evaluate import Z95

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
