"""Intervals that hold what they promise, and the verdicts drawn from them."""

import numpy as np
import pytest

from askonce.pipeline.audit.verdict import LOOKS, STEPS, SUCCESS, compare, verdict
from askonce.pipeline.tasks.task import Outcomes


def outcomes(success, steps=10) -> Outcomes:
    success = np.asarray(success, bool)
    return Outcomes(success, ~success, np.broadcast_to(steps, success.shape).astype(np.int64))


def compared(ours: Outcomes, best: Outcomes, episodes: np.ndarray):
    """With a reward that falls by 0.9 in 150 steps."""
    paid = lambda outcomes: outcomes.success * (1 - 0.9 * outcomes.steps / 150)
    return compare(ours, best, episodes, paid(best) - paid(ours))


def evidence(lost: int, gained: int, states: int, extra=0.0):
    """Where the decision alone fails, where the best one alone does, and what it costs elsewhere on average."""
    ours, best = np.ones(states, bool), np.ones(states, bool)
    ours[:lost], best[lost : lost + gained] = False, False
    steps = 10 + (np.arange(states) % 100 < 100 * extra)
    return compared(outcomes(ours, steps), outcomes(best), np.arange(states))


def test_a_verdict_needs_the_whole_interval():
    assert verdict(evidence(0, 0, 1024)) == "sound"
    assert verdict(evidence(0, 0, 100)) is None, "too few states to exclude a loss"
    assert verdict(evidence(100, 0, 1024)) == "incorrect"
    assert verdict(evidence(int(SUCCESS * 1024), 0, 1024)) is None
    assert verdict(evidence(0, 0, 1024, extra=0.9)) == "inefficient"
    assert verdict(evidence(0, 0, 1024, extra=0.1)) == "sound"
    assert verdict(evidence(0, 0, 1024, extra=STEPS)) is None


def test_a_share_of_none_is_not_taken_to_be_certain():
    found = evidence(0, 0, 512).success_difference
    assert found.mean == 0 and -0.02 < found.low < -0.005 and found.high == pytest.approx(-found.low)


@pytest.mark.parametrize("lost, gained", [(0.002, 0.0), (0.02, 0.01), (0.2, 0.05)])
def test_intervals_hold_at_every_look_together_in_95_percent(lost, gained):
    rng, repeats, size = np.random.default_rng(0), 200, 4
    missed = 0
    for _ in range(repeats):
        # Four visits of an episode that go the same way.
        drawn = np.repeat(rng.choice([-1, 1, 0], LOOKS[-1] // size, p=[lost, gained, 1 - lost - gained]), size)
        order = rng.permutation(len(drawn))
        episodes, drawn = np.repeat(np.arange(LOOKS[-1] // size), size)[order], drawn[order]
        for look in LOOKS:
            part = drawn[:look]
            found = compared(outcomes(part >= 0), outcomes(part <= 0), episodes[:look]).success_difference
            if not found.low <= gained - lost <= found.high:
                missed += 1
                break
    assert missed / repeats <= 0.05 + 2 * (0.05 * 0.95 / repeats) ** 0.5


def test_a_visit_counted_twice_tells_no_more():
    rng = np.random.default_rng(1)
    steps, episodes = rng.integers(5, 30, 600), np.arange(600)
    once = compared(outcomes(np.ones(600), steps), outcomes(np.ones(600)), episodes)
    again = compared(outcomes(np.ones(1200), np.tile(steps, 2)), outcomes(np.ones(1200)), np.tile(episodes, 2))
    for name in ("steps_difference", "cost"):
        ours, theirs = getattr(once, name), getattr(again, name)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
