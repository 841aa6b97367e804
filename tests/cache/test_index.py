"""An index gives back what was put into it, to the last bit, and refuses what is damaged or foreign."""

import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from askonce.cache.errors import AskonceError
from askonce.cache.index import Entry, Unusable, build, open_index

TEXTS = {
    "Agent sees a key.": Entry({("go to key", "pick up key"): 0.7, ("explore",): 0.3}, 10, ()),
    "Agent sees nothing.": Entry({("explore",): 1.0}, 9, (4,)),
    "Agent says ♥ to half a pair \ud800.": Entry({}, 2, (0, 1)),
}

texts = st.text(st.characters(exclude_categories=()), max_size=6)
options = st.text(max_size=5) | st.sampled_from([",", '"', "[]", "\n", "go to key"])
weights = st.dictionaries(st.lists(options, max_size=3).map(tuple), st.integers(0, 9), max_size=4)
entries = st.tuples(weights, st.integers(0, 99), st.lists(st.integers(0, 99), max_size=3, unique=True))


def entry(weights: dict, completions: int, unreadable: list) -> Entry:
    total = sum(weights.values())
    shares = {decision: weight / total for decision, weight in weights.items()} if total else {}
    return Entry(shares, completions, tuple(unreadable))


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(texts, entries, max_size=30), st.lists(texts, max_size=5))
def test_every_text_has_what_was_built_for_it_and_no_other_has_anything(tmp_path_factory, found, others):
    held = {text: entry(*each) for text, each in found.items()}
    path = tmp_path_factory.mktemp("index") / "a"
    build(path, held.items(), {"parts": ["one"]})
    index = open_index(path)
    assert len(index) == len(held) and index.source == {"parts": ["one"]}
    for text, each in held.items():
        assert index.get(text) == each and list(index.get(text).distribution) == list(each.distribution)
    assert all(index.get(text) is None for text in others if text not in held)


def test_the_order_in_which_texts_come_does_not_matter(tmp_path):
    build(tmp_path / "one", TEXTS.items(), None)
    build(tmp_path / "two", reversed(TEXTS.items()), None)
    one, two = open_index(tmp_path / "one"), open_index(tmp_path / "two")
    assert [one.get(text) for text in TEXTS] == [two.get(text) for text in TEXTS] == list(TEXTS.values())


@pytest.mark.parametrize("distribution", [{("a",): 0.5}, {("a",): -0.1, ("b",): 1.1}, {("a",): float("nan")}])
def test_what_is_no_distribution_is_refused_and_leaves_what_was_there(tmp_path, distribution):
    build(tmp_path / "index", TEXTS.items(), None)
    with pytest.raises(AskonceError, match="add up to 1"):
        build(tmp_path / "index", [("text", Entry(distribution))], None)
    assert len(open_index(tmp_path / "index")) == len(TEXTS)
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


@pytest.mark.parametrize("content", [None, b"", b"askonce-lookup-1 of the version before", b"ARROW1\0\0", "half"])
def test_what_is_no_index_is_unusable(tmp_path, content):
    path = tmp_path / "index"
    if content == "half":
        build(path, TEXTS.items(), None)
        content = path.read_bytes()[:-40]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Unusable, match="built again") as refused:
        open_index(path)
    assert "\n" not in str(refused.value)


def test_a_byte_that_has_changed_is_found_or_changes_nothing(tmp_path):
    """Whatever byte it is: the index does not open, or gives what was built."""
    path = tmp_path / "index"
    build(path, TEXTS.items(), None)
    sound = path.read_bytes()
    found = set()
    for at in range(0, len(sound), 3):
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 0x55]) + sound[at + 1 :])
        found.add(read(path))
    assert found == {"unusable", "the same"}


def read(path) -> str:
    try:
        index = open_index(path)
        got = {text: index.get(text) for text in TEXTS}
    except Unusable:
        return "unusable"
    return "the same" if got == TEXTS else f"wrong {got}"


def test_opening_loads_no_library_that_takes_longer_than_it(tmp_path):
    """pyarrow imports pandas for some conversions, wherever it is installed."""
    build(tmp_path / "index", TEXTS.items(), None)
    program = """
import sys
from askonce.cache.index import open_index
assert open_index(sys.argv[1]).get("Agent sees a key.")
print("pandas" in sys.modules)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "index"], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "False"
