"""The simulated LLM as a server that speaks OpenAI's chat-completions and batch protocols, on loopback alone.

A sample is the same in whatever order samples are asked for: the header X-First-Sample says which index
the first choice has. A request may say by which seed and error rates it wants to be answered
(X-Simulated, see `pipeline.simulated.llm.identity`), which goes before the server's own.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
import hmac
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json
import math
import re
import sys
import threading
import time
from typing import Any, cast

from askonce.cache.errors import AskonceError
from askonce.pipeline.asking.stream import CONTENT_TYPE
from askonce.pipeline.estimators.likelihood import BEGINS
from askonce.pipeline.simulated import llm as simulated
from askonce.pipeline.simulated.llm import Errors
from askonce.pipeline.simulated.response import FIRST_SAMPLE, SETTINGS, Headers, Response, failure
from askonce.pipeline.simulated.serve_batch import LARGEST_UPLOAD, Batches
from askonce.pipeline.tasks.task import Decision

LARGEST_BODY = 1 << 22
MOST_CHOICES = 128
MOST_LOGPROBS = 20
# The probability of what this LLM never says.
UNLIKELY = 1e-9


class SimulatedServer(ThreadingHTTPServer):
    """`respond` is all that it does; tests override it to stand for servers with habits or faults."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, errors: Errors = Errors(), seed: int = 0, port: int = 0, api_key: str | None = None):
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except (OSError, OverflowError) as error:
            raise AskonceError(f"port {port} cannot be used ({error}); choose another") from error
        self.errors, self.seed, self.api_key = errors, seed, api_key
        self.batches = Batches(self._chat)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that hangs up is no fault of the server.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def respond(self, method: str, path: str, headers: Headers, body: bytes) -> Response:
        if not self._admits(headers.get("Authorization", "")):
            return failure(401, "incorrect API key provided", "invalid_api_key")
        match method, path.partition("?")[0].rstrip("/"):
            case "POST", "/v1/chat/completions":
                return self._chat(headers, body)
            case "GET", "/v1/models":
                listed = {"id": simulated.MODEL, "object": "model", "created": 0, "owned_by": "askonce"}
                return Response(200, {"object": "list", "data": [listed]})
        if answer := self.batches.respond(method, path, headers, body):
            return answer
        return failure(404, f"unknown request: {method} {path}", "unknown_url")

    def _admits(self, authorization: str) -> bool:
        expected = f"Bearer {self.api_key}"
        return self.api_key is None or hmac.compare_digest(authorization.encode(), expected.encode())

    def _chat(self, headers: Headers, raw: bytes) -> Response:
        try:
            body = json.loads(raw)
            chat = [{"role": str(turn["role"]), "content": str(turn["content"])} for turn in body["messages"]]
            count = int(body.get("n") or 1)
            limit = body.get("max_completion_tokens") or body.get("max_tokens")
            top = int(body.get("top_logprobs") or 0)
            first = int(headers.get(FIRST_SAMPLE, "0"))
            wanted = headers.get(SETTINGS)
            errors, seed = simulated.from_identity(wanted) if wanted else (self.errors, self.seed)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, AskonceError):
            return failure(400, "no chat-completions request, or a malformed header", "invalid_body")
        if body.get("model") != simulated.MODEL:
            return failure(404, f"the model {body.get('model')!r} does not exist", "model_not_found")
        if not chat or not 1 <= count <= MOST_CHOICES:
            return failure(400, f"give at least one message, and n from 1 to {MOST_CHOICES}", "invalid_value")
        if not 0 <= top <= MOST_LOGPROBS:
            return failure(400, f"top_logprobs is a number from 0 to {MOST_LOGPROBS}", "invalid_value")
        samples = [0] * count if body.get("temperature") == 0 else range(first, first + count)
        if schema := _schema(body):
            said = [simulated.complete_json(chat, schema, sample, errors, seed) for sample in samples]
        else:
            said = [simulated.complete(chat, sample, errors, seed) for sample in samples]
        answers = [cut(words, limit) for words in said]
        answer = completion(simulated.MODEL, answers, sum(tokens(m["content"]) for m in chat))
        if body.get("logprobs") is True:
            likely = simulated.letter_probabilities(chat, errors, seed)
            for choice in answer["choices"]:
                choice["logprobs"] = logprobs(choice["message"]["content"], likely, top)
        if "prompt_logprobs" in body:
            answer["prompt_logprobs"] = _of_prompt(chat, simulated.probabilities(chat, errors, seed))
        if body.get("stream") is True:
            return Response(200, events(answer), {"Content-Type": CONTENT_TYPE})
        return Response(200, answer)


def _of_prompt(chat: list[dict[str, str]], likely: Mapping[Decision, float]) -> list[dict[str, Any] | None]:
    """As vLLM gives them; an answer's last line is taken for a single token, and for one that this LLM says."""
    line = chat[-1]["content"].rpartition("\n")[2]
    decision = tuple(line.removeprefix(BEGINS).split(", "))
    token = {"logprob": math.log(max(likely.get(decision, 0.0), UNLIKELY)), "rank": 1, "decoded_token": line}
    return [None, {"0": token}]


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Of a decision, as `pipeline.estimators.json_object` asks for it."""
    match body.get("response_format"):
        case {"json_schema": {"schema": {"properties": {"decision": {"items": {"enum": [_, *_]}}}} as schema}}:
            return cast(Mapping[str, Any], schema)
    return None


class Handler(BaseHTTPRequestHandler):
    server: "SimulatedServer"
    protocol_version = "HTTP/1.1"
    # The status line and the body go out together and at once.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        most = LARGEST_UPLOAD if self.path.rstrip("/") == "/v1/files" else LARGEST_BODY
        if not length.isdecimal() or int(length) > most:
            self.close_connection = True
            return self._send(failure(413, f"give a Content-Length, of at most {most}", "invalid_body"))
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            # The client hung up in the middle of its request.
            self.close_connection = True
            return
        self._send(self.server.respond("POST", self.path, self.headers, body))

    def do_GET(self) -> None:
        self._send(self.server.respond("GET", self.path, self.headers, b""))

    def _send(self, response: Response) -> None:
        if isinstance(response.body, Iterator):
            return self._stream(response)
        body = response.body if isinstance(response.body, bytes) else json.dumps(response.body).encode()
        self.send_response(response.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **response.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in {"Transfer-Encoding": "chunked", **response.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        for piece in response.body:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: stderr belongs to the command that runs the server."""


def completion(model: str, answers: list[tuple[str, str]], prompt_tokens: int) -> dict[str, Any]:
    """The chat.completion object of (content, finish reason) pairs."""
    spent = sum(tokens(content) for content, _ in answers)
    return {
        "id": "chatcmpl-simulated",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": index,
                "finish_reason": reason,
                "logprobs": None,
                "message": {"role": "assistant", "content": content, "refusal": None},
            }
            for index, (content, reason) in enumerate(answers)
        ],
        "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": spent, "total_tokens": prompt_tokens + spent},
    }


def events(answer: dict[str, Any]) -> Iterator[bytes]:
    """The same as chat.completion.chunk objects, a token each, its usage in the last of them."""
    head = {name: answer[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    for choice in answer["choices"]:
        for token in STREAMED.findall(choice["message"]["content"]):
            yield _event({**head, "choices": [{"index": choice["index"], "delta": {"content": token}}]})
        end = {"delta": {}, "logprobs": choice["logprobs"], "finish_reason": choice["finish_reason"]}
        yield _event({**head, "choices": [{"index": choice["index"], **end}]})
    yield _event({**head, "choices": [], "usage": answer["usage"]})
    yield b"data: [DONE]\n\n"


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def logprobs(content: str, likely: Mapping[str, float], top: int) -> dict[str, Any]:
    """The logprobs object of one choice. `likely` are the probabilities of an answer of a single token; any
    other answer is one of many ways to say the same, and the simulated LLM knows no probability of words,
    so there its tokens have none."""
    if content not in likely:
        return {"content": None, "refusal": None}
    ranked = sorted(likely.items(), key=lambda entry: -entry[1])[:top]
    entries = [_token(token, probability) for token, probability in ranked if probability > 0]
    return {"content": [_token(content, likely[content]) | {"top_logprobs": entries}], "refusal": None}


def _token(token: str, probability: float) -> dict[str, Any]:
    return {"token": token, "logprob": math.log(probability), "bytes": list(token.encode())}


TOKEN = re.compile(r"\w{1,6}|[^\w\s]")
STREAMED = re.compile(rf"\s*(?:{TOKEN.pattern})|\s+")


def tokens(text: str) -> int:
    """Pieces of words and punctuation marks, about as many as real tokenizers make."""
    return len(TOKEN.findall(text))


def cut(text: str, limit: int | None) -> tuple[str, str]:
    """(text, "stop"), or its first `limit` tokens and "length"."""
    ends = [token.end() for token in TOKEN.finditer(text)]
    if not isinstance(limit, int) or len(ends) <= limit:
        return text, "stop"
    return text[: ends[limit - 1] if limit > 0 else 0], "length"


@contextmanager
def running(server: SimulatedServer) -> Iterator[str]:
    """Runs a server in a thread of its own; gives its base URL."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.base_url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serve(errors: Errors = Errors(), seed: int = 0, port: int = 0, api_key: str | None = None) -> Iterator[str]:
    """The simulated LLM on a free port of loopback, or `port`; gives its base URL."""
    with running(SimulatedServer(errors, seed, port, api_key)) as base_url:
        yield base_url
