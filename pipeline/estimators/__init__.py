"""Ways of asking an LLM, and of making a distribution over decisions of what it answers: one module each.

Each module is an `Estimator`. `LLM.estimator` names it, and every question and every reading goes through `of`
and `distribution_of` here.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from askonce.cache.query import Answer
from askonce.pipeline.asking.reply import Reply
from askonce.pipeline.estimators import counting, letters
from askonce.pipeline.tasks.task import Decision, Option, Task

SAMPLING, LOGPROBS = "sampling", "logprobs"

# A wire body, without the number of samples.
Body = dict[str, Any]


class Estimator(Protocol):
    """What a module of this package holds. `body` is the request that asks about a text in the prompt's words.

    AFTER            the estimator whose answers its questions go on from; None: its only question about a text is
                     known before, and is asked as often as samples are wanted
    stands_for       the request that stands for all of its questions, of any text, in the digest of a prompt
    questions        the requests about one text; `before` are its answers of AFTER
    complaint        what the reply to one of its questions lacks, so that it is no use to ask on
    has_asked        whether `answer` answers one of its questions. To be told from what was asked, never from what
                     came back: a server may add to an answer what nobody asked for
    decisions_in     the decisions that one answer speaks for
    distribution_of  one text's distribution, and the sample and reason of each answer left out of it
    """

    AFTER: str | None

    def stands_for(self, body: Body) -> Body: ...

    def questions(self, body: Body, task: Task, text: str, before: Sequence[Answer]) -> list[Body]: ...

    def complaint(self, reply: Reply) -> str | None: ...

    def has_asked(self, answer: Answer) -> bool: ...

    def decisions_in(self, answer: Answer, options: tuple[Option, ...]) -> Collection[Decision]: ...

    def distribution_of(
        self, answers: Sequence[Answer], options: tuple[Option, ...]
    ) -> tuple[dict[Decision, float], list[tuple[int, str]]]: ...


# What asks in a form of its own stands before what reads any text.
ESTIMATORS: dict[str, Estimator] = {LOGPROBS: letters, SAMPLING: counting}


@dataclass(frozen=True)
class Unparsable:
    """A completion in which no decision could be read, and why."""

    text: str
    sample: int
    reason: str


def of(answers: Sequence[Answer]) -> Estimator:
    """By which estimator one text's answers, all of one prompt, were asked for."""
    return next(one for one in ESTIMATORS.values() if any(map(one.has_asked, answers)) or one is ESTIMATORS[SAMPLING])


def distribution_of(
    answers: Sequence[Answer], options: tuple[Option, ...]
) -> tuple[dict[Decision, float], list[tuple[int, str]]]:
    """One text's distribution, and the sample and reason of each completion left out of it."""
    return of(answers).distribution_of(answers, options)


def option_distributions(
    answers: Mapping[str, Sequence[Answer]], options: tuple[Option, ...]
) -> tuple[dict[str, dict[Decision, float]], list[Unparsable]]:
    """text → decision → probability, and the completions left out of it.

    A text none of whose completions can be read gets an empty distribution: it was asked, and the teacher has nothing
    to say.
    """
    distributions, unparsable = {}, []
    for text, found in answers.items():
        distributions[text], left_out = distribution_of(found, options)
        unparsable += [Unparsable(text, sample, reason) for sample, reason in left_out]
    return distributions, unparsable
