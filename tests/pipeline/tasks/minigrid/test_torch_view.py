"""The view in torch is the one that students are trained on."""

import numpy as np
import pytest
import torch

from askonce.pipeline import tasks
from askonce.pipeline.tasks.minigrid import NAMES as GRID_TASKS


@pytest.mark.parametrize("name", GRID_TASKS)
def test_it_is_the_batch_engines_in_thousands_of_states(name):
    task, rng = tasks.find(name), np.random.default_rng(0)
    module, batch = task.view_module(), task.batch(100)
    batch.reset(np.arange(100), task.seeds(100, 0))
    for _ in range(50):
        view = module(torch.from_numpy(batch.observations))
        assert view.dtype == torch.float32 and np.array_equal(view.numpy(), batch.view)
        # Keys are carried and doors reached: both are rare at random.
        batch.step(rng.choice(7, 100, p=(0.15, 0.15, 0.4, 0.15, 0.02, 0.1, 0.03)))
    assert (batch.state.held[:, 0] != 1).any()
