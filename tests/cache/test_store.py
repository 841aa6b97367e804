from datetime import UTC, datetime, timedelta, timezone
import hashlib
import json
from pathlib import Path
import signal
import subprocess
import sys
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st
import pyarrow.parquet as pq
import pytest

from askonce.cache import layout, query, store
from askonce.cache.completion import SCHEMA
from askonce.cache.errors import AskonceError
from tests.cache.example import TEXT, completion

ROOT = Path(__file__).parents[2]

# Appends one completion after another to argv[1] under texts that begin with argv[2], and says
# which text is stored once `append` has returned.
WRITER = """
import itertools, sys
from cache import store
from tests.cache.example import completion
for number in itertools.islice(itertools.count(), int(sys.argv[3])):
    text = f"{sys.argv[2]} {number}"
    store.append(sys.argv[1], [completion(text)])
    print(text, flush=True)
"""


def writer(directory, name, count):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), name, str(count)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def appended(directory, rows):
    """The segment that `append` adds."""
    store.create(directory)
    before = store.segments(directory)
    store.append(directory, rows)
    [new] = set(store.segments(directory)) - set(before)
    return new


def texts(directory):
    return list(query.answers(directory, "SimpleDoorKey", "small-model", "b07c91d2"))


def test_what_is_appended_is_read_back(tmp_path):
    written = [completion(sample=sample) for sample in range(3)]
    store.append(tmp_path / "new" / "cache", reversed(written))
    assert query.show(tmp_path / "new" / "cache", TEXT) == written


optional = st.none() | st.integers(0, 2**40)


@settings(max_examples=25, deadline=None)
@given(
    text=st.text(),
    contents=st.lists(st.text(), min_size=1, max_size=4),
    fields=st.fixed_dictionaries(
        {
            "task": st.text(),
            "model": st.text(),
            "prompt": st.text(),
            "weight": st.floats(0, 1),
            "finish_reason": st.none() | st.text(),
            "prompt_tokens": optional,
            "completion_tokens": optional,
            "latency": st.none() | st.floats(0, 1e9),
            "served_model": st.none() | st.text(),
            "logprobs": st.none() | st.text(),
            "usage": st.none() | st.text(),
            "request": st.text(),
            "asked_at": st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
        }
    ),
)
def test_any_unicode_is_read_back_word_for_word(text, contents, fields):
    written = [completion(text, **fields, sample=sample, content=content) for sample, content in enumerate(contents)]
    with tempfile.TemporaryDirectory() as directory:
        store.append(directory, written)
        assert query.show(directory, text) == written


def test_half_a_surrogate_pair_does_not_cost_the_answer(tmp_path):
    halves = completion(content="go \ud83d to key\udd11")
    whole = completion("other", content="\ud83d\udd11")
    store.append(tmp_path, [halves, whole])
    assert query.show(tmp_path, TEXT)[0].content == "go \ufffd to key\ufffd"
    assert query.show(tmp_path, "other")[0].content == "\U0001f511"


def test_times_of_any_zone_are_stored_as_utc(tmp_path):
    summer = timezone(timedelta(hours=2))
    store.append(tmp_path, [completion(asked_at=datetime(2025, 7, 1, 1, 30, tzinfo=summer))])
    [read] = query.show(tmp_path, TEXT)
    assert read.asked_at.isoformat() == "2025-06-30T23:30:00+00:00"


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError):
        completion(asked_at=datetime(2025, 7, 1))


def test_completion_id():
    assert completion(key="v1-sha256:" + "0123456789abcdef" * 4, sample=7).completion_id == "0123456789ab-7"


def test_a_segment_is_sorted_and_named_by_its_bytes(tmp_path):
    rows = [completion(text, sample=sample) for sample in (1, 0) for text in ("b", "a", "c")]
    segment = appended(tmp_path, rows)
    assert segment.stem == hashlib.sha256(segment.read_bytes()).hexdigest()
    table = pq.read_table(segment)
    assert table.schema == SCHEMA
    order = list(zip(table["key"].to_pylist(), table["sample"].to_pylist(), strict=True))
    assert order == sorted(order)


def test_appending_never_touches_what_is_there(tmp_path):
    first = appended(tmp_path, [completion("first")])
    before = first.read_bytes()
    second = appended(tmp_path, [completion("second")])
    assert store.segments(tmp_path) == sorted([first, second])
    assert first.read_bytes() == before


def test_the_same_completions_make_the_same_segment(tmp_path):
    rows = [completion("a"), completion("b")]
    segment = appended(tmp_path, rows)
    store.append(tmp_path, reversed(rows))
    assert store.segments(tmp_path) == [segment]


def test_nothing_to_append_still_makes_a_cache(tmp_path):
    store.append(tmp_path / "cache", [])
    assert store.segments(tmp_path / "cache") == []
    marker = json.loads((tmp_path / "cache" / layout.MARKER).read_text())
    assert marker == {"format": "askonce-cache", "version": 3}


def test_what_a_killed_writer_left_is_ignored(tmp_path):
    segment = appended(tmp_path, [completion()])
    torn = segment.read_bytes()[:100]
    (segment.parent / f"{segment.name}.0f.tmp").write_bytes(torn)
    (tmp_path / f"{layout.MARKER}.0f.tmp").write_bytes(b"{")
    assert texts(tmp_path) == [TEXT]
    store.append(tmp_path, [completion("another")])
    assert texts(tmp_path) == [TEXT, "another"]


def test_a_writer_killed_before_its_first_segment_leaves_a_directory_that_can_be_used(tmp_path):
    (tmp_path / f"{layout.MARKER}.0f.tmp").write_bytes(b"{")
    with pytest.raises(AskonceError, match="cli build-cache"):
        store.segments(tmp_path)
    store.append(tmp_path, [completion()])
    assert texts(tmp_path) == [TEXT]


def test_sigkill_loses_nothing_that_was_reported_as_stored(tmp_path):
    process = writer(tmp_path / "cache", "text", 1_000_000)
    reported = [process.stdout.readline() for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    reported += process.communicate()[0].splitlines(keepends=True)
    whole = {line.strip() for line in reported if line.endswith("\n")}
    assert whole <= set(texts(tmp_path / "cache"))


def test_writers_that_start_at_once_share_one_new_directory(tmp_path):
    writers = [writer(tmp_path / "cache", name, 15) for name in ("a", "b", "c")]
    for process in writers:
        process.communicate()
        assert process.returncode == 0
    assert texts(tmp_path / "cache") == sorted(f"{name} {number}" for name in "abc" for number in range(15))
    assert not list((tmp_path / "cache").rglob("*.tmp"))


@pytest.mark.parametrize("prepare", [lambda path: None, Path.mkdir], ids=["missing", "empty"])
def test_reading_where_no_cache_is_says_how_to_build_one(tmp_path, prepare):
    directory = tmp_path / "cache"
    prepare(directory)
    with pytest.raises(AskonceError) as refusal:
        query.connect(directory)
    assert f"cli build-cache --task … --cache {directory}" in str(refusal.value)


def test_a_foreign_directory_is_neither_read_nor_written(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for use in (lambda: store.append(tmp_path, [completion()]), lambda: store.segments(tmp_path)):
        with pytest.raises(AskonceError, match="is not a cache"):
            use()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_place_of_the_directory(tmp_path):
    file = tmp_path / "cache"
    file.write_text("")
    for use in (lambda: store.append(file, [completion()]), lambda: store.segments(file)):
        with pytest.raises(AskonceError, match="cannot"):
            use()


@pytest.mark.parametrize("marker", ["", "{", "[]", '{"format": "other", "version": 1}', '{"format": "askonce-cache"}'])
def test_a_marker_that_marks_no_cache(tmp_path, marker):
    (tmp_path / layout.MARKER).write_text(marker)
    with pytest.raises(AskonceError, match="does not mark a cache"):
        store.append(tmp_path, [completion()])


def test_a_newer_format_asks_for_an_upgrade(tmp_path):
    (tmp_path / layout.MARKER).write_text('{"format": "askonce-cache", "version": 4}')
    for use in (lambda: store.append(tmp_path, [completion()]), lambda: store.segments(tmp_path)):
        with pytest.raises(AskonceError, match="newer askonce"):
            use()


def flip_a_byte(data):
    return data[:200] + bytes([data[200] ^ 1]) + data[201:]


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[:-50], lambda data: b"not a segment", flip_a_byte],
    ids=["empty", "cut", "overwritten", "one bit"],
)
def test_a_damaged_segment_is_named_never_skipped(tmp_path, damage):
    store.append(tmp_path, [completion("sound")])
    segment = appended(tmp_path, [completion("damaged")])
    segment.write_bytes(damage(segment.read_bytes()))
    for read in (query.connect, query.stats, lambda directory: query.show(directory, "sound")):
        with pytest.raises(AskonceError) as refusal:
            read(tmp_path)
        assert str(segment) in str(refusal.value)
