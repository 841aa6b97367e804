"""One raw LLM answer as a row: its columns, which of them make it what it is, and rows as a table.

A key says what was asked, so model, prompt, text, endpoint and request follow from it; `IDENTITY` is
the rest, but for `usage`, which older versions did not keep. Two rows that agree in it are one answer,
however often and wherever they are stored; of two, the one with its usage says more.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("content", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
        pa.field("finish_reason", pa.string()),
        pa.field("prompt_tokens", pa.int64()),
        pa.field("completion_tokens", pa.int64()),
        pa.field("latency", pa.float64()),
        pa.field("served_model", pa.string()),
        pa.field("endpoint", pa.string(), nullable=False),
        pa.field("request", pa.string(), nullable=False),
        pa.field("asked_at", pa.timestamp("us"), nullable=False),
        pa.field("logprobs", pa.string()),
        pa.field("usage", pa.string()),
    ]
)

# In the order by which readers number the answers of one task and key.
IDENTITY = (
    "task",
    "key",
    "asked_at",
    "sample",
    "content",
    "weight",
    "finish_reason",
    "prompt_tokens",
    "completion_tokens",
    "latency",
    "served_model",
    "logprobs",
)

# The order of rows in a segment: by key, and from there on total, so that the same rows make the same bytes.
ORDER = tuple(dict.fromkeys(("key", *IDENTITY, *SCHEMA.names)))


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One raw LLM answer. None stands for what the server did not say.

    key                what the answer depends on (`cache.key.answer_key`)
    task, model        for which task it was asked, and under which model name
    prompt             short digest that names prompt, parameters and endpoint together
    text               the text description c(s) that was asked about
    sample             0, 1, … among the answers of one key; writers that ask at the same time may give
                       the same number twice, so readers number anew by `asked_at`
    content            the answer word for word, possibly empty; what the model thought before it, where the server
                       gives that apart, stands first, in <think> tags
    weight             1 for a sample; its probability for a decision recorded elsewhere
    prompt_tokens      this completion's share of its request, so that sums say what was spent
    completion_tokens  likewise
    latency            seconds from request to answer
    served_model       the model that the server says has answered
    endpoint           `cache.key.endpoint_identity` of the server
    request            canonical JSON of the wire body; holds no secret, headers not being part of it
    asked_at           aware datetime, stored as UTC to the microsecond
    logprobs           JSON of the choice's log-probabilities as the server sent them
    usage              JSON of the request's usage as the server sent it, in the first completion of the
                       request and in no other, so that sums say what was spent
    """

    key: str
    task: str
    model: str
    prompt: str
    text: str
    sample: int
    content: str
    weight: float = 1.0
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency: float | None = None
    served_model: str | None = None
    endpoint: str
    request: str
    asked_at: datetime
    logprobs: str | None = None
    usage: str | None = None

    def __post_init__(self) -> None:
        if self.asked_at.tzinfo is None:
            raise ValueError("asked_at needs a time zone")

    @property
    def completion_id(self) -> str:
        return completion_id(self.key, self.sample)


def completion_id(key: str, sample: int) -> str:
    """The first 12 hex digits of the key and the sample, such as "3f0c9a7be214-0"."""
    return f"{key.partition(':')[2][:12]}-{sample}"


def to_table(completions: Iterable[Completion]) -> pa.Table:
    """`completions` in the columns of `SCHEMA`, in the order given."""
    rows = list(completions)
    columns = [pa.array([_storable(getattr(row, field.name)) for row in rows], field.type) for field in SCHEMA]
    return pa.table(columns, schema=SCHEMA)


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        # JSON may hold half a surrogate pair, which is no character and has no UTF-8. A paid answer
        # is not to be lost over it: it becomes U+FFFD.
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None)
    return value
