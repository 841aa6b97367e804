"""A completion to start from."""

from datetime import UTC, datetime

from askonce.cache.completion import Completion
from askonce.cache.key import answer_key, canonical_json, endpoint_identity

TEXT = "Agent sees door, key, holds nothing."


def completion(text: str = TEXT, model: str = "small-model", **changes) -> Completion:
    """The answer to one plausible request about `text`, its key being the true one, with `changes`."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], "n": 10}
    endpoint = endpoint_identity("http://localhost:8000/v1")
    fields = {
        "key": answer_key(body, endpoint),
        "task": "SimpleDoorKey",
        "model": model,
        "prompt": "b07c91d2",
        "text": text,
        "sample": 0,
        "content": "Decision: go to key, pick up key",
        "finish_reason": "stop",
        "prompt_tokens": 300,
        "completion_tokens": 40,
        "latency": 0.5,
        "served_model": "small-model-2025",
        "endpoint": endpoint,
        "request": canonical_json(body),
        "asked_at": datetime(2025, 3, 1, 12, 30, 0, 123456, tzinfo=UTC),
    }
    return Completion(**fields | changes)
