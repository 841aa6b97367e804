"""Pictures for people."""

import numpy as np

from askonce.pipeline.tasks.navpick.env import NavPick
from tests.pipeline.tasks.navpick.episodes import STILL


def test_the_picture_shows_what_happens():
    env = NavPick(render_mode="rgb_array")
    env.reset(seed=2)
    before = env.simulator.picture(64)
    turning = STILL.copy()
    turning[1] = 1.0
    for _ in range(5):
        env.step(turning)
    after = env.simulator.picture(64)
    assert before.shape == (64, 160, 3) and before.dtype == np.uint8
    changed = (before != after).any(axis=2)
    outside, close, head = changed[:, :64], changed[:, 64:128], changed[:, 128:]
    assert 0 < outside.mean() < 0.2 < min(close.mean(), head.mean()), "the home stands still, the robot's views turn"
