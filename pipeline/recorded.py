"""Decisions recorded elsewhere → rows of the cache.

One JSON object a line describes a situation and how often each decision was given there:
{"task": "ColoredDoorKey", "sees": ["color1 key"], "holds": null,
 "decisions": [{"options": ["go to color1 key", "pick up color1 key"], "probability": 0.87}, …]}
color1, color2 stand for colours in the order in which the text names them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
import hashlib
import json
import math
from pathlib import Path
from typing import Any

from askonce.cache import store
from askonce.cache.completion import Completion
from askonce.cache.errors import AskonceError
from askonce.cache.key import answer_key, canonical_json
from askonce.pipeline import tasks

ENDPOINT = "recorded"
# What rounded probabilities may be off by in all.
ROUNDING = 0.05
# When they were recorded is not known. The same time for all makes importing a file twice one import.
UNKNOWN = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Recorded:
    texts: int
    completions: int
    tasks: list[str]


def import_decisions(source: str | Path, cache: str | Path, model: str = "recorded") -> Recorded:
    """Puts decisions recorded elsewhere, a line of JSON for each situation, into a cache as answers of `model`.

    AskonceError names the first line that cannot be used, and nothing is stored.
    """
    rows = read(Path(source), model)
    store.append(cache, rows)
    texts = len({(row.task, row.text) for row in rows})
    return Recorded(texts, len(rows), list(dict.fromkeys(row.task for row in rows)))


def read(path: Path, model: str) -> list[Completion]:
    """Every decision of the file as a completion weighted by its probability, asked of `model`.

    AskonceError names the first line that cannot be used; nothing is half read.
    """
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AskonceError(f"cannot read {path}: {error}") from None
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    rows: list[Completion] = []
    lines: dict[str, int] = {}
    # Not splitlines(), which also ends a line at characters that JSON allows within a string.
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            try:
                found = list(_completions(json.loads(line), model, digest))
                first = lines.setdefault(found[0].key, number)
                if first != number:
                    raise ValueError(f"the situation of line {first} once more")
                rows += found
            except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
                reason = f"no {error}" if isinstance(error, KeyError) else error
                raise AskonceError(
                    f"{path}, line {number}: {reason}; each line is one object with task, sees, holds and "
                    "decisions, each decision with options and a probability"
                ) from None
    if not rows:
        raise AskonceError(f"{path} holds no decisions; it needs one JSON object a line")
    return rows


def _completions(record: dict[str, Any], model: str, digest: str) -> Iterator[Completion]:
    # A file only names tasks: package.module:NAME in it would import, that is run, what the file wants.
    if record["task"] not in (*tasks.names(), *tasks.registered_names()):
        known = ", ".join(tasks.names())
        raise ValueError(
            f"unknown task {record['task']!r}, the known ones are {known} and those that `cli tasks` lists"
        )
    task = tasks.find(record["task"])
    holds = record["holds"]
    if not (_are_words(record["sees"]) and (holds is None or _are_words([holds]))):
        raise ValueError("sees is a list of names, and holds one name or null")
    text = task.describe(record["sees"], holds)
    body = {"model": model, "file": digest, "task": task.name, "text": text}
    for sample, (options, probability) in enumerate(_decided(record["decisions"])):
        yield Completion(
            key=answer_key(body, ENDPOINT),
            task=task.name,
            model=model,
            prompt=digest,
            text=text,
            sample=sample,
            content=f"Decision: {', '.join(map(task.canonical, options))}",
            weight=probability,
            endpoint=ENDPOINT,
            request=canonical_json(body),
            asked_at=UNKNOWN,
        )


def _decided(decisions: Any) -> list[tuple[tuple[str, ...], float]]:
    """Each decision with its probability."""
    if not (isinstance(decisions, list) and decisions):
        raise ValueError("decisions is a list, of at least one")
    decided = [(decision["options"], decision["probability"]) for decision in decisions]
    for options, probability in decided:
        if not (options and _are_words(options)):
            raise ValueError("the options of a decision are words of one line, at least one")
        if type(probability) not in (int, float) or not 0 < probability <= 1:
            raise ValueError(f"a probability is a number above 0 and at most 1, not {probability!r}")
    if len({tuple(options) for options, _ in decided}) < len(decided):
        raise ValueError("a decision stands there twice")
    total = math.fsum(probability for _, probability in decided)
    if abs(total - 1) > ROUNDING:
        raise ValueError(f"its probabilities add up to {total:.3g} instead of 1")
    return [(tuple(options), float(probability)) for options, probability in decided]


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(word, str) and word.strip() and word.isprintable() for word in value
    )
