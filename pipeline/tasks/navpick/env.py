"""NavPick: drive to a table without collisions and pick up the wanted object (section 4.2, appendix A.5).

An episode succeeds when the robot says stop while it carries the wanted object: held, lifted, and with the hand
back where it was at the start (`stages.carried`). Stopping at any other time fails. So do a collision, taking a
wrong object, and dropping the right one. docs/navpick.md lists the weights, which are those of habitat-lab 0.3.3.
"""

from typing import Any

import gymnasium
from gymnasium import spaces
import numpy as np

from askonce.cache.errors import AskonceError
from askonce.pipeline.tasks.navpick.simulator import DEPTH_PIXELS, MAX_FORCE, Reading, Simulator
from askonce.pipeline.tasks.navpick.stages import carried, lifted, to_object, to_rest

SUCCESS_REWARD = 10.0
PICK_REWARD = 2.0
DISTANCE_REWARD = 2.0  # by metre
COLLISION_PENALTY = 1.0
WRONG_PICK_PENALTY = 0.5
DROP_PENALTY = 0.5
SLACK = -0.005

DROPPED = 0.15  # m between the end effector and an object that was lifted
MAX_STEPS = 300

ACTIONS = (
    "ahead",
    "turn left",
    "shoulder pan",
    "shoulder lift",
    "upper arm roll",
    "elbow flex",
    "forearm roll",
    "wrist flex",
    "wrist roll",
    "close gripper",
    "stop",
)
STOP = len(ACTIONS) - 1
GRIP = STOP - 1
FAR = 20.0  # m, beyond all that a home holds


def simulator(name: str, pictures: bool = False) -> Simulator:
    """The simulator of that name, with cameras for people if it needs them for `pictures`.

    AskonceError where it is unknown or not installed.
    """
    if name == "mujoco":
        from askonce.pipeline.tasks.navpick.mujoco_simulator import MujocoSimulator

        return MujocoSimulator()
    if name == "habitat":
        from askonce.pipeline.tasks.navpick.habitat_simulator import HabitatSimulator

        return HabitatSimulator(pictures)
    raise AskonceError(f"unknown simulator {name!r}: use mujoco or habitat", 2)


class NavPick(gymnasium.Env):
    """Observations, all float32 and relative to the robot (x ahead, y left, z up from the floor below its middle):

    depth         (64, 64, 1) of the head camera, in tens of metres, at most 1
    joints        (8,) rad of the arm's seven, and m from the gripper's middle to its fingers
    holding       (1,) 1 where both fingers touch an object
    end_effector  (3,) m
    object        (3,) m, the wanted object
    target        (2,) m and rad: distance and direction of the middle of the table on which it stood
    pose          (3,) m, m and rad: where the robot is from where it began, x ahead and y left of that

    Actions (11,) in [−1, 1]: see `ACTIONS`. The last is a request to stop wherever it is above 0. With no seed,
    `reset` draws one for training, which is an even one. `reset(options={"beside": True})` starts where
    Navigate has ended, for the training of Pick.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, simulator: str | Simulator = "mujoco", render_mode: str | None = None):
        self.simulator = _simulator(simulator, pictures=render_mode is not None)
        self.render_mode = render_mode
        self.action_space = spaces.Box(-1.0, 1.0, (len(ACTIONS),), np.float32)
        self.observation_space = spaces.Dict(
            {
                "depth": spaces.Box(0.0, 1.0, (DEPTH_PIXELS, DEPTH_PIXELS, 1), np.float32),
                "joints": spaces.Box(-4.0, 4.0, (8,), np.float32),
                "holding": spaces.Box(0.0, 1.0, (1,), np.float32),
                "end_effector": spaces.Box(-FAR, FAR, (3,), np.float32),
                "object": spaces.Box(-FAR, FAR, (3,), np.float32),
                "target": spaces.Box(np.array([0, -4], np.float32), np.array([FAR, 4], np.float32), dtype=np.float32),
                "pose": spaces.Box(
                    np.array([-FAR, -FAR, -4], np.float32), np.array([FAR, FAR, 4], np.float32), dtype=np.float32
                ),
            }
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        if seed is None:
            seed = 2 * int(self.np_random.integers(2**30))
        self.simulator.reset(seed, beside=bool((options or {}).get("beside")))
        self.steps, self.picked = 0, False
        self.reading = self.simulator.read()
        return observe(self.reading), self._info("")

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        self.simulator.step(np.asarray(action)[:STOP])
        before, now = self.reading, self.simulator.read()
        self.reading = now
        self.steps += 1
        reward = SLACK + self._progress(before, now)
        if lifted(now, self.simulator.wanted) and not self.picked:
            self.picked = True
            reward += PICK_REWARD
        ended = self._ended(action[STOP] > 0)
        reward += {
            "success": SUCCESS_REWARD,
            "collision": -COLLISION_PENALTY,
            "wrong pick": -WRONG_PICK_PENALTY,
            "dropped": -DROP_PENALTY,
        }.get(ended, 0.0)
        return observe(now), float(reward), bool(ended), self.steps >= MAX_STEPS, self._info(ended)

    def render(self) -> np.ndarray | None:
        return self.simulator.picture(320) if self.render_mode == "rgb_array" else None

    def _progress(self, before: Reading, now: Reading) -> float:
        """What came nearer: the hand to the object, or what it holds to where it is to be carried."""
        wanted = self.simulator.wanted
        if (before.held == wanted) != (now.held == wanted):
            return 0.0
        distance = to_rest if now.held == wanted else to_object
        return DISTANCE_REWARD * (distance(before) - distance(now))

    def _ended(self, stop: bool) -> str:
        """How the episode ended with this step, "" if it goes on."""
        now = self.reading
        if now.force > MAX_FORCE:
            return "collision"
        if now.held not in (None, self.simulator.wanted):
            return "wrong pick"
        if self.picked and now.held is None and to_object(now) > DROPPED:
            return "dropped"
        if stop:
            return "success" if carried(now, self.simulator.wanted) else "stopped"
        return ""

    def _info(self, ended: str) -> dict[str, Any]:
        return {"success": ended == "success", "ended": ended, "picked": self.picked, "force": self.reading.force}


def idle() -> np.ndarray:
    """(11,) stands still with the gripper opening, and goes on."""
    action = np.zeros(len(ACTIONS), np.float32)
    action[[GRIP, STOP]] = -1.0
    return action


def observe(now: Reading) -> dict[str, np.ndarray]:
    x, y, _ = now.target
    return {
        "depth": now.depth[..., None],
        "joints": now.joints.astype(np.float32),
        "holding": np.array([now.held is not None], np.float32),
        "end_effector": now.end_effector.astype(np.float32),
        "object": now.object.astype(np.float32),
        "target": np.array([np.hypot(x, y), np.arctan2(y, x)], np.float32),
        "pose": now.pose.astype(np.float32),
    }


def _simulator(which: str | Simulator, pictures: bool) -> Simulator:
    return simulator(which, pictures) if isinstance(which, str) else which
