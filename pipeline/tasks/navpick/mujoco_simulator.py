"""The embedded simulator: every step is MuJoCo's physics, the camera casts rays through MuJoCo's model.

Nothing is ever moved by anything but forces: the base by its motors, the arm and fingers by their servos,
objects by gravity and contact. Only `reset` places things.
"""

import mujoco
import numpy as np

from askonce.pipeline.tasks.navpick import robot, world
from askonce.pipeline.tasks.navpick.camera import Camera
from askonce.pipeline.tasks.navpick.episodes import episode
from askonce.pipeline.tasks.navpick.simulator import ARM_STEP, LAG, Reading, Sight

STEP = 0.1  # s: one step of the environment
PARTS = 4  # a step's physics is run in so many parts; forces are read after each
GRIP_STEP = 0.02  # m
SQUEEZE = -0.03  # m: the command of fingers that press; they stop at what is between them

HOME, ROBOT, THING = 1, 2, 4  # collision groups: see `world`
ONLY_HOME = np.array([1, 0, 0, 0, 0, 0], np.uint8)  # the geoms' groups for rays
FINGERS = "left_finger", "right_finger"


class MujocoSimulator:
    """See `pipeline.tasks.navpick.simulator.Simulator`."""

    model: mujoco.MjModel
    data: mujoco.MjData

    def __init__(self) -> None:
        self.camera = Camera()
        self.number: int | None = None

    def reset(self, seed: int, beside: bool = False) -> None:
        self.episode = episode(seed, beside)
        self.wanted = self.episode.wanted
        self._load(self.episode.home.number)
        self._place()
        self.arm = robot.REST.copy()
        self.gripper = robot.OPEN
        mujoco.mj_forward(self.model, self.data)
        self.rest = self._in_robot(self._end_effector)
        self.force = 0.0
        self._look()

    def step(self, commands: np.ndarray) -> None:
        data = self.data
        commands = np.clip(commands, -1.0, 1.0)
        joints = data.qpos[self.joints]
        self.arm = np.clip(self.arm + ARM_STEP * commands[2:9], joints - LAG, joints + LAG)
        self.arm = np.clip(self.arm, *robot.LIMITS.T)
        self.gripper = float(np.clip(self.gripper - GRIP_STEP * commands[9], SQUEEZE, robot.OPEN))
        data.ctrl[:3] = robot.FORWARD_SPEED * commands[0], 0.0, robot.TURN_SPEED * commands[1]
        data.ctrl[3:10], data.ctrl[10:] = self.arm, self.gripper
        self.force = 0.0
        for _ in range(PARTS):
            mujoco.mj_step(self.model, data, nstep=round(STEP / world.TIMESTEP / PARTS))
            self.force = max(self.force, self._collision())
        # mj_step moves the joints last; where that leaves bodies and sites it would only say in its next call.
        mujoco.mj_kinematics(self.model, data)
        self._look()

    def read(self) -> Reading:
        at = self.data.xpos[self._wanted]
        table = self.episode.home.tables[self.episode.target.table]
        return Reading(
            depth=self.camera.depth,
            joints=np.append(self.data.qpos[self.joints], self.data.qpos[self._finger_joints].mean()),
            end_effector=self._in_robot(self._end_effector),
            rest=self.rest,
            object=self._in_robot(at),
            target=self._in_robot(np.array([table.x, table.y, table.height])),
            held=self._held(),
            lifted=float(at[2] - self.episode.target.at[2]),
            clear=self._clear(at),
            force=self.force,
            pose=self._travelled,
        )

    def sights(self) -> list[Sight]:
        shown = self.camera.geoms[self.camera.geoms >= 0]
        seen = np.bincount(self.model.geom_bodyid[shown], minlength=self.model.nbody)
        bodies = sorted((body for body in self._things if seen[body]), key=lambda body: -seen[body])
        held = self._held()
        return [
            Sight(self._things[body], self._on(body, held), self._in_robot(self.data.xpos[body]), int(seen[body]))
            for body in bodies
        ]

    def picture(self, side: int) -> np.ndarray:
        from askonce.pipeline.tasks.navpick.render import picture

        return picture(self, side)

    def _load(self, number: int) -> None:
        if number == self.number:
            mujoco.mj_resetData(self.model, self.data)
            return
        self.number, self.model = number, world.model(number)
        self.data = mujoco.MjData(self.model)
        self.joints = np.array([self.model.joint(name).qposadr[0] for name in robot.JOINTS])
        self._finger_joints = np.array([self.model.joint(name).qposadr[0] for name in FINGERS])
        self._fingers = [self.model.geom(name).id for name in FINGERS]
        self._things = {self.model.body(name).id: name for name in self.episode.home.kinds}
        self._groups = self.model.geom_contype.copy()
        self._site = self.model.site("end_effector").id

    def _place(self) -> None:
        data = self.data
        data.qpos[:3] = self.episode.start
        data.qpos[self.joints] = data.ctrl[3:10] = robot.REST
        for finger in FINGERS:
            data.joint(finger).qpos = robot.OPEN
        data.ctrl[10:] = robot.OPEN
        for thing in self.episode.things:
            half = thing.yaw / 2
            data.joint(thing.name).qpos = *thing.at, np.cos(half), 0.0, 0.0, np.sin(half)
        self._wanted = self.model.body(self.wanted).id

    @property
    def _end_effector(self) -> np.ndarray:
        place: np.ndarray = self.data.site_xpos[self._site]
        return place

    @property
    def pose(self) -> tuple[float, float, float]:
        """x, y and heading of the robot in the home."""
        x, y, heading = self.data.qpos[:3]
        return float(x), float(y), float(heading)

    @property
    def _travelled(self) -> np.ndarray:
        x, y, heading = np.subtract(self.pose, self.episode.start)
        c, s = np.cos(self.episode.start[2]), np.sin(self.episode.start[2])
        return np.array([c * x + s * y, c * y - s * x, (heading + np.pi) % (2 * np.pi) - np.pi])

    def _in_robot(self, place: np.ndarray) -> np.ndarray:
        x, y, heading = self.pose
        c, s = np.cos(heading), np.sin(heading)
        dx, dy = place[0] - x, place[1] - y
        return np.array([c * dx + s * dy, c * dy - s * dx, place[2]])

    def _look(self) -> None:
        self.camera.look(self.model, self.data)

    def _clear(self, place: np.ndarray) -> bool:
        head = self.data.site("camera").xpos
        met = mujoco.mj_ray(self.model, self.data, head, place - head, ONLY_HOME, True, -1, None)
        return not 0 <= met < 0.95

    def _collision(self) -> float:
        """N: the sum of the normal forces between the robot and the home."""
        data = self.data
        if not data.ncon:
            return 0.0
        contacts = data.contact
        pushed = (self._groups[contacts.geom].sum(axis=1) == HOME + ROBOT) & (contacts.efc_address >= 0)
        return float(data.efc_force[contacts.efc_address[pushed]].sum())

    def _held(self) -> str | None:
        """What both fingers touch."""
        touched = [self._touching(finger) for finger in self._fingers]
        both = touched[0] & touched[1]
        return self._things[min(both)] if both else None

    def _touching(self, geom: int) -> set[int]:
        """The objects that a geom presses on."""
        pairs = self.data.contact.geom
        rows = pairs[(pairs == geom).any(axis=1)]
        bodies = set(self.model.geom_bodyid[rows].ravel().tolist())
        return bodies & self._things.keys()

    def _on(self, body: int, held: str | None) -> str:
        if self._things[body] == held:
            return "gripper"
        return "floor" if self.data.xpos[body][2] < 0.3 else "table"
