"""Which rows can be what a server answered: every number in its range, the key the one that follows from the request.

A checksum tells that bytes are those that were written, not that whoever wrote them was right. What comes from
elsewhere is looked at row by row, before it is learnt from.
"""

from functools import lru_cache
import json
import math
from typing import Any

import pyarrow as pa

from askonce.cache.key import answer_key

# 1970 to 2100, in microseconds.
TIMES = range(0, 4_102_444_800_000_000)
# No request takes so many tokens.
MOST_TOKENS = 1 << 40
READ = "key", "text", "sample", "weight", "prompt_tokens", "completion_tokens", "latency", "endpoint", "request"


def faults(rows: pa.Table) -> dict[int, str]:
    """Row → what is wrong with it, of those that no writer of this project writes; `rows` are as in `SCHEMA`."""
    # Times as numbers: Python has no date for every one of them.
    times = rows["asked_at"].cast(pa.timestamp("us")).cast(pa.int64()).to_pylist()
    columns = [rows[name].to_pylist() for name in READ]
    # Older versions did not keep them.
    logprobs = rows["logprobs"].to_pylist() if "logprobs" in rows.column_names else [None] * rows.num_rows
    found = {}
    for number, values in enumerate(zip(times, logprobs, *columns, strict=True)):
        if fault := _fault(*values):
            found[number] = fault
    return found


def without(rows: pa.Table, wrong: dict[int, str]) -> pa.Table:
    return rows.filter(pa.array(number not in wrong for number in range(rows.num_rows))) if wrong else rows


def named(rows: pa.Table, wrong: dict[int, str]) -> list[str]:
    """A line for each of the rows, that says which it is and what is wrong with it."""
    return [f"{rows['task'][number]}: {rows['text'][number].as_py()!r}: {fault}" for number, fault in wrong.items()]


def _fault(
    time: int,
    logprobs: str | None,
    key: str,
    text: str,
    sample: int,
    weight: float,
    prompt_tokens: int | None,
    completion_tokens: int | None,
    latency: float | None,
    endpoint: str,
    request: str,
) -> str | None:
    if not (math.isfinite(weight) and weight > 0):
        return f"its weight is {weight}"
    if sample < 0:
        return f"its sample is number {sample}"
    if any(count is not None and not 0 <= count < MOST_TOKENS for count in (prompt_tokens, completion_tokens)):
        return f"it took {prompt_tokens} and {completion_tokens} tokens"
    if latency is not None and not (math.isfinite(latency) and latency >= 0):
        return f"it took {latency} seconds"
    if time not in TIMES:
        return "it was asked outside of 1970 to 2100"
    if logprobs is not None and _json(logprobs) is None:
        return "its log-probabilities are no JSON"
    return None if key == _key(request, endpoint) else "its key does not follow from its request"


# The samples of one request stand one after another.
@lru_cache(maxsize=64)
def _key(request: str, endpoint: str) -> str | None:
    body = _json(request)
    try:
        return answer_key(body, endpoint) if isinstance(body, dict) else None
    except (ValueError, RecursionError):
        return None


def _json(stored: str) -> Any:
    try:
        return json.loads(stored)
    except (ValueError, RecursionError):
        return None
