"""Stored completions → option distributions: Pr(decision | text), by counting (section 3.2.1) or from the
log-probabilities of letters (`pipeline.estimators.letters`).

Completions are the truth and distributions only derived from them (`pipeline.answered` keeps an index), so a
better parser costs no new question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
import json

from askonce.cache.query import Answer
from askonce.pipeline.estimators import letters
from askonce.pipeline.parse import Parsed, parse
from askonce.pipeline.tasks.task import Decision, Option


@dataclass(frozen=True)
class Unparsable:
    """A completion in which no decision could be read, and why."""

    text: str
    sample: int
    reason: str


def option_distributions(
    answers: Mapping[str, Sequence[Answer]], options: tuple[Option, ...]
) -> tuple[dict[str, dict[Decision, float]], list[Unparsable]]:
    """text → decision → probability, and the completions left out of it.

    Completions count by their weight. A text none of whose completions can be read gets an empty
    distribution: it was asked, and the teacher has nothing to say.
    """
    distributions, unparsable = {}, []
    for text, found in answers.items():
        distributions[text], left_out = distribution_of(found, options)
        unparsable += [Unparsable(text, sample, reason) for sample, reason in left_out]
    return distributions, unparsable


def distribution_of(
    answers: Sequence[Answer], options: tuple[Option, ...]
) -> tuple[dict[Decision, float], list[tuple[int, str]]]:
    """One text's distribution, and the sample and reason of each completion left out of it."""
    if any(answer.request for answer in answers):
        return _of_letters(answers)
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


def _of_letters(answers: Sequence[Answer]) -> tuple[dict[Decision, float], list[tuple[int, str]]]:
    estimates, unparsable = [], []
    for answer in answers:
        lettered = letters.letters_in(json.loads(answer.request or "{}")["messages"])
        found = letters.of_letters(json.loads(answer.logprobs or "null"), lettered)
        if found is None:
            unparsable.append((answer.sample, "the server gave no log-probabilities"))
        else:
            estimates.append(found)
    return letters.distribution(letters.average(estimates)) if estimates else {}, unparsable


@lru_cache(maxsize=4096)
def _parse(content: str, options: tuple[Option, ...]) -> Parsed:
    return parse(content, options)
