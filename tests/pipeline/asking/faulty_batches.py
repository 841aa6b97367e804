"""The simulated LLM's batches with faults, in a process of its own (`faulty_process.started("faulty_batches", log)`).

Every call is noted, and every line of every batch that the server has accepted, before it is answered.
"""

import json
import os
from pathlib import Path
import signal
import threading
import time
from typing import Any

from askonce.pipeline.simulated.response import Response
from askonce.pipeline.simulated.serve import Handler, SimulatedServer
from askonce.pipeline.simulated.serve_batch import Batches, processed, unprocessed
from tests.pipeline.asking.faulty_process import serve
from tests.pipeline.asking.faulty_server import FAULTS

# The header in which a client gives its process id.
CLIENT = "X-Client"
# Faults of a call: the server does what is asked or not, and then ends the client, or the connection, or half
# way through the answer.
KILLED_BEFORE, KILLED, LOST, CUT = "kill before", "kill", "lost", "cut"


class FaultyBatches(Batches):
    def __init__(self, chat, server: "Faulty"):
        super().__init__(chat)
        self.server = server

    def run(self, batch: dict[str, Any], settings) -> None:
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]][1].splitlines()]
        end = self.server.ends.pop(0) if self.server.ends else {}
        if self.server.enqueued and len(lines) > self.server.enqueued:
            end = {"status": "failed", "errors": [{"code": "token_limit_exceeded", "message": "try again"}]}
        if end.get("status") == "failed":
            batch |= {"errors": {"data": end["errors"]}, "failed_at": batch["created_at"], "status": "failed"}
            return
        for line in lines:
            self.server.note(batch=batch["id"], **about(line))
        batch["status"] = "in_progress"
        while self.server.held:
            time.sleep(0.01)
        after = end.get("after", len(lines))
        answers = [self.answer(line, settings) for line in lines[:after]]
        answers = [answer for answer in answers if answer]
        sound = [one for one in answers if one["response"] and one["response"]["status_code"] == 200]
        status = end.get("status", "completed")
        failed = [one for one in answers if one not in sound]
        failed += [unprocessed(line["custom_id"], f"batch_{status}") for line in lines[after:]]
        self.end(batch, status, sound, failed)

    def answer(self, line: dict[str, Any], settings) -> dict[str, Any] | None:
        fault, asked, name = self.server.fault_of(about(line)["text"]), line["body"], line["custom_id"]
        if fault == "no line":
            return None
        if fault == "unprocessed":
            return unprocessed(name, "request_timeout")
        if fault == "n refused" and asked["n"] == 1:
            fault = None
        if fault:
            return processed(name, FAULTS[fault]())
        given = asked | {"n": min(asked["n"], self.server.most or asked["n"])}
        return super().answer({**line, "body": given}, settings)


class Faulty(SimulatedServer):
    """The simulated LLM with these settings, all optional:

    calls     faults of the next calls in turn, None for none, by what is called: "upload", "create", "list",
              "look", "fetch"; a status, or one of the above
    ends      how the next batches end: {"status", "after": lines answered, "errors": of a failed one}
    of_text   faults of lines by a part of their prompt, in turn; of "always" for all that come after
    most      the most choices that it gives
    enqueued  the most lines that a batch may have
    held      batches do not end before this is set anew
    api_key   the one that it takes; any, if left out
    """

    def __init__(self, log: Path):
        super().__init__()
        self.RequestHandlerClass = FaultyHandler
        self.batches = FaultyBatches(self._chat, self)
        self.log, self.lock = open(log, "a", buffering=1), threading.Lock()  # noqa: SIM115
        self.set({})

    def set(self, settings: dict[str, Any]) -> None:
        self.calls, self.ends = settings.get("calls", {}), settings.get("ends", [])
        self.of_text, self.always = settings.get("of_text", {}), settings.get("always")
        self.most, self.enqueued = settings.get("most"), settings.get("enqueued")
        self.held, self.api_key = settings.get("held", False), settings.get("api_key")

    def fault_of(self, text: str) -> str | None:
        turns = next((turns for part, turns in self.of_text.items() if part in text), [])
        return turns.pop(0) if turns else self.always

    def respond(self, method: str, path: str, headers, body: bytes) -> Response:
        if path == "/set":
            self.set(json.loads(body))
            return Response(200, {})
        call = _call(method, path.partition("?")[0])
        fault = self.calls[call].pop(0) if self.calls.get(call) else None
        self.note(call=call, fault=fault, client=headers.get(CLIENT))
        if fault == KILLED_BEFORE:
            os.kill(int(headers[CLIENT]), signal.SIGKILL)
        if fault in FAULTS:
            return FAULTS[fault]()
        response = super().respond(method, path, headers, body)
        if fault == KILLED:
            os.kill(int(headers[CLIENT]), signal.SIGKILL)
        return Response(response.status, response.body, {**response.headers, "X-Fault": fault or ""})

    def note(self, **entry: Any) -> None:
        with self.lock:
            self.log.write(json.dumps(entry) + "\n")


class FaultyHandler(Handler):
    def _send(self, response: Response) -> None:
        fault = response.headers.get("X-Fault")
        if fault == CUT:
            body = response.body if isinstance(response.body, bytes) else json.dumps(response.body).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body[: len(body) // 2])
            self.wfile.flush()
        if fault in (CUT, LOST):
            self.close_connection = True
            return self.connection.close()
        super()._send(response)


def _call(method: str, path: str) -> str:
    match method, path.removeprefix("/v1/").split("/"):
        case "POST", ["files"]:
            return "upload"
        case "POST", ["batches"]:
            return "create"
        case "GET", ["batches"]:
            return "list"
        case "GET", ["batches", _]:
            return "look"
    return "fetch"


def about(line: dict[str, Any]) -> dict[str, Any]:
    """The samples that a line asks for."""
    first = int(line["custom_id"].rpartition("-")[2])
    body = line["body"]
    return {"id": line["custom_id"], "text": body["messages"][-1]["content"], "first": first, "n": body["n"]}


if __name__ == "__main__":
    serve(Faulty)
