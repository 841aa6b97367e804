"""How fast a server may be asked: what the user allows, what the server allows, and what it can take.

Plain bookkeeping over moments of one monotonic clock, in seconds; who waits, and how, is the gate's affair.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
import math
import re

FIRST_LIMIT = 4
# Answers by which a throughput is told, at the least.
SHORTEST_EPOCH = 16
# The share of a larger limit that must be seen in the throughput, and the epochs until it is tried again if it was not.
ENOUGH, RESTS = 0.4, 16


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
    """How many requests may be in flight: twice as many as long as that brings more, half when the server is overloaded.

    A server of few slots queues what is beyond them, and answers no faster: so the throughput with one limit is measured
    over an epoch, and the next limit is kept only if it brought enough. A server that once was overloaded is approached
    in small steps, whatever they bring: additive increase, multiplicative decrease (Chiu and Jain 1989).
    """

    most: int
    limit: float = 0.0
    cut_at: float = -math.inf
    # The limit before, and what it brought, while a larger one is tried.
    before: tuple[float, float] | None = None
    rest: int = 0
    epoch: "Epoch" = field(default_factory=lambda: Epoch(-math.inf))

    def __post_init__(self) -> None:
        self.limit = float(min(self.most, FIRST_LIMIT))

    def answered(self, in_flight: int, tokens: float, sent_at: float, now: float) -> None:
        """`in_flight` counts the request just answered, which took so many `tokens`."""
        reached = in_flight >= int(self.limit)
        if self.cut_at != -math.inf:
            if reached:
                self.limit = min(float(self.most), self.limit + 1.0 / self.limit)
        elif (
            rate := self.epoch.heard(reached, tokens, sent_at, now, max(int(self.limit), SHORTEST_EPOCH))
        ) is not None:
            self._judge(rate)
            self.epoch = Epoch(now)

    def _judge(self, rate: float) -> None:
        if self.before and rate < self.before[1] * (1 + ENOUGH * (self.limit / self.before[0] - 1)):
            # No limit is final: the server may have been busy with others.
            self.limit, self.before, self.rest = self.before[0], None, RESTS
        elif self.rest:
            self.rest -= 1
        elif self.limit < self.most:
            self.before = self.limit, rate
            self.limit = min(float(self.most), 2 * self.limit)
        else:
            self.before = None

    def overloaded(self, sent_at: float, now: float) -> None:
        """Requests sent before the last cut tell nothing about what it has brought."""
        if sent_at >= self.cut_at:
            self.limit, self.cut_at = max(1.0, self.limit / 2), now


@dataclass
class Epoch:
    """What a limit that holds since `begun` brings, by the answers to requests that were sent under it."""

    begun: float
    first_at: float | None = None
    answers: int = 0
    reached: int = 0
    tokens: float = 0.0

    def heard(self, reached: bool, tokens: float, sent_at: float, now: float, answers: int) -> float | None:
        """Tokens a second once so many `answers` have come; None before, and while the limit is not reached."""
        if sent_at < self.begun:
            return None
        if self.first_at is None:
            self.first_at = now
            return None
        self.answers, self.reached, self.tokens = self.answers + 1, self.reached + reached, self.tokens + tokens
        if self.answers < answers or 2 * self.reached < self.answers:
            return None
        return self.tokens / max(now - self.first_at, 1e-9)


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
