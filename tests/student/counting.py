"""A small task of one's own for tests that start processes, which should not wait for it."""

import gymnasium
import numpy as np

from askonce.pipeline.tasks.gym_task import GymTask


class Counting(gymnasium.Env):
    """Pays action 1; ends after three to six steps, which it counts."""

    observation_space = gymnasium.spaces.Dict({"steps": gymnasium.spaces.Discrete(7)})
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.last = 0, self.np_random.integers(3, 7)
        return {"steps": 0}, {}

    def step(self, action):
        self.steps += 1
        return {"steps": self.steps}, float(action), bool(self.steps == self.last), False, {}


gymnasium.register("CountingToTheEnd-v0", Counting, disable_env_checker=True)
TASK = GymTask(
    "Counting",
    "CountingToTheEnd-v0",
    prompt=None,
    write=lambda seen: "Agent counts.",
    options=lambda text: [],
    act=lambda option, seen: None,
    look=lambda seen: np.array([seen["steps"]], np.float32),
)
