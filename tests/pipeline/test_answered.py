from dataclasses import replace
import threading

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from askonce.cache import query, store
from askonce.cache.compact import compact
from askonce.cache.completion import Completion
from askonce.cache.errors import AskonceError
from askonce.cache.verify import verify
from askonce.pipeline import tasks
from askonce.pipeline.answered import Answered, Entry, build, entries, older, open_answered, place
from askonce.pipeline.estimators import option_distributions
from tests.cache.example import completion

TASK = tasks.find("SimpleDoorKey")
MODEL, PROMPT = completion().model, completion().prompt
SAID = ["Decision: go to key, pick up key", "Decision: explore", "I am lost", "Decision: grab the key"]


def opened(cache, task=TASK) -> Answered:
    return open_answered(cache, task, MODEL, PROMPT)


def rows(text: str, *said: str) -> list[Completion]:
    return [completion(text, sample=sample, content=content) for sample, content in enumerate(said)]


def derived(cache) -> dict:
    return option_distributions(query.answers(cache, TASK.name, MODEL, PROMPT), TASK.prompt.options)[0]


@pytest.fixture
def cache(tmp_path):
    store.append(
        tmp_path,
        [
            *rows("even", *SAID),
            *rows("one", SAID[1]),
            *rows("none", SAID[2]),
            *rows("seventh", *SAID[:1] * 6, SAID[1]),
            *[replace(row, task="LavaDoorKey") for row in rows("lava", SAID[0])],
            *[replace(row, model="other") for row in rows("another model's", SAID[0])],
        ],
    )
    return tmp_path


def test_a_text_has_the_distribution_of_its_completions(cache):
    lookup = opened(cache)
    expected = derived(cache)
    assert len(lookup) == len(expected) == 4
    for text, distribution in expected.items():
        assert lookup(text) == pytest.approx(distribution, abs=1e-12)
        assert list(lookup(text)) == list(distribution)
    assert lookup("none") == {} and lookup("even") == {
        ("go to key", "pick up key"): 1 / 3,
        ("explore",): 1 / 3,
        ("pick up key",): 1 / 3,
    }
    for text in ("", "never asked", "lava", "another model's", "half a pair \ud800"):
        assert lookup(text) is None


def test_it_remembers_which_completions_could_not_be_read(cache):
    lookup = opened(cache)
    assert (lookup.entry("even").completions, lookup.entry("even").unreadable) == (4, (2,))
    assert lookup.entry("none") == Entry({}, 1, (0,))


def test_an_answer_that_is_added_reads_as_one_that_was_there(cache):
    lookup = opened(cache)
    found = {("go to key",): 0.123456789, ("explore",): 0.876543211}
    lookup.add("new", found)
    lookup.add("one", {})
    assert lookup("one") == {} and lookup("new") == pytest.approx(found, abs=1e-4)
    again = build(cache / "index" / "again", [("new", Entry(found))], "")
    assert again("new") == lookup("new")
    assert opened(cache)("new") is None


words = st.text(max_size=5) | st.sampled_from([",", "go to key", '"', "[]", '{"completions": 3}', "\n"])
decisions = st.lists(words, max_size=4).map(tuple)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(decisions, st.integers(1, 9), min_size=1, max_size=5), st.sets(st.integers(0, 99)))
def test_every_decision_comes_back_as_it_was(tmp_path_factory, weights, unreadable):
    total = sum(weights.values())
    entry = Entry({decision: weight / total for decision, weight in weights.items()}, 100, tuple(unreadable))
    lookup = build(tmp_path_factory.mktemp("answered") / "a", [("text", entry)], "")
    found = lookup.entry("text")
    assert list(found.distribution) == list(entry.distribution)
    assert found.distribution == pytest.approx(entry.distribution, abs=1e-4)
    assert (found.completions, found.unreadable) == (100, entry.unreadable)


def test_it_is_built_once_for_each_state_of_the_cache(cache):
    first, index = opened(cache), place(cache, TASK, MODEL, PROMPT)
    written = index.read_bytes()
    identity = index.stat().st_ino, index.stat().st_mtime_ns
    (segment,) = (cache / "segments").iterdir()
    sound = segment.read_bytes()
    segment.write_bytes(b"?" * len(sound))
    assert opened(cache)("one") == {("explore",): 1.0} and index.read_bytes() == written
    assert (index.stat().st_ino, index.stat().st_mtime_ns) == identity
    segment.write_bytes(sound)
    store.append(cache, rows("later", SAID[1]))
    assert opened(cache)("later") == {("explore",): 1.0} and first("later") is None
    with store.writer(cache) as writer:
        writer.add(rows("in a journal", SAID[1]))
        assert opened(cache)("in a journal") == {("explore",): 1.0}
    compact(cache)
    assert len(opened(cache)) == 6 and first("one") == {("explore",): 1.0}
    assert [path.name for path in index.parent.iterdir()] == [index.name]
    assert verify(cache).findings == ()


@pytest.fixture
def grown(tmp_path):
    """A cache with an index of thirty texts."""
    store.append(tmp_path, [row for number in range(30) for row in rows(f"{number:02}", *SAID[:2])])
    assert len(opened(tmp_path)) == 30
    return tmp_path


def assert_up_to_date(cache) -> None:
    lookup, expected = opened(cache), derived(cache)
    again = build(cache / "again", entries(cache, TASK, MODEL, PROMPT), None)
    assert len(lookup) == len(expected)
    for text in expected:
        assert lookup.entry(text) == again.entry(text) and list(lookup(text)) == list(again(text))
    (cache / "again").unlink()


def test_what_was_added_is_read_beside_the_index_until_it_is_a_tenth(grown, monkeypatch):
    index = place(grown, TASK, MODEL, PROMPT)
    built_first = index.read_bytes()
    store.append(grown, [*rows("new", SAID[2]), *rows("07", *SAID[2:]), completion("07", model="other")])
    with store.writer(grown) as writer:
        writer.add(rows("in a journal", *SAID))
        assert_up_to_date(grown)
        assert index.read_bytes() == built_first and opened(grown)("new") == {}
        assert opened(grown).entry("07").completions == 4
    assert_up_to_date(grown)
    assert index.read_bytes() == built_first
    store.append(grown, rows("one more", SAID[0]))
    assert_up_to_date(grown)
    assert index.read_bytes() != built_first and len(older(index)) == 33


def test_of_what_the_index_holds_nothing_is_read_again(grown):
    (path,) = (grown / "segments").iterdir()
    sound = path.read_bytes()
    path.write_bytes(b"?" * len(sound))
    with store.writer(grown) as writer:
        writer.add(rows("new", SAID[1]))
        assert opened(grown)("new") == {("explore",): 1.0} and len(opened(grown)) == 31
    path.write_bytes(sound)


def test_an_answer_that_is_gone_from_the_cache_is_gone_from_the_index(grown):
    store.append(grown, rows("new", SAID[1]))
    compact(grown)
    assert_up_to_date(grown)
    with store.writer(grown) as writer:
        writer.add(rows("lost", SAID[1]))
        compact(grown)
        assert len(opened(grown)) == 32
        store.journals(grown)[0].unlink()
        assert_up_to_date(grown)


def test_it_is_built_anew_when_completions_are_read_differently(cache):
    assert opened(cache)("even")[("pick up key",)] > 0
    plain = replace(
        TASK, prompt=replace(TASK.prompt, options=tuple(replace(option, synonyms=()) for option in TASK.prompt.options))
    )
    assert opened(cache, plain)("even")[("grab key",)] > 0
    assert opened(cache)("even")[("pick up key",)] > 0


@pytest.mark.parametrize("damage", [b"", b"not an index", None])
def test_a_damaged_or_removed_index_is_built_anew(cache, damage):
    opened(cache)
    index = place(cache, TASK, MODEL, PROMPT)
    index.unlink() if damage is None else index.write_bytes(damage)
    assert older(index) is None
    assert opened(cache)("one") == {("explore",): 1.0} and len(older(index)) == 4


def test_a_cache_that_cannot_be_written_is_read_all_the_same(cache, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    (cache / "index").write_text("where a file is, no directory can be made")
    lookup = opened(cache)
    assert lookup("one") == {("explore",): 1.0} and lookup("none") == {}
    assert list(elsewhere.iterdir()) == []


def test_an_empty_cache_and_none_at_all(tmp_path):
    store.create(tmp_path / "empty")
    assert opened(tmp_path / "empty")("one") is None
    with pytest.raises(AskonceError, match="no cache"):
        opened(tmp_path / "absent")


def test_many_may_open_it_while_answers_come(tmp_path):
    store.create(tmp_path)
    wrong = []

    def answer_and_open(thread: int) -> None:
        for number in range(4):
            store.append(tmp_path, rows(f"{thread} {number}", SAID[1]))
            lookup = opened(tmp_path)
            wrong.extend(k for k in range(number + 1) if lookup(f"{thread} {k}") != {("explore",): 1.0})

    threads = [threading.Thread(target=answer_and_open, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(opened(tmp_path)) == 16
    assert len(list((tmp_path / "index").iterdir())) == 1
