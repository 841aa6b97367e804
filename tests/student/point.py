"""A small world of continuous control: a point on a plane, two beacons, and a teacher that mistakes them at times."""

import gymnasium
from gymnasium import spaces
import numpy as np

from askonce.pipeline.tasks.gym_task import GymTask
from askonce.pipeline.tasks.task import Option, Prompt

BEACONS = {"left": np.array([-1.0, 0.0]), "right": np.array([1.0, 0.0])}
NEAR, PACE, STEPS = 0.25, 0.2, 20


class Point(gymnasium.Env):
    """It has to come to the beacon that is lit; the other one ends the episode, too. What comes nearer is paid."""

    observation_space = spaces.Box(-10, 10, (3,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-0.4, 0.4, 2)
        self.lit = str(self.np_random.choice(["left", "right"]))
        return self._observation(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        before = self._away(self.lit)
        self.place = self.place + PACE * action
        reached = [name for name in BEACONS if self._away(name) < NEAR]
        reward = before - self._away(self.lit) - 0.02
        return self._observation(), reward, bool(reached), False, {"is_success": reached == [self.lit]}

    def _away(self, name: str) -> float:
        return float(np.linalg.norm(self.place - BEACONS[name]))

    def _observation(self) -> np.ndarray:
        return np.array([*self.place, self.lit == "right"], np.float32)


gymnasium.register("Point-v0", Point, max_episode_steps=STEPS)


def act(option: str, seen: np.ndarray) -> np.ndarray | None:
    name = option.removeprefix("go to ").removesuffix(" beacon")
    if name not in BEACONS:
        return None
    way = BEACONS[name] - seen[:2]
    return None if np.linalg.norm(way) < NEAR else way / max(np.linalg.norm(way), 1)


SKILLS = ("go to left beacon",), ("go to right beacon",)

POINT = GymTask(
    name="Point",
    env_id="tests.student.point:Point-v0",
    prompt=Prompt(
        "A point has to come to the beacon that is lit.",
        (Option("go to", "move straight to it"),),
        "The left beacon is lit.",
        "The left one is lit.",
        "It should go there.",
        ("go to left beacon",),
    ),
    write=lambda seen: f"The {'right' if seen[2] else 'left'} beacon is lit.",
    options=lambda text: [option for (option,) in SKILLS],
    act=act,
    deviation=0.1,
    success=lambda info: info["is_success"],
    fixed=lambda text: [option for (option,) in SKILLS],
    fixed_options=("left", "right"),
)

# A teacher who is right three times out of four.
TEACHER = {
    "The left beacon is lit.": {SKILLS[0]: 0.75, SKILLS[1]: 0.25},
    "The right beacon is lit.": {SKILLS[1]: 0.75, SKILLS[0]: 0.25},
}
