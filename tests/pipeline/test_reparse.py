from dataclasses import replace

import pytest

from askonce.cache import store
from askonce.cache.errors import AskonceError
from askonce.cache.teachers import choose_teacher
from askonce.pipeline import tasks
from askonce.pipeline.answered import open_answered
from askonce.pipeline.reparse import LARGEST, Change, reparse
from tests.cache.example import completion

TASK = tasks.find("SimpleDoorKey")
MODEL, PROMPT = completion().model, completion().prompt
# As if the parser had not known any synonym at first.
EARLIER = replace(
    TASK, prompt=replace(TASK.prompt, options=tuple(replace(option, synonyms=()) for option in TASK.prompt.options))
)
GRAB, EXPLORE, LOST = "Decision: grab the key", "Decision: explore", "I am lost"
ONLY_SYNONYM = "Approach the key."


def add(cache, text: str, *said: str, first: int = 0) -> None:
    store.append(
        cache,
        [
            completion(text, sample=sample, content=content, latency=float(sample))
            for sample, content in enumerate(said, start=first)
        ],
    )


@pytest.fixture
def cache(tmp_path):
    """An index that was built when fewer words were understood."""
    add(tmp_path, "same", EXPLORE, EXPLORE, LOST)
    add(tmp_path, "half", EXPLORE, GRAB)
    add(tmp_path, "newly", ONLY_SYNONYM)
    add(tmp_path, "partly", EXPLORE, EXPLORE, ONLY_SYNONYM, LOST)
    open_answered(tmp_path, EARLIER, MODEL, PROMPT)
    return tmp_path


def only(result):
    (found,), unknown = result
    assert not unknown
    return found


def test_it_says_what_another_parser_reads_differently(cache):
    found = only(reparse(cache))
    assert (found.task, found.teacher, found.compared) == (TASK.name, f"{MODEL}@{PROMPT}", True)
    assert (found.texts, found.completions, found.new_texts, found.new_completions) == (4, 10, 0, 0)
    assert (found.changed, found.newly_readable, found.no_longer_readable) == (3, 2, 0)
    assert found.largest == [
        Change("newly", 1.0, {}, {"go to key": 1.0}),
        Change("half", 0.5, {"explore": 0.5, "grab key": 0.5}, {"explore": 0.5, "pick up key": 0.5}),
        Change("partly", pytest.approx(1 / 3), {"explore": 1.0}, {"explore": 2 / 3, "go to key": 1 / 3}),
    ]


def test_the_way_back_is_told_as_well_and_the_index_is_the_new_one(cache):
    there = only(reparse(cache, TASK))
    assert open_answered(cache, TASK, MODEL, PROMPT)("newly") == {("go to key",): 1.0}
    back = only(reparse(cache, EARLIER))
    assert (back.changed, back.newly_readable, back.no_longer_readable) == (3, 0, 2)
    assert [(change.before, change.after) for change in back.largest] == [
        (pytest.approx(change.after), pytest.approx(change.before)) for change in there.largest
    ]


def test_the_same_parser_changes_nothing(cache):
    reparse(cache)
    again = only(reparse(cache))
    assert again.compared and (again.changed, again.newly_readable, again.no_longer_readable) == (0, 0, 0)
    assert again.largest == []


def test_answers_that_came_since_are_told_apart(cache):
    reparse(cache)
    add(cache, "same", GRAB, LOST, first=3)
    add(cache, "new", EXPLORE, LOST)
    found = only(reparse(cache))
    assert (found.texts, found.new_texts, found.new_completions) == (5, 1, 4)
    assert (found.changed, found.newly_readable, found.no_longer_readable) == (1, 0, 0)
    assert [change.text for change in found.largest] == ["same"]


def test_only_the_largest_changes_are_told_one_by_one(tmp_path):
    for number in range(LARGEST + 5):
        add(tmp_path, f"text {number}", GRAB, *[EXPLORE] * number)
    open_answered(tmp_path, EARLIER, MODEL, PROMPT)
    found = only(reparse(tmp_path))
    assert found.changed == LARGEST + 5
    assert [change.text for change in found.largest] == [f"text {number}" for number in range(LARGEST)]


def test_without_an_earlier_index_one_is_built(tmp_path):
    add(tmp_path, "a", GRAB)
    assert not only(reparse(tmp_path)).compared
    assert only(reparse(tmp_path)).compared


def test_tasks_that_are_not_built_in_must_be_named(cache):
    own = replace(TASK, name="own")
    store.append(cache, [completion("own text", task="own", content=EXPLORE)])
    found, unknown = reparse(cache)
    assert [each.task for each in found] == [TASK.name] and unknown == ["own"]
    assert [each.task for each in reparse(cache, own)[0]] == ["own"]
    assert choose_teacher(cache, "own", None).model == MODEL
    with pytest.raises(AskonceError, match="no answers for LavaDoorKey"):
        reparse(cache, tasks.find("LavaDoorKey"))
