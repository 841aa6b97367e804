import numpy as np
import pytest

from askonce.pipeline import collect, tasks
from askonce.pipeline.collect import draw
from askonce.pipeline.deduplicate import distinct_texts

SIMPLE = tasks.find("SimpleDoorKey")

NOTHING = "Agent sees nothing, holds nothing."
SEES_KEY = "Agent sees a key, holds nothing."
SEES_DOOR = "Agent sees a door, holds nothing."
SEES_BOTH = "Agent sees a key, a door, holds nothing."
HOLDS_KEY = "Agent sees nothing, holds a key."
HOLDS_KEY_AT_DOOR = "Agent sees a door, holds a key."

EXPLORE = {text: {("explore",): 1.0} for text in (NOTHING, SEES_KEY, SEES_DOOR, SEES_BOTH)}


def texts(situations) -> dict[str, int]:
    return distinct_texts(SIMPLE, situations).counts


def test_at_random_an_agent_comes_to_see_things():
    assert {NOTHING, SEES_KEY, SEES_DOOR} <= set(texts(collect.random_actions(SIMPLE, 20, seed=0)))


def test_by_options_it_comes_into_every_situation():
    found = texts(collect.random_options(SIMPLE, 100, seed=0))
    assert set(found) == {NOTHING, SEES_KEY, SEES_DOOR, SEES_BOTH, HOLDS_KEY, HOLDS_KEY_AT_DOOR}


def test_the_teacher_leads_where_its_decisions_lead():
    explorer = texts(collect.teacher(SIMPLE, EXPLORE, 20, seed=0))
    fetch = {text: {("go to key", "pick up key"): 1.0} for text in (SEES_KEY, SEES_BOTH)}
    fetcher = texts(collect.teacher(SIMPLE, EXPLORE | fetch, 20, seed=0))
    assert not {HOLDS_KEY, HOLDS_KEY_AT_DOOR} & set(explorer)
    assert {HOLDS_KEY, HOLDS_KEY_AT_DOOR} & set(fetcher)


def test_without_an_answer_the_teacher_tries_any_option():
    for silent in ({}, {text: {} for text in EXPLORE}):
        assert {HOLDS_KEY, HOLDS_KEY_AT_DOOR} & set(texts(collect.teacher(SIMPLE, silent, 60, seed=0)))


@pytest.mark.parametrize(
    "behaviour",
    [
        collect.random_actions,
        collect.random_options,
        lambda task, episodes, seed: collect.teacher(task, EXPLORE, episodes, seed),
    ],
)
def test_the_same_seed_meets_the_same_states_and_another_others(behaviour):
    first, again, other = (list(behaviour(SIMPLE, 70, seed)) for seed in (1, 1, 2))
    assert len(first) == len(again) and all(map(np.array_equal, first, again))
    assert len(first) != len(other) or not all(map(np.array_equal, first, other))


def test_every_episode_is_played_to_its_end_and_no_further():
    # Who only explores opens no door, so every episode is cut off.
    steps = list(collect.teacher(SIMPLE, EXPLORE, 70, seed=0))
    running = [len(situations) for situations in steps]
    assert running[0] == collect.BATCH and running[SIMPLE.max_steps] == 70 - collect.BATCH
    assert len(steps) == 2 * SIMPLE.max_steps and sum(running) == 70 * SIMPLE.max_steps


def test_rows_are_drawn_by_their_weights():
    weights = np.array([[1.0, 0.0, 3.0], [0.0, 0.2, 0.0], [0.0, 0.0, 0.0]])
    rng = np.random.default_rng(0)
    drawn = np.array([draw(weights, rng) for _ in range(4000)])
    assert set(drawn[:, 0]) == {0, 2} and set(drawn[:, 1]) == {1} and set(drawn[:, 2]) <= {0, 1, 2}
    # Five standard errors about the expected quarter.
    assert abs(np.mean(drawn[:, 0] == 0) - 0.25) < 5 * (0.25 * 0.75 / 4000) ** 0.5
