"""Environment steps a second of `train` end to end: playing, asking the cache, optimising, on one core.

The peer is MiniGrid's environment stepped at random without any learning: the most that a trainer over
the environment itself could reach.
"""

import json
from pathlib import Path
import tempfile

from bench_engine import minigrid_rate
from pipeline import build, tasks
from pipeline.teacher import Teacher as LLM
from student.anneal import Annealing
from student.distill import Teacher
from student.train import Settings, train

ITERATIONS = 150


def main() -> None:
    for name in tasks.names():
        task = tasks.find(name)
        with tempfile.TemporaryDirectory() as directory:
            build.build_cache(task, Path(directory), LLM())
            distributions = build.answered(task, Path(directory), LLM())[0]
        # The teacher is asked in every iteration, which is the slower half of a run.
        settings = Settings(iterations=ITERATIONS, annealing=Annealing(decayed=ITERATIONS, closed=ITERATIONS))
        train(task, Teacher(task, distributions.get), Settings(iterations=1))
        _, progress = train(task, Teacher(task, distributions.get), settings)
        peer = minigrid_rate(task)
        print(json.dumps({
            "name": f"train_{name}", "value": round(progress.steps_per_second), "unit": "environment steps/s",
            "peers": {"minigrid_environment_without_learning": round(peer)},
            "ratio": round(progress.steps_per_second / peer, 2),
        }), flush=True)


if __name__ == "__main__":
    main()
