"""What tokens cost, and how many a request will take.

Prices are those of genai-prices, a list that its authors keep current with each release: `pip install --upgrade
genai-prices`. It looks nothing up in the network. Prices differ between providers, and some models cost more for long
inputs: override them with a JSON file, {"MODEL": {"input": USD, "output": USD}}, USD per million tokens.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
import json
import math
from pathlib import Path
from typing import Any

from askonce.cache.errors import AskonceError
from askonce.pipeline.simulated.response import SIMULATED

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


# Prices may be graded by length; a request of ours is as short as this.
SHORT = 1_000
FREE = Price(0.0, 0.0)


def price_of(model: str, own: Mapping[str, Price] = {}, address: str | None = None) -> Price | None:
    """The price of `model`, of the provider at `address` where that is a known one; None where it is unknown."""
    if model in own:
        return own[model]
    if model == SIMULATED:
        return FREE
    # Not above: it takes a sixth of a second.
    from genai_prices import Usage, calc_price

    for where in dict.fromkeys((address, None)):
        with suppress(LookupError):
            found = calc_price(Usage(input_tokens=SHORT, output_tokens=SHORT), model, provider_api_url=where)
            return Price(*(float(usd) * 1e6 / SHORT for usd in (found.input_price, found.output_price)))
    return None


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
