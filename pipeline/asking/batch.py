"""Many jobs → answers by the OpenAI Batch API: in files of requests, at half the price, within a day.

Invariant: no sample is asked for while a batch is under way that may answer it, whoever has submitted that.
What is under way stands in a folder (`pipeline.asking.submission`), so a run that was killed or stopped at any
moment goes on where it was when the same command is given again: jobs are matched, sample by sample, with
the requests of the batches that it finds. Memory holds some hundred bytes for each request under way, and
neither bodies nor answers.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
import json
from pathlib import Path
import threading
from typing import Any

import openai

from askonce.cache import durable
from askonce.cache.errors import AskonceError
from askonce.pipeline.asking.asker import Replies, Unanswered
from askonce.pipeline.asking.batch_api import Batch, BatchApi, answered, client
from askonce.pipeline.asking.budget import Stopped, Tally
from askonce.pipeline.asking.client import HOPELESS, OF_ONE_PROMPT, Job
from askonce.pipeline.asking.endpoint import Endpoint
from askonce.pipeline.asking.failure import STORED, cleaned, explained, kind, reason
from askonce.pipeline.asking.gate import Abandoned
from askonce.pipeline.asking.pending import Limits, Pending, at_a_discount
from askonce.pipeline.asking.reply import NoAnswer, Reply, spent, without_cost
from askonce.pipeline.asking.retry import is_passing
from askonce.pipeline.asking.submission import Claim, Request, Submission, digest_of, found
from askonce.pipeline.asking.terms import Terms

# Of these a batch does not come back.
ENDED = ("completed", "failed", "expired", "cancelled")
# More requests than the account may have enqueued.
FULL = "token_limit_exceeded"
# Requests that are answered, stored and marked as taken together.
TOGETHER = 1000

Events = list[Replies | Unanswered]


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
        self.directory, self.most_batches = asker.directory, asker.limits.batches
        self.api = BatchApi(asker.openai, asker.server, asker.terms.patience, asker.tally, stop)
        self.price = at_a_discount(asker.terms.price)
        self.pending = Pending(asker.directory, asker.limits, asker.terms.budget, self.price, asker.tally)
        self.submissions: list[Submission] = []
        # As many at once as the account has room for, as far as it has shown.
        self.batches = asker.limits.batches
        self.answers = 0
        self.set_aside: set[Any] = set()
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
        if self.pending.refused:
            raise Stopped(self.terms.budget, self.tally)

    def close(self) -> None:
        self.pending.close()
        for submission in self.submissions:
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
            self.pending.adopt(submission)

    def _under_way(self) -> list[Submission]:
        return [submission for submission in self.submissions if submission.wanted]

    def _go_on(self, jobs: Iterator[Job]) -> bool:
        """Submits what there is to submit and room for. Whether there is anything to wait for."""
        while len(self._under_way()) < self.batches:
            # A second draft is begun when the first is full.
            while len(self.pending.drafts) < 2 and (job := self._next(jobs)):
                digest = digest_of(job.body, self.server.name)
                self.pending.place(Claim(job.label, job.first, job.n), digest, job.body)
            if self.stop.is_set():
                raise Abandoned
            if not self.pending.drafts:
                break
            self._submit(self.pending.drafts[0])
        return bool(self._under_way())

    def _next(self, jobs: Iterator[Job]) -> Job | None:
        # When no more may be asked, jobs may still wait for what earlier runs have asked.
        more = not self.pending.refused or any(submission.adopted for submission in self.submissions)
        return next(jobs, None) if more and not self.stop.is_set() else None

    def _submit(self, draft: Submission) -> None:
        draft.write_down(self.server.name)
        draft.submitted(self.api.submit(draft))
        self.submissions.append(self.pending.drafts.popleft())

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

    # ---- From answers to events -----------------------------------------------------------------

    def _harvest(self, submission: Submission, batch: Batch) -> Iterator[Events]:
        """Answers that no job waits for are left for one that will."""
        failed = batch["status"] == "failed"
        if not failed:
            self.batches = min(self.most_batches, self.batches + 1)
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
                    if request := self.pending.awaited(submission, line):
                        yield self._outcome(request, line, latency, asked_at)
        for request in expected:
            if request.claims:
                yield self._outcome(request, None, latency, asked_at)

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

    def _with_answer(self, request: Request, body: dict[str, Any], replies: list[Reply]) -> tuple[Events, bool]:
        """Each claim's part of the replies; what is missing is asked for again. Whether all are given."""
        self.answers += 1
        self.pending.learn(request.n, len(replies), replies[0].prompt_tokens, body)
        events: Events = []
        given: set[int] = set()
        for claim in self.pending.done(request, body):
            at = claim.first - request.first
            part = [
                without_cost(reply) if at + i in given else reply for i, reply in enumerate(replies[at : at + claim.n])
            ]
            given.update(range(at, at + len(part)))
            if part:
                events.append(Replies(Job(claim.label, body, len(part), claim.first), part))
            for reply in part:
                self.tally.spend(reply.prompt_tokens, reply.completion_tokens, self.price)
            if len(part) < claim.n:
                rest = Claim(claim.label, claim.first + len(part), claim.n - len(part))
                self.pending.place(rest, request.digest, body)
        self.tally.completions += len(given)
        return events, len(given) == len(replies)

    def _without_answer(self, request: Request, body: dict[str, Any], error: Exception) -> Events:
        """Asks again if that may help; otherwise tells it, or ends the run where it concerns all requests."""
        claims = self.pending.done(request, body)
        of_prompt = isinstance(error, openai.APIStatusError) and error.status_code in OF_ONE_PROMPT
        if of_prompt and request.n > 1 and not self.pending.takes_several:
            # Some servers refuse n > 1; if that was not it, the same error comes again.
            self.pending.takes_several = False
            for claim in claims:
                self.pending.place(claim, request.digest, body)
            return []
        if of_prompt:
            self.set_aside.add(request.digest)
            if not self.answers and len(self.set_aside) >= HOPELESS:
                self._fail(error)
        elif not is_passing(error):
            self._fail(error)
            return []
        events: Events = []
        for claim in claims:
            failures = claim.failures + 1
            if of_prompt or failures >= self.terms.patience.attempts and self.answers:
                said = f"the server {reason(error, self.server, self.terms.patience)}"
                events.append(Unanswered(Job(claim.label, body, claim.n, claim.first), said))
            elif failures >= self.terms.patience.attempts:
                self._fail(error)
            else:
                self.pending.place(claim._replace(failures=failures), request.digest, body)
        return events

    def _rejected(self, submission: Submission, batch: Batch) -> Iterator[tuple[Events, Request | None]]:
        """The server has not begun with the batch, for what it says of single lines or of all."""
        count = len(submission.requests)
        if not submission.adopted:
            self.tally.requests -= count
            self.pending.refused = False
        errors = (batch.get("errors") or {}).get("data") or [{}]
        # Lines are counted from 1.
        of_lines = {error["line"]: error for error in errors if error.get("line") in range(1, count + 1)}
        full = errors[0].get("code") == FULL
        if not (full and self._make_smaller(submission) or of_lines):
            words = cleaned(f"({errors[0].get('code')}: {errors[0].get('message')})", self.server)
            again = "; try again later" if full else ""
            self.failed = AskonceError(f"{self.server.name} refused a batch {words}; {STORED}{again}")
        for request in submission.requests:
            if request not in self.pending:
                continue
            body, error = request.body(), of_lines.get(request.number + 1)
            events: Events = []
            for claim in self.pending.done(request, body):
                if error:
                    said = cleaned(f"the server refused its line ({error.get('message')})", self.server)
                    events.append(Unanswered(Job(claim.label, body, claim.n, claim.first), said))
                elif not self.failed:
                    self.pending.place(claim, request.digest, body)
            yield events, request

    def _make_smaller(self, submission: Submission) -> bool:
        """Fewer batches at once or, where there is but one, a smaller one; False where that cannot be."""
        others = len(self._under_way()) - 1
        if others:
            self.batches = others
            return True
        self.pending.most_requests = -(-len(submission.requests) // 2)
        if self.stop.wait(self.terms.patience.longest_wait):
            raise Abandoned
        return len(submission.requests) > 1

    def _count_failure(self, error: Exception, line: Any, n: int, body: dict[str, Any]) -> None:
        self.tally.errors[kind(error)] += 1
        response = line.get("response") if isinstance(line, dict) else None
        if isinstance(response, dict):
            used = spent(response.get("body"))
            self.tally.spend(*used, self.price)
            if isinstance(error, NoAnswer) and not any(used):
                self.tally.lost += self.pending.cost(body, n)

    def _fail(self, error: Exception) -> None:
        said = explained(error, self.server, self.terms.patience)
        if isinstance(error, NoAnswer):
            why = reason(error, self.server, self.terms.patience)
            said = f"{self.server.name} {why}; {STORED}; run the same command again"
        self.failed = self.failed or AskonceError(said)


def _latency(batch: Batch) -> float:
    """Seconds from the creation of the batch to its end by the server's clock; 0 where it does not say."""
    ended, created = batch.get(f"{batch['status']}_at"), batch.get("created_at")
    if not (isinstance(ended, int | float) and isinstance(created, int | float)):
        return 0.0
    return float(max(0, ended - created))


def _parsed(raw: bytes) -> Any:
    """A line; None where it is none, so that its request counts as not answered."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
