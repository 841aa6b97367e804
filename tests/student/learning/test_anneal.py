"""Eq. 3 and the schedule of appendix A.7."""

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from askonce.cache.errors import AskonceError
from askonce.student.learning.anneal import ITERATIONS, Schedule, schedule
from askonce.student.learning.presets import CONTROL, MINIGRID


def test_the_papers_schedule_at_its_corners():
    paper = Schedule()
    assert (paper.initial, paper.final, paper.final_from, paper.zero_from) == (10, 0.1, 1000, 2000)
    assert paper.at(0) == 10
    assert paper.at(999) == pytest.approx(0.1 + 9.9 / 1000)
    assert paper.at(1000) == paper.at(1999) == 0.1
    assert paper.at(2000) == paper.at(10**9) == 0


@settings(deadline=None)
@given(st.floats(0.2, 100), st.floats(0, 0.2), st.integers(1, 5000), st.integers(0, 5000))
def test_it_falls_by_equal_steps_then_stays_then_closes(initial, kept, decayed, stay):
    found = Schedule(initial, kept, decayed, decayed + stay)
    middle = decayed // 2
    step = found.at(0) - found.at(1) if decayed > 1 else initial - kept
    assert found.at(0) == initial
    assert found.at(middle) == pytest.approx(initial - middle * step, rel=1e-6, abs=1e-9)
    assert found.at(decayed - 1) - step == pytest.approx(kept, rel=1e-6, abs=1e-9)
    if stay:
        assert found.at(decayed) == found.at(decayed + stay - 1) == kept
    assert found.at(decayed + stay) == 0


def test_without_decay_and_without_a_teacher():
    assert [Schedule(final_from=0, zero_from=2).at(i) for i in range(3)] == [0.1, 0.1, 0]
    assert Schedule(final_from=0, zero_from=0).at(0) == 0


def test_the_four_schedules_are_those_of_appendix_a7():
    papers = "constant", "linear-1000", "linear-2000", "stepwise"
    constant, short, long, stepwise = (schedule(preset, ITERATIONS).at for preset in papers)
    assert {constant(i) for i in range(2000)} == {0.1} and constant(2000) == 0
    assert (short(0), short(500), short(1000)) == (10, 5, 0)
    assert (long(0), long(500), long(1000), long(2000)) == (10, 7.5, 5, 0)
    assert (stepwise(0), stepwise(500), stepwise(1000), stepwise(2000)) == (10, pytest.approx(5.05), 0.1, 0)


def test_with_the_papers_preset_the_teacher_leaves_when_the_papers_does():
    assert schedule(MINIGRID["paper"].schedule, ITERATIONS) == Schedule()
    assert schedule(MINIGRID["default"].schedule, ITERATIONS) == Schedule(10, 0.1, 300, 600)


def test_table_2s_annealing_ends_where_it_says_at_three_thousand_steps_an_iteration():
    paper = CONTROL["paper"]
    found = schedule(paper.schedule, paper.iterations)
    assert (found.initial, found.final) == (10, 0.1)
    assert [3000 * found.final_from, 3000 * found.zero_from] == pytest.approx([5e6, 1e7], rel=1e-3)


def test_what_is_given_takes_the_place_of_the_presets_own_which_fits_the_runs_length():
    assert schedule("stepwise", 300) == Schedule(10, 0.1, 100, 200)
    assert schedule("stepwise", 300, lambda_0=5, lambda_c=0.0, i1=7, i2=9) == Schedule(5, 0.0, 7, 9)
    fast, slow = schedule("stepwise", ITERATIONS, decay=1), schedule("stepwise", ITERATIONS, decay=0.001)
    assert [fast.at(i) for i in (0, 4, 10, 1999, 2000)] == [10, 6, 0.1, 0.1, 0]
    assert [slow.at(i) for i in (999, 1000)] == [pytest.approx(9.001), 0.1]


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
        (dict(name="steep"), "stepwise"),
    ],
)
def test_what_cannot_be_a_schedule_is_one_line(wrong, words):
    with pytest.raises(AskonceError, match=words) as raised:
        schedule(**{"name": "stepwise", "iterations": 3000} | wrong)
    assert raised.value.exit_code == 2 and "\n" not in str(raised.value)
