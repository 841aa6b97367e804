"""Compiled random numbers against numpy's, compiled layouts against MiniGrid's, draw by draw and bit for bit."""

import gymnasium
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from askonce.pipeline import tasks
from askonce.pipeline.tasks.minigrid import NAMES as GRID_TASKS
from askonce.pipeline.tasks.minigrid import pcg64

LAYOUTS = 500


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    bounds=st.lists(
        st.tuples(st.integers(-10, 10), st.sampled_from([1, 2, 3, 4, 6, 10, 2**31, 3 * 2**30])), max_size=40
    ),
)
def test_draws_are_numpys(seed, bounds):
    expected, found = np.random.default_rng(seed), pcg64.generator(seed)
    for low, span in bounds:
        assert pcg64.draw(found, low, low + span) == expected.integers(low, low + span)


@pytest.mark.parametrize("name", GRID_TASKS)
def test_layouts_are_those_of_minigrids_reset(name):
    task = tasks.find(name)
    env = gymnasium.make(task.env_id, disable_env_checker=True).unwrapped
    seeds = np.random.default_rng(1).integers(2**31, size=LAYOUTS)
    for seed, world, agent in zip(seeds, *task.layouts(seeds), strict=True):
        env.reset(seed=int(seed))
        assert np.array_equal(world, env.grid.encode())
        assert agent.tolist() == [*env.agent_pos, env.agent_dir]
