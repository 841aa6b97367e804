"""Pr(k | c(s)) by counting free text: the question is asked several times, and each completion is a sample (section 3.2.1).

Completions are the truth and distributions only derived from them (`pipeline.answered` keeps an index), so a
better parser costs no new question.
"""

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache

from askonce.cache.query import Answer
from askonce.pipeline import prompt
from askonce.pipeline.asking.reply import Reply
from askonce.pipeline.estimators.question import About, Body
from askonce.pipeline.parse import Parsed, parse
from askonce.pipeline.tasks.task import Decision, Option

REPEATED = True


def form(reasons: bool) -> str:
    return prompt.TEXT


def after(reasons: bool) -> str | None:
    return None


def stands_for(body: Body, reasons: bool) -> Body:
    return body


def questions(about: About, before: Sequence[Answer], most: int | None) -> list[Body]:
    return [about.body]


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
    return counted(answers, options, read_decision)


def counted(
    answers: Sequence[Answer], options: tuple[Option, ...], read: Callable[[Answer, tuple[Option, ...]], Parsed]
) -> tuple[dict[Decision, float], list[tuple[int, str]]]:
    """Completions count by their weight; `read` finds the decision in one."""
    weights: dict[Decision, float] = {}
    unparsable = []
    for answer in answers:
        parsed = read(answer, options)
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
