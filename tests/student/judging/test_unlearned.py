"""What a student makes of its teacher's mistakes, and two teachers beside each other."""

from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest
import torch

from askonce.cache import store
from askonce.cache.completion import Completion
from askonce.cache.errors import AskonceError
from askonce.pipeline import tasks
from askonce.pipeline.audit import states
from askonce.pipeline.audit.audit import audit
from askonce.student.judging import compare, unlearned
from askonce.student.learning import checkpoint
from askonce.student.learning.network import ActorCritic

NOWHERE, NEAR = "Agent sees nothing, holds nothing.", "Agent sees a key, holds nothing."
DROP, DONE = 4, 6


@pytest.fixture(autouse=True)
def few_episodes(monkeypatch):
    monkeypatch.setattr(states, "EPISODES", 128)
    monkeypatch.setattr(states, "ROUNDS", 1)


def cache(folder, said: dict[str, list[str]]):
    store.create(folder)
    store.append(
        folder,
        [
            Completion(
                key=f"v1-sha256:{number:064x}",
                task="SimpleDoorKey",
                model="llm",
                prompt="p",
                text=text,
                sample=sample,
                content=f"Decision: {words}",
                endpoint="none",
                request="{}",
                asked_at=datetime.fromtimestamp(sample, UTC),
            )
            for number, (text, contents) in enumerate(said.items())
            for sample, words in enumerate(contents)
        ],
    )
    return folder


def student(task, run, action: int):
    """A run that nearly always takes this action."""
    network = ActorCritic(task.view_size, 7)
    with torch.no_grad():
        network.actor.weight.zero_()
        network.actor.bias[action] = 9.0
    run.mkdir()
    checkpoint.save(run, network, torch.optim.Adam(network.parameters()), {"task": task.name, "iteration": 1})
    return run


def test_a_student_keeps_or_unlearns_a_mistake_by_what_it_prefers(tmp_path):
    task = tasks.find("SimpleDoorKey")
    where = cache(tmp_path / "cache", {NOWHERE: ["go to east", "explore"], NEAR: ["go to key, pick up key", "use key"]})
    found = audit(task, where)
    # What cannot be done is to stand still; the best decisions never do.
    for action, status in ((DONE, "kept"), (2, "unlearned")):
        run = student(task, tmp_path / f"run-{action}", action)
        habits = unlearned.habits(task, found, run, where)
        assert {habit.decision for habit in habits} == {"go to east", "use key"}
        east = next(habit for habit in habits if habit.decision == "go to east")
        assert east.status == status and east.difference_low <= east.difference <= east.difference_high
        assert (east.follows > 0.9) == (status == "kept") and east.states > 100
        table = pq.read_table(unlearned.place_of(where, found, run)).to_pylist()
        assert [(row["decision"], row["status"]) for row in table] == [
            (habit.decision, habit.status) for habit in habits
        ]
    with pytest.raises(AskonceError, match="is a run of SimpleDoorKey"):
        unlearned.habits(tasks.find("DivergedDoorKey"), found, run, where)


def test_two_teachers_are_told_apart_by_their_mistakes_and_their_worth(tmp_path):
    task = tasks.find("SimpleDoorKey")
    both = {NOWHERE: ["explore"], NEAR: ["use key"]}
    first = cache(tmp_path / "first", both | {NOWHERE: ["explore", "explore", "go to east"]})
    second = cache(tmp_path / "second", both | {"Agent sees a door, holds nothing.": ["open door"]})
    sides = compare.compared(task, audit(task, first), first, "soft", second, None, "soft", episodes=50)
    assert [[row.decision for row, _ in side.alone] for side in sides] == [["go to east"], ["open door"]]
    assert all(side.evaluation.episodes == 50 for side in sides)
    # The hard one says what is most probable, and nothing else.
    soft, hard = compare.compared(task, audit(task, first), first, "soft", first, None, "hard", episodes=50)
    assert [row.decision for row, _ in soft.alone] == ["go to east"] and hard.alone == ()
