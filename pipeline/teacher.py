"""Messages → completions, over the OpenAI chat-completions protocol.

Whatever has been obtained is handed over before anything is raised: `ask_all` yields each answer as it
arrives, and an error or an interruption only after all answers that are there or still in flight.
What answers depend on (`key`) is the request and the endpoint; how they are asked for is not.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
import json
import math
import os
from queue import SimpleQueue
import threading
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import openai
from openai.types.chat import ChatCompletion, ChatCompletionMessage
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, stop_when_event_set
from tenacity import wait_random_exponential
from tenacity.nap import sleep_using_event

from cache.errors import AskonceError
from cache.key import answer_key, endpoint_identity
from pipeline import serve, simulated
from pipeline.prompt import messages
from pipeline.simulated import Errors
from pipeline.tasks.task import Prompt

OPENAI_URL = "https://api.openai.com/v1"
STORED = "everything obtained so far is stored"
RUN_AGAIN = "check --base-url and the network, then run the same command again"
# A server without accounts takes any key, but the client insists on sending one.
NO_KEY = "no-key-needed"


@dataclass(frozen=True)
class Teacher:
    """An LLM and how it is asked.

    `base_url` None: OPENAI_BASE_URL, else OpenAI's own; for the model "simulated" a server within this
    process, whose `errors` and `seed` mean nothing to others.
    """

    model: str = simulated.MODEL
    base_url: str | None = None
    temperature: float = 1.0
    max_tokens: int = 512
    errors: Errors = Errors()
    seed: int = 0

    @property
    def in_process(self) -> bool:
        return self.model == simulated.MODEL and self.base_url is None


@dataclass(frozen=True)
class Patience:
    """How long failing requests are asked again; times in seconds.

    Waits double from `first_wait` to `longest_wait`, each shortened at random; a server's Retry-After
    goes before them, up to `longest_asked`.
    """

    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 30.0
    longest_asked: float = 600.0
    timeout: float = 120.0


@dataclass(frozen=True)
class Reply:
    """One sample as the server gave it.

    `prompt_tokens` are those of the request in its first reply, and 0 in the others; `latency` is the
    request's, in seconds; `finish_reason` is empty where the server gave none.
    """

    content: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    latency: float
    served_model: str


class Job(NamedTuple):
    """Samples `first` to `first + n - 1` of one request body; `label` is the asker's own."""

    label: Any
    body: dict[str, Any]
    n: int
    first: int = 0


def request(teacher: Teacher, prompt: Prompt, text: str) -> dict[str, Any]:
    """The wire body that asks about `text`, without the number of samples."""
    # OpenAI's newer models refuse the field's old name, which other servers still go by.
    limit = "max_completion_tokens" if endpoint(teacher) == OPENAI_URL else "max_tokens"
    return {
        "model": teacher.model,
        "messages": messages(prompt, text),
        "temperature": teacher.temperature,
        limit: teacher.max_tokens,
    }


def endpoint(teacher: Teacher) -> str:
    """Who answers, for the key: the simulated LLM's settings wherever it listens, else the address."""
    if teacher.in_process:
        return simulated.identity(teacher.errors, teacher.seed)
    return endpoint_identity(_address(teacher))


def key(teacher: Teacher, prompt: Prompt, text: str) -> str:
    """The cache key of the answers to `text`."""
    return answer_key(request(teacher, prompt, text), endpoint(teacher))


def prompt_digest(teacher: Teacher, prompt: Prompt) -> str:
    """8 hex digits that stand for all that the answers to any text depend on, the text aside."""
    return key(teacher, prompt, "").rpartition(":")[2][:8]


@contextmanager
def connect(
    teacher: Teacher, patience: Patience = Patience(), stop: threading.Event | None = None
) -> Iterator["Asker"]:
    """A connection to the teacher. Once `stop` is set, what fails is not asked again."""
    with ExitStack() as stack:
        address = stack.enter_context(serve.serve()) if teacher.in_process else _address(teacher)
        api_key = NO_KEY if teacher.in_process else _api_key()
        endpoint_identity(address)  # refuses what is no web address
        # A proxy of the environment would be asked for this machine's own servers too.
        http = openai.DefaultHttpxClient(trust_env=not _is_loopback(address), timeout=patience.timeout)
        client = stack.enter_context(openai.OpenAI(
            api_key=api_key, base_url=address, max_retries=0, timeout=patience.timeout, http_client=http,
        ))
        settings = {serve.SETTINGS: endpoint(teacher)} if teacher.in_process else {}
        yield Asker(client, patience, stop or threading.Event(), settings)


@dataclass
class Asker:
    """Asks one server, from any number of threads (made by `connect`)."""

    client: openai.OpenAI
    patience: Patience
    stop: threading.Event
    headers: dict[str, str]
    # The most choices that the server gave when it was asked for more; None while it gave all.
    most_choices: int | None = field(default=None, init=False)

    def complete(self, body: dict[str, Any], n: int, first: int = 0) -> list[Reply]:
        """Samples `first` to `first + n - 1`. AskonceError where the server does not give them."""
        return [reply for part in self.parts(body, n, first) for reply in part]

    def parts(self, body: dict[str, Any], n: int, first: int = 0) -> Iterator[list[Reply]]:
        """The same as they arrive: at once, or in parts from a server that gives fewer choices than asked."""
        given = 0
        while given < n:
            wanted = min(n - given, self.most_choices or n)
            replies = self._request(body, wanted, first + given)
            if len(replies) < wanted:
                self.most_choices = len(replies)
            given += len(replies)
            yield replies

    def _request(self, body: dict[str, Any], n: int, first: int) -> list[Reply]:
        retrying = Retrying(
            retry=retry_if_exception(_is_passing),
            wait=self._wait,
            stop=stop_after_attempt(self.patience.attempts) | stop_when_event_set(self.stop),
            sleep=sleep_using_event(self.stop),
            reraise=True,
        )
        try:
            return retrying(self._request_once, body, n, first)
        except (openai.OpenAIError, NoAnswer) as error:
            if n > 1 and isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError):
                # Some servers refuse n > 1; if that was not it, the same error comes again.
                replies = self._request(body, 1, first)
                self.most_choices = 1
                return replies
            raise self._explained(error) from error

    def _request_once(self, body: dict[str, Any], n: int, first: int) -> list[Reply]:
        started = time.monotonic()
        try:
            answer = self.client.chat.completions.create(
                **body, n=n, extra_headers={serve.FIRST_SAMPLE: str(first), **self.headers}
            )
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise NoAnswer("answered with invalid JSON") from error
        return _replies(answer, n, time.monotonic() - started)

    def _wait(self, state: RetryCallState) -> float:
        asked = _retry_after(state.outcome.exception()) if state.outcome else None
        if asked is not None:
            return min(asked, self.patience.longest_asked)
        return wait_random_exponential(self.patience.first_wait, self.patience.longest_wait)(state)

    def _explained(self, error: Exception) -> AskonceError:
        """One line for a person. Only the server's own words may hold the API key; there it is struck out."""
        address = endpoint_identity(str(self.client.base_url))
        match error:
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                said = f"the server refused the API key ({error.status_code}): set OPENAI_API_KEY"
            case openai.NotFoundError():
                said = (f"{address} knows no such model or path (404): check --model and --base-url"
                        f"{self._server_words(error)}")
            case openai.APIStatusError():
                again = "; try again later" if _is_passing(error) else ""
                said = (f"{address} answered with status {error.status_code}{self._server_words(error)}; "
                        f"{STORED}{again}")
            case NoAnswer():
                said = f"{address} {error}; {STORED}; check that it speaks the OpenAI protocol"
            case openai.APITimeoutError():
                said = f"{address} did not answer within {self.patience.timeout:g} s; {STORED}; {RUN_AGAIN}"
            case _:
                said = f"{address} cannot be reached; {STORED}; {RUN_AGAIN}"
        return AskonceError(said)

    def _server_words(self, error: openai.APIStatusError) -> str:
        said = error.body.get("message") if isinstance(error.body, dict) else None
        words = " ".join(str(said or "").replace(self.client.api_key, "***").split())
        return f" ({words[:200]})" if words else ""


class NoAnswer(Exception):
    """The server answered with what is no chat completion, or with one that has no choices."""


def ask_all(
    teacher: Teacher,
    jobs: Iterable[Job],
    workers: int = 8,
    patience: Patience = Patience(),
    stop: threading.Event | None = None,
) -> Iterator[tuple[Job, list[Reply]]]:
    """Answers as they arrive, `workers` requests at a time; `jobs` is read only as far as needed.

    A job may be answered in parts: each comes with the job that it answers (its own `first` and `n`), so
    reply i is always sample `job.first + i`. On an error, or KeyboardInterrupt while it waits, no new job is
    begun, those in flight are finished and yielded, and only then it is raised. The same without
    an error: set `stop`, for instance in a signal handler; it is also set when an error ends the run.
    """
    stop = stop or threading.Event()
    arrived: SimpleQueue[tuple[Job, list[Reply]] | Ended] = SimpleQueue()

    def answer(job: Job, asker: Asker) -> None:
        cause = None
        try:
            first = job.first
            for replies in asker.parts(job.body, job.n, job.first):
                arrived.put((job._replace(first=first, n=len(replies)), replies))
                first += len(replies)
                if stop.is_set():
                    break
        except BaseException as error:  # raised again by the consumer's thread
            cause = error
        finally:
            arrived.put(Ended(cause))

    with connect(teacher, patience, stop) as asker, ThreadPoolExecutor(workers) as pool:
        try:
            yield from _drain(iter(jobs), lambda job: pool.submit(answer, job, asker), arrived, workers, stop)
        finally:
            stop.set()


class Ended(NamedTuple):
    """A job has ended, with an error or without."""

    cause: BaseException | None


def _drain(
    jobs: Iterator[Job],
    begin: Callable[[Job], object],
    arrived: "SimpleQueue[tuple[Job, list[Reply]] | Ended]",
    workers: int,
    stop: threading.Event,
) -> Iterator[tuple[Job, list[Reply]]]:
    running, failed = 0, None
    while True:
        try:
            while running < workers and not stop.is_set() and (job := next(jobs, None)) is not None:
                begin(job)
                running += 1
            if not running:
                break
            event = arrived.get()
        except BaseException as error:
            # Only the first cause is told, and an interrupted wait is no reason to drop what is in flight.
            if stop.is_set():
                raise
            failed = error
            stop.set()
            continue
        if not isinstance(event, Ended):
            yield event
            continue
        running -= 1
        if event.cause is not None and not stop.is_set():
            failed = event.cause
            stop.set()
    if failed is not None:
        raise failed


def _replies(answer: ChatCompletion | str, n: int, latency: float) -> list[Reply]:
    choices = getattr(answer, "choices", None)
    if not isinstance(choices, list) or not all(getattr(choice, "message", None) for choice in choices):
        raise NoAnswer("answered with what is no chat completion")
    if not choices:
        raise NoAnswer("answered without any choice")
    choices = choices[:n]
    spent, prompted = _spent(answer, "completion_tokens"), _spent(answer, "prompt_tokens")
    share, left = divmod(spent, len(choices))
    return [
        Reply(
            content=_content(choice.message),
            finish_reason=choice.finish_reason or "",
            prompt_tokens=0 if index else prompted,
            completion_tokens=share + (index < left),
            latency=latency,
            served_model=getattr(answer, "model", None) or "",
        )
        for index, choice in enumerate(choices)
    ]


def _content(message: ChatCompletionMessage) -> str:
    """Some servers refuse in a field of its own, and some give content in pieces, which are kept as JSON."""
    said = message.content or getattr(message, "refusal", None) or ""
    return said if isinstance(said, str) else json.dumps(said)


def _spent(answer: ChatCompletion, kind: str) -> int:
    count = getattr(getattr(answer, "usage", None), kind, None)
    return count if isinstance(count, int) and count > 0 else 0


def _is_passing(error: BaseException) -> bool:
    """Whether the same request may well succeed later. A used-up account is a 429 that does not pass."""
    if isinstance(error, openai.APIStatusError):
        waits = error.status_code in (408, 409, 429) or error.status_code >= 500
        return waits and error.code != "insufficient_quota"
    return isinstance(error, openai.APIConnectionError | NoAnswer)


def _retry_after(error: BaseException | None) -> float | None:
    """The server's Retry-After in seconds, where it gives a number."""
    if not isinstance(error, openai.APIStatusError):
        return None
    try:
        seconds = float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _address(teacher: Teacher) -> str:
    return teacher.base_url or os.environ.get("OPENAI_BASE_URL", "").strip() or OPENAI_URL


def _api_key() -> str:
    api_key = os.environ.get("OPENAI_API_KEY", "").strip() or NO_KEY
    if not (api_key.isascii() and api_key.isprintable()):
        raise AskonceError("OPENAI_API_KEY holds characters that no API key has: set it anew")
    return api_key


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
