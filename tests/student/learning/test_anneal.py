"""Eq. 3 and the schedule of appendix A.7."""

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from askonce.cache.errors import AskonceError
from askonce.student.learning.anneal import ITERATIONS, Annealing, schedule
from askonce.student.learning.presets import CONTROL, MINIGRID


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


def test_the_four_schedules_are_those_of_appendix_a7():
    papers = "constant", "linear-1000", "linear-2000", "stepwise"
    constant, short, long, stepwise = (schedule(preset, ITERATIONS).weight for preset in papers)
    assert {constant(i) for i in range(2000)} == {0.1} and constant(2000) == 0
    assert (short(0), short(500), short(1000)) == (10, 5, 0)
    assert (long(0), long(500), long(1000), long(2000)) == (10, 7.5, 5, 0)
    assert (stepwise(0), stepwise(500), stepwise(1000), stepwise(2000)) == (10, pytest.approx(5.05), 0.1, 0)


def test_with_the_papers_preset_the_teacher_leaves_when_the_papers_does():
    assert schedule(MINIGRID["paper"].annealing, ITERATIONS) == Annealing()
    assert schedule(MINIGRID["default"].annealing, ITERATIONS) == Annealing(10, 0.1, 300, 600)


def test_table_2s_annealing_ends_where_it_says_at_three_thousand_steps_an_iteration():
    paper = CONTROL["paper"]
    found = schedule(paper.annealing, paper.iterations)
    assert (found.initial, found.kept) == (10, 0.1)
    assert [3000 * found.decayed, 3000 * found.closed] == pytest.approx([5e6, 1e7], rel=1e-3)


def test_what_is_given_takes_the_place_of_the_presets_own_which_fits_the_runs_length():
    assert schedule("stepwise", 300) == Annealing(10, 0.1, 100, 200)
    assert schedule("stepwise", 300, lambda_0=5, lambda_c=0.0, i1=7, i2=9) == Annealing(5, 0.0, 7, 9)
    fast, slow = schedule("stepwise", ITERATIONS, decay=1), schedule("stepwise", ITERATIONS, decay=0.001)
    assert [fast.weight(i) for i in (0, 4, 10, 1999, 2000)] == [10, 6, 0.1, 0.1, 0]
    assert [slow.weight(i) for i in (999, 1000)] == [pytest.approx(9.001), 0.1]


@pytest.mark.parametrize(
    "wrong, words",
    [
        (dict(lambda_0=-1), "--lambda-0"),
        (dict(lambda_0=float("nan")), "--lambda-0"),
        (dict(lambda_c=-0.1), "--lambda-c"),
        (dict(decay=float("inf")), "--decay"),
        (dict(lambda_0=1, lambda_c=2), "above"),
        (dict(i1=5, i2=4), "i1 ≤ i2"),
        (dict(i1=-1), "i1 ≤ i2"),
        (dict(preset="steep"), "stepwise"),
    ],
)
def test_what_cannot_be_a_schedule_is_one_line(wrong, words):
    with pytest.raises(AskonceError, match=words) as raised:
        schedule(**{"preset": "stepwise", "iterations": 3000} | wrong)
    assert raised.value.exit_code == 2 and "\n" not in str(raised.value)
