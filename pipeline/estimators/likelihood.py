"""Pr(k | c(s)) from the log-probabilities of each decision's own words; by letters it is `pipeline.estimators.scored`.

Each decision stands as if the LLM had answered so, after its own reasoning or at once, and the server says how likely
every token of that answer is: vLLM's `prompt_logprobs`, and models in this process. Nothing is written, so a question
costs one reading of the prompt. The probabilities of the decisions are then normalised over the list.
"""

from collections.abc import Collection, Sequence
import math
from typing import Any

from askonce.cache.query import Answer
from askonce.pipeline import prompt
from askonce.pipeline.asking.reply import Reply
from askonce.pipeline.estimators.question import About, Body, limit_of, listed_after, listed_at_once, loaded
from askonce.pipeline.estimators.scored import ROUNDING, reasoning_of
from askonce.pipeline.estimators.text import read_decision
from askonce.pipeline.tasks.task import Decision, Option

REPEATED = False
BEGINS = "Decision: "


def form(reasons: bool) -> str:
    return prompt.TEXT


def after(reasons: bool) -> str | None:
    return "text" if reasons else None


def stands_for(body: Body, reasons: bool) -> Body:
    return answered_so(body, "", ("",))


def questions(about: About, before: Sequence[Answer], most: int | None) -> list[Body]:
    """One for each decision after each reasoning: those of one reasoning one after the other, for they begin alike."""
    if not about.reasons:
        return [answered_so(about.body, "", decision) for decision in listed_at_once(about)]
    found: list[Body] = []
    for answer in before[:most]:
        decided = read_decision(answer, about.task.prompt.options).decision
        reasoning = reasoning_of(answer.content)
        found += [answered_so(about.body, reasoning, decision) for decision in listed_after(about, decided)]
    return found


def complaint(reply: Reply) -> str | None:
    if reply.logprobs is None:
        return "the server gives no log-probabilities of a prompt: use --estimator scored or text"
    return None


def has_asked(answer: Answer) -> bool:
    return _question(answer) is not None


def decisions_in(answer: Answer, options: tuple[Option, ...]) -> Collection[Decision]:
    asked = _question(answer)
    return [asked[1]] if asked else []


def distribution_of(
    answers: Sequence[Answer], options: tuple[Option, ...]
) -> tuple[dict[Decision, float], list[tuple[int, str]]]:
    """The mean over the reasonings."""
    of_reasoning: dict[str, dict[Decision, float]] = {}
    unparsable = []
    for answer in answers:
        asked, logprob = _question(answer), of_prompt(loaded(answer.logprobs))
        if asked is None or logprob is None:
            unparsable.append((answer.sample, "the server gave no log-probabilities"))
        else:
            of_reasoning.setdefault(asked[0], {})[asked[1]] = logprob
    found: dict[Decision, float] = {}
    for logprobs in of_reasoning.values():
        for decision, share in normalised(logprobs).items():
            found[decision] = found.get(decision, 0.0) + share / len(of_reasoning)
    return found, unparsable


def answered_so(body: Body, reasoning: str, decision: Decision) -> Body:
    """The wire body in which the LLM has answered with `decision`."""
    said = f"{reasoning}\n{BEGINS}{', '.join(decision)}".lstrip("\n")
    return {
        **body,
        "messages": [*body["messages"], {"role": "assistant", "content": said}],
        limit_of(body): 1,
        "prompt_logprobs": 0,
        "add_generation_prompt": False,
    }


def of_prompt(logprobs: Any) -> float | None:
    """The log-probability of an answer's last line and of its ending there (`reply.of_last_line`)."""
    match logprobs:
        case {"prompt": [_, *_] as tokens}:
            found: list[Any] = [one.get("logprob") if isinstance(one, dict) else None for one in tokens]
            if all(type(one) in (int, float) and one <= ROUNDING for one in found):
                return math.fsum(found)
    return None


def normalised(logprobs: dict[Decision, float]) -> dict[Decision, float]:
    """Decision → probability, given that it is one of these; empty where none has any mass."""
    most = max(logprobs.values())
    if most == -math.inf:
        return {}
    masses = {decision: math.exp(logprob - most) for decision, logprob in logprobs.items()}
    total = math.fsum(masses.values())
    return {decision: mass / total for decision, mass in masses.items()}


def _question(answer: Answer) -> tuple[str, Decision] | None:
    """What stood before the decision, and the decision; None where it is no such question."""
    match loaded(answer.request):
        case {"prompt_logprobs": _, "messages": [*_, {"role": "assistant", "content": str(content)}]}:
            before, begins, words = content.rpartition(BEGINS)
            return (before, tuple(words.split(", "))) if begins else None
    return None
