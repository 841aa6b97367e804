"""Eq. 3: λ, the coefficient of distillation (`distill_coef`), and the schedules by which it falls."""

from dataclasses import dataclass, replace
import math

from askonce.cache.errors import AskonceError

# The schedules are those of runs of so many iterations; for others i1 and i2 are scaled in proportion.
ITERATIONS = 3000


@dataclass(frozen=True)
class Schedule:
    """λ falls linearly from `initial` to `final` at iteration `final_from`, stays, and is 0 from `zero_from` on.

    Eq. 3's λ0, λc, i1 and i2. Its decay rate is `decay`, None for the one that brings λ to λc at i1; a faster
    one brings it there sooner, and at a slower one λ falls the rest at once.
    """

    initial: float = 10.0
    final: float = 0.1
    final_from: int = 1000
    zero_from: int = 2000
    decay: float | None = None

    def at(self, iteration: float) -> float:
        """λ_i of iteration i, counted from 0."""
        if iteration >= self.zero_from:
            return 0.0
        if iteration >= self.final_from:
            return self.final
        if self.decay is not None:
            return max(self.initial - self.decay * iteration, self.final)
        return self.initial - (self.initial - self.final) * iteration / self.final_from


# Those that appendix A.7 compares. It leaves open when the constant one ends; here with the stepwise one, which is the
# paper's own. Beyond the paper the last two: in one the teacher leaves sooner, in the other never.
SCHEDULES = {
    "constant": Schedule(0.1, 0.1, 0, 2000),
    "linear-1000": Schedule(10.0, 0.0, 1000, 1000),
    "linear-2000": Schedule(10.0, 0.0, 2000, 2000),
    "stepwise": Schedule(10.0, 0.1, 1000, 2000),
    "stepwise-300": Schedule(10.0, 0.1, 300, 600),
    "kept": Schedule(10.0, 0.1, 1000, 3000),
}
COMPARED = "constant", "linear-1000", "linear-2000", "stepwise", "stepwise-300"
WITHOUT_TEACHER = Schedule(0.0, 0.0, 0, 0)


def schedule(
    name: str,
    iterations: int,
    lambda_0: float | None = None,
    lambda_c: float | None = None,
    i1: int | None = None,
    i2: int | None = None,
    decay: float | None = None,
) -> Schedule:
    """One of `SCHEDULES` for a run of so many iterations, with what is given in place of its own values (Eq. 3's names).

    AskonceError where there is no such schedule, or λ would not fall.
    """
    if name not in SCHEDULES:
        raise AskonceError(f"there is no schedule {name!r}: --anneal is one of {', '.join(SCHEDULES)}", 2)
    own = SCHEDULES[name]
    scaled = replace(
        own,
        final_from=math.ceil(own.final_from * iterations / ITERATIONS),
        zero_from=math.ceil(own.zero_from * iterations / ITERATIONS),
    )
    given = {"initial": lambda_0, "final": lambda_c, "final_from": i1, "zero_from": i2, "decay": decay}
    wanted = replace(scaled, **{field: value for field, value in given.items() if value is not None})
    _require_falling(wanted)
    return wanted


def _require_falling(wanted: Schedule) -> None:
    rates = {"--lambda-0": wanted.initial, "--lambda-c": wanted.final, "--decay": wanted.decay or 0.0}
    for option, value in rates.items():
        if not (value >= 0 and math.isfinite(value)):
            raise AskonceError(f"{option} {value} is no coefficient: give a number from 0 up", 2)
    if wanted.final > wanted.initial:
        raise AskonceError(f"--lambda-c {wanted.final} is above --lambda-0 {wanted.initial}: λ only falls", 2)
    if not 0 <= wanted.final_from <= wanted.zero_from:
        raise AskonceError(
            f"--i1 {wanted.final_from} and --i2 {wanted.zero_from}: give 0 ≤ i1 ≤ i2, the iterations at which λ has "
            "fallen to λc and to 0",
            2,
        )
