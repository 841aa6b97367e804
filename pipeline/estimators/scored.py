"""Pr(k | c(s)) from token log-probabilities; by counting it is `pipeline.estimators.text`.

After its reasoning, or at once where the prompt wants none, the LLM is shown the decisions as single-letter
choices, and the log-probabilities of its next token say how likely each is, where sampling would need hundreds of answers. A letter's place
changes its probability, so the letters are rotated from one request to the next and the estimates averaged.
Requests about one text come one after the other and begin alike, so that a server's cache of prefixes serves them.
What the server does not list is not zero: it is at most as likely as the least likely token that it lists.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
import math
import re
from string import ascii_uppercase
from typing import Any

from askonce.cache.query import Answer
from askonce.pipeline import prompt
from askonce.pipeline.asking.reply import Reply
from askonce.pipeline.estimators.question import (
    MOST_LISTED,
    About,
    Body,
    limit_of,
    listed_after,
    listed_at_once,
    loaded,
)
from askonce.pipeline.estimators.text import read_decision
from askonce.pipeline.parse import HEADING, LABEL
from askonce.pipeline.tasks.task import Decision, Option

REPEATED = False

# The most that OpenAI's protocol allows.
TOP_LOGPROBS = 20
QUESTION = "Which decision follows from this? Answer with one letter and nothing else."
# Rounding makes a log-probability a little more than 0; what is more than that is none.
ROUNDING = 1e-3


def form(reasons: bool) -> str:
    return prompt.TEXT if reasons else prompt.LETTER


def after(reasons: bool) -> str | None:
    return "text" if reasons else None


def stands_for(body: Body, reasons: bool) -> Body:
    return letter_request(body, "" if reasons else None, [("",)], 0)


def questions(about: About, before: Sequence[Answer], most: int | None) -> list[Body]:
    """One letter after each reasoning, the letters turned on by one each time: the text's single options, and what
    the LLM decided after this reasoning, as far as letters reach. Without reasoning a question for each turn."""
    if not about.reasons:
        listed = listed_at_once(about)
        turns = len(listed) if most is None else min(most, len(listed))
        return [letter_request(about.body, None, listed, turn) for turn in range(turns)]
    found: list[Body] = []
    for number, answer in enumerate(before[:most]):
        decided = read_decision(answer, about.task.prompt.options).decision
        listed = listed_after(about, decided)
        found.append(letter_request(about.body, reasoning_of(answer.content), listed, number))
    return found


def complaint(reply: Reply) -> str | None:
    return "the server gives no log-probabilities: use --estimator text" if reply.logprobs is None else None


def has_asked(answer: Answer) -> bool:
    return bool(_lettered(answer))


def decisions_in(answer: Answer, options: tuple[Option, ...]) -> Collection[Decision]:
    return _lettered(answer).values()


def distribution_of(
    answers: Sequence[Answer], options: tuple[Option, ...]
) -> tuple[dict[Decision, float], list[tuple[int, str]]]:
    """The mean over the letters' questions."""
    estimates, unparsable = [], []
    for answer in answers:
        found = of_letters(loaded(answer.logprobs), _lettered(answer))
        if found is None:
            unparsable.append((answer.sample, "the server gave no log-probabilities"))
        else:
            estimates.append(found)
    return distribution(average(estimates)) if estimates else {}, unparsable


@dataclass(frozen=True)
class Estimate:
    """The mass of each decision; together with `outside` it is 1.

    `upper` bounds each decision's mass from above; the two differ only where the server did not list its
    letter. `outside` is the mass of answers that are none of the letters.
    """

    probabilities: dict[Decision, float]
    upper: dict[Decision, float]
    outside: float


def letters(decisions: Sequence[Decision], rotation: int) -> dict[str, Decision]:
    """Letter → decision; over len(decisions) rotations each decision has each letter once. At most 26."""
    if not 0 < len(decisions) <= MOST_LISTED:
        raise ValueError("from 1 to 26 decisions have a letter each")
    turn = rotation % len(decisions)
    return dict(zip(ascii_uppercase, [*decisions[turn:], *decisions[:turn]]))


def letters_in(chat: Sequence[Mapping[str, str]]) -> dict[str, Decision]:
    """The letters of a question that `letter_messages` wrote; empty where the last message is none."""
    _, question, choices = chat[-1]["content"].rpartition(f"{QUESTION}\n")
    if not question:
        return {}
    listed = re.findall(r"^([A-Z])\) (.+)$", choices, flags=re.MULTILINE)
    return {letter: tuple(words.split(", ")) for letter, words in listed}


def letter_messages(
    chat: Sequence[Mapping[str, str]], reasoning: str | None, decisions: Sequence[Decision], rotation: int
) -> list[dict[str, str]]:
    """`chat` with the LLM's own `reasoning`, or without any, and the question for one letter."""
    lettered = letters(decisions, rotation).items()
    listed = "\n".join(f"{letter}) {', '.join(decision)}" for letter, decision in lettered)
    question = f"{QUESTION}\n{listed}"
    if reasoning is None:
        # Many chat templates refuse two messages of the user's one after the other.
        *before, last = map(dict, chat)
        return [*before, {**last, "content": f"{last['content']}\n\n{question}"}]
    return [*map(dict, chat), {"role": "assistant", "content": reasoning}, {"role": "user", "content": question}]


def letter_request(
    body: Mapping[str, Any], reasoning: str | None, decisions: Sequence[Decision], rotation: int
) -> dict[str, Any]:
    """The wire body of the letter question that goes on from the request `body`."""
    return {
        **body,
        "messages": letter_messages(body["messages"], reasoning, decisions, rotation),
        limit_of(body): 1,
        "logprobs": True,
        "top_logprobs": TOP_LOGPROBS,
    }


def reasoning_of(completion: str) -> str:
    """A completion up to where it announces its decision, which would give the letter away."""
    lines = completion.splitlines()
    low = [line.lower() for line in lines]
    announced = [at for at, line in enumerate(low) if LABEL.fullmatch(line) or HEADING.fullmatch(line)]
    return "\n".join(lines[: announced[-1]] if announced else lines).strip()


def of_letters(logprobs: Any, lettered: Mapping[str, Decision]) -> Estimate | None:
    """What the log-probabilities of one reply (`Reply.logprobs`) say of the decisions that its question
    listed; None where the server gave none, or the question listed none."""
    if not lettered:
        return None
    first = _first_token(logprobs)
    most_likely = _masses(first.get("top_logprobs") or [])
    # The token that was drawn may be less likely than all that are listed.
    listed = _masses([first]) | most_likely
    if not listed:
        return None
    total = sum(listed.values())
    rest, least = max(0.0, 1.0 - total), min(most_likely.values(), default=1.0)
    by_letter: dict[str, float] = {}
    for token, mass in listed.items():
        letter = token.strip(" \t\n()[]{}.:,*`\"'▁Ġ")
        # Rounded log-probabilities may add up to a little more than 1.
        by_letter[letter] = by_letter.get(letter, 0.0) + mass / max(total, 1.0)
    unlisted = [letter for letter in lettered if letter not in by_letter]
    bound, share = min(least, rest), min(least, rest / max(len(unlisted), 1))
    probabilities = {decision: by_letter.get(letter, share) for letter, decision in lettered.items()}
    upper = {decision: by_letter.get(letter, bound) for letter, decision in lettered.items()}
    return Estimate(probabilities, upper, max(0.0, 1.0 - sum(probabilities.values())))


def average(estimates: Sequence[Estimate]) -> Estimate:
    """The mean over requests, best over whole turns of the letters. ValueError without any.

    They need not list the same decisions: of one that a request did not list, all that it knows is that
    its mass is part of what is outside.
    """
    if not estimates:
        raise ValueError("there is nothing to average")

    def mean(values: Iterable[float]) -> float:
        return math.fsum(values) / len(estimates)

    decisions = dict.fromkeys(decision for one in estimates for decision in one.probabilities)
    return Estimate(
        {decision: mean(one.probabilities.get(decision, 0.0) for one in estimates) for decision in decisions},
        {decision: mean(one.upper.get(decision, one.outside) for one in estimates) for decision in decisions},
        mean(one.outside for one in estimates),
    )


def distribution(estimate: Estimate) -> dict[Decision, float]:
    """Decision → probability, given that it is one of the decisions; empty where none has any mass."""
    total = math.fsum(estimate.probabilities.values())
    return {decision: mass / total for decision, mass in estimate.probabilities.items() if mass > 0}


def _first_token(logprobs: Any) -> Mapping[str, Any]:
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    first = content[0] if isinstance(content, list) and content else None
    return first if isinstance(first, dict) else {}


def _masses(entries: Any) -> dict[str, float]:
    """Token → probability, of the entries that are as the protocol says."""
    masses: dict[str, float] = {}
    for entry in entries if isinstance(entries, list) else []:
        match entry:
            case {"token": str(token), "logprob": int() | float() as logprob}:
                # Neither true, which is an int, nor NaN.
                if not isinstance(logprob, bool) and logprob <= ROUNDING:
                    masses[token] = math.exp(min(logprob, 0.0))
    return masses


def _lettered(answer: Answer) -> dict[str, Decision]:
    """The letters that the answer's own request listed; empty where it is no question for a letter."""
    match loaded(answer.request):
        case {"logprobs": True, "messages": [*_, {"content": str(content)}]}:
            return letters_in([{"content": content}])
    return {}
