"""The MiniGrid environments by themselves: Gymnasium's contract and the paper's definitions."""

from collections import Counter

import gymnasium
from gymnasium.utils.env_checker import check_env
import numpy as np
import pytest

from askonce.pipeline import tasks
from askonce.pipeline.tasks.minigrid import NAMES as GRID_TASKS
from askonce.pipeline.tasks.minigrid.envs import GRID, NO_AGENT

LAYOUTS = range(300)


def make(name: str, **kwargs):
    return gymnasium.make(tasks.find(name).env_id, **kwargs).unwrapped


def things(env, kind: str) -> list[tuple[int, int]]:
    return [
        (x, y)
        for x in range(env.width)
        for y in range(env.height)
        if env.grid.get(x, y) is not None and env.grid.get(x, y).type == kind
    ]


@pytest.mark.parametrize("name", GRID_TASKS)
@pytest.mark.filterwarnings("ignore:.*render.*")
def test_gymnasium_accepts_the_environment(name):
    check_env(make(name, render_mode="rgb_array"))


@pytest.mark.parametrize("name", GRID_TASKS)
def test_it_renders(name):
    env = make(name, render_mode="rgb_array")
    env.reset(seed=1)
    before = env.render()
    env.step(env.actions.left)
    assert before.ndim == 3 and before.shape[2] == 3 and not np.array_equal(before, env.render())


@pytest.mark.parametrize("name", GRID_TASKS)
def test_the_same_seed_gives_the_same_layout(name):
    first, second = make(name), make(name)
    for seed in range(20):
        assert np.array_equal(first.reset(seed=seed)[0], second.reset(seed=seed)[0])
        assert first.grid == second.grid


@pytest.mark.parametrize("name", GRID_TASKS)
def test_layouts_are_as_the_paper_sets_them(name):
    env = make(name)
    sizes, directions = Counter(), Counter()
    for seed in LAYOUTS:
        env.reset(seed=seed)
        sizes.update(env.room)
        directions[env.agent_dir] += 1
        doors, keys = things(env, "door"), things(env, "key")
        assert all(env.grid.get(*door).is_locked for door in doors)
        assert len(doors) == (2 if name == "DivergedDoorKey" else 1)
        assert len(keys) == (2 if name == "ColoredDoorKey" else 1)
        assert len(things(env, "lava")) == (1 if name == "LavaDoorKey" else 0)
        for x, y in doors:
            assert (x in (0, env.room[0] - 1)) != (y in (0, env.room[1] - 1)), "in a wall, not in a corner"
        inside = [
            (x + dx, y + dy)
            for x, y in doors
            for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))
            if 0 < x + dx < env.room[0] - 1 and 0 < y + dy < env.room[1] - 1
        ]
        if name == "LavaDoorKey":
            assert not set(inside) & set(things(env, "lava"))
        if name == "ColoredDoorKey":
            assert not set(inside) & set(keys)
            assert env.grid.get(*doors[0]).color == "blue"
            assert {env.grid.get(*key).color for key in keys} == {"blue", "red"}
        else:
            assert len({env.grid.get(*thing).color for thing in doors + keys}) == 1
        if name == "DivergedDoorKey":
            assert {4, 5} >= set(keys[0])
            (x1, y1), (x2, y2) = doors
            assert {x1, x2} == {0, GRID - 1} or {y1, y2} == {0, GRID - 1}
    assert set(sizes) == ({GRID} if name == "DivergedDoorKey" else set(range(5, GRID + 1)))
    assert set(directions) == {0, 1, 2, 3}
    assert env.max_steps == (60 if name == "DivergedDoorKey" else 150)


def test_the_observation_remembers_and_shows_what_is_held():
    env = make("SimpleDoorKey")
    env.reset(seed=0)
    known = np.zeros((GRID, GRID), dtype=bool)
    for action in np.random.default_rng(0).integers(3, size=100):
        observation, *_ = env.step(action)
        now = observation[..., 0] > 0
        assert (now | ~known).all(), "what was seen stays known"
        known = now
        assert (observation[..., 3] != NO_AGENT).sum() == 1
        assert observation[tuple(env.agent_pos)].tolist() == [1, 0, 0, env.agent_dir]
    assert not known[env.room[0] :].any() and not known[:, env.room[1] :].any(), "walls hide what is behind them"


def test_opening_the_door_is_rewarded_by_the_time_it_took():
    env = make("SimpleDoorKey")
    env.reset(seed=3)
    door, key = env.doors[0], env.grid.get(*things(env, "key")[0])
    env.carrying = key
    (x, y), side = things(env, "door")[0], None
    for side, (dx, dy) in enumerate(((1, 0), (0, 1), (-1, 0), (0, -1))):
        if 0 < x - dx < env.room[0] - 1 and 0 < y - dy < env.room[1] - 1:
            env.agent_pos, env.agent_dir = (x - dx, y - dy), side
    env.step_count = 29
    _, reward, terminated, truncated, _ = env.step(env.actions.toggle)
    assert door.is_open and terminated and not truncated
    assert reward == 1 - 0.9 * (30 / 150)
