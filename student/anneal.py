"""Eq. 3: how much the student trusts its teacher, by training iteration."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Annealing:
    """λ falls linearly from `initial` to `kept` at iteration `decayed`, stays there, and is 0 from `closed` on.

    Eq. 3's λ0, λc, i1 and i2. The paper's schedule for MiniGrid is 10, 0.1, 1000, 2000 (appendix A.7).
    """

    initial: float = 10.0
    kept: float = 0.1
    decayed: int = 1000
    closed: int = 2000

    def weight(self, iteration: int) -> float:
        """λ_i of iteration i, counted from 0."""
        if iteration >= self.closed:
            return 0.0
        if iteration >= self.decayed:
            return self.kept
        return self.initial - (self.initial - self.kept) * iteration / self.decayed
