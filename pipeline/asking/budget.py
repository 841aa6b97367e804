"""What may be spent, and what has been.

No request is sent that could exceed the budget, were its answer as long as it may be: the sum of what is
spent, what is in flight at its longest, and what was lost on the way stays below it.
"""

from collections import Counter
from dataclasses import dataclass, field

from askonce.cache.errors import AskonceError
from askonce.pipeline.asking.prices import Price


@dataclass(frozen=True)
class Budget:
    """None: without limit. `max_cost` in USD, which needs a price."""

    max_cost: float | None = None
    max_requests: int | None = None

    @property
    def words(self) -> str:
        named = {"--max-cost": self.max_cost, "--max-requests": self.max_requests}
        return " ".join(f"{name} {value:g}" for name, value in named.items() if value is not None)


@dataclass
class Tally:
    """What has been asked and spent so far, over any number of runs. Written by the asker; read at any time.

    requests                every request sent, failed ones included
    completions             samples obtained
    prompt_tokens, completion_tokens
                            as servers reported them, for failed calls too
    reasoning_tokens        those of the completion tokens that the model thought with, where servers say so
    cost                    USD for these tokens; 0 where the price is unknown
    lost                    USD, at most, for requests whose answer was lost on the way and may be billed
    errors                  failures by kind: a status, "timeout", "connection", "no answer"
    in_flight, concurrency  requests at this moment, and the most that the asker now allows itself
    """

    requests: int = 0
    completions: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float = 0.0
    lost: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    concurrency: int = 0

    def spend(self, prompt_tokens: int, completion_tokens: int, price: Price | None) -> None:
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self.cost += price.of(prompt_tokens, completion_tokens) if price else 0.0


class Stopped(AskonceError):
    """The budget is used up. What was in flight has been waited for."""

    def __init__(self, budget: Budget, tally: Tally):
        spent = f"{tally.requests} requests sent, {tally.cost + tally.lost:.4f} USD spent at most"
        super().__init__(f"stopped by {budget.words}: {spent}; everything obtained is stored", exit_code=3)


def affords(budget: Budget, tally: Tally, next_cost: float, reserved: float = 0.0) -> bool:
    """Whether a request of at most `next_cost` fits, beside `reserved` for those in flight; both in USD."""
    if budget.max_requests is not None and tally.requests >= budget.max_requests:
        return False
    return budget.max_cost is None or tally.cost + tally.lost + reserved + next_cost <= budget.max_cost
