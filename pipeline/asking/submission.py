"""Batches as they stand in the cache, from before they are submitted until nothing is left to take from them.

    FOLDER/NAME.jsonl  the requests, to the byte as they are uploaded
    FOLDER/NAME.json   the server, its id of the batch once that is known, and which requests are taken

Invariant: nothing is submitted that does not stand here, under a NAME that the batch bears as metadata; so
whatever a killed run has paid for is found again. The requests are written before the state, and the state
is removed before the requests: requests without a state were never submitted, or are over. Whoever submits
holds a lock on the requests; nobody else does, so others may take the same answers, and all write the same.
"""

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
import fcntl
import hashlib
from io import BufferedRandom
import json
from pathlib import Path
import shutil
from tempfile import TemporaryFile
import threading
from typing import Any, NamedTuple
import uuid

from askonce.cache import durable
from askonce.cache.errors import AskonceError
from askonce.cache.key import answer_key

REQUESTS, STATE = ".jsonl", ".json"
# What a request's line begins with.
HEAD = b'{"custom_id":"'
# Anthropic's endpoint takes at most 64 characters as a custom_id, OpenAI's more.
DIGITS = 32
# By then OpenAI has deleted the files of a batch: https://platform.openai.com/docs/api-reference/files/create
FORGOTTEN_AFTER = timedelta(days=30)


class Claim(NamedTuple):
    """Samples `first` to `first + n - 1`, which a job with this label waits for."""

    label: Any
    first: int
    n: int
    # How often they have been asked for in vain.
    failures: int = 0


@dataclass(slots=True, eq=False)
class Request:
    """One line of a submission: samples `first` to `first + n - 1` of a body; and who waits for them."""

    submission: "Submission"
    number: int
    offset: int
    digest: str
    first: int
    n: int
    claims: tuple[Claim, ...] = ()

    @property
    def custom_id(self) -> str:
        return custom_id(self.digest, self.first, self.n)

    def body(self) -> dict[str, Any]:
        """The wire body, without the number of samples."""
        return self.submission.body(self.offset)


@dataclass(frozen=True)
class State:
    """
    server   `Endpoint.name`
    written  when the requests were written down, just before they were sent; ISO 8601, UTC
    sha256   of the requests
    batch    the server's id; None until it is known
    taken    the requests that have nothing left to give, as the bits of a number in hexadecimal
    """

    server: str
    written: str
    sha256: str
    batch: str | None = None
    taken: str = "0"

    @property
    def asked_at(self) -> datetime:
        return datetime.fromisoformat(self.written)


class Submission:
    """The requests of one batch. They stand in a file that only memory knows of until `write_down`."""

    def __init__(self, folder: Path, file: BufferedRandom | None = None, name: str = "", state: State | None = None):
        self.folder, self.name, self._state = folder, name, state
        self.file = file or TemporaryFile(dir=folder)  # noqa: SIM115
        self.requests: list[Request] = []
        # How many bytes they are, and how many of them somebody waits for.
        self.size = self.wanted = 0
        # Bit i is set where request i has nothing left to give.
        self.taken = int(state.taken, 16) if state else 0
        self.adopted = file is not None

    @property
    def state(self) -> State:
        assert self._state, "it is not written down yet"
        return self._state

    def add(self, line: bytes, digest: str, first: int, n: int) -> Request:
        """Appends a line (`line_of`), or, where it is already in the file, takes it in."""
        request = Request(self, len(self.requests), self.size, digest, first, n)
        if not self.adopted:
            self.file.write(line)
        self.requests.append(request)
        self.size += len(line)
        return request

    def body(self, offset: int) -> dict[str, Any]:
        self.file.seek(offset)
        body: dict[str, Any] = json.loads(self.file.readline())["body"]
        del body["n"]
        return body

    def write_down(self, server: str) -> None:
        """On disk on return, and locked until `unlock`."""
        self.file.seek(0)
        digest = hashlib.file_digest(self.file, "sha256").hexdigest()
        # The same requests may have been submitted before, in another batch.
        self.name = f"{digest[:24]}-{uuid.uuid4().hex[:8]}"
        with durable.unfinished(self.folder) as temporary:
            named = open(temporary, "w+b")  # noqa: SIM115
            _lock(named)
            self.file.seek(0)
            shutil.copyfileobj(self.file, named)
            named.flush()
            durable.rename(temporary, self._path(REQUESTS))
        self.file.close()
        self.file = named
        self._save(State(server, datetime.now(UTC).isoformat(), digest))

    def submitted(self, batch: str) -> None:
        """The server has it, under this id."""
        self._save(replace(self.state, batch=batch))
        self.unlock()

    def take(self, numbers: list[int]) -> None:
        """These requests have nothing left to give; once none has, all of it is removed."""
        for number in numbers:
            self.taken |= 1 << number
        if self.over:
            self.remove()
        else:
            self._save(replace(self.state, taken=f"{self.taken:x}"))

    @property
    def over(self) -> bool:
        return self.taken == (1 << len(self.requests)) - 1

    def remove(self) -> None:
        _remove(self._path(STATE), self._path(REQUESTS))
        self.close()

    def unlock(self) -> None:
        fcntl.flock(self.file, fcntl.LOCK_UN)

    def close(self) -> None:
        self.file.close()

    def _save(self, state: State) -> None:
        durable.write(self._path(STATE), json.dumps(asdict(state), indent=1).encode())
        self._state = state

    def _path(self, suffix: str) -> Path:
        return self.folder / f"{self.name}{suffix}"


def digest_of(body: dict[str, Any], server: str) -> str:
    """What the answers to `body` depend on, as hexadecimal digits."""
    return answer_key(body, server).rpartition(":")[2][:DIGITS]


def custom_id(digest: str, first: int, n: int) -> str:
    """What the answer depends on, and which samples; the first one last, as the simulated server wants it."""
    return f"{digest}-{n}-{first}"


def line_of(body: dict[str, Any], digest: str, first: int, n: int) -> bytes:
    """A line of the input file: https://platform.openai.com/docs/api-reference/batch/request-input"""
    line = {
        "custom_id": custom_id(digest, first, n),
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {**body, "n": n},
    }
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def found(folder: Path, server: str, stop: threading.Event) -> list[Submission]:
    """What earlier runs, or others that go on, have submitted to `server`; the oldest first.

    Those whose batch is not known yet come locked: say `submitted`, or `remove` them. Waits for whoever is
    submitting at this moment. AskonceError where a file is damaged.
    """
    for path in folder.glob(f"*{STATE}"):
        if not path.with_suffix(REQUESTS).exists():
            _remove(path)
    opened = [one for path in sorted(folder.glob(f"*{REQUESTS}")) if (one := _open(path, server, stop))]
    return sorted(opened, key=lambda one: one.state.written)


def _open(path: Path, server: str, stop: threading.Event) -> Submission | None:
    try:
        file = open(path, "r+b")  # noqa: SIM115
    except FileNotFoundError:
        return None
    submission = None
    try:
        while not _lock(file):
            if stop.wait(0.1):
                return None
        state = _read(path.with_suffix(STATE))
        if state is None or datetime.now(UTC) - state.asked_at > FORGOTTEN_AFTER:
            _remove(path.with_suffix(STATE), path)
        elif state.server == server:
            submission = Submission(path.parent, file, path.stem, state)
            _take_in(submission, path)
            if state.batch:
                submission.unlock()
        return submission
    finally:
        if submission is None:
            file.close()


def _take_in(submission: Submission, path: Path) -> None:
    if hashlib.file_digest(submission.file, "sha256").hexdigest() != submission.state.sha256:
        raise _damaged(path)
    submission.file.seek(0)
    for line in submission.file:
        name = line[len(HEAD) : line.index(b'"', len(HEAD))].decode()
        digest, n, first = name.split("-")
        submission.add(line, digest, int(first), int(n))


def _read(path: Path) -> State | None:
    """None where it is gone."""
    try:
        state = State(**json.loads(path.read_bytes()))
        state.asked_at, int(state.taken, 16)
        return state
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise _damaged(path) from None


def _damaged(path: Path) -> AskonceError:
    return AskonceError(
        f"{path} is damaged: it says what was asked in a batch; move it away, with its neighbour of the same "
        "name, and what of that batch is not stored yet is asked, and paid, again"
    )


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
        durable.sync(path.parent)


def _lock(file: BufferedRandom) -> bool:
    """False where another process holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # No locks on this file system: whoever starts while another submits may ask the same again.
        pass
    return True
