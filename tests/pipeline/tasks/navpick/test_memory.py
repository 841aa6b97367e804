"""What is kept in mind of a home, and the way planned over it, against the home as it is."""

import numpy as np
import pytest

from askonce.pipeline.tasks.navpick import floor, way
from askonce.pipeline.tasks.navpick.env import NavPick
from askonce.pipeline.tasks.navpick.expert import Expert
from askonce.pipeline.tasks.navpick.homes import ROBOT
from askonce.pipeline.tasks.navpick.memory import AROUND, CELL, Memory
from askonce.pipeline.tasks.navpick.stages import beside

NEAR = 1.5  # m: nearer than the 2 m by which a place can be shown to be nearer


@pytest.fixture(scope="module")
def driven():
    """An environment in which the expert has driven near its goal, the last observation, and what was kept in mind."""
    env = NavPick("mujoco")
    observation, _ = env.reset(seed=2)
    expert, memory = Expert(env.simulator), Memory()
    expert.reset()
    memory.update(observation)
    while memory.way(observation["pose"], observation["object"][:2]).left > NEAR:
        observation, _, terminated, truncated, info = env.step(expert.navigate())
        assert not (terminated or truncated), info["ended"]
        memory.update(observation)
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


def arrives(seed: int) -> tuple[bool, int]:
    """Whether one who drives by the map's way alone gets beside the object without a collision, and the steps."""
    env, memory = NavPick("mujoco"), Memory()
    observation, _ = env.reset(seed=seed)
    expert, over = Expert(env.simulator), False
    expert.reset()
    memory.update(observation)
    while not over and not beside(env.reading):
        there = memory.way(observation["pose"], observation["object"][:2])
        observation, _, terminated, truncated, _ = env.step(expert.navigate(there))
        memory.update(observation)
        over = terminated or truncated
    return not over, env.steps


@pytest.mark.parametrize("seed", [1, 3, 5])
def test_who_drives_by_the_map_alone_gets_there_without_a_collision(seed):
    assert arrives(seed)[0]


@pytest.mark.study
def test_so_do_95_of_100():
    found = [arrives(seed) for seed in range(1, 201, 2)]
    print(sum(there for there, _ in found), "of 100,", np.mean([steps for _, steps in found]), "steps on average")
    assert sum(there for there, _ in found) >= 95


def test_the_way_leads_to_the_object_by_places_where_the_robot_can_be(driven):
    env, observation, memory = driven
    goal = observation["pose"], observation["object"][:2]
    there, nearer = memory.way(*goal), memory.nearer(*goal)
    assert there.left >= np.hypot(*observation["object"][:2]) - way.STAND[1] - 2 * CELL
    assert 0 < np.hypot(*there.to) < 2
    x, y, heading = env.simulator.pose
    c, s = np.cos(heading), np.sin(heading)
    on_the_way = np.linspace(0, 1, 10)[:, None] * there.to @ np.array([[c, s], [-s, c]]) + (x, y)
    assert (floor.at(env.simulator.episode.home.clearance, on_the_way) > ROBOT - CELL / 2).all()
    # The nearest of all places is where one stands to take the object, and the robot's own is halfway.
    best = AROUND[nearer.argmax()] - observation["object"][:2]
    assert way.STAND[0] - CELL < np.hypot(*best) < way.STAND[1] + CELL and nearer.max() < 1
    assert nearer[31:33, 31:33] == pytest.approx(0.5, abs=0.15)


def test_a_way_goes_around_a_wall_and_through_a_gap_that_is_wide_enough():
    walls = np.zeros((60, 60), bool)
    walls[30] = True
    walls[30, 41:51] = False
    cost, goal, all_of_it = way.costs(walls), (40.5, 10.5), ((0, 0), (60, 60))
    far = way.distances(cost, CELL, goal, *all_of_it)
    i, j, path = 20, 10, []
    while far[i, j] > 0.05 and len(path) < 200:
        path.append((i, j))
        neighbours = [(i + a, j + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        i, j = min(neighbours, key=lambda at: far[at])
    assert far[i, j] <= 0.05 and CELL * np.hypot(i + 0.5 - goal[0], j + 0.5 - goal[1]) < way.STAND[1]
    (gap,) = {j for i, j in path if i == 30}
    assert 43 <= gap <= 48, "not past the wall's ends"
    assert not any(walls[at] for at in path)
    # Steps in eight directions are at most 8 % longer than going straight.
    straight = CELL * 2 * np.hypot(10, gap - 10)
    assert straight - way.STAND[1] < far[20, 10] < 1.09 * straight


def test_a_new_episode_starts_with_nothing_in_mind():
    memory = Memory()
    memory.seen[:] = 2
    memory.reset()
    assert not memory.around(np.zeros(3)).any()
