"""What batches need of a server: upload, submit, look, fetch; and what a line that it answers says.

Every call is tried again by the one policy (`pipeline.asking.retry`), and whatever does not pass is an
AskonceError of one line. A batch is never created twice: where the answer to its creation was lost,
the server's own list says whether it has been.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from tempfile import TemporaryFile
import threading
from typing import Any, BinaryIO, ParamSpec, TypeVar

import httpx2
import openai

from askonce.cache.errors import AskonceError
from askonce.pipeline.asking.budget import Tally
from askonce.pipeline.asking.endpoint import Endpoint
from askonce.pipeline.asking.failure import STORED, explained, kind
from askonce.pipeline.asking.gate import Abandoned
from askonce.pipeline.asking.reply import NoAnswer, Reply, parsed, replies
from askonce.pipeline.asking.retry import FIRST_TIMEOUT, Patience, is_passing, retrying_call
from askonce.pipeline.asking.submission import Submission
from askonce.pipeline.asking.transport import stay

P = ParamSpec("P")
T = TypeVar("T")
# The field of a batch's metadata that holds the submission's name.
NAME = "askonce"
PAGE = 100
# How a server without batches answers.
ABSENT = (404, 405, 501)

# The client's own errors, as which those inside a batch are told.
KINDS_OF_STATUS = {401: openai.AuthenticationError, 403: openai.PermissionDeniedError, 404: openai.NotFoundError}
NO_REQUEST = httpx2.Request("POST", "http://batch/v1/chat/completions")

Batch = dict[str, Any]


def client(server: Endpoint, patience: Patience) -> openai.OpenAI:
    # A proxy of the environment would be asked for this machine's own servers too.
    http = openai.DefaultHttpxClient(
        trust_env=not server.on_loopback, timeout=patience.timeout or FIRST_TIMEOUT, event_hooks={"response": [stay]}
    )
    return openai.OpenAI(
        api_key=server.api_key, base_url=server.address, max_retries=0, http_client=http, default_headers=server.headers
    )


@dataclass(frozen=True)
class BatchApi:
    """One server, for one run: once `stop` is set, no call is tried again (Abandoned)."""

    openai: openai.OpenAI
    server: Endpoint
    patience: Patience
    tally: Tally
    stop: threading.Event

    def submit(self, submission: Submission) -> str:
        """The id of a new batch of these requests.

        After an error, the submission is removed if the server surely has no such batch; otherwise it is
        left for a later run to find out.
        """
        unsure = False

        def create(uploaded: str) -> str:
            nonlocal unsure
            if unsure and (batch := self._search(submission.name)):
                return batch
            unsure = True
            try:
                return _id(
                    self.openai.batches.with_raw_response.create(
                        input_file_id=uploaded,
                        endpoint="/v1/chat/completions",
                        completion_window="24h",
                        metadata={NAME: submission.name},
                    )
                )
            except openai.APIStatusError as error:
                unsure = is_passing(error)
                raise

        try:
            return self._patiently(create, self._patiently(self._upload, submission))
        except (AskonceError, Abandoned):
            if not unsure:
                submission.remove()
            raise

    def search(self, submission: Submission) -> str | None:
        """The id of the batch that bears the submission's name; None where the server has none."""
        return self._patiently(self._search, submission.name)

    def batch(self, submission: Submission) -> Batch:
        """How the batch stands."""
        name = submission.state.batch or ""
        with self._known(submission):
            return self._patiently(lambda: _dict(self.openai.batches.with_raw_response.retrieve(name)))

    @contextmanager
    def lines(self, submission: Submission, file: str) -> Iterator[BinaryIO]:
        """A file of the batch's answers, fetched whole, for reading line by line."""
        with TemporaryFile(dir=submission.folder) as fetched:
            with self._known(submission):
                self._patiently(self._fetch, file, fetched)
            fetched.seek(0)
            yield fetched

    def _upload(self, submission: Submission) -> str:
        # The file's position is the client's own affair: it begins at the beginning each time.
        return _id(
            self.openai.files.with_raw_response.create(
                file=(f"{submission.name}.jsonl", submission.file), purpose="batch"
            )
        )

    def _search(self, name: str) -> str | None:
        after: Any = openai.omit
        while True:
            page = _dict(self.openai.batches.with_raw_response.list(limit=PAGE, after=after))
            batches = page.get("data") or []
            for batch in batches:
                if (batch.get("metadata") or {}).get(NAME) == name:
                    return str(batch["id"])
            if not (page.get("has_more") and batches):
                return None
            after = batches[-1]["id"]

    def _fetch(self, file: str, target: BinaryIO) -> None:
        target.seek(0)
        target.truncate()
        with self.openai.files.with_streaming_response.content(file) as response:
            try:
                for chunk in response.iter_bytes():
                    target.write(chunk)
            except httpx2.TimeoutException as error:
                raise openai.APITimeoutError(error.request) from error
            except httpx2.HTTPError as error:
                raise openai.APIConnectionError(request=error.request) from error

    def _patiently(self, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        def attempt() -> T:
            try:
                return call(*arguments, **named)
            except (openai.OpenAIError, NoAnswer) as error:
                self.tally.errors[kind(error)] += 1
                raise

        try:
            return retrying_call(self.patience, self._sleep)(attempt)
        except (openai.OpenAIError, NoAnswer) as error:
            raise Refused(self.server, error, self.patience) from error

    def _sleep(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise Abandoned

    @contextmanager
    def _known(self, submission: Submission) -> Iterator[None]:
        try:
            yield
        except Refused as error:
            if error.status != 404:
                raise
            raise AskonceError(
                f"{self.server.name} no longer knows batch {submission.state.batch}, submitted at "
                f"{submission.state.written}: does OPENAI_API_KEY belong to another account? To give it up "
                f"and ask, and pay, again, remove {submission.folder / submission.name}.*"
            ) from error


class Refused(AskonceError):
    """A call has failed for good, with this HTTP status if it was answered at all."""

    def __init__(self, server: Endpoint, error: Exception, patience: Patience):
        self.status = error.status_code if isinstance(error, openai.APIStatusError) else None
        said = explained(error, server, patience)
        if self.status in ABSENT:
            said = f"{server.name} has no batches (status {self.status}); {STORED}; use --transport online"
        super().__init__(said)


def answered(line: Any, n: int, latency: float, asked_at: datetime) -> list[Reply]:
    """Up to `n` replies. As for a request on its own: NoAnswer, or openai.APIStatusError."""
    response = line.get("response") if isinstance(line, dict) else None
    if not isinstance(response, dict):
        error = line.get("error") if isinstance(line, dict) else None
        code = error.get("code") if isinstance(error, dict) else error
        raise NoAnswer(f"did not come to it ({code or 'no reason given'})")
    status, body = response.get("status_code", 200), response.get("body")
    if status == 200:
        return replies(body, n, latency, asked_at)
    if not (isinstance(status, int) and 100 <= status <= 599):
        raise NoAnswer(f"answered with status {status}")
    said = body.get("error", body) if isinstance(body, dict) else body
    error = KINDS_OF_STATUS.get(status, openai.APIStatusError)
    raise error("", response=httpx2.Response(status, request=NO_REQUEST), body=said)


def _id(response: Any) -> str:
    match _dict(response):
        case {"id": str(name)} if name:
            return name
    raise NoAnswer("answered without an id")


def _dict(response: Any) -> dict[str, Any]:
    answer = parsed(response.http_response.content)
    if not isinstance(answer, dict):
        raise NoAnswer("answered with what is no JSON object")
    return answer
