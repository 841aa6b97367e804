from collections import Counter
import math

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from askonce.pipeline.adaptive import fixed, needed


def sampled(p: np.ndarray, max_tv: float, confidence: float, rng: np.random.Generator) -> np.ndarray:
    counts = np.zeros(len(p), dtype=int)
    while more := needed(counts, max_tv, confidence):
        counts += rng.multinomial(more, p)
    return counts


def test_the_promised_error_holds_where_it_is_hardest():
    """Here the first answers may miss a rare decision, or many rare ones together."""
    rng, missed, runs = np.random.default_rng(1), 0, 0
    for p in ([0.87, 0.13], [0.5, 0.5], [0.88, *[0.01] * 12]):
        for _ in range(60):
            counts = sampled(np.array(p), 0.1, 0.95, rng)
            missed += np.abs(counts / counts.sum() - p).sum() / 2 > 0.1 + 1e-9
            runs += 1
    assert missed / runs <= 0.05


def test_answers_that_all_agree_need_the_fewest():
    alone = needed({}, 0.1)
    assert needed(Counter(explore=alone), 0.1) == 0
    assert needed([alone - 10], 0.1) == 10
    assert needed([alone // 2, alone - alone // 2], 0.1) > 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=5), st.sampled_from([0.1, 0.3]), st.sampled_from([0.8, 0.95]))
def test_asking_on_comes_to_an_end_and_order_and_zeros_do_not_matter(counts, max_tv, confidence):
    more = needed(counts, max_tv, confidence)
    assert more == needed([0, *reversed(counts)], max_tv, confidence)
    assert more == needed(dict(enumerate(counts)), max_tv, confidence)
    assert 0 <= more <= fixed(len(counts) + 2, max_tv, confidence)
    if more and any(counts):
        # Were all further answers like those before, no more would be needed after them.
        scaled = [count * 50 for count in counts]
        assert sum(scaled) < sum(counts) + more or needed(scaled, max_tv, confidence) == 0


def test_a_stricter_promise_needs_more():
    counts = [20, 5]
    assert needed(counts, 0.05) > needed(counts, 0.1) > needed(counts, 0.2)
    assert needed(counts, 0.1, 0.99) > needed(counts, 0.1, 0.9)


@pytest.mark.parametrize("max_tv, confidence", [(0, 0.95), (1, 0.95), (0.1, 0), (0.1, 1), (math.nan, 0.9)])
def test_what_cannot_be_promised_is_refused(max_tv, confidence):
    with pytest.raises(ValueError):
        needed([1], max_tv, confidence)
