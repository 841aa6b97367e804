"""What a network is shown of NavPick."""

import numpy as np
import pytest

from askonce.pipeline.tasks.navpick.env import NavPick
from askonce.pipeline.tasks.navpick.memory import Memory
from askonce.pipeline.tasks.navpick.view import IMAGE_SHAPE, SENSORS, VIEW_SIZE, WAY, view


@pytest.fixture(scope="module")
def seen():
    """An observation at an episode's start, and its memory."""
    env, memory = NavPick("mujoco"), Memory()
    observation, _ = env.reset(seed=3)
    memory.update(observation)
    return {name: value[None] for name, value in observation.items()}, memory


def test_it_begins_with_pictures_and_ends_with_the_way(seen):
    observations, memory = seen
    shown = view(observations, [memory])
    assert shown.shape == (1, VIEW_SIZE) and np.prod(IMAGE_SHAPE) + SENSORS == VIEW_SIZE
    pictures = shown[0, :-SENSORS].reshape(IMAGE_SHAPE)
    goal = observations["pose"][0], observations["object"][0, :2]
    there = memory.way(*goal)
    assert np.array_equal(pictures[..., 0], observations["depth"][0, ..., 0])
    assert np.array_equal(pictures[..., 1], memory.around(observations["pose"][0]))
    assert np.array_equal(pictures[..., 2], memory.nearer(*goal))
    length, sine, cosine, left = shown[0, -WAY:]
    assert length * np.array([cosine, sine]) == pytest.approx(there.to, abs=1e-6)
    assert left == pytest.approx(min(there.left, 10) / 5)


def test_to_what_is_held_there_is_no_way(seen):
    observations, memory = seen
    shown = view(observations | {"holding": np.ones((1, 1), np.float32)}, [memory])
    assert not shown[0, -WAY:].any() and not shown[0, :-SENSORS].reshape(IMAGE_SHAPE)[..., 2].any()


def test_what_a_network_is_shown_lies_about_one(seen):
    observations, memory = seen
    shown = view(observations, [memory])
    assert np.isfinite(shown).all() and abs(shown).max() <= 2
