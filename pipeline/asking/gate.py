"""The gate that every request passes, one after the other in the order in which they come.

It opens when all limits allow the request: the number in flight, the user's requests and tokens a minute,
what the server says is left, the pause that the server asked for, the budget. What a request will
take is estimated before and corrected after.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
import math
import time

from askonce.pipeline.asking.budget import Stopped, Tally, affords
from askonce.pipeline.asking.limits import Concurrency, Pace, Window, told_by
from askonce.pipeline.asking.retry import seconds_asked
from askonce.pipeline.asking.terms import Terms


class Abandoned(Exception):
    """The run ends, so this request is not sent any more."""


@dataclass(frozen=True)
class Ticket:
    """A request that was let through; `tokens` and `cost` (USD) are the most that it may take."""

    serial: int
    sent_at: float
    tokens: int
    cost: float


class Gate:
    """For one server and one event loop. Whoever enters leaves by `leave`."""

    def __init__(self, terms: Terms, tally: Tally):
        self.terms, self.tally = terms, tally
        self.concurrency = Concurrency(terms.concurrency)
        self.request_pace = Pace(terms.rpm or math.inf)
        self.token_pace = Pace(terms.tpm or math.inf)
        self.windows = {"requests": Window(), "tokens": Window()}
        self.paused_until = -math.inf
        self.in_flight: dict[int, Ticket] = {}
        self.reserved = 0.0
        self.sent = self.heard = 0
        self.line, self.changed = asyncio.Lock(), asyncio.Event()

    async def enter(self, tokens: int, cost: float, stopping: asyncio.Event) -> Ticket:
        """Waits until the request may be sent. Stopped by the budget, Abandoned once `stopping` is set."""
        async with self.line:
            while not stopping.is_set():
                now = time.monotonic()
                wait = self._wait(tokens, cost, now)
                if wait <= 0:
                    return self._let_through(tokens, cost, now)
                self.changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if wait == math.inf else wait):
                        await self.changed.wait()
        raise Abandoned

    def leave(
        self, ticket: Ticket, headers: Mapping[str, str] | None, tokens: int | None, overloaded: bool = False
    ) -> None:
        """The request is over. `headers` of the server's response, if one came; `tokens` that it took, None
        where unknown; `overloaded` where it failed in a way that asks for less at once."""
        now = time.monotonic()
        if overloaded:
            self.concurrency.overloaded(ticket.sent_at, now)
        elif headers is not None:
            self.concurrency.answered(len(self.in_flight), tokens or 1, ticket.sent_at, now)
        del self.in_flight[ticket.serial]
        self.reserved -= ticket.cost
        if tokens is not None:
            self.token_pace.correct(tokens - ticket.tokens)
        if headers is not None:
            self._hear(ticket, headers, now, overloaded)
        self.tally.in_flight, self.tally.concurrency = len(self.in_flight), int(self.concurrency.limit)
        self.changed.set()

    def _wait(self, tokens: int, cost: float, now: float) -> float:
        budget = self.terms.budget
        if not affords(budget, self.tally, cost):
            raise Stopped(budget, self.tally)
        if len(self.in_flight) >= int(self.concurrency.limit):
            return math.inf
        if self.in_flight and not affords(budget, self.tally, cost, self.reserved):
            # Answers are mostly shorter than they may be: what is in flight will leave room.
            return math.inf
        some = bool(self.in_flight)
        return max(
            self.paused_until - now,
            self.request_pace.wait(now),
            self.token_pace.wait(now),
            self.windows["requests"].wait(1, now, some),
            self.windows["tokens"].wait(tokens, now, some),
        )

    def _let_through(self, tokens: int, cost: float, now: float) -> Ticket:
        self.sent += 1
        ticket = self.in_flight[self.sent] = Ticket(self.sent, now, tokens, cost)
        self.reserved += cost
        self.request_pace.take(1, now)
        self.token_pace.take(tokens, now)
        self.windows["requests"].take(1)
        self.windows["tokens"].take(tokens)
        self.tally.requests += 1
        self.tally.in_flight = len(self.in_flight)
        return ticket

    def _hear(self, ticket: Ticket, headers: Mapping[str, str], now: float, overloaded: bool) -> None:
        asked = seconds_asked(headers) if overloaded else None
        if asked is not None:
            self.paused_until = max(self.paused_until, now + asked)
        if ticket.serial < self.heard:
            return
        self.heard = ticket.serial
        later = [other for serial, other in self.in_flight.items() if serial > ticket.serial]
        on_the_way = {"requests": len(later), "tokens": sum(other.tokens for other in later)}
        for kind, window in self.windows.items():
            if told := told_by(headers, kind):
                limit, remaining, reset = told
                window.told(limit, remaining, now + reset, on_the_way[kind])
