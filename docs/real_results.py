"""What real LLMs get right alone, and what their students make of it: the table of docs/real-llms.md, from a cache.

    python docs/real_results.py --cache DIR --to docs/results/real-llms.json

For each task: every teacher of the cache alone; of each model, the student of that way of asking which does best alone;
PPO and hierarchical PPO without any, as long. What has been trained is in RUNS and is not trained again.
"""

import argparse
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
import json
from multiprocessing import get_context
from pathlib import Path
from statistics import mean

import torch

import askonce
from askonce.student.judging.evaluate import Evaluation

SEEDS = 3


def student(task: str, method: str, teacher: str | None, cache: Path, run: Path, seed: int) -> Evaluation:
    torch.set_num_threads(1)
    told = {"cache": cache, "model": teacher} if teacher else {}
    if not (run / "run.json").exists():
        askonce.train(task, run, method=method, seed=seed, **told)
    return askonce.evaluate(task, run=run, seed=seed)


def runs(task: str, taught: Iterable[str], cache: Path, where: Path) -> list[tuple]:
    named = [("ppo", None), *(("llm4teach", teacher) for teacher in taught)]
    with suppress(askonce.AskonceError):
        # Not every task has fixed options.
        askonce.find_task(task).over_options()
        named.append(("hierarchical", None))
    return [
        (task, method, teacher, cache, where / f"{task}-{method}-{(teacher or 'alone').replace('/', '-')}-{seed}", seed)
        for method, teacher in named
        for seed in range(SEEDS)
    ]


def best_ways(teachers: list) -> list[str]:
    """Of each model, the teacher that does best alone."""
    best: dict[str, object] = {}
    for one in teachers:
        model = one.teacher.rpartition("@")[0]
        if model not in best or one.return_mean > best[model].return_mean:
            best[model] = one
    return [one.teacher for one in best.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/real-llms"))
    parser.add_argument("--students", nargs="*", help="tasks to train on; default all of the cache")
    parser.add_argument("--to", type=Path, required=True)
    given = parser.parse_args()
    with get_context("spawn").Pool(2) as pool:
        tasks = askonce.tasks_in(given.cache)
        compared = dict(zip(tasks, pool.map(partial(askonce.compare_teachers, cache=given.cache), tasks, chunksize=1)))
        planned = [
            one
            for task in given.students or tasks
            for one in runs(task, best_ways(compared[task]), given.cache, given.runs)
        ]
        found = pool.starmap(student, planned, chunksize=1)
    students = [
        {
            "task": task,
            "method": method,
            "teacher": teacher,
            "success_rate": mean(one.success_rate for one in found[first : first + SEEDS]),
            "return_mean": mean(one.return_mean for one in found[first : first + SEEDS]),
        }
        for first, (task, method, teacher, *_) in list(enumerate(planned))[::SEEDS]
    ]
    alone = [asdict(one) for teachers in compared.values() for one in teachers]
    given.to.write_text(json.dumps({"seeds": SEEDS, "alone": alone, "students": students}, indent=1) + "\n")


if __name__ == "__main__":
    main()
