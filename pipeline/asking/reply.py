"""A server's answer → replies, one per sample, as the server gave them.

Nothing that was paid for is lost over a fault beside it: of several choices the sound ones are kept.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
import json
from typing import Any

# The finish reason of a reply that refuses in a field of its own.
REFUSAL = "refusal"
# No request takes so many tokens, and sums of fewer fit 64 bits.
ABSURD = 2**40


@dataclass(frozen=True)
class Reply:
    """One sample as the server gave it.

    content            the answer word for word; a refusal's words where it refused in a field of its own
    finish_reason      the server's, "refusal" for such a refusal, empty where it gave none
    prompt_tokens      those of the request in its first reply, and 0 in the others: sums say what was spent
    completion_tokens  this reply's share of its request
    latency            of the request, in seconds
    served_model       the model that the server says has answered
    asked_at           when the request was sent, in UTC
    logprobs           the choice's log-probabilities as the server gave them; JSON data, or None
    usage              the request's usage as the server gave it, in its first reply; JSON data, or None
    reasoning          what the model thought, where the server gives it apart from the answer
    """

    content: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    latency: float
    served_model: str
    asked_at: datetime
    logprobs: Any = None
    usage: Any = None
    reasoning: str = ""


def of_last_line(listed: Sequence[tuple[str, float]], chat: Sequence[dict[str, str]]) -> dict[str, Any] | None:
    """Of a prompt's tokens and their log-probabilities, those from the last line of `chat` on, its end among them.

    None where it is not found in them. Some tokenizers give a token's words without the blank before it.
    """
    line = "".join(chat[-1]["content"].rpartition("\n")[2].split())
    words = ""
    for at in range(len(listed) - 1, -1, -1):
        words = "".join(listed[at][0].split()) + words
        if line in words:
            return {"prompt": [{"token": token, "logprob": logprob} for token, logprob in listed[at:]]}
    return None


def without_cost(reply: Reply) -> Reply:
    """The same for another job; what it took has been counted once already."""
    return replace(reply, prompt_tokens=0, completion_tokens=0, usage=None)


class NoAnswer(Exception):
    """The server answered with what is no chat completion, or with one that has no choices."""


def parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise NoAnswer("answered with invalid JSON") from error


def replies(
    answer: Any, n: int, latency: float, asked_at: datetime, chat: Sequence[dict[str, str]] = ()
) -> list[Reply]:
    """Up to `n` replies from a chat.completion object, parsed from JSON. NoAnswer where it holds none.

    `chat` is what was asked, where the log-probabilities of its own last line are wanted.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list):
        raise NoAnswer(_complaint(answer))
    sound = [choice for choice in choices if _is_sound(choice)][:n]
    if not sound:
        raise NoAnswer("answered without any choice")
    prompt_tokens, completion_tokens = spent(answer)
    share, left = divmod(completion_tokens, len(sound))
    model = answer.get("model")
    return [
        Reply(
            content=_content(choice["message"]),
            finish_reason=_finish_reason(choice),
            prompt_tokens=0 if index else prompt_tokens,
            completion_tokens=share + (index < left),
            latency=latency,
            served_model=model if isinstance(model, str) else "",
            asked_at=asked_at,
            logprobs=of_last_line(list(_prompt_tokens(answer)), chat) if chat else choice.get("logprobs"),
            usage=None if index else answer.get("usage"),
            reasoning=_reasoning(choice["message"]),
        )
        for index, choice in enumerate(sound)
    ]


def spent(answer: Any) -> tuple[int, int]:
    """(prompt tokens, completion tokens) by the answer's own account, 0 where it gives none."""
    usage = answer.get("usage") if isinstance(answer, dict) else None
    usage = usage if isinstance(usage, dict) else {}
    counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
    prompt, completion = (count if type(count) is int and 0 < count < ABSURD else 0 for count in counts)
    return prompt, completion


def _prompt_tokens(answer: dict[str, Any]) -> Iterable[tuple[str, float]]:
    """As vLLM gives them: for each token of the prompt but the first an object by token, the prompt's own before others."""
    listed = answer.get("prompt_logprobs")
    for known in listed if isinstance(listed, list) else []:
        match next(iter(known.values()), None) if isinstance(known, dict) else None:
            case {"decoded_token": str(token), "logprob": int() | float() as logprob}:
                yield token, logprob


def _is_sound(choice: Any) -> bool:
    return isinstance(choice, dict) and isinstance(choice.get("message"), dict)


def _complaint(answer: Any) -> str:
    """Some servers report an error with status 200."""
    error = answer.get("error") if isinstance(answer, dict) else None
    said = error.get("message") if isinstance(error, dict) else error
    return f"answered with an error ({said})" if said else "answered with what is no chat completion"


def _content(message: dict[str, Any]) -> str:
    """Some servers give content in pieces, which are kept as JSON."""
    said = message.get("content") or message.get("refusal") or ""
    return said if isinstance(said, str) else json.dumps(said)


def _reasoning(message: dict[str, Any]) -> str:
    """By the name that DeepSeek, vLLM and llama.cpp have for it, or OpenRouter's."""
    said = message.get("reasoning_content") or message.get("reasoning")
    return said if isinstance(said, str) else ""


def _finish_reason(choice: dict[str, Any]) -> str:
    if choice["message"].get("refusal") and not choice["message"].get("content"):
        return REFUSAL
    reason = choice.get("finish_reason")
    return reason if isinstance(reason, str) else ""
