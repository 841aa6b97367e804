"""Episodes for the tests of NavPick."""

from collections.abc import Callable

import numpy as np

from askonce.pipeline.tasks.navpick.env import STOP, NavPick
from askonce.pipeline.tasks.navpick.episodes import episode
from askonce.pipeline.tasks.navpick.expert import Expert

GRIP = STOP - 1
STILL = np.array([0.0] * GRIP + [-1.0, -1.0], np.float32)


def play(env: NavPick, seed: int, until: Callable[[NavPick], bool] = lambda env: False) -> tuple[dict, float]:
    """The expert's episode until it ends or `until` holds: the last step's info and the return."""
    _, info = env.reset(seed=seed)
    expert, earned, ended = Expert(env.simulator), 0.0, False
    expert.reset()
    while not ended and not until(env):
        _, reward, terminated, truncated, info = env.step(expert.act())
        earned, ended = earned + reward, terminated or truncated
    return info, earned


def carrying(env: NavPick) -> bool:
    """Whether the expert has just lifted the object and its gripper has closed as far as it goes."""
    return env.picked and env.reading.lifted > 0.05


def seed_with(wanted: str) -> int:
    """A training seed whose episode is about that kind of object."""
    return next(seed for seed in range(0, 400, 2) if episode(seed).wanted == wanted)


def random_episode(env: NavPick, seed: int, steps: int) -> dict:
    """Random actions that never ask to stop."""
    _, info = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        action = rng.uniform(-1, 1, STOP + 1).astype(np.float32)
        action[STOP] = -1
        _, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            break
    return info
