"""Who waits for which request of a batch: samples that jobs ask for, matched with requests not yet answered.

Invariant: a request is new only where none that is pending asks for the same sample, and only where the
budget has room for it beside all the others at their longest.
"""

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from askonce.pipeline.asking.budget import Budget, Tally, affords
from askonce.pipeline.asking.prices import Price, completion_limit, prompt_tokens
from askonce.pipeline.asking.submission import Claim, Request, Submission, line_of

# "50% cost discount compared to synchronous APIs": https://platform.openai.com/docs/guides/batch
DISCOUNT = 0.5


@dataclass(frozen=True)
class Limits:
    """Requests and bytes in a file, which are OpenAI's own limits; and batches under way at once, so that
    memory does not grow with the number of jobs."""

    requests: int = 50_000
    bytes: int = 200_000_000
    batches: int = 8


def at_a_discount(price: Price | None) -> Price | None:
    """What tokens cost in a batch."""
    return price and Price(price.input * DISCOUNT, price.output * DISCOUNT)


class Pending:
    """Requests that have not been answered, in drafts and in submissions.

    drafts         what is yet to be submitted; the last of them is being filled, the others are full
    refused        whether the budget has refused a request, and so refuses all others
    takes_several  whether the server takes n > 1; None until it has been seen
    most_requests  in a draft
    """

    def __init__(self, folder: Path, limits: Limits, budget: Budget, price: Price | None, tally: Tally):
        self.folder, self.budget, self.price, self.tally = folder, budget, price, tally
        self.most_requests, self.most_bytes = limits.requests, limits.bytes
        self.drafts: deque[Submission] = deque()
        self.refused = False
        self.takes_several: bool | None = None
        # The later ones last.
        self.by_digest: dict[str, list[Request]] = {}
        # Tokens, at most, of those that are waited for; and by what factor prompts were underestimated.
        self.prompt_tokens = self.completion_tokens = 0
        self.underestimated = 1.0

    def __contains__(self, request: Request) -> bool:
        return request in self.by_digest.get(request.digest, ())

    def adopt(self, submission: Submission) -> None:
        """What an earlier run has asked and nobody has taken."""
        for request in submission.requests:
            if not submission.taken >> request.number & 1:
                self.by_digest.setdefault(request.digest, []).append(request)

    def place(self, claim: Claim, digest: str, body: dict[str, Any]) -> None:
        """Has every sample of the claim wait for a request: one that is pending, else a new one.

        Once the budget has refused one, samples without a pending request are given up.
        """
        first, end = claim.first, claim.first + claim.n
        while first < end:
            pending = self.by_digest.get(digest, ())
            request = next((one for one in reversed(pending) if one.first <= first < one.first + one.n), None)
            until = min([end, *(one.first for one in pending if one.first > first)])
            if request is None:
                request = self._new(digest, first, 1 if self.takes_several is False else until - first, body)
            if request is not None:
                until = min(end, request.first + request.n)
                if not request.claims:
                    self._reserve(request, body, 1)
                request.claims += (claim._replace(first=first, n=until - first),)
            first = until

    def awaited(self, submission: Submission, line: Any) -> Request | None:
        """The request of the submission that this line of its output answers; None if nobody waits for it."""
        name = line.get("custom_id") if isinstance(line, dict) else None
        pending = self.by_digest.get(str(name).partition("-")[0], ())
        mine = (one for one in pending if one.submission is submission and one.custom_id == name)
        return next((one for one in mine if one.claims), None)

    def done(self, request: Request, body: dict[str, Any]) -> tuple[Claim, ...]:
        """The request is no longer pending; returns who waited for it."""
        claims, request.claims = request.claims, ()
        pending = self.by_digest[request.digest]
        pending.remove(request)
        if not pending:
            del self.by_digest[request.digest]
        if claims:
            self._reserve(request, body, -1)
        return claims

    def learn(self, asked: int, given: int, tokens: int, body: dict[str, Any]) -> None:
        """A request for so many samples was given so many, and its prompt took so many tokens."""
        if given > 1 or self.takes_several is None and asked > 1:
            self.takes_several = given > 1
        self.underestimated = max(self.underestimated, tokens / prompt_tokens(body))

    def cost(self, body: dict[str, Any], n: int) -> float:
        """USD, at most, of a request; 0 where the price is unknown."""
        return self._cost(prompt_tokens(body), n * completion_limit(body))

    def close(self) -> None:
        """What was not submitted will not be."""
        self.tally.requests -= sum(len(draft.requests) for draft in self.drafts)
        self.tally.in_flight = 0
        for draft in self.drafts:
            draft.close()

    def _new(self, digest: str, first: int, n: int, body: dict[str, Any]) -> Request | None:
        under_way = self._cost(self.prompt_tokens, self.completion_tokens)
        self.refused = self.refused or not affords(self.budget, self.tally, self.cost(body, n), under_way)
        if self.refused:
            return None
        line = line_of(body, digest, first, n)
        request = self._draft(len(line)).add(line, digest, first, n)
        self.by_digest.setdefault(digest, []).append(request)
        self.tally.requests += 1
        return request

    def _draft(self, size: int) -> Submission:
        """A draft that has room for another line of so many bytes."""
        last = self.drafts[-1] if self.drafts else None
        if not last or len(last.requests) >= self.most_requests or last.size + size > self.most_bytes:
            self.drafts.append(Submission(self.folder))
        return self.drafts[-1]

    def _reserve(self, request: Request, body: dict[str, Any], sign: int) -> None:
        request.submission.wanted += sign
        self.tally.in_flight += sign
        self.prompt_tokens += sign * prompt_tokens(body)
        self.completion_tokens += sign * request.n * completion_limit(body)

    def _cost(self, prompt: int, completion: int) -> float:
        return self.price.of(prompt * self.underestimated, completion) if self.price else 0.0
