"""Eq. 3 and the schedule of appendix A.7."""

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from student.anneal import Annealing


def test_the_papers_schedule_at_its_corners():
    paper = Annealing()
    assert (paper.initial, paper.kept, paper.decayed, paper.closed) == (10, 0.1, 1000, 2000)
    assert paper.weight(0) == 10
    assert paper.weight(999) == pytest.approx(0.1 + 9.9 / 1000)
    assert paper.weight(1000) == paper.weight(1999) == 0.1
    assert paper.weight(2000) == paper.weight(10**9) == 0


@settings(deadline=None)
@given(st.floats(0.2, 100), st.floats(0, 0.2), st.integers(1, 5000), st.integers(0, 5000))
def test_it_falls_by_equal_steps_then_stays_then_closes(initial, kept, decayed, stay):
    annealing = Annealing(initial, kept, decayed, decayed + stay)
    middle = decayed // 2
    step = annealing.weight(0) - annealing.weight(1) if decayed > 1 else initial - kept
    assert annealing.weight(0) == initial
    assert annealing.weight(middle) == pytest.approx(initial - middle * step, rel=1e-6, abs=1e-9)
    assert annealing.weight(decayed - 1) - step == pytest.approx(kept, rel=1e-6, abs=1e-9)
    if stay:
        assert annealing.weight(decayed) == annealing.weight(decayed + stay - 1) == kept
    assert annealing.weight(decayed + stay) == 0


def test_without_decay_and_without_a_teacher():
    assert [Annealing(decayed=0, closed=2).weight(i) for i in range(3)] == [0.1, 0.1, 0]
    assert Annealing(decayed=0, closed=0).weight(0) == 0
