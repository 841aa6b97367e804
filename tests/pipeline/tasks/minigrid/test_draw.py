"""What people see of a world: MiniGrid's own picture with fog, and a map of what the agent knows."""

import gymnasium
import numpy as np
import pytest

from askonce.pipeline import tasks
from askonce.pipeline.tasks.minigrid import NAMES as GRID_TASKS
from askonce.pipeline.tasks.minigrid import draw
from askonce.pipeline.tasks.minigrid.engine import UNSEEN
from askonce.pipeline.tasks.minigrid.envs import NO_AGENT

TILE = 12


def states(name: str):
    """Moments of some random episodes: what the batch engine watches, beside MiniGrid's own environment."""
    task = tasks.find(name)
    shown, rng = task.watched(), np.random.default_rng(0)
    env = gymnasium.make(task.env_id).unwrapped
    for layout in task.seeds(8, 0).tolist():
        shown.batch.reset(np.array([0]), np.array([layout]))
        env.reset(seed=layout)
        for action in rng.choice([0, 1, 2, 2, 2, 3, 4, 5], 15).tolist():
            yield shown, env
            shown.batch.step(np.array([action]))
            if env.step(action)[2]:
                break


@pytest.mark.parametrize("name", GRID_TASKS)
def test_the_picture_is_minigrids_own_with_fog_over_what_was_not_seen(name):
    for shown, env in states(name):
        width, height = env.room
        picture = shown.picture(TILE * max(width, height))
        own = env.grid.render(TILE, tuple(env.agent_pos), env.agent_dir)[: height * TILE, : width * TILE]
        fog = ~env.seen[:width, :height].T.repeat(TILE, 0).repeat(TILE, 1)
        assert picture.shape == own.shape and picture.dtype == np.uint8
        assert np.array_equal(picture[~fog], own[~fog])
        mixed = (1 - draw.FOG_DENSITY) * own + draw.FOG_DENSITY * draw.FOG
        assert np.abs(picture[fog].astype(float) - mixed[fog]).max(initial=0) <= 1


def test_the_map_shows_what_the_agent_knows_and_nothing_more():
    for shown, env in states("ColoredDoorKey"):
        observation, rows = shown.batch.observations[0], shown.symbols()
        assert (len(rows[0]), len(rows)) == env.room
        for y, row in enumerate(rows):
            for x, (symbol, _) in enumerate(row):
                kind, _, _, direction = observation[x, y]
                assert (symbol in draw.AGENTS) == (direction != NO_AGENT)
                assert (symbol == " ") == (kind == UNSEEN)


def test_things_are_told_apart():
    observation = np.zeros((3, 3, 4), np.uint8)
    observation[..., 3] = NO_AGENT
    observation[0, 0, :3], observation[1, 0, :3], observation[2, 0, :3] = (2, 5, 0), (4, 2, 2), (4, 0, 0)
    observation[0, 1, :3], observation[2, 1, :3], observation[0, 2] = (9, 0, 0), (1, 0, 0), (5, 2, 0, 3)
    world = np.full((3, 3, 3), 2, np.uint8)
    assert draw.symbols(world, observation) == [
        [("#", "grey"), ("D", "blue"), ("/", "red")],
        [("~", "lava"), (" ", "unseen"), (".", "empty")],
        [("^", "agent"), (" ", "unseen"), (" ", "unseen")],
    ]
    assert draw.held(observation) == "a blue key"
    observation[0, 2, :3] = 1, 0, 0
    assert draw.held(observation) == "nothing"
