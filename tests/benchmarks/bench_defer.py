"""What questions in the background cost training: its speed with an empty cache and an LLM that takes two seconds
an answer, against the same from a complete cache that asks nobody. Both in processes of their own, in turn."""

import json
import os
from pathlib import Path
import statistics
import subprocess
import sys
from tempfile import TemporaryDirectory
import time

from askonce.pipeline.simulated.serve import SimulatedServer, running

TASK = ("--task", "ColoredDoorKey")
SECONDS_AN_ANSWER = 2.0
ITERATIONS = 1500
REPEATS = 3
CLI = Path(sys.executable).with_name("cli")


class Slow(SimulatedServer):
    def respond(self, *request):
        time.sleep(SECONDS_AN_ANSWER)
        return super().respond(*request)


def cli(*arguments: object) -> dict:
    environment = os.environ | {"OPENAI_API_KEY": "none"}
    done = subprocess.run([CLI, *map(str, arguments), "--json"], env=environment, check=True, capture_output=True)
    return json.loads(done.stdout)


def steps_per_second(cache: Path, run: Path, *how: object) -> float:
    return cli("train", *TASK, "--cache", cache, "--run", run, "--iterations", ITERATIONS, *how)["steps_per_second"]


def main() -> None:
    offline, deferred = [], []
    with TemporaryDirectory() as folder, running(Slow()) as url:
        place = Path(folder)
        cli("build-cache", *TASK, "--cache", place / "complete")
        for number in range(REPEATS):
            offline.append(steps_per_second(place / "complete", place / f"offline-{number}", "--cache-only"))
            deferred.append(
                steps_per_second(
                    place / f"empty-{number}", place / f"deferred-{number}", "--base-url", url, "--on-miss", "defer"
                )
            )
    found, peer = statistics.median(deferred), statistics.median(offline)
    print(
        json.dumps(
            {
                "name": "train_with_questions_in_the_background",
                "value": round(found),
                "unit": "environment steps/s",
                "peers": {"cache_only": round(peer)},
                "ratio": round(found / peer, 2),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
