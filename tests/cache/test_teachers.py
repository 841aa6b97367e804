import pytest

from askonce.cache import query, store
from askonce.cache.errors import AskonceError
from askonce.cache.teachers import choose_teacher, teacher_names
from tests.cache.example import completion

TASK, MODEL, PROMPT = "SimpleDoorKey", "small-model", "b07c91d2"


def test_the_only_teacher_is_implied(tmp_path):
    store.append(tmp_path, [completion()])
    for model in (None, MODEL, f"{MODEL}@{PROMPT}"):
        assert choose_teacher(tmp_path, TASK, model).name == f"{MODEL}@{PROMPT}"


def test_of_several_teachers_one_must_be_chosen(tmp_path):
    store.append(tmp_path, [completion(), completion(model="@org/model@2025")])
    store.append(tmp_path, [completion(key="v1-sha256:1", prompt="0new")])
    with pytest.raises(AskonceError) as refusal:
        choose_teacher(tmp_path, TASK, None)
    assert refusal.value.exit_code == 2
    for name in ("small-model@b07c91d2", "small-model@0new", "@org/model@2025@b07c91d2"):
        assert name in str(refusal.value)
        assert choose_teacher(tmp_path, TASK, name).name == name
    assert choose_teacher(tmp_path, TASK, "@org/model@2025").model == "@org/model@2025"
    with pytest.raises(AskonceError, match="small-model@0new, small-model@b07c91d2") as refusal:
        choose_teacher(tmp_path, TASK, "small-model")
    assert refusal.value.exit_code == 2


def test_a_teacher_that_is_not_there(tmp_path):
    store.create(tmp_path)
    with pytest.raises(AskonceError, match="nor for any other task.*cli build-cache --task SimpleDoorKey"):
        choose_teacher(tmp_path, TASK, None)
    store.append(tmp_path, [completion(), completion("b", task="LavaDoorKey")])
    with pytest.raises(AskonceError, match="only for LavaDoorKey, SimpleDoorKey"):
        choose_teacher(tmp_path, "ColoredDoorKey", None)
    with pytest.raises(AskonceError, match="no answers of gpt for .*; it holds small-model@b07c91d2"):
        choose_teacher(tmp_path, TASK, "gpt")


def test_names_are_read_once_for_each_state_of_the_cache(tmp_path):
    store.append(tmp_path, [completion()])
    first = teacher_names(tmp_path)
    assert first == query.teacher_names(tmp_path)
    segment = next((tmp_path / "segments").iterdir())
    sound = segment.read_bytes()
    segment.write_bytes(b"?" * len(sound))
    assert teacher_names(tmp_path) == first
    # Of an answer that is added, only its own part is read.
    store.append(tmp_path, [completion(model="other")])
    assert [name.model for name in teacher_names(tmp_path)] == ["other", MODEL]
    segment.write_bytes(sound)
    with store.writer(tmp_path) as writer:
        writer.add([completion(model="in a journal")])
        assert len(teacher_names(tmp_path)) == 3
    segment.unlink()
    assert [name.model for name in teacher_names(tmp_path)] == ["in a journal", "other"]


def test_names_that_are_damaged_or_cannot_be_kept_are_read_again(tmp_path):
    store.append(tmp_path, [completion()])
    expected = teacher_names(tmp_path)
    path = tmp_path / "index" / "teachers.json"
    for damaged in (b"", b"{}", path.read_bytes().replace(b"small", b"large")):
        path.write_bytes(damaged)
        assert teacher_names(tmp_path) == expected
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("no directory can be made here")
    assert teacher_names(tmp_path) == expected
