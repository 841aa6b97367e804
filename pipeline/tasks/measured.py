"""What was measured of the tasks that come with the project: measured.json beside this file.

Each figure is one of a run with the simulated LLM by `docs/measure_tasks.py`; the entry names the command and
the commit. What was not measured is not in it.
"""

import json
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("measured.json")


def read() -> dict[str, dict[str, Any]]:
    """Task → states, texts, held_out (whether evaluated layouts are none of those trained on), env_steps,
    steps_per_second, and under "teacher" and "student" the fields of `student.judging.evaluate.Evaluation`."""
    return json.loads(PATH.read_text()) if PATH.exists() else {}
