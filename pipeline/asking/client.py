"""One job → its replies: requests through the gate, tried again by the policy, failures told apart.

A failure is the prompt's own (`SetAside`: the others go on) or the server's (`AskonceError`: the run ends).
A server that answers other requests meanwhile is not down, so what it fails to answer for good is
set aside like a prompt that it refuses.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
import time
from typing import Any, NamedTuple

import httpx2
import openai

from askonce.cache.errors import AskonceError
from askonce.pipeline.asking import failure
from askonce.pipeline.asking.abilities import MOST_CHOICES, Abilities, changes, dressed, seen
from askonce.pipeline.asking.budget import Tally
from askonce.pipeline.asking.endpoint import Endpoint
from askonce.pipeline.asking.gate import Abandoned, Gate, Ticket
from askonce.pipeline.asking.prices import completion_limit, prompt_tokens
from askonce.pipeline.asking.reply import NoAnswer, Reply, parsed, replies, spent
from askonce.pipeline.asking.retry import FIRST_TIMEOUT, LONGEST_TIMEOUT, is_busy, is_passing, retrying
from askonce.pipeline.asking.stream import MOVED
from askonce.pipeline.asking.terms import Terms
from askonce.pipeline.asking.thinking import reasoning_tokens
from askonce.pipeline.asking.transport import bounded, stay_async
from askonce.pipeline.simulated.response import FIRST_SAMPLE

# The statuses that may be a single prompt's fault: malformed or filtered, too long, unprocessable.
OF_ONE_PROMPT = (400, 413, 422)
# When so many prompts are refused before any has been answered, no other will be.
HOPELESS = 8
# How often one question is asked in another dress before it is taken for refused.
MOST_WAYS = 16


class Job(NamedTuple):
    """Samples `first` to `first + n - 1` of one request body; `label` is the asker's own."""

    label: Any
    body: dict[str, Any]
    n: int
    first: int = 0


class SetAside(Exception):
    """The server does not answer this prompt; the message says why."""


class Client:
    """Asks one server, for use in one event loop; close it there too."""

    def __init__(self, server: Endpoint, terms: Terms, tally: Tally, can: Abilities = Abilities()):
        self.server, self.terms, self.tally, self.can = server, terms, tally, can
        self.gate = Gate(terms, tally)
        self.answers = self.set_aside = 0
        # Of one attempt, where the user has set no time-out.
        self.timeout = FIRST_TIMEOUT
        # The most that a prompt took beyond its estimate, as a factor.
        self.underestimated = 1.0
        # A proxy of the environment would be asked for this machine's own servers too. Attempts are timed
        # as a whole, so that a server that sends a byte now and then cannot hold one for ever.
        self.http = openai.DefaultAsyncHttpxClient(
            trust_env=not server.on_loopback,
            timeout=None,
            transport=bounded(server),
            event_hooks={"response": [stay_async]},
        )
        self.openai = openai.AsyncOpenAI(
            api_key=server.api_key, base_url=server.address, max_retries=0, http_client=self.http
        )

    async def close(self) -> None:
        await self.openai.close()

    async def parts(self, job: Job, stopping: asyncio.Event) -> AsyncIterator[list[Reply]]:
        """The replies as they arrive: at once, or in parts from a server that gives fewer than asked for.

        SetAside, AskonceError, or Abandoned when `stopping` is set before all have come.
        """
        given = 0
        while given < job.n:
            wanted = min(job.n - given, self.can.choices or MOST_CHOICES)
            part = await self._ask(job._replace(first=job.first + given, n=wanted), stopping)
            given += len(part)
            yield part

    async def _ask(self, job: Job, stopping: asyncio.Event) -> list[Reply]:
        answers_before, can = self.answers, self.can
        try:
            return await self._with_patience(job, can, stopping)
        except (openai.OpenAIError, NoAnswer, TimeoutError) as error:
            if isinstance(error, openai.APIStatusError) and error.status_code in OF_ONE_PROMPT:
                found, error = await self._otherwise(job, can, error, stopping)
                if found:
                    return found
                self.set_aside += 1
                own = self.answers > 0 or self.set_aside < HOPELESS
            else:
                own = is_passing(error) and self.answers > answers_before
            if own:
                raise SetAside(f"the server {failure.reason(error, self.server, self.terms.patience)}") from error
            raise AskonceError(failure.explained(error, self.server, self.terms.patience)) from error

    async def _otherwise(
        self, job: Job, sent: Abilities, error: openai.APIStatusError, stopping: asyncio.Event
    ) -> tuple[list[Reply], openai.APIStatusError]:
        """The replies to the same question in another dress; none where the server refuses it in every one, and why it
        refused the last: what stood in the way before had been taken away."""
        refused, n = [error], min(job.n, self.can.choices or job.n)
        tried = {(sent, job.n)}
        # Meanwhile others may have learnt what this one was refused for.
        ways = deque([(self.can, n), *self._changes(job, self.can, n, error)])
        while ways and len(tried) < MOST_WAYS:
            can, n = ways.popleft()
            if (can, n) in tried:
                continue
            tried.add((can, n))
            try:
                found = await self._with_patience(job._replace(n=n), can, stopping)
            except openai.APIStatusError as again:
                if again.status_code not in OF_ONE_PROMPT:
                    raise
                further = self._changes(job, can, n, again)
                # Other words: what stood in the way has been taken away, and something else stands there.
                if self._words(again) == self._words(refused[0]):
                    ways.extend(further)
                else:
                    ways.extendleft(reversed(further))
                refused.append(again)
                continue
            # That is how the server was got to know, and no failure.
            self.tally.errors -= Counter(failure.kind(one) for one in refused)
            return found, error
        return [], refused[-1]

    def _changes(self, job: Job, can: Abilities, n: int, error: openai.APIStatusError) -> list[tuple[Abilities, int]]:
        return changes(can, self._dressed(job, can), n, self._words(error))

    def _words(self, error: openai.APIStatusError) -> str:
        return failure.words(error, self.server)

    def _dressed(self, job: Job, can: Abilities) -> dict[str, Any]:
        """Streamed where a whole answer takes long, so that one that moves is not taken for one that hangs."""
        streamed = self.timeout > FIRST_TIMEOUT and self.terms.patience.timeout is None
        return dressed(job.body, can, job.first, streamed)

    async def _with_patience(self, job: Job, can: Abilities, stopping: asyncio.Event) -> list[Reply]:
        """The replies of a server that is taken to have these abilities, and does so from now on if it answers."""

        async def sleep(seconds: float) -> None:
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), seconds)
            if stopping.is_set():
                raise Abandoned

        return await retrying(self.terms.patience, sleep)(self._once, job, can, stopping)

    async def _once(self, asked: Job, can: Abilities, stopping: asyncio.Event) -> list[Reply]:
        job = asked._replace(body=self._dressed(asked, can))
        estimate = prompt_tokens(job.body)
        most_in, most_out = round(estimate * self.underestimated), job.n * completion_limit(job.body)
        most_cost = self.terms.price.of(most_in, most_out) if self.terms.price else 0.0
        ticket = await self.gate.enter(most_in + most_out, most_cost, stopping)
        asked_at, answer, response = datetime.now(UTC), None, None
        timeout = self.terms.patience.timeout or self.timeout
        try:
            async with asyncio.timeout(timeout) as timer:
                MOVED.set(partial(self._moved, timer, timeout, asyncio.get_running_loop().time()))
                response = await self._post(job)
            answer = parsed(response.content)
            wanted = job.body["messages"] if "prompt_logprobs" in job.body else ()
            found = replies(answer, job.n, time.monotonic() - ticket.sent_at, asked_at, wanted)
        except (openai.OpenAIError, NoAnswer, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                # Those in flight together are one time-out.
                self.timeout = min(max(self.timeout, 2 * timeout), LONGEST_TIMEOUT)
            self._failed(ticket, error, answer, response)
            raise
        except BaseException:
            self.gate.leave(ticket, None, None)
            raise
        slow = 0.0 if "stream" in job.body else 4 * (time.monotonic() - ticket.sent_at)
        self.timeout = min(max(self.timeout, slow), LONGEST_TIMEOUT)
        used = self._spend(ticket, answer, response.headers)
        self.underestimated = max(self.underestimated, used[0] / estimate)
        self.can = seen(can, job.body, job.n, found)
        self.answers += 1
        self.tally.completions += len(found)
        return found

    def _moved(self, timer: asyncio.Timeout, timeout: float, sent_at: float) -> None:
        now = asyncio.get_running_loop().time()
        timer.reschedule(min(now + timeout, sent_at + self.terms.patience.in_all))

    async def _post(self, job: Job) -> httpx2.Response:
        """The response as it is: the client's own models would drop what servers add to the protocol."""
        headers = {FIRST_SAMPLE: str(job.first), **self.server.headers}
        body = {**job.body, "n": job.n}
        try:
            return await self.openai.post(
                "/chat/completions", body=body, cast_to=httpx2.Response, options={"headers": headers}
            )
        except openai.APIConnectionError as error:
            # The client takes whatever goes wrong on the way for a lost connection.
            if isinstance(error.__cause__, NoAnswer | AskonceError):
                raise error.__cause__ from None
            raise

    def _spend(self, ticket: Ticket, answer: Any, headers: httpx2.Headers, overloaded: bool = False) -> tuple[int, int]:
        used = spent(answer)
        self.tally.reasoning_tokens += reasoning_tokens(answer.get("usage") if isinstance(answer, dict) else None)
        self.tally.spend(*used, self.terms.price)
        self.gate.leave(ticket, headers, sum(used) if any(used) else None, overloaded)
        return used

    def _failed(self, ticket: Ticket, error: Exception, answer: Any, response: httpx2.Response | None) -> None:
        self.tally.errors[failure.kind(error)] += 1
        if isinstance(error, openai.APIStatusError):
            with suppress(NoAnswer):
                answer = parsed(error.response.content)
            overloaded = is_busy(error) or error.status_code >= 500
            self._spend(ticket, answer, error.response.headers, overloaded)
            return
        if not any(spent(answer)) and not isinstance(error.__cause__, httpx2.ConnectError):
            self.tally.lost += ticket.cost
        if response is not None:
            self._spend(ticket, answer, response.headers)
        else:
            self.gate.leave(ticket, None, None, overloaded=True)
