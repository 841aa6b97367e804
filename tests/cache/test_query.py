from dataclasses import replace
from datetime import timedelta
from itertools import count, permutations

import pytest

from askonce.cache import compact as compaction
from askonce.cache import query, store
from askonce.cache.compact import compact
from askonce.cache.completion import SCHEMA
from askonce.cache.errors import AskonceError
from askonce.cache.query import Answer
from tests.cache.example import TEXT, completion

TASK, MODEL, PROMPT = "SimpleDoorKey", "small-model", "b07c91d2"


def later(seconds):
    return completion().asked_at + timedelta(seconds=seconds)


def test_an_empty_cache_has_the_same_columns_and_no_rows(tmp_path):
    store.create(tmp_path / "empty")
    store.append(tmp_path / "full", [completion()])
    describe = "SELECT column_name, column_type FROM (DESCRIBE completions)"
    empty, full = (query.connect(tmp_path / name).execute(describe).fetchall() for name in ("empty", "full"))
    assert empty == full
    assert [name for name, _ in empty] == SCHEMA.names
    assert query.answers(tmp_path / "empty", TASK, MODEL, PROMPT) == {}
    assert query.stored(tmp_path / "empty", TASK, [completion().key]) == {}
    assert query.show(tmp_path / "empty", TEXT) == []
    assert query.stats(tmp_path / "empty") == query.CacheStats([], 0, 0, 0)


def test_a_directory_name_is_never_a_pattern_nor_sql(tmp_path):
    for name in ("run[1]", "it's", "a*", "ab", "{a,b}", "x?", "back\\slash"):
        store.append(tmp_path / name, [completion(name)])
        assert list(query.answers(tmp_path / name, TASK, MODEL, PROMPT)) == [name]


def test_answers_come_by_text_in_order_of_sample(tmp_path):
    store.append(tmp_path, [completion("b", sample=1, content="", weight=0.25, finish_reason="length")])
    store.append(tmp_path, [completion("a"), completion("b", sample=0, content="open door")])
    store.append(tmp_path, [completion("c", model="other"), completion("c", task="Other")])
    assert query.answers(tmp_path, TASK, MODEL, PROMPT) == {
        "a": [Answer(0, completion().content, 1.0, "stop")],
        "b": [Answer(0, "open door", 1.0, "stop"), Answer(1, "", 0.25, "length")],
    }


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_answers_of_builders_that_asked_at_the_same_time_are_all_seen(tmp_path, order):
    for second in order:
        store.append(tmp_path, [completion(content=f"answer {second}", asked_at=later(second))])
    found = [(row.sample, row.content) for row in query.show(tmp_path, TEXT)]
    assert found == [(0, "answer 0"), (1, "answer 1"), (2, "answer 2")]
    assert query.stored(tmp_path, TASK, [completion().key]) == {completion().key: 3}
    assert query.stats(tmp_path).teachers[0].completions == 3


def test_a_row_that_is_stored_again_is_seen_once(tmp_path):
    nothing = {name: None for name in ("finish_reason", "prompt_tokens", "latency", "served_model")}
    same, other = completion(**nothing), completion("other")
    for rows in ([same], [same, other], [other, same, same]):
        store.append(tmp_path, rows)
    assert query.show(tmp_path, TEXT) == [same]
    assert query.stats(tmp_path).teachers[0].completions == 2


@pytest.mark.parametrize(
    "change",
    [{"content": "go to door"}, {"sample": 1}, {"asked_at": later(1e-6)}, {"logprobs": "[]"}, {"latency": None}],
    ids=lambda change: next(iter(change)),
)
def test_rows_that_differ_at_all_are_different_answers(tmp_path, change):
    store.append(tmp_path, [completion(), completion(**change)])
    assert [row.sample for row in query.show(tmp_path, TEXT)] == [0, 1]


def test_answers_of_one_moment_are_numbered_alike_by_every_reader(tmp_path):
    for name, contents in (("one", "ab"), ("two", "ba")):
        for content in contents:
            store.append(tmp_path / name, [completion(content=content, latency=None)])
    assert query.show(tmp_path / "one", TEXT) == query.show(tmp_path / "two", TEXT)


def test_copies_for_another_task_are_the_same_whoever_makes_them(tmp_path):
    first, between, last = (
        completion(task="LavaDoorKey", content=name, asked_at=later(second)) for second, name in enumerate("abc")
    )
    store.append(tmp_path, [first, last])
    adopted = lambda task: query.elsewhere(tmp_path, task, MODEL, PROMPT, [TEXT])
    copies = [replace(row, task=TASK) for row in adopted(TASK)]
    store.append(tmp_path, [between])
    again = [replace(row, task=TASK) for row in adopted(TASK)]
    store.append(tmp_path, copies)
    store.append(tmp_path, again)
    store.append(tmp_path, [replace(row, task="Third", prompt_tokens=0) for row in again])
    assert query.stored(tmp_path, TASK, [first.key]) == {first.key: 3}
    assert len(list(adopted("Fourth"))) == 3


def test_texts_come_one_by_one_as_answers_come_together(tmp_path):
    store.append(tmp_path, [completion(text, sample=sample) for text in "cab" for sample in range(2)])
    found = query.texts(tmp_path, TASK, MODEL, PROMPT)
    assert next(found)[0] == "a"
    assert dict(found) == {text: query.answers(tmp_path, TASK, MODEL, PROMPT)[text] for text in "bc"}


@pytest.mark.parametrize("others", [0, query.FEW_KEYS])
def test_answers_of_some_keys_are_those_of_their_texts(tmp_path, others):
    rows = [completion(text, sample=sample) for text in "abc" for sample in range(2)]
    store.append(tmp_path, [*rows, completion("a", task="LavaDoorKey", content="not mine")])
    everything = query.answers(tmp_path, TASK, MODEL, PROMPT)
    keys = [completion(text).key for text in ("a", "c", *map(str, range(others)))]
    assert query.of_keys(tmp_path, TASK, iter(keys)) == {text: everything[text] for text in "ac"}
    assert query.of_keys(tmp_path, TASK, []) == query.of_keys(tmp_path, "Other", keys) == {}
    assert query.stored(tmp_path, TASK, keys) == {key: 2 for key in (keys[0], keys[1])}


def test_stored_counts_only_the_keys_that_were_asked_about(tmp_path):
    some, other, absent = completion("some"), completion("other"), completion("absent")
    store.append(tmp_path, [completion("some", sample=sample) for sample in range(3)] + [other])
    assert query.stored(tmp_path, TASK, [some.key, absent.key]) == {some.key: 3}
    assert query.stored(tmp_path, TASK, iter([])) == {}
    assert query.stored(tmp_path, TASK, ["' OR true --"]) == {}


@pytest.mark.parametrize("few", [False, True])
def test_answers_are_counted_in_the_order_of_the_texts(tmp_path, few):
    one, other = completion("one"), completion("other", finish_reason=None)
    cut = [completion("one", sample=sample, finish_reason="length") for sample in (1, 2)]
    copied = completion("one", usage="{}"), completion("other", task="LavaDoorKey"), completion("other", model="more")
    for rows in ([one, cut[0]], [one, cut[0], *copied], [other, cut[1]]):
        store.append(tmp_path, rows)
    keys = [completion(text).key for text in ("other", "absent", "one")] if few else []
    counted = query.counted(tmp_path, TASK, MODEL, PROMPT, ["other", "absent", "one"], ["length"], keys)
    assert [column.tolist() for column in counted] == [[1, 0, 3], [1, 0, 1]]


def test_an_answer_kept_for_another_task_is_found_until_this_task_has_its_own(tmp_path):
    theirs = [completion("a", task="LavaDoorKey", sample=sample) for sample in range(2)]
    store.append(tmp_path, [*theirs, completion("b", task="LavaDoorKey"), completion("b")])
    keys = [completion(text).key for text in "ab"]
    adopted = lambda wanted, keys=(): list(query.elsewhere(tmp_path, TASK, MODEL, PROMPT, wanted, keys))
    assert adopted("ab") == adopted("ab", keys) == adopted("a", keys[:1]) == theirs
    assert adopted("b") == adopted("") == list(query.elsewhere(tmp_path, TASK, MODEL, "another", "ab")) == []
    assert query.stored(tmp_path, TASK, keys) == {keys[1]: 1}
    store.append(tmp_path, [completion("a")])
    assert adopted("ab") == adopted("ab", keys) == []
    assert query.stored(tmp_path, "LavaDoorKey", keys) == {keys[0]: 2, keys[1]: 1}


def test_teachers_are_told_apart_by_model_and_prompt(tmp_path):
    store.append(tmp_path, [completion("a", sample=sample) for sample in range(2)] + [completion("b")])
    store.append(tmp_path, [completion("a", key="v1-sha256:1", prompt="0new")])
    store.append(tmp_path, [completion("a", key="v1-sha256:2", task="LavaDoorKey")])
    store.append(tmp_path, [completion("a", model="other")])
    assert query.teacher_names(tmp_path) == [
        query.TeacherName("LavaDoorKey", MODEL, PROMPT),
        query.TeacherName(TASK, "other", PROMPT),
        query.TeacherName(TASK, MODEL, "0new"),
        query.TeacherName(TASK, MODEL, PROMPT),
    ]
    found = [(entry.name, entry.texts, entry.completions) for entry in query.teachers(tmp_path, TASK)]
    assert found == [("other@b07c91d2", 1, 1), ("small-model@0new", 1, 1), ("small-model@b07c91d2", 2, 3)]
    assert query.teachers(tmp_path, "Unknown") == []


def test_stats(tmp_path):
    store.append(tmp_path, [completion("a"), completion("a", sample=1, asked_at=later(60))])
    store.append(tmp_path, [completion("b", prompt_tokens=None, completion_tokens=None, asked_at=later(-60))])
    stats = query.stats(tmp_path)
    assert stats.segments == 2
    assert stats.bytes == sum(path.stat().st_size for path in store.segments(tmp_path))
    assert stats.teachers == [
        query.TeacherEntry(TASK, MODEL, PROMPT, 2, 3, 600, 80, first_asked=later(-60), last_asked=later(60))
    ]


def test_show_by_id_by_key_by_text_and_by_part_of_a_text(tmp_path):
    rows = [completion("Agent sees key.", sample=sample) for sample in range(2)]
    more = [completion("Agent sees key. It holds 100% of 'it'.")]
    store.append(tmp_path, rows + more)
    digest = rows[0].key.removeprefix("v1-sha256:")
    assert query.show(tmp_path, rows[1].completion_id) == [rows[1]]
    assert query.show(tmp_path, f"{digest}-1") == [rows[1]]
    for name in (digest, digest[:6], rows[0].key):
        assert query.show(tmp_path, name) == rows
    assert query.show(tmp_path, "Agent sees key.") == rows
    assert query.show(tmp_path, "sees key") == rows + more
    assert query.show(tmp_path, "100% of 'it'") == more
    for nothing in ("sees%key", "sees_key", "' OR true --", "0" * 12 + "-0", f"{digest[:12]}-2"):
        assert query.show(tmp_path, nothing) == []


def test_a_text_that_looks_like_an_id_is_found(tmp_path):
    store.append(tmp_path, [completion("facade")])
    assert query.show(tmp_path, "facade") == [completion("facade")]


def by_name(monkeypatch):
    """Segments are read by their names, as those beyond what may be open are, and all whose inode NFS has given up."""
    monkeypatch.setattr(query.resource, "getrlimit", lambda _: (0, 0))


def test_what_is_removed_between_listing_and_reading_is_listed_again(tmp_path, monkeypatch):
    by_name(monkeypatch)
    monkeypatch.setattr(compaction, "GRACE", 0)
    for text in "abc":
        store.append(tmp_path, [completion(text)])
    calls = []

    def texts(connection):
        if not calls:
            compact(tmp_path)
        calls.append(1)
        return connection.execute("SELECT text FROM completions ORDER BY text").fetchall()

    assert query.read(texts, completions=tmp_path) == [("a",), ("b",), ("c",)] and len(calls) == 2


def test_files_that_go_on_going_away_end_in_one_line(tmp_path, monkeypatch):
    by_name(monkeypatch)
    monkeypatch.setattr(store, "PATIENCE", 0.05)
    names = map(str, count())

    def removed(connection):
        for path in store.segments(tmp_path):
            path.unlink()
        store.append(tmp_path, [completion(next(names))])
        return connection.execute("FROM completions").fetchall()

    store.append(tmp_path, [completion(next(names))])
    with pytest.raises(AskonceError, match="listed, but gone; start again"):
        query.read(removed, completions=tmp_path)


def test_what_duckdb_cannot_read_is_said_in_one_line(tmp_path):
    store.append(tmp_path, [completion()])
    with pytest.raises(AskonceError, match="^cannot read [^\\n]*absent.parquet[^\\n]*$"):
        query.read(lambda connection: connection.execute("FROM 'absent.parquet'"), completions=tmp_path)
