"""What the questions about one text are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
import json
from typing import Any

from askonce.pipeline.tasks.task import Decision, Task

# The most decisions that are set before an LLM at once: as many as there are letters.
MOST_LISTED = 26
# A wire body, without the number of samples.
Body = dict[str, Any]


@dataclass(frozen=True)
class About:
    """`body` asks about `text` in the prompt's words; `reasons` is whether the LLM is to think before it decides."""

    task: Task
    text: str
    body: Body
    reasons: bool


def listed_at_once(about: About) -> list[Decision]:
    """What a text is asked about without reasoning: its options and plans of them."""
    return list(about.task.candidates(about.text))[:MOST_LISTED]


def listed_after(about: About, decided: Decision | None) -> list[Decision]:
    """The same after a reasoning: what the LLM decided then, and the text's single options."""
    singles = about.task.decisions(about.text)
    return list(dict.fromkeys([*([decided] if decided else []), *singles]))[:MOST_LISTED]


def limit_of(body: Mapping[str, Any]) -> str:
    """The field by which `body` bounds its completion."""
    return "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"


def loaded(stored: str | None) -> Any:
    """None where nothing was stored, or what is no JSON: a cache may come from elsewhere."""
    try:
        return json.loads(stored or "null")
    except (ValueError, RecursionError):
        return None
