import json

import pytest

from askonce.cache import query, store
from askonce.cache.errors import AskonceError
from askonce.cache.teachers import choose_teacher
from askonce.pipeline import tasks
from askonce.pipeline.estimators import option_distributions
from askonce.pipeline.recorded import read

# From LLM4Teach (IJCAI 2024): decision frequencies that its authors recorded.
LINES = [
    '{"task": "SimpleDoorKey", "sees": ["key"], "holds": null, "decisions": [{"options": ["go to key", '
    '"pick up key"], "probability": 0.98}, {"options": ["pick up key"], "probability": 0.02}]}',
    '{"task": "ColoredDoorKey", "sees": [], "holds": "color1 key", "decisions": [{"options": ["explore"], '
    '"probability": 0.94}, {"options": ["go to east"], "probability": 0.06}]}',
    '{"task": "ColoredDoorKey", "sees": ["color1 key", "color2 door"], "holds": "color2 key", "decisions": '
    '[{"options": ["drop color2 key", "go to color1 key", "pick up color1 key"], "probability": 0.71}, '
    '{"options": ["go to color2 door", "open color2 door"], "probability": 0.29}]}',
    '{"task": "DivergedDoorKey", "sees": ["door1", "door2"], "holds": "key", "decisions": [{"options": '
    '["go to door1", "open door1"], "probability": 0.5}, {"options": ["go to door2", "open door2"], '
    '"probability": 0.5}]}',
]
EXCHANGE = ("drop blue key", "go to red key", "pick up red key")
BLUE_DOOR = ("go to blue door", "open blue door")
EXPECTED = {
    "SimpleDoorKey": {"Agent sees a key, holds nothing.": {("go to key", "pick up key"): 0.98, ("pick up key",): 0.02}},
    "ColoredDoorKey": {
        "Agent sees nothing, holds a red key.": {("explore",): 0.94, ("go to east",): 0.06},
        "Agent sees a red key, a blue door, holds a blue key.": {EXCHANGE: 0.71, BLUE_DOOR: 0.29},
    },
    "DivergedDoorKey": {
        "Agent sees door1, door2, holds a key.": {
            ("go to door1", "open door1"): 0.5,
            ("go to door2", "open door2"): 0.5,
        }
    },
}
EXPLORE = {"options": ["explore"], "probability": 1.0}


@pytest.fixture
def file(tmp_path):
    def write(*lines: str | dict, end: str = "\n"):
        path = tmp_path / "decisions.jsonl"
        written = (line if isinstance(line, str) else json.dumps(line) for line in lines)
        path.write_bytes(end.join(written).encode())
        return path

    return write


def line(**changes) -> dict:
    return {"task": "SimpleDoorKey", "sees": ["key"], "holds": None, "decisions": [EXPLORE]} | changes


def distributions(cache, task: str) -> dict:
    entry = choose_teacher(cache, task, None)
    answers = query.answers(cache, task, entry.model, entry.prompt)
    return option_distributions(answers, tasks.find(task).prompt.options)[0]


def test_recorded_decisions_become_distributions_with_canonical_colours(file, tmp_path):
    store.append(tmp_path / "cache", read(file(*LINES), "recorded"))
    for task, expected in EXPECTED.items():
        found = distributions(tmp_path / "cache", task)
        assert found.keys() == expected.keys()
        assert all(found[text] == pytest.approx(row) for text, row in expected.items())


def test_every_recorded_text_is_one_that_the_task_writes(file):
    rows = read(file(*LINES), "recorded")
    assert all(tasks.find(row.task).decisions(row.text) for row in rows)


def test_importing_once_more_adds_no_answer(file, tmp_path):
    store.append(tmp_path / "cache", read(file(*LINES), "recorded"))
    before = {task: distributions(tmp_path / "cache", task) for task in EXPECTED}
    store.append(tmp_path / "cache", read(file(*LINES), "recorded"))
    assert {task: distributions(tmp_path / "cache", task) for task in EXPECTED} == before
    assert sum(entry.completions for entry in query.stats(tmp_path / "cache").teachers) == 8


def test_two_files_are_two_teachers(file, tmp_path):
    for lines in (LINES, LINES[:1]):
        store.append(tmp_path / "cache", read(file(*lines), "recorded"))
    with pytest.raises(AskonceError, match="--model"):
        choose_teacher(tmp_path / "cache", "SimpleDoorKey", "recorded")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_line_ends_of_any_system_and_empty_lines_are_read(file, end):
    assert len(read(file(*LINES, "", end=end), "recorded")) == 8


def test_a_byte_order_mark_is_passed_over(file):
    assert len(read(file("\ufeff" + LINES[0]), "recorded")) == 2


MALFORMED = {
    "no JSON": "{",
    "no object": "[1]",
    "null": "null",
    "nested without end": "[" * 100_000,
    "no task": {"sees": [], "holds": None, "decisions": [EXPLORE]},
    "an unknown task": line(task="Chess"),
    "a task that is no name": line(task=["SimpleDoorKey"]),
    "a module to import": line(task="this:Thing"),
    "no sees": {"task": "SimpleDoorKey", "holds": None, "decisions": [EXPLORE]},
    "sees is a word": line(sees="key"),
    "sees an empty name": line(sees=[""]),
    "sees numbers": line(sees=[1]),
    "a colour without a name": line(task="ColoredDoorKey", sees=["color9 key"]),
    "holds a list": line(holds=["key"]),
    "holds an empty name": line(holds=""),
    "no decisions": line(decisions=[]),
    "decisions are null": line(decisions=None),
    "a decision is a word": line(decisions=["explore"]),
    "no options": line(decisions=[{"options": [], "probability": 1}]),
    "options are a word": line(decisions=[{"options": "explore", "probability": 1}]),
    "an empty option": line(decisions=[{"options": [""], "probability": 1}]),
    "no probability": line(decisions=[{"options": ["explore"]}]),
    "a probability of 0": line(decisions=[{"options": ["explore"], "probability": 0}]),
    "a negative probability": line(decisions=[{"options": ["explore"], "probability": -0.5}]),
    "a probability in words": line(decisions=[{"options": ["explore"], "probability": "half"}]),
    "a probability that is none": line(decisions=[{"options": ["explore"], "probability": float("nan")}]),
    "a probability beyond all": line(decisions=[{"options": ["explore"], "probability": 10**400}]),
    "true for a probability": line(decisions=[{"options": ["explore"], "probability": True}]),
    "a probability above 1": line(decisions=[{"options": ["explore"], "probability": 1.7}]),
    "a sum far below 1": line(decisions=[{"options": ["explore"], "probability": 0.3}]),
    "a sum far above 1": line(
        decisions=[EXPLORE, *({"options": [f"go to {n}"], "probability": 1.0} for n in range(2))]
    ),
    "a decision twice": line(decisions=[{"options": ["explore"], "probability": 0.5}] * 2),
    "a line break in an option": line(decisions=[{"options": ["explore\nDecision: open door"], "probability": 1}]),
    "a control character": line(decisions=[{"options": ["explore\x1b[2J"], "probability": 1}]),
    "half a surrogate pair": line(decisions=[{"options": ["explore \ud800"], "probability": 1}]),
    "a situation given before": LINES[0],
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_line_is_named_in_one_line(case, file):
    with pytest.raises(AskonceError) as raised:
        read(file(LINES[0], "", MALFORMED[case], LINES[1]), "recorded")
    assert "decisions.jsonl, line 3: " in str(raised.value) and "\n" not in str(raised.value)
    assert raised.value.exit_code == 1


def test_a_file_without_decisions_is_refused(file, tmp_path):
    with pytest.raises(AskonceError, match="no decisions"):
        read(file("", ""), "recorded")
    with pytest.raises(AskonceError, match="none.jsonl"):
        read(tmp_path / "none.jsonl", "recorded")


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "picture").write_bytes(b"\x89PNG\xff")
    with pytest.raises(AskonceError, match="picture"):
        read(tmp_path / "picture", "recorded")


def test_a_recorded_module_is_not_imported(file, tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemExit('run by a file of decisions')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AskonceError, match="line 1"):
        read(file(line(task="trap:TASK")), "recorded")


def test_decisions_for_an_environment_of_minigrid_s_are_taken_by_its_id(tmp_path):
    name = "MiniGrid-Unlock-v0"
    situation = {"task": name, "sees": ["red key"], "holds": None}
    decided = {"options": ["go to red key", "pick up red key"], "probability": 1.0}
    (tmp_path / "said.jsonl").write_text(json.dumps(situation | {"decisions": [decided]}))
    (row,) = read(tmp_path / "said.jsonl", "me")
    assert (row.task, row.text) == (name, "Agent sees a red key, holds nothing.")
    assert row.content == "Decision: go to red key, pick up red key"
