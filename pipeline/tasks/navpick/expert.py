"""A scripted expert with full knowledge of the home: the proof that the task can be done as defined.

It looks at the present state alone, so it has an answer in any state, whoever led there. The base follows a
shortest path over the floor to a place beside the wanted object; the arm follows damped least squares.
"""

from math import atan2, cos, hypot, pi, sin

import mujoco
import numpy as np

from askonce.pipeline.tasks.navpick import floor, robot
from askonce.pipeline.tasks.navpick.env import GRIP, STOP, idle
from askonce.pipeline.tasks.navpick.episodes import stands
from askonce.pipeline.tasks.navpick.memory import Way
from askonce.pipeline.tasks.navpick.mujoco_simulator import MujocoSimulator
from askonce.pipeline.tasks.navpick.simulator import ARM_STEP, Reading
from askonce.pipeline.tasks.navpick.stages import CARRY_WITHIN, LIFTED, REACH, beside, to_rest
from askonce.pipeline.tasks.navpick.things import BY_NAME

ARRIVED = 0.12  # m from such a place
STAND = 0.6  # m from the robot's middle to the object, where it stops driving
KEEP = 0.57  # m: the distance it keeps while it grasps
AIRY = 0.45  # m of clearance beyond which driving costs nothing extra
HOVER = 0.10  # m above the place where it grasps
SLOPE = 4.0  # of the funnel by which the hand comes down to it, m by metre off the object's axis
# m off the object's axis and m of height within which it begins to close, and goes on to.
CLOSE, STILL_CLOSE = (0.025, 0.020), (0.040, 0.035)
HAND_STEP = 0.07  # m
GRASP = np.array([-0.05, -1.03, 0.19, 1.73, -0.13, 0.89, 0.20])  # rad: the usual joints of a hand on a table
APPROACH = 0.7  # of the way to a place that is near, a step
EMPTY = 0.010  # m: fingers nearer to each other's middle have nothing between them
LIFT_STEP = 0.03  # m: slow enough for the fingers to press meanwhile


class Expert:
    """`act` gives the next action (11,) for the simulator's present state; `reset` after the simulator's."""

    def __init__(self, simulator: MujocoSimulator):
        self.simulator = simulator

    def reset(self) -> None:
        self._scratch = mujoco.MjData(self.simulator.model)
        self._stands, self._distances = self._plan()

    def act(self) -> np.ndarray:
        now = self.simulator.read()
        return self.pick() if now.held == self.simulator.wanted or beside(now) else self.navigate()

    def navigate(self, way: Way | None = None) -> np.ndarray:
        """Folds the arm, drives beside the table, and turns to the object.

        With a `way`, it drives as one who knows no more of the home than what was seen so far.
        """
        now, action = self.simulator.read(), idle()
        self._towards(robot.REST, action)
        if to_rest(now) < 2 * CARRY_WITHIN and not beside(now):
            self._drive(now, self._way() if way is None else way, action)
        return action

    def pick(self) -> np.ndarray:
        """Takes the object from where it stands, carries it back to rest, and says stop."""
        now, action = self.simulator.read(), idle()
        if now.joints[-1] < EMPTY:
            # The fingers have met above the object, and press on it.
            self._hand_to(now.end_effector + (0, 0, HOVER), action)
        else:
            (self._carry if now.held == self.simulator.wanted else self._grasp)(now, action)
        return action

    def _plan(self) -> tuple[dict[tuple[int, int], np.ndarray], np.ndarray]:
        """The places beside the table to go to by their cells, and the distance to the best from all over the floor."""
        home, target = self.simulator.episode.home, self.simulator.episode.target
        places = stands(home, target)
        cost = 1 + 6 * np.maximum(AIRY - home.clearance, 0) / AIRY
        goals = {floor.cell(place): place for place in places}
        return goals, floor.distances(home.drivable, {cell: 4 * cost[cell] for cell in goals}, cost)

    def _drive(self, now: Reading, way: Way, action: np.ndarray) -> None:
        off = hypot(*now.object[:2])
        if way.left < ARRIVED or (now.clear and REACH[0] < off < STAND):
            turn = atan2(now.object[1], now.object[0])
            ahead = 0.0 if abs(turn) > 0.3 else 3 * float(np.clip(off - STAND, -0.2, 0.2))
        else:
            turn = atan2(way.to[1], way.to[0])
            ahead = max(0.0, 1 - 2.2 * abs(turn)) * min(1.0, 0.15 + 2.0 * hypot(*way.to))
        action[0], action[1] = ahead, np.clip(turn / (robot.TURN_SPEED * 0.1) * 0.5, -1, 1)

    def _way(self) -> Way:
        """The shortest, as one knows it who knows the whole home."""
        x, y, heading = self.simulator.pose
        left = min(hypot(to_x - x, to_y - y) for to_x, to_y in self._stands.values())
        to_x, to_y = self._waypoint(x, y)
        c, s = cos(heading), sin(heading)
        return Way((c * (to_x - x) + s * (to_y - y), c * (to_y - y) - s * (to_x - x)), left)

    def _waypoint(self, x: float, y: float) -> tuple[float, float]:
        """The farthest place down the shortest path, at most a metre ahead, to which the way is straight and free."""
        home = self.simulator.episode.home
        at, chosen = self._on_path(floor.cell((x, y))), None
        for _ in range(10):
            neighbours = [(at[0] + i, at[1] + j) for i, j, _ in floor.NEIGHBOURS]
            at = min((n for n in neighbours if home.drivable[n]), key=lambda n: self._distances[n], default=at)
            place = floor.middle(at)
            line = np.linspace((x, y), place, 12)
            if chosen is not None and not floor.at(home.clearance > 0.33, line[2:]).all():
                break
            chosen = place
            if at in self._stands:
                stand_x, stand_y = self._stands[at]
                return float(stand_x), float(stand_y)
        return chosen or (x, y)

    def _on_path(self, at: tuple[int, int]) -> tuple[int, int]:
        """The nearest cell from where the goal can be reached."""
        if np.isfinite(self._distances[at]):
            return at
        free = np.argwhere(np.isfinite(self._distances))
        i, j = free[np.argmin(abs(free - at).sum(axis=1))].tolist()
        return i, j

    def _carry(self, now: Reading, action: np.ndarray) -> None:
        """Lifts straight up while the fingers press, folds the arm, and stops."""
        action[GRIP] = 1.0
        if now.lifted < LIFTED + 0.03:
            self._hand_to(now.end_effector + (0, 0, LIFT_STEP), action)
        else:
            self._towards(robot.REST, action)
            if to_rest(now) < CARRY_WITHIN - 0.03:
                action[STOP] = 1.0

    def _grasp(self, now: Reading, action: np.ndarray) -> None:
        """Above the object, down, and close, while the base keeps its place."""
        x, y, _ = now.object
        action[0] = _beyond(hypot(x, y) - KEEP, 0.05) * 4
        action[1] = np.clip(_beyond(atan2(y, x), 0.15) * 2, -0.5, 0.5)
        kind = BY_NAME[self.simulator.wanted]
        place = now.object + (0, 0, max(0.0, kind.height / 2 - 0.065, 0.026 - kind.height / 2))
        off, above = hypot(*(now.end_effector - place)[:2]), now.end_effector[2] - place[2]
        off_by, high_by = STILL_CLOSE if now.joints[-1] < robot.OPEN - 0.003 else CLOSE
        if off < off_by and abs(above) < high_by:
            action[GRIP] = 1.0
        self._hand_to(place + (0, 0, np.clip(SLOPE * (off - CLOSE[0] / 2), 0, HOVER)), action)

    def _towards(self, joints: np.ndarray, action: np.ndarray) -> None:
        """All joints at once, so that they arrive together."""
        change = joints - self.simulator.arm
        action[2:9] = change / max(ARM_STEP, abs(change).max())

    def _hand_to(self, place: np.ndarray, action: np.ndarray) -> None:
        """A step of the hand towards a place in the robot's frame, pointing down, its fingers to the left and right."""
        now = self.simulator.read()
        way = place - now.end_effector
        goal = now.end_effector + way * min(APPROACH, HAND_STEP / max(float(np.linalg.norm(way)), 1e-9))
        self._towards(self._inverse(goal), action)

    def _inverse(self, goal: np.ndarray) -> np.ndarray:
        """Joints for the hand at `goal`, by damped least squares.

        It begins with a grasp's usual joints wherever the arm is, so that the same place has the same joints.
        """
        simulator, data = self.simulator, self._scratch
        model, chosen = simulator.model, slice(3, 10)
        data.qpos[:] = simulator.data.qpos
        joints = GRASP.copy()
        x, y, heading = simulator.pose
        c, s = cos(heading), sin(heading)
        goal = np.array([x + c * goal[0] - s * goal[1], y + s * goal[0] + c * goal[1], goal[2]])
        site = data.site("end_effector")
        position, rotation = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        for _ in range(40):
            data.qpos[simulator.joints] = joints
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_jacSite(model, data, position, rotation, site.id)
            hand = site.xmat.reshape(3, 3)
            turn = np.cross(hand[:, 0], (0, 0, -1))
            turn[2] = _half_turn(pi / 2 + heading - atan2(hand[1, 1], hand[0, 1]))
            error = np.concatenate([goal - site.xpos, 0.3 * turn])
            if np.linalg.norm(error) < 1e-3:
                break
            jacobian = np.concatenate([position[:, chosen], 0.3 * rotation[:, chosen]])
            step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-3 * np.eye(len(jacobian)), error)
            joints = np.clip(joints + np.clip(step, -0.2, 0.2), *robot.LIMITS.T)
        return joints


def _beyond(error: float, tolerance: float) -> float:
    """The error less what is tolerated."""
    return float(np.sign(error) * max(0.0, abs(error) - tolerance))


def _half_turn(angle: float) -> float:
    """The same direction of a line, in [−π/2, π/2]."""
    return (angle + pi / 2) % pi - pi / 2
