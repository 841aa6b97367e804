from collections import Counter
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from askonce.pipeline import deduplicate
from askonce.pipeline.deduplicate import Visits, distinct_texts, merge

# Several situations may read the same: here those with the same last digit.
TASK = SimpleNamespace(text=lambda situation: f"text {situation % 10}")

chunks = st.lists(st.integers(0, 2**40), max_size=20).map(lambda chunk: np.array(chunk, np.int64))


@settings(max_examples=30, deadline=None)
@given(st.lists(chunks, max_size=8))
def test_texts_are_counted_like_a_counter_counts(stream):
    counted = Counter(TASK.text(int(situation)) for chunk in stream for situation in chunk)
    found = distinct_texts(TASK, iter(stream))
    assert found.counts == counted and found.total == counted.total()


def test_a_stream_longer_than_a_chunk_is_counted_whole(monkeypatch):
    monkeypatch.setattr(deduplicate, "CHUNK", 7)
    stream = [np.arange(start, start + 5) for start in range(0, 100, 5)]
    assert distinct_texts(TASK, stream).counts == {f"text {digit}": 10 for digit in range(10)}


def test_the_most_visited_come_first():
    visits = distinct_texts(TASK, [np.array([3, 1, 2, 2, 3, 2])])
    assert list(visits.counts.items()) == [("text 2", 3), ("text 3", 2), ("text 1", 1)]


def test_merged_visits_add_up():
    parts = [Visits({"a": 3, "b": 1}), Visits({"b": 4}), Visits({})]
    assert list(merge(*parts).counts.items()) == [("b", 5), ("a", 3)]
    assert merge().counts == {}


@pytest.mark.parametrize(
    "counts, answered, coverage",
    [
        ({"a": 6, "b": 4}, "ab", 1.0),  # nothing was seen only once, so nothing new is to come
        ({"a": 7, "b": 1, "c": 1, "d": 1}, "abcd", 0.7),  # 1 − n₁/N = 1 − 3/10
        ({"a": 7, "b": 2, "c": 1}, "ac", 0.9 * 0.8),  # of the known share, 2 of 10 visits are unanswered
        ({"a": 5, "b": 5}, "", 0.0),
        ({"a": 1}, "a", 0.0),  # one visit tells nothing about the next
        ({}, "", 0.0),
    ],
)
def test_coverage_is_good_turings_less_what_is_unanswered(counts, answered, coverage):
    assert Visits(counts).coverage(answered) == pytest.approx(coverage)


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 9)), st.sets(st.sampled_from("abcdefgh")))
def test_an_answer_more_never_lowers_coverage(counts, answered):
    visits = Visits(counts)
    assert 0 <= visits.coverage(answered) <= visits.coverage(answered | {"a"}) <= 1
