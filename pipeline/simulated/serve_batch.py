"""The batch side of the simulated server: files, and batches that a thread answers line by line.

All of it is in memory and ends with the server. A custom_id that ends in "-FIRST", a number, says by it
which index the line's first choice has, so that a sample is the same online and in a batch.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import count
import json
import re
import threading
import time
from typing import Any
from urllib.parse import parse_qsl

from askonce.pipeline.simulated.response import FIRST_SAMPLE, SETTINGS, Headers, Response, failure

ENDPOINT = "/v1/chat/completions"
# OpenAI's limits on a batch, of which an upload is a little longer, being in a form's frame.
MOST_LINES, LARGEST_FILE = 50_000, 200_000_000
LARGEST_UPLOAD = LARGEST_FILE + 10_000
WINDOW = 24 * 3600

Chat = Callable[[Headers, bytes], Response]


class Batches:
    """Files and batches of one server. `chat` answers a request on its own; tests override `answer`."""

    def __init__(self, chat: Chat):
        self.chat = chat
        self.files: dict[str, tuple[dict[str, Any], bytes]] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.numbers = count(1)

    def respond(self, method: str, path: str, headers: Headers, body: bytes) -> Response | None:
        """None where the request is none about files or batches."""
        path, _, query = path.partition("?")
        match method, *path.strip("/").split("/"):
            case "POST", "v1", "files":
                return self.upload(headers, body)
            case "GET", "v1", "files", name if name in self.files:
                return Response(200, self.files[name][0])
            case "GET", "v1", "files", name, "content" if name in self.files:
                return Response(200, self.files[name][1], {"Content-Type": "application/octet-stream"})
            case "POST", "v1", "batches":
                return self.create(headers, body)
            case "GET", "v1", "batches":
                return self.listing(dict(parse_qsl(query)))
            case "GET", "v1", "batches", name if name in self.batches:
                return Response(200, self.batches[name])
            case "POST", "v1", "batches", name, "cancel" if name in self.batches:
                return self.cancel(self.batches[name])
            case _, "v1", "files" | "batches" as kind, *_:
                return failure(404, f"no such thing among the {kind}", "not_found")
        return None

    def upload(self, headers: Headers, body: bytes) -> Response:
        form = dict(_form(headers.get("Content-Type", ""), body))
        if "file" not in form or form.get("purpose") != b"batch":
            return failure(400, "give a file, and the purpose batch", "invalid_body")
        return Response(200, self.files[self.store(form["file"])][0])

    def create(self, headers: Headers, body: bytes) -> Response:
        try:
            asked = json.loads(body)
            source, endpoint = asked["input_file_id"], asked["endpoint"]
        except (ValueError, KeyError, TypeError):
            return failure(400, "no request for a batch", "invalid_body")
        if source not in self.files or endpoint != ENDPOINT:
            return failure(400, f"give the id of an uploaded file, and {ENDPOINT}", "invalid_value")
        now = int(time.time())
        batch = {
            "id": f"batch_{next(self.numbers)}",
            "object": "batch",
            "endpoint": endpoint,
            "errors": None,
            "input_file_id": source,
            "completion_window": "24h",
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": now,
            "expires_at": now + WINDOW,
            "completed_at": None,
            "metadata": asked.get("metadata"),
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
        }
        self.batches[batch["id"]] = batch
        settings = {SETTINGS: headers[SETTINGS]} if headers.get(SETTINGS) else {}
        # The batch may go on by the time that it is sent, so what is sent is a copy.
        answer = Response(200, dict(batch))
        threading.Thread(target=self.run, args=(batch, settings), daemon=True).start()
        return answer

    def listing(self, asked: Mapping[str, str]) -> Response:
        newest_first = [*self.batches.values()][::-1]
        ids = [batch["id"] for batch in newest_first]
        begin = ids.index(asked["after"]) + 1 if asked.get("after") in ids else 0
        limit = int(asked.get("limit") or 20)
        page = newest_first[begin : begin + limit]
        more = begin + limit < len(newest_first)
        return Response(200, {"object": "list", "data": page, "has_more": more})

    def cancel(self, batch: dict[str, Any]) -> Response:
        if batch["status"] in ("validating", "in_progress"):
            batch["status"] = "cancelling"
        return Response(200, batch)

    def run(self, batch: dict[str, Any], settings: Mapping[str, str]) -> None:
        lines = self.files[batch["input_file_id"]][1].splitlines()
        asked, wrong = _validated(lines)
        if wrong:
            batch |= {"errors": {"object": "list", "data": wrong}, "failed_at": int(time.time()), "status": "failed"}
            return
        batch["request_counts"]["total"] = len(asked)
        if batch["status"] == "validating":
            batch["status"] = "in_progress"
        answered: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for number, line in enumerate(asked):
            if batch["status"] == "cancelling":
                failed += [unprocessed(left["custom_id"], "batch_cancelled") for left in asked[number:]]
                break
            answer = self.answer(line, settings)
            sound = (answer["response"] or {}).get("status_code") == 200
            (answered if sound else failed).append(answer)
        self.end(batch, "cancelled" if batch["status"] == "cancelling" else "completed", answered, failed)

    def answer(self, line: dict[str, Any], settings: Mapping[str, str]) -> dict[str, Any]:
        """The line of the output that answers this line of the input."""
        numbered = re.search(r"-(\d{1,9})$", line["custom_id"])
        first = {FIRST_SAMPLE: numbered[1]} if numbered else {}
        response = self.chat({**settings, **first}, json.dumps(line["body"]).encode())
        return processed(line["custom_id"], response)

    def end(
        self, batch: dict[str, Any], status: str, answered: list[dict[str, Any]], failed: list[dict[str, Any]]
    ) -> None:
        batch["request_counts"] |= {"completed": len(answered), "failed": len(failed)}
        for field, lines in {"output_file_id": answered, "error_file_id": failed}.items():
            if lines:
                batch[field] = self.store("".join(json.dumps(line) + "\n" for line in lines).encode())
        batch[f"{status}_at"] = int(time.time())
        # Whoever sees it ended finds all of the above.
        batch["status"] = status

    def store(self, data: bytes) -> str:
        name = f"file-{next(self.numbers)}"
        about = {
            "id": name,
            "object": "file",
            "bytes": len(data),
            "created_at": int(time.time()),
            "filename": f"{name}.jsonl",
            "purpose": "batch",
            "status": "processed",
        }
        self.files[name] = about, data
        return name


def processed(custom_id: str, response: Response) -> dict[str, Any]:
    """A line of a batch's output: what the request would have been answered on its own."""
    body = {"status_code": response.status, "request_id": "req_simulated", "body": response.body}
    return {"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": body, "error": None}


def unprocessed(custom_id: str, code: str) -> dict[str, Any]:
    error = {"code": code, "message": "This request could not be executed before the batch ended."}
    return {"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": None, "error": error}


def _validated(lines: list[bytes]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The requests, and the errors of the lines that are none."""
    if not 0 < len(lines) <= MOST_LINES or sum(map(len, lines)) > LARGEST_FILE:
        message = f"a batch has from 1 to {MOST_LINES} lines and at most {LARGEST_FILE} bytes"
        return [], [{"code": "invalid_file", "line": None, "message": message, "param": None}]
    asked, wrong, names = [], [], set()
    for number, line in enumerate(lines, 1):
        match _json(line):
            case {"custom_id": str(name), "method": "POST", "url": url, "body": dict()} as line if (
                url == ENDPOINT and name not in names
            ):
                names.add(name)
                asked.append(line)
            case _:
                message = "no request with a custom_id of its own"
                wrong.append({"code": "invalid_request", "line": number, "message": message, "param": None})
    return asked, wrong


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _form(content_type: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    """The parts of multipart/form-data by their names."""
    boundary = re.search(r'boundary="?([^";]+)', content_type)
    for part in body.split(b"--" + boundary[1].encode())[1:-1] if boundary else ():
        head, _, content = part.partition(b"\r\n\r\n")
        if name := re.search(rb'\bname="([^"]*)"', head):
            yield name[1].decode("utf-8", "replace"), content.removesuffix(b"\r\n")
