"""Ways of asking an LLM, and of making a distribution over decisions of what it answers: one module each.

Each module is an `Estimator`. `LLM.estimator` names it, and every question and every reading goes through `of`
and `distribution_of` here.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from askonce.cache.query import Answer
from askonce.pipeline.asking.reply import Reply
from askonce.pipeline.estimators import json_object, likelihood, scored, text
from askonce.pipeline.estimators.question import About, Body
from askonce.pipeline.tasks.task import Decision, Option

TEXT, JSON, SCORED, LIKELIHOOD = "text", "json", "scored", "likelihood"
# The best of what the server can do (`build.chosen`).
AUTO = "auto"
# What they were called in version 0.1.
ALIASES = {"sampling": TEXT, "logprobs": SCORED}


class Estimator(Protocol):
    """What a module of this package holds. `reasons` is whether the prompt lets the LLM think before it decides.

    REPEATED         whether its only question about a text is asked as often as samples are wanted; else there may be
                     several, each asked once
    form             the form of answer that the prompt asks for (`prompt.TEXT`, …)
    after            the estimator whose answers its questions go on from, if any
    stands_for       the request that stands for all of its questions, of any text, in the digest of a prompt
    questions        the requests about one text; `before` are its answers of `after`; `most` samples are wanted, None:
                     as many as are of use
    complaint        what the reply to one of its questions lacks, so that it is no use to ask on
    has_asked        whether `answer` answers one of its questions. To be told from what was asked, never from what
                     came back: a server may add to an answer what nobody asked for
    decisions_in     the decisions that one answer speaks for
    distribution_of  one text's distribution, and the sample and reason of each answer left out of it
    """

    REPEATED: bool

    def form(self, reasons: bool) -> str: ...

    def after(self, reasons: bool) -> str | None: ...

    def stands_for(self, body: Body, reasons: bool) -> Body: ...

    def questions(self, about: About, before: Sequence[Answer], most: int | None) -> list[Body]: ...

    def complaint(self, reply: Reply) -> str | None: ...

    def has_asked(self, answer: Answer) -> bool: ...

    def decisions_in(self, answer: Answer, options: tuple[Option, ...]) -> Collection[Decision]: ...

    def distribution_of(
        self, answers: Sequence[Answer], options: tuple[Option, ...]
    ) -> tuple[dict[Decision, float], list[tuple[int, str]]]: ...


# What asks in a form of its own stands before what reads any text.
ESTIMATORS: dict[str, Estimator] = {LIKELIHOOD: likelihood, SCORED: scored, JSON: json_object, TEXT: text}


@dataclass(frozen=True)
class Unparsable:
    """A completion in which no decision could be read, and why."""

    text: str
    sample: int
    reason: str


def of(answers: Sequence[Answer]) -> Estimator:
    """By which estimator one text's answers, all of one prompt, were asked for."""
    return next(one for one in ESTIMATORS.values() if any(map(one.has_asked, answers)) or one is ESTIMATORS[TEXT])


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
    for asked, found in answers.items():
        distributions[asked], left_out = distribution_of(found, options)
        unparsable += [Unparsable(asked, sample, reason) for sample, reason in left_out]
    return distributions, unparsable
