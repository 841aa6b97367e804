"""Teachers side by side: each figure against a cache whose answers are known."""

import pytest

import askonce
from askonce.pipeline import tasks
from tests.called import called

TASK = "SimpleDoorKey"


def right(chats: list) -> list[str]:
    """What leads to the door."""
    return [f"Decision: {_plan(chat[-1]['content'])}" for chat in chats]


def wrong(chats: list) -> list[str]:
    return ["Decision: dance" if "sees a key" in chat[-1]["content"] else "I do not know." for chat in chats]


def _plan(text: str) -> str:
    if "holds a key" in text:
        return "go to door, open door" if "door" in text else "explore"
    return "go to key, pick up key" if "sees a key" in text else "explore"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare") / "cache"
    for llm in right, wrong:
        askonce.build_cache(TASK, folder, llm, samples=2, episodes=60)
    askonce.build_cache(TASK, folder, askonce.LLM(estimator="scored", prompt="without-reasoning"), episodes=60)
    return folder


def test_each_teacher_is_told_by_what_it_said_and_how_it_does(cache):
    found = {one.teacher.partition("@")[0]: one for one in askonce.compare_teachers(TASK, cache, episodes=40)}
    assert {name: one.estimator for name, one in found.items()} == {
        "right": "text",
        "wrong": "text",
        "simulated": "scored",
    }
    good, bad = found["right"], found["wrong"]
    assert good.success_rate == 1 and good.unparsable == good.invented == 0 and good.verdicts["incorrect"] == 0
    texts = [text for text in tasks.find(TASK).situations if askonce.look_up(cache, TASK, text, "wrong") is not None]
    keys = sum("sees a key" in text for text in texts)
    assert bad.texts == len(texts) and bad.unparsable == pytest.approx(1 - keys / len(texts))
    # What it invents: of all its texts, those where it says anything.
    assert bad.invented == pytest.approx(keys / len(texts)) and bad.success_rate < 0.5
    assert good.agreement > bad.agreement == pytest.approx(0, abs=0.3)
    assert found["simulated"].cost == 0 and good.cost is None and found["simulated"].tokens > 100


def test_the_table_and_the_json_hold_all_teachers_of_all_tasks(cache):
    arguments = ("compare", "--cache", cache, "--episodes", 20, "--no-audit")
    found = called(*arguments, "--json").figures["teachers"]
    assert len(found) == 3 and all(one["task"] == TASK and one["verdicts"] == {} for one in found)
    shown = called(*arguments)
    assert shown.code == 0 and all(one["estimator"] in shown.out for one in found) and "right@" in shown.out


def test_a_cache_without_the_task_is_one_line(cache):
    ended = called("compare", "--cache", cache, "--task", "ColoredDoorKey")
    assert ended.code == 1 and "holds no answers for ColoredDoorKey" in ended.err
