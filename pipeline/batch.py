"""Many jobs → answers by the OpenAI Batch API: in files of requests, at half the price, within a day.

Invariant: no sample is asked for while a batch is under way that may answer it, whoever has submitted that.
What is under way stands in a folder (`pipeline.submission`), so a run that was killed or stopped at any
moment goes on where it was when the same command is given again: jobs are matched, sample by sample, with
the requests of the batches that it finds. Memory holds some hundred bytes for each request under way, and
neither bodies nor answers.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
import json
from pathlib import Path
import threading
from typing import Any

import openai

from cache import durable
from cache.errors import AskonceError
from pipeline.asking import Answer, Unanswered
from pipeline.batch_api import Batch, BatchApi, answered, client
from pipeline.budget import Stopped, Tally, affords
from pipeline.client import HOPELESS, OF_ONE_PROMPT, Job
from pipeline.endpoint import Endpoint
from pipeline.explain import STORED, cleaned, explained, kind, reason
from pipeline.gate import Abandoned
from pipeline.prices import Price, completion_limit, prompt_tokens
from pipeline.reply import NoAnswer, Reply, spent
from pipeline.retry import is_passing
from pipeline.submission import Claim, Request, Submission, digest_of, found, line_of
from pipeline.terms import Terms

# "50% cost discount compared to synchronous APIs": https://platform.openai.com/docs/guides/batch
DISCOUNT = 0.5
# Of these a batch does not come back.
ENDED = ("completed", "failed", "expired", "cancelled")
# More requests than the account may have enqueued.
FULL = "token_limit_exceeded"
# Requests that are answered, stored and marked as taken together.
TOGETHER = 1000

Events = list[Answer | Unanswered]


@dataclass(frozen=True)
class Limits:
    """Requests and bytes in a file, which are OpenAI's own limits; and batches under way at once, so that
    memory does not grow with the number of jobs."""

    requests: int = 50_000
    bytes: int = 200_000_000
    batches: int = 8


@dataclass(frozen=True)
class BatchAsker:
    """One connection (made by `connect`)."""

    openai: openai.OpenAI
    server: Endpoint
    terms: Terms
    directory: Path
    tally: Tally
    limits: Limits

    def ask(self, jobs: Iterable[Job], stop: threading.Event | None = None) -> Iterator[Events]:
        """Events as of `asking.Asker.ask`, as batches end; store each list before asking for the next.

        Unlike there, nothing is waited for when a run ends early, be it by `stop`, by an error or by
        KeyboardInterrupt: batches go on without us, and the same call made later takes up where this one
        ended. Where the budget refuses a request, no more are submitted, and `budget.Stopped` is raised once
        all those under way have been answered.
        """
        durable.make_directory(self.directory)
        run = _Run(self, stop or threading.Event())
        try:
            yield from run.events(iter(jobs))
        finally:
            run.close()


@contextmanager
def connect(
    server: Endpoint, terms: Terms, directory: Path, tally: Tally | None = None, limits: Limits = Limits()
) -> Iterator[BatchAsker]:
    """Batches at the server, for any number of runs; what is under way stands in `directory`.

    Of the terms, only budget, price and patience mean something to batches: waits between looks at a batch
    double from patience.first_wait to patience.longest_wait.
    """
    with client(server, terms.patience) as opened:
        yield BatchAsker(opened, server, terms, directory, tally or Tally(), limits)


class _Run:
    """One `ask`."""

    def __init__(self, asker: BatchAsker, stop: threading.Event):
        self.server, self.terms, self.tally, self.stop = asker.server, asker.terms, asker.tally, stop
        self.directory, self.limits = asker.directory, asker.limits
        # What the account has room for, as far as it has shown.
        self.requests, self.batches = self.limits.requests, self.limits.batches
        self.api = BatchApi(asker.openai, asker.server, asker.terms.patience, asker.tally, stop)
        price = asker.terms.price
        self.price = price and Price(price.input * DISCOUNT, price.output * DISCOUNT)
        # The last of the drafts is being filled; the others are full.
        self.drafts: deque[Submission] = deque()
        self.submissions: list[Submission] = []
        # Requests in both that have not been answered, by their digests; the later ones last.
        self.pending: dict[str, list[Request]] = {}
        # Tokens, at most, of the requests that jobs wait for; and by what factor prompts were underestimated.
        self.prompt_tokens = self.completion_tokens = 0
        self.underestimated = 1.0
        self.takes_several: bool | None = None
        self.answers, self.set_aside = 0, set()
        self.refused = False
        self.failed: AskonceError | None = None

    def events(self, jobs: Iterator[Job]) -> Iterator[Events]:
        try:
            self._adopt()
            while not self.failed and self._go_on(jobs):
                yield from self._harvest(*self._first_to_end())
        except Abandoned:
            return
        if self.failed:
            raise self.failed
        if self.refused:
            raise Stopped(self.terms.budget, self.tally)

    def close(self) -> None:
        self.tally.requests -= sum(len(draft.requests) for draft in self.drafts)
        self.tally.in_flight = 0
        for submission in [*self.drafts, *self.submissions]:
            submission.close()

    # ---- What is under way ----------------------------------------------------------------------

    def _adopt(self) -> None:
        for submission in found(self.directory, self.server.name, self.stop):
            if not submission.state.batch:
                # Its run was killed between writing it down and hearing from the server.
                batch = self.api.search(submission)
                if not batch:
                    submission.remove()
                    continue
                submission.submitted(batch)
            self.submissions.append(submission)
            for request in submission.requests:
                if not submission.taken >> request.number & 1:
                    self.pending.setdefault(request.digest, []).append(request)

    def _under_way(self) -> list[Submission]:
        return [submission for submission in self.submissions if submission.wanted]

    def _go_on(self, jobs: Iterator[Job]) -> bool:
        """Submits what there is to submit and room for. Whether there is anything to wait for."""
        while len(self._under_way()) < self.batches:
            # A second draft is begun when the first is full.
            while len(self.drafts) < 2 and (job := self._next(jobs)):
                self._place(Claim(job.label, job.first, job.n), digest_of(job.body, self.server.name), job.body)
            if self.stop.is_set():
                raise Abandoned
            if not self.drafts:
                break
            self._submit(self.drafts[0])
        return bool(self._under_way())

    def _next(self, jobs: Iterator[Job]) -> Job | None:
        # When no more may be asked, jobs may still wait for what earlier runs have asked.
        more = not self.refused or any(submission.adopted for submission in self.submissions)
        return next(jobs, None) if more and not self.stop.is_set() else None

    def _submit(self, draft: Submission) -> None:
        draft.write_down(self.server.name)
        draft.submitted(self.api.submit(draft))
        self.submissions.append(self.drafts.popleft())

    def _first_to_end(self) -> tuple[Submission, Batch]:
        pause = self.terms.patience.first_wait
        while True:
            for submission in self._under_way():
                batch = self.api.batch(submission)
                if batch.get("status") in ENDED:
                    return submission, batch
            if self.stop.wait(pause):
                raise Abandoned
            pause = min(2 * pause, self.terms.patience.longest_wait)

    # ---- From jobs to requests ------------------------------------------------------------------

    def _place(self, claim: Claim, digest: str, body: dict[str, Any]) -> None:
        """Has every sample of the claim wait for a request that is pending or, if there is none, new."""
        first, end = claim.first, claim.first + claim.n
        while first < end:
            pending = self.pending.get(digest, ())
            request = next((one for one in reversed(pending) if one.first <= first < one.first + one.n), None)
            if request is None:
                until = min([end, *(one.first for one in pending if one.first > first)])
                n = 1 if self.takes_several is False else until - first
                request = self._new(digest, first, n, body)
            if request is None:
                return
            until = min(end, request.first + request.n)
            if not request.claims:
                self._reserve(request, body, 1)
            request.claims += (claim._replace(first=first, n=until - first),)
            first = until

    def _new(self, digest: str, first: int, n: int, body: dict[str, Any]) -> Request | None:
        """A new request; None where the budget refuses it, and then all others."""
        cost = self._cost(prompt_tokens(body), n * completion_limit(body))
        under_way = self._cost(self.prompt_tokens, self.completion_tokens)
        self.refused = self.refused or not affords(self.terms.budget, self.tally, cost, under_way)
        if self.refused:
            return None
        line = line_of(body, digest, first, n)
        request = self._draft(len(line)).add(line, digest, first, n)
        self.pending.setdefault(digest, []).append(request)
        self.tally.requests += 1
        return request

    def _draft(self, size: int) -> Submission:
        """A draft that has room for another line of so many bytes."""
        last = self.drafts[-1] if self.drafts else None
        if not last or len(last.requests) >= self.requests or last.size + size > self.limits.bytes:
            self.drafts.append(Submission(self.directory))
        return self.drafts[-1]

    def _reserve(self, request: Request, body: dict[str, Any], sign: int) -> None:
        request.submission.wanted += sign
        self.tally.in_flight += sign
        self.prompt_tokens += sign * prompt_tokens(body)
        self.completion_tokens += sign * request.n * completion_limit(body)

    def _cost(self, prompt: int, completion: int) -> float:
        return self.price.of(prompt * self.underestimated, completion) if self.price else 0.0

    # ---- From answers to events -----------------------------------------------------------------

    def _harvest(self, submission: Submission, batch: Batch) -> Iterator[Events]:
        """Answers that no job waits for are left for one that will."""
        failed = batch["status"] == "failed"
        if not failed:
            self.batches = min(self.limits.batches, self.batches + 1)
        outcomes = self._rejected(submission, batch) if failed else self._outcomes(submission, batch)
        events: Events = []
        taken: list[int] = []
        for more, request in outcomes:
            events += more
            taken += [request.number] if request else []
            if len(events) >= TOGETHER:
                yield events
                # The caller has come back, so it has stored them.
                submission.take(taken)
                events, taken = [], []
                if self.stop.is_set():
                    raise Abandoned
        if events:
            yield events
        submission.take([request.number for request in submission.requests] if failed else taken)
        if submission.over:
            self.submissions.remove(submission)

    def _outcomes(self, submission: Submission, batch: Batch) -> Iterator[tuple[Events, Request | None]]:
        """Of each request that is waited for: its events, and itself where it has nothing left to give."""
        asked_at, latency = submission.state.asked_at, _latency(batch)
        expected = [request for request in submission.requests if request.claims]
        for file in filter(None, (batch.get("output_file_id"), batch.get("error_file_id"))):
            with self.api.lines(submission, file) as lines:
                for raw in lines:
                    line = _parsed(raw)
                    if request := self._awaited(submission, line):
                        yield self._outcome(request, line, latency, asked_at)
        for request in expected:
            if request.claims:
                yield self._outcome(request, None, latency, asked_at)

    def _awaited(self, submission: Submission, line: Any) -> Request | None:
        name = line.get("custom_id") if isinstance(line, dict) else None
        pending = self.pending.get(str(name).partition("-")[0], ())
        mine = (one for one in pending if one.submission is submission and one.custom_id == name)
        return next((one for one in mine if one.claims), None)

    def _outcome(
        self, request: Request, line: Any, latency: float, asked_at: datetime
    ) -> tuple[Events, Request | None]:
        body = request.body()
        try:
            replies = answered(line, request.n, latency, asked_at)
        except (openai.APIStatusError, NoAnswer) as error:
            self._count_failure(error, line, request.n, body)
            return self._without_answer(request, body, error), request
        events, all_given = self._with_answer(request, body, replies)
        return events, request if all_given else None

    def _with_answer(
        self, request: Request, body: dict[str, Any], replies: list[Reply]
    ) -> tuple[Events, bool]:
        """Each claim's part of the replies; what is missing is asked for again. Whether all are given."""
        self.answers += 1
        if len(replies) > 1 or self.takes_several is None and request.n > 1:
            self.takes_several = len(replies) > 1
        self.underestimated = max(self.underestimated, replies[0].prompt_tokens / prompt_tokens(body))
        events: Events = []
        given: set[int] = set()
        for claim in self._done(request, body):
            at = claim.first - request.first
            part = [_again(reply) if at + i in given else reply
                    for i, reply in enumerate(replies[at:at + claim.n])]
            given.update(range(at, at + len(part)))
            if part:
                events.append(Answer(Job(claim.label, body, len(part), claim.first), part))
            for reply in part:
                self.tally.spend(reply.prompt_tokens, reply.completion_tokens, self.price)
            if len(part) < claim.n:
                rest = Claim(claim.label, claim.first + len(part), claim.n - len(part))
                self._place(rest, request.digest, body)
        self.tally.completions += len(given)
        return events, len(given) == len(replies)

    def _without_answer(self, request: Request, body: dict[str, Any], error: Exception) -> Events:
        """Asks again if that may help; otherwise tells it, or ends the run where it concerns all requests."""
        claims = self._done(request, body)
        of_prompt = isinstance(error, openai.APIStatusError) and error.status_code in OF_ONE_PROMPT
        if of_prompt and request.n > 1 and not self.takes_several:
            # Some servers refuse n > 1; if that was not it, the same error comes again.
            self.takes_several = False
            for claim in claims:
                self._place(claim, request.digest, body)
            return []
        if of_prompt:
            self.set_aside.add(request.digest)
            if not self.answers and len(self.set_aside) >= HOPELESS:
                self._fail(error)
        elif not is_passing(error):
            self._fail(error)
            return []
        events = []
        for claim in claims:
            failures = claim.failures + 1
            if of_prompt or failures >= self.terms.patience.attempts and self.answers:
                said = f"the server {reason(error, self.server, self.terms.patience)}"
                events.append(Unanswered(Job(claim.label, body, claim.n, claim.first), said))
            elif failures >= self.terms.patience.attempts:
                self._fail(error)
            else:
                self._place(claim._replace(failures=failures), request.digest, body)
        return events

    def _rejected(self, submission: Submission, batch: Batch) -> Iterator[tuple[Events, Request | None]]:
        """The server has not begun with the batch, for what it says of single lines or of all."""
        if not submission.adopted:
            self.tally.requests -= len(submission.requests)
        errors = (batch.get("errors") or {}).get("data") or [{}]
        of_lines = {error["line"]: error for error in errors if error.get("line")}
        full = errors[0].get("code") == FULL
        if not (full and self._make_smaller(submission) or of_lines):
            words = cleaned(f"({errors[0].get('code')}: {errors[0].get('message')})", self.server)
            again = "; try again later" if full else ""
            self.failed = AskonceError(f"{self.server.name} refused a batch {words}; {STORED}{again}")
        for request in submission.requests:
            if not self._is_pending(request):
                continue
            body, error, events = request.body(), of_lines.get(request.number + 1), []
            for claim in self._done(request, body):
                if error:
                    said = cleaned(f"the server refused its line of a batch ({error.get('message')})", self.server)
                    events.append(Unanswered(Job(claim.label, body, claim.n, claim.first), said))
                elif not self.failed:
                    self._place(claim, request.digest, body)
            yield events, request

    def _make_smaller(self, submission: Submission) -> bool:
        """Fewer batches at once or, where there is but one, fewer requests in it; False where that cannot be."""
        others = len(self._under_way()) - 1
        if others:
            self.batches = others
            return True
        self.requests = -(-len(submission.requests) // 2)
        if self.stop.wait(self.terms.patience.longest_wait):
            raise Abandoned
        return len(submission.requests) > 1

    def _is_pending(self, request: Request) -> bool:
        return request in self.pending.get(request.digest, ())

    def _done(self, request: Request, body: dict[str, Any]) -> tuple[Claim, ...]:
        """The request is no longer pending; returns who waited for it."""
        claims, request.claims = request.claims, ()
        pending = self.pending[request.digest]
        pending.remove(request)
        if not pending:
            del self.pending[request.digest]
        if claims:
            self._reserve(request, body, -1)
        return claims

    def _count_failure(self, error: Exception, line: Any, n: int, body: dict[str, Any]) -> None:
        self.tally.errors[kind(error)] += 1
        response = line.get("response") if isinstance(line, dict) else None
        if isinstance(response, dict):
            used = spent(response.get("body"))
            self.tally.spend(*used, self.price)
            if isinstance(error, NoAnswer) and not any(used):
                self.tally.lost += self._cost(prompt_tokens(body), n * completion_limit(body))

    def _fail(self, error: Exception) -> None:
        self.failed = self.failed or AskonceError(explained(error, self.server, self.terms.patience))


def _latency(batch: Batch) -> float:
    """Seconds from the creation of the batch to its end by the server's clock; 0 where it does not say."""
    ended, created = batch.get(f"{batch['status']}_at"), batch.get("created_at")
    known = isinstance(ended, int | float) and isinstance(created, int | float)
    return float(max(0, ended - created)) if known else 0.0


def _again(reply: Reply) -> Reply:
    """The same for another job, without what it took."""
    return replace(reply, prompt_tokens=0, completion_tokens=0, usage=None)


def _parsed(raw: bytes) -> Any:
    """A line; None where it is none, so that its request counts as not answered."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
