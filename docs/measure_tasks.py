"""Measures tasks with the simulated LLM, for `cli tasks`: how many texts, and how teacher and student do.

    python docs/measure_tasks.py --iterations 600 MiniGrid-DoorKey-8x8-v0 MiniGrid-Unlock-v0

For each, what `cli build-cache`, `cli train --cache-only` and `cli evaluate` do at their other defaults, but with
fewer episodes; what is found replaces what the table, pipeline/tasks/measured.json, said of the task.
"""

from dataclasses import asdict
import json
import math
from pathlib import Path
import subprocess
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from askonce.pipeline import build, tasks
from askonce.pipeline.build import build_cache
from askonce.pipeline.llm import LLM
from askonce.pipeline.tasks.measured import PATH, read
from askonce.student.judging import evaluate as evaluation
from askonce.student.learning.anneal import Schedule
from askonce.student.learning.distill import Teacher
from askonce.student.learning.train import Settings, train


def main(
    names: list[str],
    iterations: Annotated[int, typer.Option()] = 600,
    rollouts: Annotated[int, typer.Option(help="Episodes of build-cache.")] = 200,
    episodes: Annotated[int, typer.Option(help="Episodes of evaluate.")] = 300,
    seed: int = 0,
) -> None:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    for name in names:
        with TemporaryDirectory() as directory:
            found = measure(tasks.find(name), Path(directory), iterations, rollouts, episodes, seed)
        command = f"python docs/measure_tasks.py --iterations {iterations} {name}"
        table = read() | {name: found | {"seed": seed, "commit": commit, "command": command}}
        PATH.write_text(json.dumps(table, indent=1) + "\n")
        print(name, json.dumps(found), flush=True)


def measure(world, directory: Path, iterations: int, rollouts: int, episodes: int, seed: int) -> dict:
    report = build_cache(world, directory / "cache", LLM(), rollouts, seed=seed)
    lookup = build.answered(world, directory / "cache", LLM())[0].get
    distill_coef = Schedule(final_from=math.ceil(iterations / 3), zero_from=math.ceil(2 * iterations / 3))
    _, progress = train(
        world, Teacher(world, lookup), Settings(seed, iterations, distill_coef=distill_coef), directory / "run"
    )
    alone = evaluation.evaluate(world, evaluation.teacher(world, lookup), episodes, seed)
    learnt = evaluation.evaluate(world, evaluation.student(world, directory / "run"), episodes, seed)
    return {
        "states": report.states,
        "texts": report.texts,
        "held_out": world.separable,
        "env_steps": progress.env_steps,
        "steps_per_second": round(progress.steps_per_second),
        "misses": progress.cache_misses,
        "teacher": _figures(alone),
        "student": _figures(learnt),
    }


def _figures(found: evaluation.Evaluation) -> dict:
    return {
        key: [round(end, 4) for end in value] if isinstance(value, tuple) else round(value, 4)
        for key, value in asdict(found).items()
    }


if __name__ == "__main__":
    typer.run(main)
