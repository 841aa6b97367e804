"""Many jobs → answers as they arrive: an event loop in a thread of its own asks, the caller's consumes.

Jobs are read, in the caller's thread, only as far as they can be asked about soon, and nothing is kept
of those that have ended, so memory does not grow with their number. Whatever ends a run, all that was in
flight is waited for and handed over first. Jobs in flight at the same time that ask for the same
samples are one request.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
import json
from queue import Empty, SimpleQueue
import threading
import time
from typing import NamedTuple

from askonce.pipeline.asking.abilities import Abilities
from askonce.pipeline.asking.budget import Tally
from askonce.pipeline.asking.client import Client, Job, SetAside
from askonce.pipeline.asking.endpoint import Endpoint
from askonce.pipeline.asking.gate import Abandoned
from askonce.pipeline.asking.reply import Reply, without_cost
from askonce.pipeline.asking.terms import Terms

# How often a running loop looks whether the caller wants to stop, in seconds.
LOOK = 0.05
# How long answers are gathered, in seconds: whoever stores them does it once for all, with one fsync.
GATHER = 0.02


class Replies(NamedTuple):
    """Replies to the samples that `job` names: all that were asked for, or a part of them."""

    job: Job
    replies: list[Reply]


@dataclass(frozen=True)
class Unanswered:
    """A job set aside: the server does not answer the samples that `job` names, and why."""

    job: Job
    reason: str


class Ended(NamedTuple):
    """A job has ended, with an error that ends the run or without."""

    cause: BaseException | None


@contextmanager
def connect(
    server: Endpoint, terms: Terms = Terms(), tally: Tally | None = None, can: Abilities = Abilities()
) -> Iterator["Asker"]:
    """A connection to the server, with all that is known and it learns about it; use it for as many runs as you like."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="asking", daemon=True)
    thread.start()
    try:
        client = asyncio.run_coroutine_threadsafe(_client(server, terms, tally or Tally(), can), loop).result()
        try:
            yield Asker(client, loop)
        finally:
            asyncio.run_coroutine_threadsafe(_close(client), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _client(server: Endpoint, terms: Terms, tally: Tally, can: Abilities) -> Client:
    return Client(server, terms, tally, can)


async def _close(client: Client) -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await client.close()


@dataclass(frozen=True)
class Asker:
    """One connection (made by `connect`)."""

    client: Client
    loop: asyncio.AbstractEventLoop

    @property
    def can(self) -> Abilities:
        """What the server has shown so far."""
        return self.client.can

    def ask(self, jobs: Iterable[Job], stop: threading.Event | None = None) -> Iterator[list[Replies | Unanswered]]:
        """All that has arrived since the last call, at least one event; replies[i] is sample job.first + i.

        On an error, or KeyboardInterrupt while it waits, no new request is sent, those in flight are
        finished and yielded, and only then it is raised: AskonceError, and of it `budget.Stopped` where the
        budget ended the run. The same without an error: set `stop`, for instance in a signal handler.
        """
        stop = stop or threading.Event()
        run = _Run(self.client, stop)
        jobs, outstanding, failed = iter(jobs), 0, None
        asyncio.run_coroutine_threadsafe(run.watch(), self.loop)
        try:
            while True:
                try:
                    while (
                        outstanding < run.room()
                        and not failed
                        and not stop.is_set()
                        and (job := next(jobs, None)) is not None
                    ):
                        self.loop.call_soon_threadsafe(run.take, job)
                        outstanding += 1
                    if not outstanding:
                        break
                    events = _all_of(run.arrived)
                except BaseException as error:
                    # Only the first cause is told, and an interrupted wait is no reason to drop what is
                    # in flight.
                    if failed:
                        raise
                    failed = error
                    self.loop.call_soon_threadsafe(run.stop)
                    continue
                ended = [event for event in events if isinstance(event, Ended)]
                outstanding -= len(ended)
                failed = failed or next((event.cause for event in ended if event.cause), None)
                if len(ended) < len(events):
                    yield [event for event in events if not isinstance(event, Ended)]
        finally:
            self.loop.call_soon_threadsafe(run.cancel)
        if failed:
            raise failed


def _all_of(queue: "SimpleQueue[Replies | Unanswered | Ended]") -> list[Replies | Unanswered | Ended]:
    found = [queue.get()]
    time.sleep(GATHER)
    try:
        while True:
            found.append(queue.get_nowait())
    except Empty:
        return found


@dataclass
class _Shared:
    """A job in flight, those that ask for the same, and what has arrived for it so far."""

    jobs: list[Job]
    events: list[Replies | Unanswered] = field(default_factory=list)


class _Run:
    """The loop's side of one `ask`; only `room` and `arrived` are for the caller's thread."""

    def __init__(self, client: Client, asked_to_stop: threading.Event):
        self.client, self.asked_to_stop = client, asked_to_stop
        self.arrived: SimpleQueue[Replies | Unanswered | Ended] = SimpleQueue()
        self.waiting: deque[Job] = deque()
        self.shared: dict[str, _Shared] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.stopping = asyncio.Event()
        self.over = False

    def room(self) -> int:
        """Twice what may be in flight, so that the next jobs are there while the caller is busy storing."""
        return 2 * int(self.client.gate.concurrency.limit)

    def take(self, job: Job) -> None:
        self.waiting.append(job)
        self._start()

    def stop(self) -> None:
        self.stopping.set()
        self.client.gate.changed.set()
        self._start()

    def cancel(self) -> None:
        self.over = True
        for task in self.tasks:
            task.cancel()

    async def watch(self) -> None:
        while not self.over:
            if self.asked_to_stop.is_set() and not self.stopping.is_set():
                self.stop()
            await asyncio.sleep(LOOK)

    def _start(self) -> None:
        while self.waiting and self.stopping.is_set():
            self.waiting.popleft()
            self.arrived.put(Ended(None))
        while self.waiting and len(self.tasks) < int(self.client.gate.concurrency.limit):
            job = self.waiting.popleft()
            same = json.dumps([job.body, job.n, job.first], sort_keys=True)
            if shared := self.shared.get(same):
                shared.jobs.append(job)
                for event in shared.events:
                    self.arrived.put(_for(job, event))
                continue
            self.shared[same] = _Shared([job])
            task = asyncio.create_task(self._answer(same))
            self.tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self._start()

    async def _answer(self, same: str) -> None:
        shared, cause = self.shared[same], None
        job = shared.jobs[0]
        left = job
        try:
            async for replies in self.client.parts(job, self.stopping):
                self._arrive(shared, Replies(left._replace(n=len(replies)), replies))
                left = left._replace(first=left.first + len(replies), n=left.n - len(replies))
                if self.stopping.is_set():
                    break
        except SetAside as error:
            self._arrive(shared, Unanswered(left, str(error)))
        except Abandoned:
            pass
        except BaseException as error:  # raised again in the caller's thread
            cause = error
            self.stop()
        finally:
            del self.shared[same]
            for _ in shared.jobs:
                self.arrived.put(Ended(cause))

    def _arrive(self, shared: _Shared, event: Replies | Unanswered) -> None:
        self.arrived.put(event)
        for follower in shared.jobs[1:]:
            self.arrived.put(_for(follower, event))
        shared.events.append(_for(shared.jobs[0], event))


def _for(follower: Job, event: Replies | Unanswered) -> Replies | Unanswered:
    """The same event for a job that asked for the same; what it took has been counted once already."""
    job = event.job._replace(label=follower.label)
    if isinstance(event, Unanswered):
        return Unanswered(job, event.reason)
    return Replies(job, [without_cost(reply) for reply in event.replies])
