"""An LLM that is a Python function: it is given chats and returns what it says to each, and counts like any other."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
import threading
import time

from askonce.cache.errors import AskonceError
from askonce.pipeline.asking.asker import Replies, Unanswered
from askonce.pipeline.asking.budget import Budget, Stopped, Tally, affords
from askonce.pipeline.asking.client import Job
from askonce.pipeline.asking.reply import Reply

# Messages as the chat-completions protocol has them, each with its role and content.
Chat = list[dict[str, str]]
# (N chats) → N completions, in their order.
Function = Callable[[list[Chat]], list[str]]

# So many jobs are handed over at a time, so that what has been answered is stored on the way.
TOGETHER = 64


def address(function: Function) -> str:
    """What stands for the function in the key of its answers."""
    return f"python:{function.__module__}.{function.__qualname__}"


@dataclass(frozen=True)
class FunctionAsker:
    """As `asker.Asker`, with a function in the place of a server."""

    function: Function
    model: str
    budget: Budget
    tally: Tally

    def ask(self, jobs: Iterable[Job], stop: threading.Event | None = None) -> Iterator[list[Replies | Unanswered]]:
        """The events of some jobs at a time. Stopped where the budget is used up."""
        jobs = iter(jobs)
        while not (stop and stop.is_set()) and (some := list(islice(jobs, TOGETHER))):
            if not affords(self.budget, self.tally, 0.0):
                raise Stopped(self.budget, self.tally)
            yield self._answered(some)

    def _answered(self, jobs: list[Job]) -> list[Replies | Unanswered]:
        chats = [job.body["messages"] for job in jobs for _ in range(job.n)]
        asked_at, started = datetime.now(UTC), time.perf_counter()
        said = self.function(chats)
        latency = time.perf_counter() - started
        self.tally.requests += 1
        if not isinstance(said, list) or len(said) != len(chats) or not all(isinstance(one, str) for one in said):
            raise AskonceError(
                f"{address(self.function)} was given {len(chats)} chats and must return as many completions, as a "
                f"list of strings; it returned {type(said).__name__}"
                + (f" of {len(said)}" if isinstance(said, list) else "")
            )
        self.tally.completions += len(said)
        replies = (Reply(one, "stop", 0, 0, latency, self.model, asked_at) for one in said)
        return [Replies(job, list(islice(replies, job.n))) for job in jobs]
