"""Seconds of a whole task's audit, with a simulated LLM's cache: 10 completions a text. The CPU's seconds are of all
threads together; the most that was promised is a minute on two cores."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
import time

from askonce.pipeline import tasks
from askonce.pipeline.audit.audit import audit
from askonce.pipeline.build import build_cache
from askonce.pipeline.llm import LLM
from askonce.pipeline.simulated.serve import serve
from askonce.pipeline.tasks.minigrid import NAMES as GRID_TASKS


def main() -> None:
    with TemporaryDirectory() as folder, serve() as url:
        for task in map(tasks.find, GRID_TASKS):
            build_cache(task, Path(folder), LLM("simulated", url))
            audit(task, Path(folder))  # compiles
            started, cpu = time.perf_counter(), time.process_time()
            found = audit(task, Path(folder))
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
            print(
                json.dumps(
                    {
                        "name": f"audit_{task.name}",
                        "value": round(seconds, 1),
                        "unit": "s",
                        "cpu_seconds": round(cpu, 1),
                        "decisions": len(found.rows),
                        "states": sum(row.states for row in found.rows),
                        "undecided": sum(row.verdict == "undecided" for row in found.rows),
                        "peers": {"promised": 60},
                        "ratio": round(seconds / 60, 2),
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
