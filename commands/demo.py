"""`cli demo`: the whole way, from asking to the student that does better than its teacher."""

from dataclasses import asdict
from pathlib import Path
import shutil
from typing import Annotated

from rich.table import Table
import typer

from askonce.cache.errors import AskonceError
from askonce.commands.asking import asking_progress, report_rows
from askonce.commands.flags import Json
from askonce.commands.show import err, going_on, out, print_json, print_rows, print_title
from askonce.commands.training import evaluation_rows, training_figures, training_progress, training_rows

# What `--llm hub` fetches: repository, file, and its size.
HUB = "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", "1.1 GB"


def demo(
    directory: Annotated[Path, typer.Option(help="Where the cache and the run go.")] = Path("demo"),
    iterations: Annotated[int, typer.Option(min=1)] = 900,
    llm: Annotated[
        str | None,
        typer.Option(help="A real LLM in this process: llama:FILE.gguf, another `--llm`, or hub, which fetches one."),
    ] = None,
    json: Json = False,
) -> None:
    """Build a cache with the simulated LLM, or a real one, train a student from it alone, and compare the two."""
    import askonce
    from askonce.student.learning import checkpoint, presets

    task, cache, run = "ColoredDoorKey", directory / "cache", directory / "run"
    asked = _real(llm) if llm else askonce.LLM()
    if (run / "run.json").exists():
        shutil.rmtree(run)
    name = "the simulated LLM" if llm is None else asked.model
    print_title(f"1. Ask once: {name}, about every situation that an agent meets in ColoredDoorKey")
    if llm:
        err.print("(14 situations, some eighty questions for one letter each: a minute or two on two cores)")
    err.print("(the very first run also compiles the engine, for about half a minute)")
    with asking_progress() as show:
        report = askonce.build_cache(task, cache, asked, show=show)
    print_rows(None, report_rows(report), json)

    print_title("2. Train a student from the cache alone")
    settings = presets.settings(askonce.find_task(task), "llm4teach", iterations, seed=0)
    with going_on("run the same command again"), training_progress(settings) as show:
        progress = askonce.train(task, run, cache, model=asked.model, settings=settings, show=show)
    figures = training_figures(progress, run, checkpoint.describe(run)["parameters"])
    print_rows(None, training_rows(figures), json)

    print_title("3. Let both play the same 1,000 layouts, none of which was trained on")
    alone, learnt = askonce.evaluate(task, cache=cache, model=asked.model), askonce.evaluate(task, run=run)
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


def _real(name: str):
    """Asked for letters, without reasoning: what small models do best, and fast."""
    import askonce
    from askonce.pipeline.asking.function import model_of

    function = askonce.local_model(f"llama:{_fetched()}" if name == "hub" else name)
    return askonce.LLM(model_of(function), estimator="auto", prompt="without-reasoning", function=function)


def _fetched() -> Path:
    repository, file, size = HUB
    err.print(f"fetches {repository} from the Hugging Face hub ({size}, once; some minutes)", soft_wrap=True)
    try:
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(repository, file))
    except ImportError:
        raise AskonceError("fetching needs huggingface_hub: pip install 'askonce[llama]'") from None
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise AskonceError(
            f"{repository} cannot be fetched ({reason}): name a file, `make demo-llm GGUF=model.gguf`"
        ) from None
