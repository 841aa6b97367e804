"""When a failed request is sent again: the one policy for all requests.

A server that is busy (429, 503) is alive, so it is given time; one that is faulty is given a number of
attempts. What cannot pass, such as a wrong key or a refused prompt, is never sent again.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
import math
from typing import Any

import openai
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_before_delay,
    wait_random_exponential,
)

from askonce.cache.errors import AskonceError
from askonce.pipeline.asking.reply import NoAnswer

# In seconds. A small server on a laptop may need the longest.
FIRST_TIMEOUT, LONGEST_TIMEOUT = 120.0, 1800.0


@dataclass(frozen=True)
class Patience:
    """How long a failing request is asked again; times in seconds.

    attempts      of a server that does not answer or is faulty
    first_wait, longest_wait
                  waits double from one to the other, each shortened at random; Retry-After goes before them
    timeout       of one attempt, from sending to the last byte; None: twice as long after each time-out, from FIRST_TIMEOUT
                  to LONGEST_TIMEOUT, and no shorter than four times the slowest answer so far; of an answer that comes token
                  by token, from one to the next
    in_all        for one request with all its attempts and waits
    """

    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 30.0
    timeout: float | None = None
    in_all: float = 7200.0


def retrying(patience: Patience, sleep: Callable[[float], Awaitable[None]]) -> AsyncRetrying:
    """The policy for one request; in the end it raises what the last attempt raised."""
    return AsyncRetrying(sleep=sleep, **_policy(patience))


def retrying_call(patience: Patience, sleep: Callable[[float], None]) -> Retrying:
    """The same policy for a request that blocks."""
    return Retrying(sleep=sleep, **_policy(patience))


def _policy(patience: Patience) -> dict[str, Any]:
    faults = 0
    too_late = stop_before_delay(patience.in_all)
    exponential = wait_random_exponential(patience.first_wait, patience.longest_wait)

    def wait(state: RetryCallState) -> float:
        asked = retry_after(_error(state))
        return exponential(state) if asked is None else asked

    def stop(state: RetryCallState) -> bool:
        nonlocal faults
        faults += not is_busy(_error(state))
        return faults >= patience.attempts or too_late(state)

    return {"retry": retry_if_exception(is_passing), "wait": wait, "stop": stop, "reraise": True}


def is_busy(error: BaseException | None) -> bool:
    """Whether the server says that it has too much to do. A used-up account is a 429 that does not pass."""
    return (
        isinstance(error, openai.APIStatusError)
        and error.status_code in (429, 503)
        and error.code != "insufficient_quota"
    )


def is_passing(error: BaseException | None) -> bool:
    """Whether the same request may well succeed later. What we do not follow ourselves does not change."""
    if error is not None and isinstance(error.__cause__, AskonceError):
        return False
    if isinstance(error, openai.APIStatusError):
        return is_busy(error) or error.status_code in (408, 409) or error.status_code >= 500
    return isinstance(error, openai.APIConnectionError | NoAnswer | TimeoutError)


def retry_after(error: BaseException | None) -> float | None:
    """How many seconds the server asks to wait; None where it does not say."""
    return seconds_asked(error.response.headers) if isinstance(error, openai.APIStatusError) else None


def seconds_asked(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds, given as a number or as a date, which is read by the server's own clock."""
    asked = headers.get("retry-after", "")
    try:
        seconds = float(asked)
    except ValueError:
        until = _date(asked)
        now = _date(headers.get("date", "")) or datetime.now(UTC)
        seconds = max(0.0, (until - now).total_seconds()) if until else math.nan
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
