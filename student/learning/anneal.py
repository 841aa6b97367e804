"""Eq. 3: how much the student trusts its teacher, by training iteration."""

from dataclasses import dataclass, replace
import math

from askonce.cache.errors import AskonceError

# The presets are those of runs of so many iterations; for others i1 and i2 are scaled in proportion.
ITERATIONS = 3000


@dataclass(frozen=True)
class Annealing:
    """λ falls linearly from `initial` to `kept` at iteration `decayed`, stays there, and is 0 from `closed` on.

    Eq. 3's λ0, λc, i1 and i2. Its decay rate is `decay`, None for the one that brings λ to λc at i1; a faster
    one brings it there sooner, and at a slower one λ falls the rest at once.
    """

    initial: float = 10.0
    kept: float = 0.1
    decayed: int = 1000
    closed: int = 2000
    decay: float | None = None

    def weight(self, iteration: float) -> float:
        """λ_i of iteration i, counted from 0."""
        if iteration >= self.closed:
            return 0.0
        if iteration >= self.decayed:
            return self.kept
        if self.decay is not None:
            return max(self.initial - self.decay * iteration, self.kept)
        return self.initial - (self.initial - self.kept) * iteration / self.decayed


# The schedules that appendix A.7 compares. It leaves open when the constant one ends; here with the stepwise one,
# which is the paper's own. Beyond the paper the last two (docs/methods.md): in one the teacher leaves sooner, in
# the other never.
PRESETS = {
    "constant": Annealing(0.1, 0.1, 0, 2000),
    "linear-1000": Annealing(10.0, 0.0, 1000, 1000),
    "linear-2000": Annealing(10.0, 0.0, 2000, 2000),
    "stepwise": Annealing(10.0, 0.1, 1000, 2000),
    "stepwise-300": Annealing(10.0, 0.1, 300, 600),
    "kept": Annealing(10.0, 0.1, 1000, 3000),
}
COMPARED = "constant", "linear-1000", "linear-2000", "stepwise", "stepwise-300"
WITHOUT_TEACHER = Annealing(0.0, 0.0, 0, 0)


def schedule(
    preset: str,
    iterations: int,
    lambda_0: float | None = None,
    lambda_c: float | None = None,
    i1: int | None = None,
    i2: int | None = None,
    decay: float | None = None,
) -> Annealing:
    """A preset for a run of so many iterations, with what is given in place of its own values (Eq. 3's names)."""
    if preset not in PRESETS:
        raise AskonceError(f"there is no schedule {preset!r}: --anneal is one of {', '.join(PRESETS)}", 2)
    own = PRESETS[preset]
    scaled = replace(
        own,
        decayed=math.ceil(own.decayed * iterations / ITERATIONS),
        closed=math.ceil(own.closed * iterations / ITERATIONS),
    )
    given = {"initial": lambda_0, "kept": lambda_c, "decayed": i1, "closed": i2, "decay": decay}
    wanted = replace(scaled, **{name: value for name, value in given.items() if value is not None})
    _check(wanted)
    return wanted


def _check(wanted: Annealing) -> None:
    rates = {"--lambda-0": wanted.initial, "--lambda-c": wanted.kept, "--decay": wanted.decay or 0.0}
    for option, value in rates.items():
        if not (value >= 0 and math.isfinite(value)):
            raise AskonceError(f"{option} {value} is no weight: give a number from 0 up", 2)
    if wanted.kept > wanted.initial:
        raise AskonceError(
            f"--lambda-c {wanted.kept} is above --lambda-0 {wanted.initial}: the teacher's weight only falls", 2
        )
    if not 0 <= wanted.decayed <= wanted.closed:
        raise AskonceError(
            f"--i1 {wanted.decayed} and --i2 {wanted.closed}: give 0 ≤ i1 ≤ i2, the iterations at which λ has fallen "
            "to λc and to 0",
            2,
        )
