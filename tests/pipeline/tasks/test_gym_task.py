"""A task of one's own, by the example of docs/adding-a-task.md."""

from pathlib import Path
import re

import gymnasium
from gymnasium.utils.env_checker import check_env
import numpy as np
import pytest

from askonce.pipeline import tasks
from askonce.pipeline.parse import parse
from tests.command import command

DOCS = Path(__file__).parents[3] / "docs"
BETWEEN = "Agent stands between things, sees a key, a door, holds nothing."
AT_KEY = "Agent stands at the key, sees a key, a door, holds nothing."
CARRYING = "Agent stands between things, sees a door, holds a key."
AT_DOOR = "Agent stands at the door, sees a door, holds a key."
FETCH, UNLOCK = ("go to key", "take key"), ("go to door", "open door")


@pytest.fixture
def corridor(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    return tasks.find("corridor:CORRIDOR")


def started(task, size: int):
    batch = task.batch(size)
    batch.reset(np.arange(size), task.seeds(size, seed=0))
    return batch


def test_the_environment_is_a_proper_one(corridor):
    check_env(gymnasium.make(corridor.env_id).unwrapped)


def test_a_decision_is_carried_out_option_by_option(corridor):
    batch, plans = (
        started(corridor, 20),
        corridor.plans(
            {
                BETWEEN: {(*FETCH, *UNLOCK): 1.0},
                AT_KEY: {FETCH: 1.0},
                CARRYING: {UNLOCK: 1.0},
                AT_DOOR: {UNLOCK: 1.0},
                "Agent stands at the door, sees a key, a door, holds nothing.": {FETCH: 1.0},
            }
        ),
    )
    rewards = np.zeros(20)
    for _ in range(60):
        advice = batch.advise(plans)
        assert (advice.probabilities.sum(axis=1) == 1).all()
        reward, terminated, truncated = batch.step(advice.actions[:, 0])
        rewards += reward
    assert terminated.all() and not truncated.any() and (rewards > 0).all()


def test_decisions_are_weighed_and_what_cannot_act_stands_still(corridor):
    batch = started(corridor, 30)
    texts = [corridor.text(situation) for situation in batch.situations]
    advice = batch.advise(corridor.plans({BETWEEN: {("fly to moon",): 0.25, ("open door",): 0.75}}))
    for text, actions, probabilities in zip(texts, advice.actions, advice.probabilities):
        assert list(probabilities) == ([0.25, 0.75] if text == BETWEEN else [0, 0])
        assert list(actions) == [corridor.idle, corridor.idle]


def test_without_any_plan_there_is_no_advice(corridor):
    advice = started(corridor, 2).advise(corridor.plans({}))
    assert advice.actions.shape == advice.probabilities.shape == (2, 1) and not advice.probabilities.any()
    assert not started(corridor, 2).advise(corridor.plans({BETWEEN: {}})).probabilities.any()


def test_plans_that_grow_text_by_text_are_those_made_at_once(corridor):
    batch, both = started(corridor, 30), {BETWEEN: {UNLOCK: 0.5, FETCH: 0.5}, AT_DOOR: {UNLOCK: 1.0}}
    plans = corridor.plans({})
    for text, found in both.items():
        plans = corridor.plans({text: found}, plans)
    grown, expected = batch.advise(plans), batch.advise(corridor.plans(both))
    assert np.array_equal(grown.actions, expected.actions)
    assert np.array_equal(grown.probabilities, expected.probabilities) and expected.probabilities.any()


def test_an_ended_environment_stands_still_until_it_is_reset(corridor):
    batch = started(corridor, 3)
    for _ in range(60):
        _, terminated, truncated = batch.step(np.zeros(3, int))
    assert truncated.all() and not terminated.any()
    before = batch.view.copy()
    rewards, terminated, truncated = batch.step(np.full(3, 2))
    assert truncated.all() and not terminated.any() and not rewards.any() and (batch.view == before).all()
    batch.reset(np.array([1]), corridor.seeds(1, seed=1))
    assert batch.step(np.zeros(3, int))[2].tolist() == [True, False, True]


def test_the_same_seeds_are_the_same_layouts(corridor):
    first, again = started(corridor, 8), started(corridor, 8)
    assert (first.view == again.view).all() and (first.situations == again.situations).all()
    assert first.view.shape == (8, corridor.view_size)
    assert not set(corridor.seeds(200, 0)) & set(corridor.seeds(200, 0, held_out=True))


def test_every_decision_that_rollouts_try_is_one_that_the_parser_reads(corridor):
    for text in (BETWEEN, AT_KEY, CARRYING, AT_DOOR):
        for decision in corridor.decisions(text):
            assert parse(f"Decision: {', '.join(decision)}", corridor.prompt.options).decision == decision


def test_the_whole_pipeline_finds_it_in_the_directory_where_it_is_started(run, tmp_path, monkeypatch):
    """The console script does; what comes before a command is the same for all."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corridor.py").write_text((DOCS / "corridor.py").read_text())
    task = ("--task", "corridor:CORRIDOR", "--json")
    built = command("build-cache", *task, "--cache", "cache", "--episodes", 30, "--samples", 3, cwd=tmp_path)
    assert built.code == 0 and built.figures["asked"] == built.figures["texts"] > 3
    trained = run("train", *task, "--cache", "cache", "--cache-only", "--iterations", 3)
    assert trained.code == 0 and trained.figures["cache_hits"] > 0 and trained.figures["llm_calls"] == 0
    found = run("evaluate", *task, "--run", "runs/Corridor-0", "--episodes", 20)
    assert found.code == 0 and found.figures["episodes"] == 20


def test_the_page_shows_the_code_that_is_tested_here():
    page = (DOCS / "adding-a-task.md").read_text()
    assert (DOCS / "corridor.py").read_text() in re.findall(r"```python\n(.*?)```", page, re.DOTALL)
