"""The egocentric view against a restatement by cropping, turning and comparing whole arrays."""

from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX
import numpy as np
import pytest

from askonce.pipeline import tasks
from askonce.pipeline.tasks.minigrid import NAMES as GRID_TASKS
from askonce.pipeline.tasks.minigrid.view import REACH, WINDOW


def shows(cells: np.ndarray, content: str) -> np.ndarray:
    """Where (…, 2) objects and colours are of one content, such as "wall" or "blue key"."""
    *color, kind = content.split()
    found = cells[..., 0] == OBJECT_TO_IDX[kind]
    return found & (cells[..., 1] == COLOR_TO_IDX[color[0]]) if color else found


def restated(task, observation: np.ndarray) -> np.ndarray:
    ((x, y),) = np.argwhere(observation[..., 3] != 4)
    direction, held = observation[x, y, 3], observation[x, y, :2].copy()
    known = np.pad(observation[..., :2], ((REACH, REACH), (REACH, REACH), (0, 0)))
    # Rows and columns for y and x; MiniGrid's directions turn right, and up is the fourth.
    window = np.rot90(known[x : x + WINDOW, y : y + WINDOW].transpose(1, 0, 2), (direction + 1) % 4).copy()
    window[REACH, REACH] = 0
    cells = np.concatenate([window.reshape(-1, 2), held[None]])
    return np.stack([shows(cells, content) for content in task.contents], axis=1).ravel()


@pytest.mark.parametrize("name", GRID_TASKS)
def test_it_is_the_remembered_map_about_the_agent_and_what_is_held(name):
    task = tasks.find(name)
    batch, rng = task.batch(50), np.random.default_rng(0)
    batch.reset(np.arange(50), task.seeds(50, seed=0))
    held = 0
    for _ in range(80):
        batch.step(rng.choice(7, size=50, p=(0.15, 0.15, 0.4, 0.15, 0.02, 0.1, 0.03)))
        view = batch.view
        assert view.shape == (50, task.view_size) and view.dtype == np.uint8
        for observation, seen in zip(batch.observations, view):
            assert np.array_equal(seen, restated(task, observation))
        held += (batch.state.held[:, 0] == OBJECT_TO_IDX["key"]).sum()
    assert held > 100


@pytest.mark.parametrize("name", GRID_TASKS)
def test_its_ones_say_the_same(name):
    task = tasks.find(name)
    batch, rng = task.batch(50), np.random.default_rng(0)
    batch.reset(np.arange(50), task.seeds(50, seed=0))
    for _ in range(80):
        batch.step(rng.integers(7, size=50))
        for ones, view in zip(batch.ones, batch.view):
            count = view.sum()
            assert sorted(ones[:count]) == np.flatnonzero(view).tolist() and (ones[count:] == task.view_size).all()
