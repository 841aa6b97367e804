from hypothesis import given
from hypothesis import strategies as st
import pytest

from askonce.cache.query import Answer
from askonce.pipeline.estimators import option_distributions
from tests.pipeline.doorkey_prompt import OPTIONS


def answers(*given: tuple[str, float] | str) -> list[Answer]:
    pairs = [(item, 1.0) if isinstance(item, str) else item for item in given]
    return [Answer(sample, content, weight, "stop") for sample, (content, weight) in enumerate(pairs)]


def test_equal_decisions_in_other_words_count_together():
    given = answers("Decision: go to key", "Decision: **Go to the key.**", "Decision: explore", "I am lost")
    found, unparsable = option_distributions({"t": given}, OPTIONS)
    assert found == {"t": {("go to key",): pytest.approx(2 / 3), ("explore",): pytest.approx(1 / 3)}}
    assert [(row.text, row.sample) for row in unparsable] == [("t", 3)] and unparsable[0].reason


def test_completions_count_by_their_weight():
    given = answers(("Decision: explore", 0.6), ("Decision: go to door", 0.2))
    found, _ = option_distributions({"t": given}, OPTIONS)
    assert found["t"] == {("explore",): pytest.approx(0.75), ("go to door",): pytest.approx(0.25)}


def test_a_text_without_a_readable_answer_is_answered_with_nothing():
    given = {"t": answers("", "no idea"), "u": answers("Decision: explore")}
    found, unparsable = option_distributions(given, OPTIONS)
    assert found == {"t": {}, "u": {("explore",): 1.0}}
    assert [(row.text, row.sample) for row in unparsable] == [("t", 0), ("t", 1)]


def test_what_does_not_exist_is_a_decision_all_the_same():
    found, unparsable = option_distributions({"t": answers("Decision: go to east")}, OPTIONS)
    assert found == {"t": {("go to east",): 1.0}} and not unparsable


WORDS = st.sampled_from(["Decision: explore", "Decision: go to key, pick up key", "hm", ""])


@given(st.dictionaries(st.text(max_size=3), st.lists(st.tuples(WORDS, st.floats(0.01, 10)), max_size=6)))
def test_probabilities_add_up_and_no_completion_is_lost(given):
    found, unparsable = option_distributions({text: answers(*rows) for text, rows in given.items()}, OPTIONS)
    assert set(found) == set(given)
    assert all(sum(row.values()) == pytest.approx(1) for row in found.values() if row)
    unreadable = [content for rows in given.values() for content, _ in rows if content in ("hm", "")]
    assert len(unparsable) == len(unreadable)
