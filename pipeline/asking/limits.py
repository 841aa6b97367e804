"""How fast a server may be asked: what the user allows, what the server allows, and what it can take.

Plain bookkeeping over moments of one monotonic clock, in seconds; who waits, and how, is the gate's affair.
"""

from collections.abc import Mapping
from dataclasses import dataclass
import math
import re

FIRST_LIMIT = 8


@dataclass
class Pace:
    """At most `per_minute` in any minute, evenly spread: a token bucket as deep as one request.

    A deeper one would let through a burst on top of the limit, which a server that counts by the minute
    answers with 429.
    """

    per_minute: float
    free_at: float = -math.inf

    def wait(self, now: float) -> float:
        return max(0.0, self.free_at - now)

    def take(self, amount: float, now: float) -> None:
        self.free_at = max(self.free_at, now) + amount * 60 / self.per_minute

    def correct(self, more: float) -> None:
        """What was taken turns out to have been `more`, or, below 0, less."""
        self.free_at += more * 60 / self.per_minute


@dataclass
class Window:
    """What the server says is left of one of its rate limits, until it is reset."""

    limit: float = math.inf
    remaining: float = math.inf
    reset_at: float = math.inf

    def told(self, limit: float, remaining: float, reset_at: float, on_the_way: float) -> None:
        """News of a server that did not yet know of what is `on_the_way`."""
        self.limit, self.remaining, self.reset_at = limit, remaining - on_the_way, reset_at

    def wait(self, amount: float, now: float, in_flight: bool) -> float:
        """Seconds; infinite where only the next answer can tell."""
        if now >= self.reset_at:
            self.remaining, self.reset_at = self.limit, math.inf
        if min(amount, self.limit) <= self.remaining:
            return 0.0
        if self.reset_at == math.inf and not in_flight:
            return 0.0
        return self.reset_at - now

    def take(self, amount: float) -> None:
        self.remaining -= amount


@dataclass
class Concurrency:
    """How many requests may be in flight: more while answers come, half when the server is overloaded.

    Additive increase, multiplicative decrease (Chiu and Jain 1989), after a first phase in which every
    answer adds one, as in TCP's slow start.
    """

    most: int
    limit: float = 0.0
    cut_at: float = -math.inf

    def __post_init__(self) -> None:
        self.limit = float(min(self.most, FIRST_LIMIT))

    def answered(self, in_flight: int) -> None:
        """`in_flight` counts the request just answered. A limit that is not reached needs not grow."""
        if in_flight >= int(self.limit):
            grown = self.limit + (1.0 if self.cut_at == -math.inf else 1.0 / self.limit)
            self.limit = min(float(self.most), grown)

    def overloaded(self, sent_at: float, now: float) -> None:
        """Requests sent before the last cut tell nothing about what it has brought."""
        if sent_at >= self.cut_at:
            self.limit, self.cut_at = max(1.0, self.limit / 2), now


def told_by(headers: Mapping[str, str], kind: str) -> tuple[float, float, float] | None:
    """(limit, remaining, seconds until reset) of "requests" or "tokens", where the server tells them.

    The limit is infinite where only it is missing.
    """
    try:
        remaining = float(headers.get(f"x-ratelimit-remaining-{kind}", ""))
        limit = float(headers.get(f"x-ratelimit-limit-{kind}", "inf"))
    except ValueError:
        return None
    reset = duration(headers.get(f"x-ratelimit-reset-{kind}", ""))
    return None if reset is None or math.isnan(remaining + limit) else (limit, remaining, reset)


UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration(text: str) -> float | None:
    """Seconds of "6m0s", "120ms", "1h2m3.5s" or plain "12"; None for anything else."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    part = r"(\d+(?:\.\d+)?)(ms|s|m|h|d)"
    if not re.fullmatch(f"({part})+", text):
        return None
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(part, text))
