"""How a server may be asked: how much at once, how fast, for how much money, with how much patience."""

from dataclasses import dataclass

from askonce.cache.errors import AskonceError
from askonce.pipeline.asking.budget import Budget
from askonce.pipeline.asking.prices import Price
from askonce.pipeline.asking.retry import Patience


@dataclass(frozen=True)
class Terms:
    """None: without limit.

    concurrency  the most requests in flight; fewer are, until answers show that the server takes more
    rpm, tpm     requests and tokens a minute
    price        of the tokens, where it is known
    """

    concurrency: int = 256
    rpm: float | None = None
    tpm: float | None = None
    budget: Budget = Budget()
    price: Price | None = None
    patience: Patience = Patience()

    def __post_init__(self) -> None:
        if not all(limit is None or limit > 0 for limit in (self.concurrency, self.rpm, self.tpm)):
            raise AskonceError("--concurrency, --rpm and --tpm are numbers above 0", 2)
        if self.budget.max_cost is not None and self.price is None:
            raise AskonceError("--max-cost needs to know what the model's tokens cost: give --prices FILE", 2)
