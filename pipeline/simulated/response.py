"""What the simulated server answers with, and the headers by which it can be told how to answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

# The name by which the simulated LLM is asked.
SIMULATED = "simulated"
FIRST_SAMPLE = "X-First-Sample"
SETTINGS = "X-Simulated"
# What `Message` has of a mapping is all that is needed.
Headers = Mapping[str, str] | Message


@dataclass(frozen=True)
class Response:
    """`body` is sent as JSON, as it is where it is bytes, and piece by piece where it is an iterator of bytes."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


def failure(status: int, message: str, code: str) -> Response:
    """An error in OpenAI's form."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return Response(status, {"error": {"message": message, "type": kind, "param": None, "code": code}})
