"""What the questions about one text are made of."""

from dataclasses import dataclass
import json
from typing import Any

from askonce.pipeline.tasks.task import Task

# A wire body, without the number of samples.
Body = dict[str, Any]


@dataclass(frozen=True)
class About:
    """`body` asks about `text` in the prompt's words; `reasons` is whether the LLM is to think before it decides."""

    task: Task
    text: str
    body: Body
    reasons: bool


def loaded(stored: str | None) -> Any:
    """None where nothing was stored, or what is no JSON: a cache may come from elsewhere."""
    try:
        return json.loads(stored or "null")
    except (ValueError, RecursionError):
        return None
