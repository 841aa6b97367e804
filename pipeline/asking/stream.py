"""A reply that comes token by token, put together into the chat.completion object that would have come whole.

Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) of chat.completion.chunk objects.
"""

from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
import json
from typing import Any

from askonce.pipeline.asking.reply import NoAnswer

CONTENT_TYPE = "text/event-stream"
# What asks for such a reply, with its usage in the end.
ASKED = {"stream": True, "stream_options": {"include_usage": True}}
# Called whenever tokens have come; a sign of life alone, as some servers send while a request waits, is none.
MOVED: ContextVar[Callable[[], None]] = ContextVar("MOVED", default=lambda: None)
_TEXTS = "content", "reasoning_content", "reasoning", "refusal"


async def whole(pieces: AsyncIterator[bytes]) -> bytes:
    """The object as JSON; NoAnswer where no choice has come to its end."""
    answer: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    ended = False
    async for data in _events(pieces):
        if data == b"[DONE]":
            ended = True
            break
        chunk = _object(data)
        answer |= {name: chunk[name] for name in ("id", "model", "usage", "error") if chunk.get(name)}
        if _add(choices, chunk.get("choices")):
            MOVED.get()()
    sound = [choice for _, choice in sorted(choices.items()) if ended or choice["finish_reason"]]
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


def _object(data: bytes) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NoAnswer("answered with invalid JSON") from error
    return chunk if isinstance(chunk, dict) else {}


def _add(choices: dict[int, dict[str, Any]], parts: Any) -> bool:
    """Whether they have brought any words."""
    moved = False
    for part in parts if isinstance(parts, list) else ():
        match part:
            case {"index": int(index), "delta": dict(delta)} if index >= 0:
                choice = choices.setdefault(index, {"index": index, "message": {}, "finish_reason": None})
                moved |= _say(choice["message"], delta)
                _list(choice, part.get("logprobs"))
                choice["finish_reason"] = part.get("finish_reason") or choice["finish_reason"]
    return moved


def _say(message: dict[str, Any], delta: dict[str, Any]) -> bool:
    said = {name: words for name in _TEXTS if isinstance(words := delta.get(name), str) and words}
    for name, words in said.items():
        message[name] = message.get(name, "") + words
    return bool(said)


def _list(choice: dict[str, Any], logprobs: Any) -> None:
    match logprobs:
        case {"content": [*tokens]}:
            before = choice.get("logprobs") or {"content": []}
            choice["logprobs"] = {**logprobs, "content": before["content"] + tokens}
        case dict():
            choice.setdefault("logprobs", logprobs)
