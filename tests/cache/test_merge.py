from datetime import timedelta
import random

import pytest

from askonce.cache import query, segment, store
from askonce.cache.errors import AskonceError
from askonce.cache.merge import Disagreement, merge
from askonce.cache.verify import verify
from tests.cache.example import completion
from tests.cache.test_journal import left_behind


def rows_of(directory):
    return query.show(directory, "")


def answers_to(text, *contents, **changes):
    first = completion().asked_at
    return [
        completion(text, content=content, sample=number, asked_at=first + timedelta(0, number), **changes)
        for number, content in enumerate(contents)
    ]


def test_the_union_is_the_same_from_either_side_and_merging_again_adds_nothing(tmp_path):
    common, mine, theirs = answers_to("both", "a", "b"), answers_to("mine", "c"), answers_to("both", "b", "x")
    for name, rows in (("one", common + mine), ("two", common + theirs)):
        for into in (f"{name} first", f"{name} second"):
            store.append(tmp_path / into, rows)
    before = rows_of(tmp_path / "two first")
    there = merge(tmp_path / "one first", tmp_path / "two first")
    assert (there.added, there.held) == (2, 2)
    assert rows_of(tmp_path / "two first") == before
    merge(tmp_path / "two second", tmp_path / "one second")
    found = rows_of(tmp_path / "one first")
    assert found == rows_of(tmp_path / "two second")
    assert [(row.text, row.sample, row.content) for row in found] == [
        ("both", 0, "a"),
        ("both", 1, "b"),
        ("both", 2, "b"),
        ("both", 3, "x"),
        ("mine", 0, "c"),
    ]
    segments = store.segments(tmp_path / "one first")
    assert merge(tmp_path / "one first", tmp_path / "two first").added == 0
    assert store.segments(tmp_path / "one first") == segments
    assert rows_of(tmp_path / "one first") == found


def test_into_a_cache_that_is_not_there_yet_and_from_journals_too(tmp_path):
    left_behind(tmp_path / "other", ["a"], ["b"])
    store.append(tmp_path / "other", [])
    left_behind(tmp_path / "other", ["c"])
    assert merge(tmp_path / "new", tmp_path / "other").added == 3
    assert rows_of(tmp_path / "new") == rows_of(tmp_path / "other")
    assert verify(tmp_path / "new").findings == ()


def test_where_the_answers_disagree(tmp_path):
    mine = [
        *answers_to("same", "a", "b", "b"),
        *answers_to("space", "go  to\nkey ", "b"),
        *answers_to("half", "a", "b"),
        *answers_to("never", "a", "a", "a"),
        *answers_to("mine", "a"),
    ]
    later = {"latency": 1.0}
    theirs = [
        *answers_to("same", "b", "a", "b", **later),
        *answers_to("space", "b", "go to key", **later),
        *answers_to("half", "a", "a", **later),
        *answers_to("never", "b", **later),
        *answers_to("theirs", "a"),
    ]
    store.append(tmp_path / "mine", mine)
    store.append(tmp_path / "theirs", theirs)
    key = lambda text: completion(text).key
    assert merge(tmp_path / "mine", tmp_path / "theirs").disagreements == [
        Disagreement("SimpleDoorKey", key("never"), "never", 3, 1, 1.0),
        Disagreement("SimpleDoorKey", key("half"), "half", 2, 2, 0.5),
    ]


def test_answers_count_by_their_weight(tmp_path):
    weighted = lambda a, b: [completion(content="a", weight=a), completion(content="b", weight=b)]
    store.append(tmp_path / "mine", weighted(0.9, 0.1))
    store.append(tmp_path / "theirs", weighted(0.5, 0.5))
    [found] = merge(tmp_path / "mine", tmp_path / "theirs").disagreements
    assert found.total_variation == pytest.approx(0.4)


def test_what_cannot_be_merged_is_refused_and_changes_nothing(tmp_path):
    store.append(tmp_path / "one", [completion("a")])
    with pytest.raises(AskonceError, match="the same cache"):
        merge(tmp_path / "one", tmp_path / "one" / ".." / "one")
    with pytest.raises(AskonceError, match="no cache at"):
        merge(tmp_path / "one", tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
    store.append(tmp_path / "two", [completion("b")])
    [path] = store.segments(tmp_path / "two")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(AskonceError, match=path.name):
        merge(tmp_path / "one", tmp_path / "two")
    assert rows_of(tmp_path / "one") == [completion("a")]


def test_many_rows_come_in_segments_of_limited_size(tmp_path, monkeypatch):
    monkeypatch.setattr(segment, "GROUP_ROWS", 10)
    monkeypatch.setattr(segment, "SEGMENT_GROUPS", 3)
    rows = [completion(f"{number}") for number in random.Random(0).sample(range(1000), 100)]
    store.append(tmp_path / "other", rows)
    merge(tmp_path / "into", tmp_path / "other")
    assert len(store.segments(tmp_path / "into")) == 4
    assert sorted(row.text for row in rows_of(tmp_path / "into")) == sorted(row.text for row in rows)
