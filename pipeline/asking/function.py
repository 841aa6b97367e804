"""An LLM that is a Python function: it is given chats and returns what it says to each, and counts like any other.

A function of two parameters is also given the terms: the fields of the chat-completions request that are the same for
all of these chats (temperature, max_tokens, and what the estimator adds: response_format, logprobs, top_logprobs).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from inspect import Parameter, signature
from itertools import groupby, islice
import threading
import time
from typing import Any

from askonce.cache.errors import AskonceError
from askonce.pipeline.asking.abilities import Abilities, seen
from askonce.pipeline.asking.asker import Replies, Unanswered
from askonce.pipeline.asking.budget import Stopped, Tally, affords
from askonce.pipeline.asking.client import Job
from askonce.pipeline.asking.reply import Reply
from askonce.pipeline.asking.terms import Terms

# Messages as the chat-completions protocol has them, each with its role and content.
Chat = list[dict[str, str]]


@dataclass(frozen=True)
class Said:
    """A completion of which more is known than its words; `logprobs` as the chat-completions protocol has them."""

    content: str
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    logprobs: Any = None
    reasoning: str = ""


# (N chats), or (N chats, their terms) → N completions, in their order.
Function = Callable[..., Sequence[str | Said]]

# Jobs are handed over in numbers that take about so many seconds, and what has been answered is stored after each.
SECONDS = 10.0
MOST_TOGETHER = 1024


def address(function: Function) -> str:
    """What stands for the function in the key of its answers: its own `address`, such as a digest of weights."""
    named = getattr(function, "address", None)
    return named if isinstance(named, str) else f"python:{function.__module__}.{_name(function)}"


def _name(function: Function) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def model_of(function: Function) -> str:
    """What a function's answers are kept under where no model is named."""
    return str(getattr(function, "__name__", type(function).__name__))


@dataclass
class FunctionAsker:
    """As `asker.Asker`, with a function in the place of a server."""

    function: Function
    model: str
    terms: Terms
    tally: Tally
    can: Abilities = Abilities()

    def ask(self, jobs: Iterable[Job], stop: threading.Event | None = None) -> Iterator[list[Replies | Unanswered]]:
        """The events of some jobs at a time. Stopped where the budget is used up."""
        jobs, together = iter(jobs), 1
        while not (stop and stop.is_set()) and (some := list(islice(jobs, together))):
            if not affords(self.terms.budget, self.tally, 0.0):
                raise Stopped(self.terms.budget, self.tally)
            started = time.perf_counter()
            # Options differ from text to text, and with them the terms.
            for _, alike in groupby(some, lambda job: _terms(job.body)):
                yield self._answered(list(alike))
                if stop and stop.is_set():
                    return
            pace = SECONDS / max(time.perf_counter() - started, 1e-6)
            together = max(1, min(int(together * min(pace, 8.0)), MOST_TOGETHER))

    def _answered(self, jobs: list[Job]) -> list[Replies | Unanswered]:
        chats = [job.body["messages"] for job in jobs for _ in range(job.n)]
        asked_at, started = datetime.now(UTC), time.perf_counter()
        said = self._call(chats, _terms(jobs[0].body))
        latency = (time.perf_counter() - started) / len(chats)
        self.tally.requests += 1
        self.tally.completions += len(said)
        replies = [self._reply(one, latency, asked_at) for one in said]
        self.can = seen(self.can, jobs[0].body, 1, replies)
        for reply in replies:
            self.tally.spend(reply.prompt_tokens, reply.completion_tokens, self.terms.price)
        left = iter(replies)
        return [Replies(job, list(islice(left, job.n))) for job in jobs]

    def _call(self, chats: list[Chat], terms: dict[str, Any]) -> Sequence[str | Said]:
        try:
            said = self.function(chats, terms) if _takes_terms(self.function) else self.function(chats)
        except AskonceError:
            raise
        except Exception as error:
            raise AskonceError(f"{address(self.function)} failed: {type(error).__name__}: {error}") from error
        sound = isinstance(said, list | tuple) and all(isinstance(one, str | Said) for one in said)
        if not sound or len(said) != len(chats):
            raise AskonceError(
                f"{address(self.function)} was given {len(chats)} chats and must return as many completions, as a "
                f"list of strings; it returned {type(said).__name__}"
                + (f" of {len(said)}" if isinstance(said, list | tuple) else "")
            )
        return said

    def _reply(self, said: str | Said, latency: float, asked_at: datetime) -> Reply:
        known = Said(said) if isinstance(said, str) else said
        return Reply(
            known.content,
            known.finish_reason,
            known.prompt_tokens,
            known.completion_tokens,
            latency,
            self.model,
            asked_at,
            logprobs=known.logprobs,
            reasoning=known.reasoning,
        )


def _terms(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "messages"}


def _takes_terms(function: Function) -> bool:
    positional = Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD
    parameters = [one for one in signature(function).parameters.values() if one.kind in positional]
    return len([one for one in parameters if one.default is Parameter.empty]) > 1
