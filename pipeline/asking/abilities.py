"""What a server can do with a model, learnt from its answers to the first real requests, and kept beside them.

    DIR/servers/<digest of endpoint and model>.json     (`cache.checked`)

A question has one wire body, by which its answers are kept. A server that refuses a part of it is asked the same in
another dress (`dressed`): one completion a request, the system's words within the user's message, the other name of the
limit, fewer log-probabilities, no seed. What is lost of this knowledge costs a refused request.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
import re
from typing import Any

from askonce.cache import checked, durable, layout, store
from askonce.pipeline.asking import stream
from askonce.pipeline.asking.reply import Reply

Body = dict[str, Any]
LIMITS = "max_tokens", "max_completion_tokens"
# What servers are known to allow, from OpenAI's protocol down.
TOP_LOGPROBS = 20, 10, 5
# The most choices that one request may ask for, by OpenAI's protocol.
MOST_CHOICES = 128
# How a server says what it takes: "between 1 <= value <= 4".
_AT_MOST = re.compile(r"(?:<=|at most|less than or equal to|maximum(?: of)?|up to)\s*(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Abilities:
    """None: not seen yet.

    choices   the most completions that one request may ask for
    system    takes messages of the system's
    limit     which of `LIMITS` it goes by
    logprobs  so many log-probabilities of a token may be asked for, 0 where it gives none
    schema    heeds a JSON schema
    thinks    the model thinks before it answers
    seed      takes a seed
    streams   gives an answer token by token
    """

    choices: int | None = None
    system: bool | None = None
    limit: str | None = None
    logprobs: int | None = None
    schema: bool | None = None
    thinks: bool | None = None
    seed: bool | None = None
    streams: bool | None = None

    @property
    def words(self) -> str:
        """Such as "one completion a request; JSON schema; 20 log-probabilities"; empty where nothing is known."""
        known = [
            {None: None, 1: "one completion a request", MOST_CHOICES: "several completions a request"}.get(
                self.choices, f"{self.choices} completions a request"
            ),
            self.schema is not None and ("JSON schema" if self.schema else "no JSON schema"),
            self.logprobs is not None and f"{self.logprobs or 'no'} log-probabilities",
            self.system is False and "the system's words within the user's",
            self.limit == LIMITS[1] and self.limit,
            self.thinks and "thinks",
            self.seed is False and "no seed",
            self.streams is not None and ("streams" if self.streams else "does not stream"),
        ]
        return "; ".join(word for word in known if word)


def dressed(body: Mapping[str, Any], can: Abilities, first: int, streamed: bool = False) -> Body:
    """The same question as the server takes it, for samples from `first` on: a seed says which, so that the same server
    answers the same again."""
    asked = dict(body)
    if can.seed is not False:
        asked.setdefault("seed", first + 1)
    if streamed and can.streams is not False:
        asked |= stream.ASKED
    if can.system is False:
        asked["messages"] = without_system(body["messages"])
    if can.limit is not None and (said := [name for name in LIMITS if name in asked]):
        asked[can.limit] = asked.pop(said[0])
    if can.logprobs and "top_logprobs" in asked:
        asked["top_logprobs"] = min(asked["top_logprobs"], can.logprobs)
    return asked


def without_system(chat: list[dict[str, str]]) -> list[dict[str, str]]:
    """The system's words at the head of the first message of the user's."""
    said = "\n\n".join(turn["content"] for turn in chat if turn["role"] == "system")
    others = [dict(turn) for turn in chat if turn["role"] != "system"]
    first = next((turn for turn in others if turn["role"] == "user"), None)
    if said and first:
        first["content"] = f"{said}\n\n{first['content']}"
    return others


def seen(can: Abilities, body: Mapping[str, Any], n: int, replies: list[Reply]) -> Abilities:
    """What the replies to a request show; `body` is as it was sent, and `n` as many as it asked for."""
    if n > 1 and len(replies) == 1:
        can = replace(can, choices=1)
    elif n > 1 and can.choices is None:
        can = replace(can, choices=MOST_CHOICES)
    if any(turn["role"] == "system" for turn in body["messages"]):
        can = replace(can, system=True)
    if "seed" in body:
        can = replace(can, seed=True)
    if "stream" in body:
        can = replace(can, streams=True)
    for name in LIMITS:
        if name in body:
            can = replace(can, limit=name)
    if body.get("logprobs") is True:
        # Fewer may be listed than are asked for: where no others are likely at all.
        lists = any(_lists(reply.logprobs) for reply in replies)
        can = replace(can, logprobs=max(can.logprobs or 0, body.get("top_logprobs") or 0 if lists else 0))
    if "json_schema" in str(body.get("response_format")):
        # One that was cut off may still have been about to begin its object.
        begun = any(reply.content.lstrip().startswith("{") for reply in replies)
        whole = [reply.content for reply in replies if reply.finish_reason == "stop"]
        if (begun or whole) and can.schema is not True:
            can = replace(can, schema=begun or any("{" in content for content in whole))
    if any(reply.reasoning or "<think>" in reply.content for reply in replies):
        can = replace(can, thinks=True)
    return can


# What to try, and how many completions to ask for.
Changed = tuple[Abilities, int]


def changes(can: Abilities, body: Mapping[str, Any], n: int, refusal: str) -> list[Changed]:
    """What a server that has refused `body` may take in its place, each with how many completions to ask for: without
    what its words name, or one completion alone, which few servers name well."""
    named = [int(number) for number in _AT_MOST.findall(refusal)]
    changed = (change(can, body, n, named) for name, change in _CHANGES.items() if name in refusal.lower())
    return [one for one in changed if one]


def _fewer_choices(can: Abilities, body: Mapping[str, Any], n: int, named: list[int]) -> Changed | None:
    fewer = [most for most in named if 1 <= most < n] or [1]
    if n == 1 or can.choices is not None and fewer == [1]:
        return None
    return replace(can, choices=fewer[0]), fewer[0]


def _no_system(can: Abilities, body: Mapping[str, Any], n: int, named: list[int]) -> Changed | None:
    has_any = any(turn["role"] == "system" for turn in body["messages"])
    return (replace(can, system=False), n) if has_any and can.system is None else None


def _other_limit(can: Abilities, body: Mapping[str, Any], n: int, named: list[int]) -> Changed | None:
    said = [name for name in LIMITS if name in body]
    other = LIMITS[1 - LIMITS.index(said[0])] if said else None
    return (replace(can, limit=other), n) if other and can.limit is None else None


def _fewer_logprobs(can: Abilities, body: Mapping[str, Any], n: int, named: list[int]) -> Changed | None:
    asked = min(body.get("top_logprobs") or 0, can.logprobs or TOP_LOGPROBS[0])
    fewer = [top for top in (*named, *TOP_LOGPROBS) if 0 < top < asked]
    return (replace(can, logprobs=fewer[0]), n) if fewer else None


def _no_seed(can: Abilities, body: Mapping[str, Any], n: int, named: list[int]) -> Changed | None:
    return (replace(can, seed=False), n) if "seed" in body and can.seed is None else None


def _no_stream(can: Abilities, body: Mapping[str, Any], n: int, named: list[int]) -> Changed | None:
    return (replace(can, streams=False), n) if "stream" in body and can.streams is None else None


# What stands in a refusal → what to try.
_CHANGES: dict[str, Callable[[Abilities, Mapping[str, Any], int, list[int]], Changed | None]] = {
    "system": _no_system,
    "max_": _other_limit,
    "logprobs": _fewer_logprobs,
    "seed": _no_seed,
    "stream": _no_stream,
    "": _fewer_choices,
}


def _lists(logprobs: Any) -> bool:
    match logprobs:
        case {"content": [{"top_logprobs": [_, *_]}, *_]}:
            return True
    return False


# ---- Kept in the cache -------------------------------------------------------------------------------------------


def noted(directory: str | Path, endpoint: str, model: str) -> Abilities:
    """What is known; nothing where that is damaged."""
    kept = checked.read(_place(directory, endpoint, model))
    known: Any = kept.get("can") if isinstance(kept, dict) else None
    # A later version may know more.
    return (
        Abilities(*(known.get(field.name) for field in fields(Abilities))) if isinstance(known, dict) else Abilities()
    )


def note(directory: str | Path, endpoint: str, model: str, can: Abilities) -> None:
    """AskonceError where the cache cannot be written."""
    try:
        durable.make_directory(Path(directory) / layout.SERVERS)
        checked.write(_place(directory, endpoint, model), {"endpoint": endpoint, "model": model, "can": asdict(can)})
    except OSError as error:
        raise store.unwritable(directory, error) from error


def _place(directory: str | Path, endpoint: str, model: str) -> Path:
    return Path(directory) / layout.SERVERS / f"{layout.named(endpoint, model)}{layout.ESTIMATE}"
