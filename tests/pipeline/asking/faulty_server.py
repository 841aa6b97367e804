"""The simulated LLM with faults, in a process of its own (`faulty_process.started("faulty_server", log)`).

Every request is noted as one JSON line before it is answered, and once more when its answer has been sent whole.
"""

from email.utils import formatdate
import json
from pathlib import Path
import socket
import struct
import threading
import time
from typing import Any

from askonce.pipeline.simulated.serve import FIRST_SAMPLE, Handler, Response, SimulatedServer, completion, failure
from tests.pipeline.asking.faulty_process import serve

BUSY = {"error": {"message": "slow down", "type": "rate_limit_error", "param": None, "code": "rate_limit"}}
HTML = {"Content-Type": "text/html"}


def _choices(*changes: dict[str, Any]) -> Response:
    answered = completion("simulated", [("Decision: explore", "stop")] * len(changes), 10)
    for choice, change in zip(answered["choices"], changes):
        choice.update(change)
    return Response(200, answered)


def _said(content: str | None, **more: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": content, **more}}


def _without(field: str) -> Response:
    answered = completion("simulated", [("Decision: explore", "stop")], 10)
    del answered[field]
    return Response(200, answered)


# Name → what is answered in place of the simulated LLM's answer.
FAULTS = {
    "429": lambda: Response(429, BUSY),
    "429 for 0.2 s": lambda: Response(429, BUSY, {"Retry-After": "0.2"}),
    "429 until a date": lambda: Response(429, BUSY, {"Retry-After": formatdate(int(time.time()) + 1, usegmt=True)}),
    "429 quota": lambda: failure(429, "you exceeded your current quota", "insufficient_quota"),
    "503 for 0.2 s": lambda: Response(503, BUSY, {"Retry-After": "0.2"}),
    "500": lambda: failure(500, "oh", "server_error"),
    "500 with usage": lambda: Response(
        500, {"error": {"message": "oh"}, "usage": {"prompt_tokens": 7, "completion_tokens": 5}}
    ),
    "502": lambda: Response(502, b"<html>bad gateway</html>", HTML),
    "503": lambda: failure(503, "overloaded", "overloaded"),
    "no JSON": lambda: Response(200, b"<html>welcome</html>", HTML),
    "invalid JSON": lambda: Response(200, b'{"choices": [{"ind'),
    "no completion": lambda: Response(200, ["what"]),
    "an error inside": lambda: Response(200, {"error": {"message": "upstream is down", "code": 502}}),
    "empty choices": lambda: Response(200, {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 0}}),
    "null choices": lambda: Response(200, {"choices": None}),
    "null content": lambda: _choices(_said(None)),
    "a broken choice": lambda: _choices({}, {"message": None}),
    "missing usage": lambda: _without("usage"),
    "missing model": lambda: _without("model"),
    "missing logprobs": lambda: _choices({"logprobs": None}),
    "a refusal": lambda: _choices(_said(None, refusal="I'm sorry.")),
    "length": lambda: _choices({"finish_reason": "length"}),
    "content_filter": lambda: _choices({**_said(None), "finish_reason": "content_filter"}),
    "401": lambda: failure(401, "incorrect API key", "invalid_api_key"),
    "403": lambda: failure(403, "not in your country", "forbidden"),
    "400": lambda: failure(400, "this prompt is not allowed", "content_policy_violation"),
    "404": lambda: failure(404, "no such model", "model_not_found"),
    "n refused": lambda: failure(400, "n must be 1", "invalid_value"),
    "few left": lambda: Response(
        200,
        completion("simulated", [("Decision: explore", "stop")], 10),
        {
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "300ms",
        },
    ),
}
ECHO = "400 with the API key in it"
# Faults of the connection rather than of the answer.
RESET, CUT, HUNG, TRICKLE = "reset mid-body", "cut mid-body", "a hung socket", "a trickle"


class Faulty(SimulatedServer):
    """The simulated LLM with these settings, all optional:

    plan     faults of the next requests in turn, None for none
    always   the fault of all that come after them
    of_text  faults by a part of the prompt, which go before the others
    delay    seconds before every answer
    most     the most choices that it gives
    api_key  the one that it takes; any, if left out
    """

    def __init__(self, log: Path):
        super().__init__()
        self.RequestHandlerClass = FaultyHandler
        self.log, self.lock, self.number = open(log, "a", buffering=1), threading.Lock(), 0  # noqa: SIM115
        self.set({})

    def set(self, settings: dict[str, Any]) -> None:
        self.plan = list(settings.get("plan", []))
        self.always, self.of_text = settings.get("always"), settings.get("of_text", {})
        self.delay, self.most = settings.get("delay", 0.0), settings.get("most")
        self.api_key = settings.get("api_key")

    def respond(self, method: str, path: str, headers, body: bytes) -> Response:
        if path == "/set":
            self.set(json.loads(body))
            return Response(200, {})
        asked = json.loads(body)
        with self.lock:
            self.number += 1
            number = self.number
            fault = self.plan.pop(0) if self.plan else self.always
        words = asked["messages"][-1]["content"]
        fault = next((name for part, name in self.of_text.items() if part in words), fault)
        if fault == "n refused" and asked["n"] == 1:
            fault = None
        first = int(headers.get(FIRST_SAMPLE, 0))
        self._log(number=number, text=words, n=asked["n"], first=first, fault=fault, time=time.time())
        time.sleep(self.delay)
        if fault == ECHO:
            response = failure(400, f"what is this?\n{headers.get('Authorization')}", "invalid_value")
        elif fault in FAULTS:
            response = FAULTS[fault]()
        else:
            given = json.dumps(asked | {"n": min(asked["n"], self.most or asked["n"])}).encode()
            response = super().respond(method, path, headers, given)
        about = {"X-Fault": fault or "", "X-Number": str(number)}
        return Response(response.status, response.body, {**response.headers, **about})

    def _log(self, **entry: Any) -> None:
        with self.lock:
            self.log.write(json.dumps(entry) + "\n")


class FaultyHandler(Handler):
    def _send(self, response: Response) -> None:
        fault = response.headers.get("X-Fault")
        if fault == HUNG:
            time.sleep(30)
        if fault not in (RESET, CUT, TRICKLE):
            super()._send(response)
            self.wfile.flush()
            if number := response.headers.get("X-Number"):
                self.server._log(answered=int(number))
            return
        body = json.dumps(response.body).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body[: len(body) // 2])
        self.wfile.flush()
        if fault == TRICKLE:
            for byte in range(300):
                time.sleep(0.1)
                self.wfile.write(body[byte : byte + 1])
                self.wfile.flush()
        if fault == RESET:
            # Closing with data unsent and no time to linger sends RST.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


if __name__ == "__main__":
    serve(Faulty)
