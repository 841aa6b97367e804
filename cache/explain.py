"""Whether a question would be answered from the cache and, if not, what sets it apart from the nearest one
that is stored."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

from askonce.cache import query
from askonce.cache.completion import Completion
from askonce.cache.key import answer_key, canonical_json

# Characters shown on each side of where two texts part.
AROUND = 30


@dataclass(frozen=True)
class Difference:
    """A field of the wire body, or "endpoint", as it would be asked and as it was; None where absent."""

    field: str
    asked: Any
    stored: Any


@dataclass(frozen=True)
class Explanation:
    """`completions` are those stored for `task` under `key`; without any, `nearest` is the id of the stored
    completion whose question has the fewest `differences`, None in an empty cache. `elsewhere`: held under
    the same key for another task, which the next build takes over."""

    key: str
    completions: int
    elsewhere: bool
    nearest: str | None
    differences: list[Difference]


def explain(directory: str | Path, task: str, body: Mapping[str, Any], endpoint: str, text: str) -> Explanation:
    """What the cache has to say to the wire `body` that asks `endpoint` about `text`."""
    key = answer_key(body, endpoint)
    stored = query.stored(directory, task, [key]).get(key, 0)
    if stored:
        return Explanation(key, stored, False, None, [])
    asked = dict(_leaves(_question(canonical_json(body), endpoint)))
    compared = [(_differences(asked, found), found) for found in query.nearest(directory, text)]
    if not compared:
        return Explanation(key, 0, False, None, [])
    differences, nearest = min(compared, key=lambda pair: len(pair[0]))
    return Explanation(key, 0, not differences, nearest.completion_id, differences)


def _differences(asked: dict[str, Any], stored: Completion) -> list[Difference]:
    other = dict(_leaves(_question(stored.request, stored.endpoint)))
    return [
        Difference(field, *_where_they_part(asked.get(field), other.get(field)))
        for field in dict.fromkeys([*asked, *other])
        if asked.get(field) != other.get(field)
    ]


def _question(request: str, endpoint: str) -> dict[str, Any]:
    # What was imported from elsewhere may have no wire body.
    body = json.loads(request) if request else {}
    return {"endpoint": endpoint} | {name: value for name, value in body.items() if name != "n"}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """{"a": [{"b": 1}]} → ("a[0].b", 1)"""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def _where_they_part(one: Any, other: Any) -> tuple[Any, Any]:
    """Both, of long texts only the surroundings of the first difference."""
    if not (isinstance(one, str) and isinstance(other, str)) or max(len(one), len(other)) <= 4 * AROUND:
        return one, other
    at = next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
    part = slice(max(0, at - AROUND), at + AROUND)
    return f"…{one[part]}…", f"…{other[part]}…"
