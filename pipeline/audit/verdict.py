"""From paired outcomes to a verdict, with the intervals that it rests on.

A decision and the best one are played out from the same states. It is

    incorrect    where its success falls by more than SUCCESS,
    inefficient  where success is the same to within SUCCESS, and where both succeed it takes more than STEPS longer,
    sound        where success is the same to within SUCCESS and it takes no more than STEPS longer.

Each holds only when the whole interval says so; until then further states are played, up to the last of LOOKS.
Whoever looks LOOKS times and may stop each time errs more often than at one look: the intervals are as wide as it
takes for all looks together to hold with 95 % (Bonferroni). They are those that are reported.

Visits of one episode are alike. Means take their variance from the episodes' sums, shares count as many states as
would have told as much had they been independent.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from askonce.pipeline.statistics import Interval, mean, variance, wilson
from askonce.pipeline.tasks.task import Outcomes

# From what cannot be read to what is right.
VERDICTS = ("unparsable", "inconsistent", "incorrect", "inefficient", "undecided", "sound")
FAULTY = ("inconsistent", "incorrect", "inefficient")

# In success rate, and in steps.
SUCCESS, STEPS = 0.02, 0.5
# So many states in all at each look.
LOOKS = (512, 1024, 2048, 4096)
Z = NormalDist().inv_cdf(1 - 0.05 / len(LOOKS) / 2)


@dataclass(frozen=True)
class Evidence:
    """Differences of a decision from the best one over the same states; `steps` is None where none has both succeed."""

    states: int
    success: float
    best_success: float
    success_difference: Interval
    steps_difference: Interval | None
    cost: Interval


def compare(ours: Outcomes, best: Outcomes, episodes: np.ndarray, cost: np.ndarray) -> Evidence:
    """Both (P,) from the same states, whose episodes are given, with the return that our decision loses in each."""
    difference = ours.success.astype(float) - best.success
    both = ours.success & best.success
    longer = (ours.steps - best.steps)[both].astype(float)
    return Evidence(
        len(episodes),
        float(ours.success.mean()),
        float(best.success.mean()),
        _difference_of_shares(difference, episodes),
        mean(longer, episodes[both], Z) if both.any() else None,
        mean(cost, episodes, Z),
    )


def verdict(evidence: Evidence) -> str | None:
    """incorrect, inefficient or sound; None while the evidence does not suffice."""
    success, steps = evidence.success_difference, evidence.steps_difference
    if success.high < -SUCCESS:
        return "incorrect"
    if success.low < -SUCCESS or steps is None:
        return None
    if steps.low > STEPS:
        return "inefficient"
    return "sound" if steps.high < STEPS else None


def _difference_of_shares(differences: np.ndarray, clusters: np.ndarray) -> Interval:
    """Of a mean of −1, 0 and 1: Newcombe's square-and-add of Wilson's intervals for the two discordant shares.

    Unlike the normal one it is right where hardly any state or none differs (Statistics in Medicine 17, 1998).
    """
    alone, together = differences.var() / len(differences), variance(differences, clusters)
    effective = len(np.unique(clusters)) if alone == 0 else len(differences) * min(1.0, alone / together)
    gained, lost = (differences > 0).mean(), (differences < 0).mean()
    (gained_low, gained_high), (lost_low, lost_high) = (wilson(share, effective, Z) for share in (gained, lost))
    middle = float(gained - lost)
    return Interval(
        middle,
        middle - float(np.hypot(gained - gained_low, lost_high - lost)),
        middle + float(np.hypot(gained_high - gained, lost - lost_low)),
    )
