"""Environment steps a second of two workers (DD-PPO) against one, both learning with torch, on one machine.

The second row is what preemption could win: the workers wait for whoever plays longest in an iteration, and a sync
fraction (DD-PPO's 60 %) would spare them part of that. Wants two idle cores.
"""

import json
import subprocess
import sys

from bench_train import Hiding

from askonce.pipeline import tasks
from askonce.student.learning import distributed
from askonce.student.learning.anneal import WITHOUT_TEACHER
from askonce.student.learning.distill import Teacher, go_without
from askonce.student.learning.profile import Laps
from askonce.student.learning.train import Settings, train

ITERATIONS = 40


class Playing(Laps):
    """Keeps the seconds of playing apart by iteration."""

    def __init__(self):
        self.played: list[float] = []
        super().__init__()

    def end(self, name: str) -> float:
        lap = super().end(name)
        if name == "playing":
            self.played.append(lap)
        return lap


def work() -> None:
    """Prints the steps and seconds of a run, and for how many of these a worker waited on average."""
    with distributed.joined():
        task, laps = Hiding(tasks.find("LavaDoorKey")), Playing()
        alone = lambda iterations: Settings(iterations=iterations, distill_coef=WITHOUT_TEACHER)
        train(task, Teacher(task, go_without), alone(2))
        progress = train(task, Teacher(task, go_without), alone(ITERATIONS), laps=laps)[1]
        played = distributed.gather(laps.played)
        waited = sum(max(times) - sum(times) / len(times) for times in zip(*played))
        print(json.dumps([progress.env_steps, progress.seconds, waited]))


def measured(workers: int) -> tuple[int, float, float]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(workers), __file__, "work"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True)
    return json.loads(done.stdout)


def row(name: str, value: float, peer: str, other: float) -> None:
    print(
        json.dumps(
            {
                "name": name,
                "value": round(value),
                "unit": "environment steps/s",
                "peers": {peer: round(other)},
                "ratio": round(value / other, 2),
            }
        ),
        flush=True,
    )


def main() -> None:
    steps, seconds, waited = measured(2)
    alone_steps, alone_seconds, _ = measured(1)
    row("distributed_two_workers", steps / seconds, "one_worker", alone_steps / alone_seconds)
    row("distributed_two_workers_and_stragglers", steps / seconds, "if_nobody_waited", steps / (seconds - waited))


if __name__ == "__main__":
    work() if sys.argv[1:] == ["work"] else main()
