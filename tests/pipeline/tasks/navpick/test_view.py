"""What a network is shown of NavPick, against the home as it is."""

import numpy as np
import pytest

from pipeline.tasks.navpick import floor
from pipeline.tasks.navpick.env import NavPick
from pipeline.tasks.navpick.expert import Expert
from pipeline.tasks.navpick.view import AROUND, CELL, IMAGE_SHAPE, SENSORS, VIEW_SIZE, Memory, view


@pytest.fixture(scope="module")
def driven():
    """An environment after the expert has driven, its last observation, and what was kept in mind on the way."""
    env = NavPick("mujoco")
    observation, _ = env.reset(seed=3)
    expert, memory = Expert(env.simulator), Memory()
    expert.reset()
    for _ in range(60):
        memory.update(observation)
        observation, *_ = env.step(expert.navigate())
    return env, observation, memory


def test_the_map_shows_floor_where_the_home_is_free_and_obstacles_where_it_is_not(driven):
    env, observation, memory = driven
    x, y, heading = env.simulator.pose
    c, s = np.cos(heading), np.sin(heading)
    places = AROUND @ np.array([[c, s], [-s, c]]) + (x, y)
    shown = memory.around(observation["pose"]).ravel()
    clearance = floor.at(env.simulator.episode.home.clearance, places)
    assert (shown == 0.5).sum() > 300 and (shown == 1).sum() > 50
    # A place of the map is a cell's middle or up to a cell away from it.
    assert np.quantile(clearance[shown == 1], 0.95) < 2 * CELL
    assert (clearance[shown == 0.5] > 0).mean() > 0.95


def test_the_wanted_object_is_brightest_where_it_is(driven):
    env, observation, memory = driven
    seen = view({name: value[None] for name, value in observation.items()}, [memory])
    assert seen.shape == (1, VIEW_SIZE) and VIEW_SIZE == np.prod(IMAGE_SHAPE) + SENSORS
    near = seen[0, :-SENSORS].reshape(IMAGE_SHAPE)[..., 2].ravel()
    assert np.hypot(*(AROUND[near.argmax()] - observation["object"][:2])) < CELL


def test_what_a_network_is_shown_lies_about_one(driven):
    _, observation, memory = driven
    seen = view({name: value[None] for name, value in observation.items()}, [memory])
    assert np.isfinite(seen).all() and abs(seen).max() <= 2


def test_a_new_episode_starts_with_nothing_in_mind():
    memory = Memory()
    memory.seen[:] = 2
    memory.reset()
    assert not memory.around(np.zeros(3)).any()
