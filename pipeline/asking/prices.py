"""What tokens cost, and how many a request will take.

The table holds OpenAI's standard prices of text tokens, looked up in November 2026: of gpt-5-nano and gpt-5.4-nano
in OpenAI's own pages (https://developers.openai.com/api/docs/models/…), of the others in copies that others made
of its price list (https://developers.openai.com/api/docs/pricing) between March and September 2026, where at least
two agreed. Some models cost more for inputs beyond 272,000 tokens. Prices change and differ between providers:
override them with a JSON file, {"MODEL": {"input": USD, "output": USD}}, USD per million tokens.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
import json
import math
from pathlib import Path
import re
from typing import Any

from askonce.cache.errors import AskonceError

# Requests whose body names no limit are taken to answer with at most so many tokens.
UNLIMITED = 4096


@dataclass(frozen=True)
class Price:
    """USD per million tokens."""

    input: float
    output: float

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        """USD."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6


PRICES = {
    "gpt-6-sol": Price(2.00, 10.00),
    "gpt-6-luna": Price(0.10, 0.50),
    "gpt-5.6-terra": Price(2.00, 12.00),
    "gpt-5.6-luna": Price(0.20, 1.20),
    "gpt-5.5": Price(5.00, 30.00),
    "gpt-5.4": Price(2.50, 15.00),
    "gpt-5.4-mini": Price(0.75, 4.50),
    "gpt-5.4-nano": Price(0.20, 1.25),
    "gpt-5.2": Price(1.75, 14.00),
    "gpt-5.1": Price(1.25, 10.00),
    "gpt-5": Price(1.25, 10.00),
    "gpt-5-mini": Price(0.25, 2.00),
    "gpt-5-nano": Price(0.05, 0.40),
    "gpt-4.1": Price(2.00, 8.00),
    "gpt-4.1-mini": Price(0.40, 1.60),
    "gpt-4.1-nano": Price(0.10, 0.40),
    "gpt-4o": Price(2.50, 10.00),
    "gpt-4o-mini": Price(0.15, 0.60),
    "o3": Price(2.00, 8.00),
    "o4-mini": Price(1.10, 4.40),
    "gpt-3.5-turbo": Price(0.50, 1.50),
    "simulated": Price(0.0, 0.0),
}


def price_of(model: str, own: Mapping[str, Price] = {}) -> Price | None:
    """The price of `model`, a dated version of it included ("gpt-4o-2024-08-06"); None where unknown."""
    undated = re.sub(r"-\d{4}-\d{2}-\d{2}$", "", model)
    known = {**PRICES, **own}
    return known.get(model) or known.get(undated)


def read_prices(path: Path) -> dict[str, Price]:
    """A user's own prices. AskonceError where the file holds none that make sense."""
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        return {model: _price(entry) for model, entry in listed.items()}
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise AskonceError(
            f"{path} holds no prices ({error!r}); write "
            '{"MODEL": {"input": USD, "output": USD}}, USD per million tokens',
            2,
        ) from None


def _price(entry: Mapping[str, Any]) -> Price:
    price = Price(float(entry["input"]), float(entry["output"]))
    if not all(math.isfinite(usd) and usd >= 0 for usd in (price.input, price.output)):
        raise ValueError("a price is a number, 0 or more")
    return price


@dataclass(frozen=True)
class Forecast:
    """What asking would take. `cost` in USD, None where the price is unknown."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


def forecast(
    requests: Iterable[tuple[Mapping[str, Any], int]], price: Price | None, per_completion: float | None = None
) -> Forecast:
    """Over pairs of a wire body and its number of samples, read one by one.

    `per_completion` is the expected length of an answer in tokens, for instance the mean of those that
    are stored already; without it every answer counts as long as its body allows.
    """
    count, prompt, completion = 0, 0, 0.0
    for body, n in requests:
        count += 1
        prompt += prompt_tokens(body)
        completion += n * (completion_limit(body) if per_completion is None else per_completion)
    cost = None if price is None else price.of(prompt, completion)
    return Forecast(count, prompt, round(completion), cost)


def prompt_tokens(body: Mapping[str, Any]) -> int:
    """An estimate on the high side: English has about 4.5 bytes a token, and each message has a frame."""
    return 3 + sum(4 + math.ceil(_bytes(turn["content"]) / 3) for turn in body["messages"])


def completion_limit(body: Mapping[str, Any]) -> int:
    """The most tokens that one answer may have."""
    return body.get("max_completion_tokens") or body.get("max_tokens") or UNLIMITED


def _bytes(content: Any) -> int:
    text = content if isinstance(content, str) else json.dumps(content)
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
