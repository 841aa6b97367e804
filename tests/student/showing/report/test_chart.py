"""Axes and lines of charts."""

import re

from hypothesis import given
from hypothesis import strategies as st
import numpy as np

from askonce.student.showing.report.chart import HEIGHT, WIDTH, Level, Line, chart, heights, ticks


@given(st.floats(1, 1e9))
def test_an_axis_has_a_few_round_numbers(longest):
    found = ticks(longest)
    assert found[0] == 0 and found[-1] <= longest and 3 <= len(found) <= 6
    assert {f"{number:e}"[0] for number in np.diff(found)} <= set("125")


# The smallest numbers of all are 0 once they are divided by a step.
@given(st.lists(st.floats(-1e4, 1e4, allow_subnormal=False), min_size=1, max_size=3))
def test_the_numbers_beside_it_are_about_all_values(values):
    found = heights(np.array(values))
    assert found[0] <= min(0, *values) and found[-1] >= max(1, *values) and 3 <= len(found) <= 8
    assert heights(np.array([0.2, 0.9])) == [0, 0.25, 0.5, 0.75, 1]


def test_lines_stay_within_the_picture_and_rise_where_they_do():
    curve = Line(3, np.array([10.0, 2000.0, 4000.0]), np.array([0.0, 0.5, 1.5]))
    svg = chart("words", "steps", True, [curve], [Level(1, 0.25)])
    drawn = re.search(r'points="([^"]*)"', svg)[1].replace(",", " ")
    points = np.array(drawn.split(), float).reshape(-1, 2)
    assert (np.diff(points[:, 0]) > 0).all() and (np.diff(points[:, 1]) <= 0).all()
    assert (points > 0).all() and (points < [WIDTH, HEIGHT]).all()
    assert "curve c3" in svg and "level c1" in svg
