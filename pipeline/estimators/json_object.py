"""Pr(k | c(s)) by counting JSON objects: a schema lets the LLM reason first and decide among this text's options alone.

The schema goes with the request as OpenAI's `response_format`; llama.cpp's server, vLLM and others make a grammar of it,
so that no completion invents an option. Each completion is a sample, as in `pipeline.estimators.text`.
"""

from collections.abc import Collection, Sequence

from askonce.cache.query import Answer
from askonce.pipeline import prompt
from askonce.pipeline.asking.reply import Reply
from askonce.pipeline.estimators import text
from askonce.pipeline.estimators.question import About, Body, loaded
from askonce.pipeline.parse import Parsed, without_thoughts
from askonce.pipeline.tasks.task import Decision, Option

REPEATED = True
# By the schema's name an answer shows that it was asked for so.
NAME = "decision"
# The longest plan.
MOST_OPTIONS = 6


def form(reasons: bool) -> str:
    return prompt.JSON


def after(reasons: bool) -> str | None:
    return None


def stands_for(body: Body, reasons: bool) -> Body:
    return _constrained(body, [""], reasons)


def questions(about: About, before: Sequence[Answer], most: int | None) -> list[Body]:
    options = dict.fromkeys(option for decision in about.task.decisions(about.text) for option in decision)
    return [_constrained(about.body, list(options), about.reasons)]


def complaint(reply: Reply) -> str | None:
    if reply.finish_reason == "stop" and "{" not in reply.content:
        return "the server heeds no JSON schema: use --estimator text"
    return None


def has_asked(answer: Answer) -> bool:
    match loaded(answer.request):
        case {"response_format": {"type": "json_schema", "json_schema": {"name": name}}}:
            return bool(name == NAME)
    return False


def decisions_in(answer: Answer, options: tuple[Option, ...]) -> Collection[Decision]:
    decision = _read(answer, options).decision
    return [] if decision is None else [decision]


def distribution_of(
    answers: Sequence[Answer], options: tuple[Option, ...]
) -> tuple[dict[Decision, float], list[tuple[int, str]]]:
    return text.counted(answers, options, _read)


def _read(answer: Answer, options: tuple[Option, ...]) -> Parsed:
    """Of an object as the schema wants it, its decision; of all else, what can be read in it as text."""
    match loaded(without_thoughts(answer.content)):
        case {"decision": [str(), *_] as decided} if all(isinstance(option, str) and option for option in decided):
            return Parsed(tuple(decided))
    return text.read_decision(answer, options)


def _constrained(body: Body, options: list[str], reasons: bool) -> Body:
    """`body` with the schema; its fields stand in the order in which they are to be written."""
    words = {"type": "string"}
    decided = {"type": "array", "items": {"type": "string", "enum": options}, "minItems": 1, "maxItems": MOST_OPTIONS}
    fields = ({"observation": words, "reasoning": words} if reasons else {}) | {"decision": decided}
    schema = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    asked = {"name": NAME, "strict": True, "schema": schema}
    return {**body, "response_format": {"type": "json_schema", "json_schema": asked}}
