"""A reply that comes token by token, put together into the chat.completion object that would have come whole.

Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) of chat.completion.chunk objects.
"""

from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
import json
from typing import Any

from askonce.pipeline.asking.reply import NoAnswer, parsed

CONTENT_TYPE = "text/event-stream"
# What asks for such a reply, with its usage in the end.
ASKED = {"stream": True, "stream_options": {"include_usage": True}}
# Called whenever tokens have come; a sign of life alone, as some servers send while a request waits, is none.
MOVED: ContextVar[Callable[[], None]] = ContextVar("MOVED", default=lambda: None)
_TEXTS = "content", "reasoning_content", "reasoning", "refusal"


@dataclass
class _Choice:
    """Words in the pieces in which they came: to join them each time would take the square of their number."""

    words: dict[str, list[str]] = field(default_factory=dict)
    logprobs: dict[str, Any] | None = None
    finish_reason: Any = None


async def whole(pieces: AsyncIterator[bytes]) -> bytes:
    """The object as JSON; NoAnswer where no choice has come to its end."""
    answer: dict[str, Any] = {}
    choices: dict[int, _Choice] = {}
    ended = False
    async for data in _events(pieces):
        if data == b"[DONE]":
            ended = True
            break
        chunk = parsed(data)
        if not isinstance(chunk, dict):
            continue
        answer |= {name: chunk[name] for name in ("id", "model", "usage", "error") if chunk.get(name)}
        if _add(choices, chunk.get("choices")):
            MOVED.get()()
    sound = [_joined(index, choice) for index, choice in sorted(choices.items()) if ended or choice.finish_reason]
    if sound:
        answer["choices"] = sound
    elif "error" not in answer:
        raise NoAnswer("broke off in the middle of its answer")
    return json.dumps(answer).encode()


async def _events(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each event. A line is an event's only one: nobody breaks JSON."""
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()


def _add(choices: dict[int, _Choice], parts: Any) -> bool:
    """Whether they have brought any words."""
    moved = False
    for part in parts if isinstance(parts, list) else ():
        match part:
            case {"index": int(index), "delta": dict(delta)} if index >= 0:
                choice = choices.setdefault(index, _Choice())
                for name in _TEXTS:
                    if isinstance(words := delta.get(name), str) and words:
                        choice.words.setdefault(name, []).append(words)
                        moved = True
                _list(choice, part.get("logprobs"))
                choice.finish_reason = part.get("finish_reason") or choice.finish_reason
    return moved


def _list(choice: _Choice, logprobs: Any) -> None:
    match choice.logprobs, logprobs:
        case {"content": list(before)}, {"content": [*tokens]}:
            before += tokens
        case {"content": list()}, _:
            pass
        case _, dict():
            choice.logprobs = logprobs


def _joined(index: int, choice: _Choice) -> dict[str, Any]:
    message = {name: "".join(words) for name, words in choice.words.items()}
    return {"index": index, "message": message, "logprobs": choice.logprobs, "finish_reason": choice.finish_reason}
