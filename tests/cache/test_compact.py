import os
import time

import pyarrow.parquet as pq
import pytest

from askonce.cache import compact as compaction
from askonce.cache import query, segment, store
from askonce.cache.compact import Compacted, compact
from askonce.cache.errors import AskonceError
from askonce.cache.verify import verify
from tests.cache.example import completion
from tests.cache.test_journal import left_behind


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(compaction, "GRACE", 0)


def rows_of(directory):
    return query.show(directory, "")


def test_many_segments_and_abandoned_journals_become_one(tmp_path):
    for number in range(6):
        store.append(tmp_path, [completion(f"{number}"), completion("common")])
    left_behind(tmp_path, ["7"], ["8"])
    rows = rows_of(tmp_path)
    assert compact(tmp_path) == Compacted(sealed=1, before=7, after=1)
    assert rows_of(tmp_path) == rows and store.journals(tmp_path) == []
    assert verify(tmp_path).rows == len(rows)
    before = store.segments(tmp_path)
    assert compact(tmp_path) == Compacted(0, 1, 1)
    assert store.segments(tmp_path) == before
    assert verify(tmp_path).findings == () and len(list((tmp_path / "footers").iterdir())) == 1


def test_the_same_rows_become_the_same_segments_however_they_came(tmp_path):
    rows = [completion(f"{number}") for number in range(10)]
    for row in rows:
        store.append(tmp_path / "one", [row])
    store.append(tmp_path / "two", reversed(rows[3:]))
    store.append(tmp_path / "two", rows[:5])
    names = []
    for name in ("one", "two"):
        compact(tmp_path / name)
        names.append([path.name for path in store.segments(tmp_path / name)])
    assert names[0] == names[1] and len(names[0]) == 1


def test_big_segments_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(segment, "GROUP_ROWS", 5)
    monkeypatch.setattr(segment, "SEGMENT_GROUPS", 4)
    monkeypatch.setattr(segment, "SEGMENT_ROWS", 20)
    store.append(tmp_path, [completion(f"{number}") for number in range(45)])
    big = {path for path in store.segments(tmp_path) if len(pq.read_table(path)) == 20}
    for number in range(3):
        store.append(tmp_path, [completion(f"small {number}")])
    rows = rows_of(tmp_path)
    assert compact(tmp_path) == Compacted(0, 6, 3)
    assert big < set(store.segments(tmp_path)) and rows_of(tmp_path) == rows


def test_the_journal_of_a_living_writer_stays(tmp_path):
    with store.writer(tmp_path) as writer:
        writer.add([completion("a")])
        store.append(tmp_path, [completion("b")])
        assert compact(tmp_path) == Compacted(0, 1, 1)
        writer.add([completion("c")])
    assert [row.text for row in rows_of(tmp_path)] == ["a", "b", "c"]


def test_what_was_connected_before_still_sees_what_it_saw(tmp_path):
    for text in "ab":
        store.append(tmp_path, [completion(text)])
    texts = query.texts(tmp_path, "SimpleDoorKey", "small-model", "b07c91d2")
    connection = query.connect(tmp_path)
    assert next(texts)[0] == "a"
    compact(tmp_path)
    store.append(tmp_path, [completion("c")])
    assert [text for text, _ in texts] == ["b"]
    assert connection.sql("SELECT text FROM completions ORDER BY text").fetchall() == [("a",), ("b",)]


def test_more_segments_than_files_may_be_open(tmp_path, monkeypatch):
    monkeypatch.setattr(query.resource, "getrlimit", lambda _: (8, 8))
    for number in range(5):
        store.append(tmp_path, [completion(f"{number}")])
    assert len(rows_of(tmp_path)) == 5


def test_damage_is_named_and_nothing_is_touched(tmp_path):
    for text in "abc":
        store.append(tmp_path, [completion(text)])
    paths = store.segments(tmp_path)
    compacted = paths[1].read_bytes()
    paths[1].write_bytes(compacted[:-9] + b"?" + compacted[-8:])
    with pytest.raises(AskonceError, match=paths[1].name):
        compact(tmp_path)
    assert store.listing(tmp_path / "segments", ".parquet") == paths


def test_what_killed_writers_left_is_swept_when_it_is_old(tmp_path):
    store.append(tmp_path, [completion()])
    old, new = tmp_path / "segments" / "old.tmp", tmp_path / "segments" / "new.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    long_ago = time.time() - 2 * compaction.LEFT_BEHIND
    os.utime(old, (long_ago, long_ago))
    compact(tmp_path)
    assert not old.exists() and new.exists()


def test_no_cache_is_not_compacted(tmp_path):
    with pytest.raises(AskonceError, match="no cache"):
        compact(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
