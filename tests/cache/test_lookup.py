import hashlib
import json
import os
import subprocess
import sys
import threading

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from askonce.cache import lookup
from askonce.cache.errors import AskonceError

SOURCE = "segments of this test"
DECISIONS = ["go to key, pick up key", "explore", "open door", "", "gehe zur Tür", "pick up handle"]


def key(name) -> str:
    return "v1-sha256:" + hashlib.sha256(str(name).encode()).hexdigest()


def weighted(decisions, most: int):
    """Distributions of at most so many decisions; the empty one where all weights are 0."""

    def normalised(weights):
        total = sum(weights.values())
        return {name: weight / total for name, weight in weights.items() if total}

    return st.dictionaries(decisions, st.integers(0, 10**6), max_size=most).map(normalised)


# Few leading digits to choose from, so that keys share long prefixes, even the whole first half.
PREFIXES = st.sampled_from([0, 2**128 - 2**64, 2**128 - 2**32])
KEYS = st.builds(
    lambda prefix, rest: f"v1-sha256:{prefix + rest:032x}{'7' * 32}", PREFIXES, st.integers(0, 2**32 - 1)
) | st.integers(0, 99).map(key)


def built(path, distributions, chunk: int = 7) -> lookup.Index:
    items = list(distributions.items())
    chunks = [lookup.entries(dict(items[k : k + chunk])) for k in range(0, len(items), chunk)]
    lookup.build(path, chunks, SOURCE)
    return lookup.open_index(path)


def batched(index, keys) -> list[dict[str, float] | None]:
    """What `find` and `gather` say, as `get` would put it."""
    rows = index.find(lookup.digests(keys))
    decisions, probabilities = index.gather(rows)
    assert ((decisions >= 0) | (probabilities == 0)).all()
    found = [
        {index.names[decision]: value for decision, value in zip(*pairs, strict=True) if decision >= 0}
        for pairs in zip(decisions.tolist(), probabilities.tolist(), strict=True)
    ]
    return [found[k] if row >= 0 else None for k, row in enumerate(rows.tolist())]


def assert_answers(index, distributions, missing=()) -> None:
    for (name, given), found in zip(distributions.items(), batched(index, distributions), strict=True):
        exact = index.get(name)
        assert list(exact) == list(given)
        assert exact == pytest.approx(given, abs=1 / lookup.SCALE)
        assert sum(exact.values()) == pytest.approx(1 if given else 0, abs=1e-12)
        assert found == pytest.approx(exact, abs=1e-7)
    assert all(index.get(name) is None for name in missing)
    assert batched(index, missing) == [None] * len(missing)


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(KEYS, weighted(st.sampled_from(DECISIONS) | st.text(max_size=3), 6), max_size=60),
    st.sets(KEYS, max_size=20),
)
def test_every_key_keeps_its_distribution_and_no_other_key_has_one(tmp_path_factory, distributions, others):
    index = built(tmp_path_factory.mktemp("index") / "i", distributions)
    assert len(index) == len(distributions)
    assert_answers(index, distributions, sorted(others - distributions.keys()))


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(KEYS, weighted(st.sampled_from(DECISIONS[:3]), 3), max_size=10),
    st.lists(st.tuples(KEYS, weighted(st.text(max_size=2), 5)), max_size=90),
)
def test_what_is_added_overrides_and_reads_as_if_it_had_been_built(tmp_path_factory, distributions, added):
    directory = tmp_path_factory.mktemp("index")
    index = built(directory / "i", distributions)
    for name, distribution in added:
        index.add(name, distribution)
    together = distributions | dict(added)
    assert len(index) == len(together)
    assert_answers(index, together, [key("never asked")])
    rebuilt = built(directory / "rebuilt", together)
    assert [index.get(name) for name in together] == [rebuilt.get(name) for name in together]
    assert batched(index, together) == batched(rebuilt, together)
    assert built(directory / "i", distributions).width <= index.width


@pytest.mark.parametrize("samples", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 16, 20, 25, 32, 50, 100])
def test_frequencies_of_usual_numbers_of_samples_are_exact(tmp_path, samples):
    distributions = {
        key(count): {"a": count / samples, "b": (samples - count) / samples} for count in range(samples + 1)
    }
    index = built(tmp_path / "i", distributions)
    assert {name: index.get(name) for name in distributions} == distributions


@pytest.mark.parametrize("repeated", [True, False])
def test_many_keys(tmp_path, repeated):
    rng = np.random.default_rng(0)
    digests = rng.integers(256, size=(300_000, 16), dtype=np.uint8)
    counts = rng.integers(1, 13, len(digests)) if repeated else np.full(len(digests), 3)
    names = [f"decision {k}" for k in range(300)]
    # Either uniform over the first few decisions, or any three of them in any proportion.
    first = np.cumsum(counts) - counts
    within = np.arange(counts.sum()) - np.repeat(first, counts)
    decisions = within if repeated else rng.integers(100, size=len(within)) + 100 * within
    weights = np.ones(len(within)) if repeated else rng.random(len(within))
    probabilities = weights / np.repeat(np.add.reduceat(weights, first), counts)
    whole = lookup.Entries(digests, counts, names, decisions, probabilities)
    lookup.build(tmp_path / "i", [whole], SOURCE)
    index = lookup.open_index(tmp_path / "i")

    some = rng.permutation(len(digests))[:100_000]
    rows = np.empty(len(some), np.int64)
    assert index.find(digests[some], rows) is rows
    found = np.full((len(some), 15), 7, np.int32), np.full((len(some), 15), 7, np.float32)
    index.gather(rows, *found)
    expected = np.full((len(digests), 15), -1), np.zeros((len(digests), 15))
    owner = np.repeat(np.arange(len(digests)), counts)
    expected[0][owner, within], expected[1][owner, within] = decisions, probabilities
    assert (found[0] == expected[0][some]).all()
    assert np.abs(found[1] - expected[1][some]).max() <= 1 / lookup.SCALE + 1e-7
    assert (index.find(rng.integers(256, size=(50_000, 16), dtype=np.uint8)) == -1).all()
    for k in some[:200].tolist():
        pairs = slice(first[k], first[k] + counts[k])
        exact = dict(zip((names[d] for d in decisions[pairs]), probabilities[pairs], strict=True))
        found = index.get(f"v1-sha256:{digests[k].tobytes().hex()}{'0' * 32}")
        assert found == pytest.approx(exact, abs=1 / lookup.SCALE)


def test_a_distribution_of_very_many_decisions(tmp_path):
    many = {f"decision {k}": 1 / 400 for k in range(400)}
    assert_answers(built(tmp_path / "i", {key(0): many, key(1): {"one": 1.0}, key(2): many}), {key(0): many})


def test_of_a_key_given_twice_the_later_distribution_counts(tmp_path):
    parts = [{key(k): {"early": 1.0} for k in range(20)}, {key(7): {"late": 1.0}}]
    lookup.build(tmp_path / "i", map(lookup.entries, parts), SOURCE)
    assert_answers(lookup.open_index(tmp_path / "i"), parts[0] | parts[1])


def test_equal_rows_serve_all_keys_of_a_distribution(tmp_path):
    distributions = {key(k): {DECISIONS[k % 3]: 0.5, "explore more": 0.5} for k in range(300)}
    index = built(tmp_path / "i", distributions)
    assert len(set(index.find(lookup.digests(distributions)).tolist())) == 3


def test_the_answer_given_belongs_to_the_caller(tmp_path):
    index = built(tmp_path / "i", {key(0): {"explore": 1.0}})
    index.add(key(1), {"explore": 1.0})
    for name in (key(0), key(1)):
        index.get(name).clear()
        assert index.get(name) == {"explore": 1.0}


@pytest.mark.parametrize("wrong", [[0.5], [-0.5, 1.5], [float("nan")], [float("inf")], [0.0], [1.0, 1.0]])
def test_what_is_no_distribution_is_refused(tmp_path, wrong):
    wrong = dict(zip("ab", wrong))
    index = built(tmp_path / "i", {})
    with pytest.raises(AskonceError, match="add up to 1"):
        index.add(key(0), wrong)
    with pytest.raises(AskonceError, match="add up to 1"):
        built(tmp_path / "i", {key(0): wrong})
    assert index.get(key(0)) is None


@pytest.mark.parametrize(
    "wrong", ["", "explore", key(0)[:-1], "v2" + key(0)[2:], "v1-sha256:" + "x" * 64, "v1-sha256:" + "ab c" * 16]
)
def test_what_is_no_key_is_refused(tmp_path, wrong):
    index = built(tmp_path / "i", {key(0): {"explore": 1.0}})
    for use in (index.get, lambda key: lookup.digests([key]), lambda key: index.add(key, {"explore": 1.0})):
        with pytest.raises(AskonceError, match="is no key"):
            use(wrong)


def test_arrays_that_do_not_fit_are_refused(tmp_path):
    index = built(tmp_path / "i", {key(0): {"explore": 0.5, "open door": 0.5}})
    with pytest.raises(ValueError):
        index.find(np.zeros((3, 8), np.uint8))
    with pytest.raises(ValueError):
        index.find(np.zeros((3, 16), np.uint8), np.zeros(2, np.int64))
    with pytest.raises(ValueError):
        index.gather(np.zeros(3, np.int64), np.zeros((3, 1), np.int32), np.zeros((3, 1), np.float32))


def test_any_changed_byte_or_lost_end_is_noticed_and_the_index_built_again(tmp_path):
    path, distributions = tmp_path / "i", {key(k): {"explore": 1.0} for k in range(50)}
    sound = (built(path, distributions), path.read_bytes())[1]
    damaged = [sound[:length] for length in (0, 1, 30, len(sound) // 2, len(sound) - 1)]
    damaged += [sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :] for at in range(0, len(sound), 37)]
    damaged += [b"SQLite format 3\0" * 100, sound + b"\0"]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(AskonceError, match="lookup index .*remove it"):
            lookup.open_index(path)
        assert built(path, distributions).get(key(3)) == {"explore": 1.0}
        assert path.read_bytes() == sound


def test_an_index_says_what_it_was_built_from(tmp_path):
    source = {"parts": ["a", "b"], "read": 1}
    lookup.build(tmp_path / "new" / "i", [], source)
    assert lookup.open_index(tmp_path / "new" / "i").source == source
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["i"]


def test_each_of_several_that_build_at_one_path_opens_its_own(tmp_path):
    wrong = []

    def rebuild(name: str) -> None:
        for _ in range(20):
            chunks = [lookup.entries({key(0): {name: 1.0}})]
            index = lookup.build(tmp_path / "i", chunks, name)
            wrong.extend([] if index.get(key(0)) == {name: 1.0} else [index.get(key(0))])

    threads = [threading.Thread(target=rebuild, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert lookup.open_index(tmp_path / "i").names in (["a"], ["b"], ["c"])


def test_a_build_that_fails_leaves_what_was_there(tmp_path):
    index = built(tmp_path / "i", {key(0): {"explore": 1.0}})

    def chunks():
        yield lookup.entries({key(1): {"explore": 1.0}})
        raise AskonceError("no more")

    with pytest.raises(AskonceError, match="no more"):
        lookup.build(tmp_path / "i", chunks(), SOURCE)
    assert lookup.open_index(tmp_path / "i").get(key(0)) == index.get(key(0)) == {"explore": 1.0}
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / "file").write_text("")
    with pytest.raises(AskonceError, match="cannot write"):
        lookup.build(tmp_path / "file" / "i", [], SOURCE)


ANOTHER = """
import json, sys
from cache import lookup
index = lookup.open_index(sys.argv[1])
print("open", flush=True)
for line in sys.stdin:
    print(json.dumps(index.get(line.strip())), flush=True)
"""


def test_another_process_reads_on_while_the_index_is_replaced(tmp_path):
    index = built(tmp_path / "i", {key(0): {"explore": 1.0}})
    with subprocess.Popen(
        [sys.executable, "-c", ANOTHER, str(tmp_path / "i"), SOURCE],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as another:
        assert another.stdout.readline() == "open\n"
        replaced = built(tmp_path / "i", {key(0): {"open door": 1.0}})
        index.add(key(1), {"explore": 1.0})
        print(key(0), key(1), sep="\n", file=another.stdin, flush=True)
        assert [json.loads(another.stdout.readline()) for _ in range(2)] == [{"explore": 1.0}, None]
        another.stdin.close()
    assert index.get(key(0)) == {"explore": 1.0}
    assert replaced.get(key(0)) == {"open door": 1.0}
