"""What is learnt of a teacher's answers in each of its forms."""

import json

import pytest

from askonce.cache import index, store
from askonce.cache.errors import AskonceError
from askonce.cache.index import Entry
from askonce.cache.teachers import choose_teacher
from askonce.pipeline import tasks
from askonce.pipeline.answered import open_answered
from askonce.pipeline.audit.audit import audit
from askonce.pipeline.recorded import read
from askonce.student.learning.forms import harden, in_form, without


def test_the_hard_teacher_is_the_most_probable_decision_alone():
    soft = {"a": {("explore",): 0.3, ("go to key",): 0.7}, "b": {("explore",): 0.5, ("open door",): 0.5}, "c": {}}
    hard = harden(soft.get)
    assert [hard(text) for text in "abcd"] == [{("go to key",): 1.0}, {("explore",): 1.0}, {}, None]


@pytest.mark.parametrize("samples", range(2, 24))
def test_equals_are_equals_still_when_they_come_out_of_an_index(samples, tmp_path):
    even = Entry({(f"option {k}",): 1 / samples for k in range(samples)})
    found = index.build(tmp_path / "index", [("text", even)], "").get("text")
    assert harden({"text": found.distribution}.get)("text") == {("option 0",): 1.0}


def test_mistakes_are_left_out_where_something_else_is_left():
    soft = {"a": {("explore",): 0.2, ("go to key",): 0.3, ("use key",): 0.5}, "b": {("use key",): 1.0}, "c": {}}
    corrected = without(soft.get, {"a": {("use key",)}, "b": {("use key",)}, "d": {("explore",)}})
    assert corrected("a") == pytest.approx({("explore",): 0.4, ("go to key",): 0.6})
    assert [corrected(text) for text in "bcd"] == [{("use key",): 1.0}, {}, None]


def test_an_audited_teacher_is_what_its_audit_left(tmp_path):
    task = tasks.find("SimpleDoorKey")
    decisions = [
        {"options": ["go to key", "pick up key"], "probability": 0.5},
        {"options": ["use key"], "probability": 0.5},
    ]
    said = {"task": task.name, "sees": ["key"], "holds": None, "decisions": decisions}
    (tmp_path / "said.jsonl").write_text(json.dumps(said) + "\n")
    cache = tmp_path / "cache"
    store.append(cache, read(tmp_path / "said.jsonl", "recorded"))
    teacher = choose_teacher(cache, task.name, None)
    answered = open_answered(cache, task, teacher.model, teacher.prompt)
    with pytest.raises(AskonceError, match="cli audit --task SimpleDoorKey"):
        in_form(answered, "audited", cache, teacher)
    audit(task, cache)
    text = task.describe(["key"], None)
    assert in_form(answered, "audited", cache, teacher)(text) == {("go to key", "pick up key"): 1.0}
    assert set(in_form(answered, "soft", cache, teacher)(text)) == {("go to key", "pick up key"), ("use key",)}
