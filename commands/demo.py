"""`cli demo`: the whole way, from asking to the student that does better than its teacher."""

from dataclasses import asdict
from pathlib import Path
import shutil
from typing import Annotated

from rich.table import Table
import typer

from askonce.commands.asking import asking_progress, report_rows
from askonce.commands.flags import Json
from askonce.commands.show import err, going_on, out, print_json, print_rows, print_title
from askonce.commands.training import evaluation_rows, training_figures, training_progress, training_rows


def demo(
    directory: Annotated[Path, typer.Option(help="Where the cache and the run go.")] = Path("demo"),
    iterations: Annotated[int, typer.Option(min=1)] = 900,
    json: Json = False,
) -> None:
    """Build a cache with the simulated LLM, train a student from it alone, and compare the two."""
    import askonce
    from askonce.student.learning import checkpoint, presets

    task, cache, run = "ColoredDoorKey", directory / "cache", directory / "run"
    if (run / "run.json").exists():
        shutil.rmtree(run)
    print_title("1. Ask once: the simulated LLM, about every situation that an agent meets in ColoredDoorKey")
    err.print("(the very first run also compiles the engine, for about half a minute)")
    with asking_progress() as show:
        report = askonce.build_cache(task, cache, show=show)
    print_rows(None, report_rows(report), json)

    print_title("2. Train a student from the cache alone")
    settings = presets.settings(askonce.find_task(task), "llm4teach", iterations, seed=0)
    with going_on("run the same command again"), training_progress(settings) as show:
        progress = askonce.train(task, run, cache, settings=settings, show=show)
    figures = training_figures(progress, run, checkpoint.describe(run)["parameters"])
    print_rows(None, training_rows(figures), json)

    print_title("3. Let both play the same 1,000 layouts, none of which was trained on")
    alone, learnt = askonce.evaluate(task, cache=cache), askonce.evaluate(task, run=run)
    if json:
        return print_json(
            {"build_cache": asdict(report), "train": figures, "teacher": asdict(alone), "student": asdict(learnt)}
        )
    table = Table("", "teacher alone", "student")
    for (label, of_teacher), of_student in zip(evaluation_rows(alone).items(), evaluation_rows(learnt).values()):
        table.add_row(label, of_teacher, of_student)
    out.print(table)
    print_title("Next")
    err.print(
        f"  cli cache show 'holds a red key' --cache {cache}\n"
        "  cli build-cache --task DivergedDoorKey --cache my-cache\n"
        "  cli train --task DivergedDoorKey --cache my-cache --cache-only\n"
        "  cli evaluate --task DivergedDoorKey --run runs/DivergedDoorKey-0\n"
        f"  tensorboard --logdir {directory}",
        soft_wrap=True,
    )
