"""Pr(k | c(s)) by counting: the question is asked several times, and each completion is a sample (section 3.2.1).

Completions are the truth and distributions only derived from them (`pipeline.answered` keeps an index), so a
better parser costs no new question.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from askonce.cache.query import Answer
from askonce.pipeline.asking.reply import Reply
from askonce.pipeline.parse import Parsed, parse
from askonce.pipeline.tasks.task import Decision, Option, Task

AFTER: str | None = None


def stands_for(body: dict[str, Any]) -> dict[str, Any]:
    return body


def questions(body: dict[str, Any], task: Task, text: str, before: Sequence[Answer]) -> list[dict[str, Any]]:
    return [body]


def complaint(reply: Reply) -> str | None:
    return None


def has_asked(answer: Answer) -> bool:
    return True


def decisions_in(answer: Answer, options: tuple[Option, ...]) -> Collection[Decision]:
    decision = read_decision(answer, options).decision
    return [] if decision is None else [decision]


def distribution_of(
    answers: Sequence[Answer], options: tuple[Option, ...]
) -> tuple[dict[Decision, float], list[tuple[int, str]]]:
    """Completions count by their weight."""
    weights: dict[Decision, float] = {}
    unparsable = []
    for answer in answers:
        parsed = read_decision(answer, options)
        if parsed.decision is None:
            unparsable.append((answer.sample, parsed.reason))
        else:
            weights[parsed.decision] = weights.get(parsed.decision, 0.0) + answer.weight
    total = sum(weights.values())
    return {decision: weight / total for decision, weight in weights.items() if total > 0}, unparsable


def read_decision(answer: Answer, options: tuple[Option, ...]) -> Parsed:
    """The decision in a completion. Of one that the token limit cut off, the last line is not read: its
    end is missing, and with it perhaps half a decision."""
    whole = answer.content
    if answer.finish_reason == "length":
        whole = whole.rpartition("\n")[0]
        if not whole.strip():
            return Parsed(None, "cut off by the token limit: raise --max-tokens")
    return _parse(whole, options)


@lru_cache(maxsize=4096)
def _parse(content: str, options: tuple[Option, ...]) -> Parsed:
    return parse(content, options)
