"""Stored completions → option distributions: Pr(decision | text), estimated by counting (section 3.2.1).

Distributions are derived each time and never stored, so a better parser costs no new question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cache.query import Answer
from pipeline.prompt import Parsed, parse
from pipeline.tasks.task import Decision, Option


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
        weights: dict[Decision, float] = {}
        for answer in found:
            parsed = _parse(answer.content, options)
            if parsed.decision is None:
                unparsable.append(Unparsable(text, answer.sample, parsed.reason))
            else:
                weights[parsed.decision] = weights.get(parsed.decision, 0.0) + answer.weight
        total = sum(weights.values())
        distributions[text] = {decision: weight / total for decision, weight in weights.items() if total > 0}
    return distributions, unparsable


@lru_cache(maxsize=4096)
def _parse(content: str, options: tuple[Option, ...]) -> Parsed:
    return parse(content, options)
