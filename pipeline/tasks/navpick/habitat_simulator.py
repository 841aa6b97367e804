"""The other simulator: habitat-lab 0.3.3's rearrangement simulator with its Fetch robot, over habitat-sim v0.3.4.

A config of our own on habitat-lab's parts (`OVERRIDES`): arm_action, grip by suction and base_velocity take the ten
commands, head_depth and head_panoptic are the camera. Only `reset` places the robot; rewards, endings and the
request to stop are `env`'s. habitat-lab looks for its data in `data/`, where habitat-sim's own download puts them.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from math import atan2, cos, pi, sin
from queue import SimpleQueue
import re
from threading import Thread
from typing import Any
import weakref

import numpy as np

from askonce.cache.errors import AskonceError
from askonce.pipeline.tasks.navpick import robot
from askonce.pipeline.tasks.navpick.episodes import START_DISTANCE
from askonce.pipeline.tasks.navpick.simulator import ARM_STEP, DEPTH_PIXELS, LAG, MAX_DEPTH, MAX_FORCE, Reading, Sight
from askonce.pipeline.tasks.navpick.stages import FACING

CONFIG = "benchmark/rearrange/skills/pick.yaml"  # with its episodes, ReplicaCAD's rearrange_easy
SPLITS = "train", "val"  # even seeds, odd seeds: their scenes have different layouts
FORCE_LIMIT = 10_000.0  # pick.yaml's max_instant_force, of Bullet's: what `MAX_FORCE` is to us
# A step is twelve of Bullet's 0.008 s, 0.096 s in all: eleven by the arm's action, one by habitat-lab's task. With a
# part of one, what is left of it would go over into the next episode, which would no longer follow from its seed.
SUBSTEPS, PHYSICS_RATE = 11, 125
# base_velocity moves the base once a step, by its speed over ctrl_freq = 120.
FORWARD_SPEED = 0.075 * 120  # 7.5 cm a step
TURN_SPEED = 0.1 * 120  # 0.1 rad a step

# Fetch's joints with its hand about where ours is at rest, (0.44, −0.20, 0.91), out of the camera's way.
REST = "[-0.45,-1.2,0.0,1.2,0.0,1.9,0.0]"
GROUND = 0.02  # m between the floor and Fetch's wheels, which are not to rub on it
NEAR = 0.35  # m: the camera looks from above and behind Fetch's head, which it is not to see

AGENT = "habitat.simulator.agents.main_agent"
SENSORS = f"{AGENT}.sim_sensors"
OVERRIDES = (
    "habitat.task.type=RearrangeEmptyTask-v0",
    "habitat.task.actions.arm_action.delta_pos_limit=%g" % ARM_STEP,  # noqa: UP031
    "habitat.task.actions.base_velocity.lin_speed=%g" % FORWARD_SPEED,  # noqa: UP031
    "habitat.task.actions.base_velocity.ang_speed=%g" % TURN_SPEED,  # noqa: UP031
    "habitat.task.physics_target_sps=%d" % PHYSICS_RATE,  # noqa: UP031
    "habitat.simulator.ac_freq_ratio=%d" % SUBSTEPS,  # noqa: UP031
    "habitat.environment.max_episode_steps=0",  # NavPick counts
    "habitat.simulator.concur_render=False",
    # Without it, habitat-sim v0.3.4 never lets go of a base that has once come to the edge of the navigation mesh.
    "habitat.simulator.habitat_sim_v0.allow_sliding=True",
    # The display driver's own choice. Any other number is one of CUDA's, and ends the process where there is none.
    "habitat.simulator.habitat_sim_v0.gpu_device_id=-1",
    # Where the robot starts is drawn here, from the seed alone.
    f"{AGENT}.is_set_start_state=True",
    f"{AGENT}.joint_start_noise=0.0",
    f"{AGENT}.joint_start_override={REST}",
    f"+habitat/simulator/sim_sensors@{SENSORS}.head_panoptic_sensor=head_panoptic_sensor",
    *(
        f"{SENSORS}.{name}.{side}={DEPTH_PIXELS}"
        for name in ("head_depth_sensor", "head_panoptic_sensor")
        for side in ("width", "height")
    ),
    *(f"{SENSORS}.{name}.hfov=%d" % robot.FIELD_OF_VIEW for name in ("head_depth_sensor", "head_panoptic_sensor")),
    *(f"+{SENSORS}.{name}.near=%g" % NEAR for name in ("head_depth_sensor", "head_panoptic_sensor")),
    f"{SENSORS}.head_depth_sensor.max_depth=%g" % MAX_DEPTH,
)
PICTURES = (
    f"+habitat/simulator/sim_sensors@{SENSORS}.third_rgb_sensor=third_rgb_sensor",
    f"+habitat/simulator/sim_sensors@{SENSORS}.head_rgb_sensor=head_rgb_sensor",
    f"+{SENSORS}.head_rgb_sensor.near=%g" % NEAR,
)


def habitat() -> Any:
    """habitat-lab, with what it imports; AskonceError with what to install where it is not there.

    `import habitat` itself fails without habitat-sim, so this is called by nothing but the simulator.
    """
    try:
        import habitat
    except ImportError as missing:
        raise AskonceError(
            "the simulator habitat needs habitat-sim v0.3.4 with Bullet, by conda from aihabitat-nightly or from "
            f"source, and habitat-lab 0.3.3: pip install 'askonce[habitat]' (docs/habitat.md): {missing}",
            1,
        ) from missing
    return habitat


class HabitatSimulator:
    """See `pipeline.tasks.navpick.simulator.Simulator`. With `pictures` the cameras for people are there too.

    habitat-sim draws in the OpenGL context of the thread that made it, of which a thread has one: so each simulator
    is made, stepped and closed in a thread of its own, and can be called from any.
    """

    def __init__(self, pictures: bool = False):
        self._habitat = habitat()
        self._overrides = OVERRIDES + (PICTURES if pictures else ())
        self._datasets: dict[str, tuple[Any, ...]] = {}
        self._envs: list[Any] = []  # habitat-lab's one, once there is one
        self._run = thread()
        # Whoever forgets to: habitat-sim ends the process when it is collected in another thread.
        self._close = weakref.finalize(self, self._run, close, self._envs)

    def reset(self, seed: int, beside: bool = False) -> None:
        self._run(self._reset, seed, beside)

    def step(self, commands: np.ndarray) -> None:
        self._run(self._step, np.clip(np.asarray(commands, float), -1.0, 1.0))

    def close(self) -> None:
        self._close()

    def _reset(self, seed: int, beside: bool) -> None:
        rng = np.random.default_rng([seed, 0x4AB1])
        episodes = self._episodes(SPLITS[seed % 2])
        self.episode = episodes[seed // 2 % len(episodes)]
        self._env.current_episode = self.episode
        self._env.reset()
        self._name(rng)
        self._under = self._support(self._wanted)
        self._began_at = np.array(self._wanted.translation)
        self._place(rng, beside)
        self._start = self._base
        self._sim.maybe_update_articulated_agent()
        self._seen = self._sim.sensor_suite.get_observations(self._sim.get_sensor_observations())
        self._rest = self._end_effector
        self._force, self._closed = 0.0, False

    def _step(self, commands: np.ndarray) -> None:
        arm = self._agent.arm_motor_pos + ARM_STEP * commands[2:9]
        joints = np.asarray(self._agent.arm_joint_pos)
        arm = np.clip(np.clip(arm, joints - LAG, joints + LAG), *self._agent.arm_joint_limits)
        self._seen = self._env.step(
            {
                "action": ("base_velocity", "arm_action"),
                "action_args": {
                    "base_vel": commands[:2],
                    "arm_action": (arm - self._agent.arm_motor_pos) / ARM_STEP,
                    "grip_action": commands[9] or None,  # suction on or off; as it was at 0
                },
            }
        )
        self._closed = commands[9] > 0 or (self._closed and commands[9] == 0)
        self._force, _, _ = self._env.task.get_coll_forces(0)  # at the step's end

    def read(self) -> Reading:
        at = np.array(self._wanted.translation)
        depth = self._seen["head_depth"][..., 0]
        return Reading(
            depth=np.where(depth > 0, depth, 1.0).astype(np.float32),  # habitat-sim has 0 where there is nothing
            joints=np.append(self._agent.arm_joint_pos, 0.0 if self._closed else robot.OPEN),
            end_effector=self._end_effector,
            rest=self._rest,
            object=in_frame(self._base, at),
            target=in_frame(self._base, self._under),
            held=self._names.get(self._sim.grasp_mgr.snap_idx),
            lifted=float(at[1] - self._began_at[1]),
            clear=self._clear(at),
            force=float(self._force) * MAX_FORCE / FORCE_LIMIT,
            pose=travelled(self._start, self._base),
        )

    def sights(self) -> list[Sight]:
        ids, pixels = np.unique(self._seen["head_panoptic"], return_counts=True)
        ids = ids - self._sim.habitat_config.object_ids_start
        seen = [(-count, number) for number, count in zip(ids.tolist(), pixels.tolist()) if number in self._names]
        return [self._sight(number, -count) for count, number in sorted(seen)]

    def picture(self, side: int) -> np.ndarray:
        """The views side by side, each (side, side): from behind and the head's colours if there are any, depth."""
        views = [self._seen[name] for name in ("third_rgb", "head_rgb") if name in self._seen]
        grey = (255 * self._seen["head_depth"]).astype(np.uint8)
        return np.concatenate([resized(view, side) for view in (*views, grey.repeat(3, axis=2))], axis=1)

    @property
    def _env(self) -> Any:
        return self._envs[0]

    @property
    def _sim(self) -> Any:
        return self._env.sim

    @property
    def _agent(self) -> Any:
        return self._sim.articulated_agent

    @property
    def _base(self) -> np.ndarray:
        return np.array(self._agent.sim_obj.transformation)

    @property
    def _end_effector(self) -> np.ndarray:
        return in_frame(self._base, np.array(self._agent.ee_transform().translation))

    def _episodes(self, split: str) -> tuple[Any, ...]:
        """Loaded when first asked for; the first time, the simulator as well."""
        if split not in self._datasets:
            config = self._config(split)
            try:
                dataset = self._habitat.make_dataset(config.habitat.dataset.type, config=config.habitat.dataset)
            except (OSError, ValueError) as error:
                where = config.habitat.dataset.data_path.format(split=split)
                raise AskonceError(f"no episodes at {where}, from the current folder: {error}", 1) from error
            self._datasets[split] = tuple(dataset.episodes)  # habitat-lab's Env will shuffle its own
            if not self._envs:
                self._envs.append(self._habitat.Env(config, dataset))
                self._mount_camera()
        return self._datasets[split]

    def _config(self, split: str) -> Any:
        config = self._habitat.get_config(CONFIG, [*self._overrides, f"habitat.dataset.split={split}"])
        with self._habitat.read_write(config):
            config.habitat.task.measurements = {}  # `read` measures
            config.habitat.task.lab_sensors = {}
        return config

    def _mount_camera(self) -> None:
        """Where the embedded robot has its camera, so that the depth image means the same."""
        head = self._agent.params.cameras["head"]
        head.cam_offset_pos = vector((0, robot.CAMERA_HEIGHT, 0))
        head.cam_look_at_pos = vector((cos(robot.CAMERA_TILT), robot.CAMERA_HEIGHT - sin(robot.CAMERA_TILT), 0))

    def _name(self, rng: np.random.Generator) -> None:
        """Chooses the wanted one of the episode's targets, and gives the objects their names."""
        objects = self._sim.get_rigid_object_manager()
        targets = sorted(self.episode.targets)
        self._wanted = objects.get_object_by_handle(targets[rng.integers(len(targets))])
        handles = {number: objects.get_object_by_id(number).handle for number in self._sim.scene_obj_ids}
        self._names = names(handles, self._wanted.object_id)
        self.wanted = self._names[self._wanted.object_id]

    def _place(self, rng: np.random.Generator, beside: bool) -> None:
        """Beside: the nearest place to the object, facing it more or less. Else anywhere else where the arm is free.

        habitat-lab's own functions for this draw from generators that the whole process shares, and their test for
        collisions may change what the same commands do later.
        """
        at = np.array(self._wanted.translation)
        if beside:
            place = np.array(self._sim.safe_snap_point(self._wanted.translation))
            self._stand(place, atan2(place[2] - at[2], at[0] - place[0]) + 0.9 * rng.uniform(-FACING, FACING))
            return
        for _ in range(1000):
            place = self._somewhere(rng)
            self._stand(place, rng.uniform(-pi, pi))
            if np.hypot(*(place - at)[[0, 2]]) > START_DISTANCE and self._arm_is_free():
                return
        raise AskonceError(f"no place to start in {self.episode.scene_id} (episode {self.episode.episode_id})", 1)

    def _stand(self, place: np.ndarray, heading: float) -> None:
        """At a place of the navigation mesh, which is up to 0.2 m above the floor; the robot is to stand on that."""
        above = np.array(place) + (0.0, 0.1, 0.0)
        floor = next(self._met(above, np.array([0.0, -1.0, 0.0])), (None, place))[1]
        self._agent.params.base_offset = vector((0.0, place[1] - floor[1] - GROUND, 0.0))
        self._agent.base_pos = vector(place)
        self._agent.base_rot = heading

    def _somewhere(self, rng: np.random.Generator) -> np.ndarray:
        """Evenly from the largest connected floor."""
        finder, island = self._sim.pathfinder, self._sim.largest_island_idx
        while True:
            point = rng.uniform(*finder.get_bounds())
            place = np.array(finder.snap_point(vector(point), island))
            if np.hypot(*(place - point)[[0, 2]]) < 1e-3:
                return place

    def _arm_is_free(self) -> bool:
        """Whether nothing of the home is between the robot's middle and a little beyond its hand."""
        hand = np.array(self._agent.ee_transform().translation)
        middle = np.array([*self._base[:3, 3]])
        middle[1] = hand[1]
        return next(self._met(middle, 1.2 * (hand - middle)), None) is None

    def _below(self, thing: Any) -> tuple[int, np.ndarray] | None:
        """What of the home a ray straight down from an object meets first: its id and where."""
        return next(self._met(np.array(thing.translation), np.array([0.0, -10.0, 0.0])), None)

    def _met(self, start: np.ndarray, way: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Ids and places of what a ray meets on its way, in order, less the robot and the objects."""
        from habitat_sim.geo import Ray

        body = self._agent.sim_obj
        passing = {body.object_id, *body.link_object_ids, *self._names}
        ray = Ray(vector(start), vector(way))
        for hit in self._sim.cast_ray(ray, max_distance=1.0).hits:
            if hit.object_id not in passing:
                yield hit.object_id, np.array(hit.point)

    def _support(self, thing: Any) -> np.ndarray:
        """The middle of what an object stands on, as high as it stands; right below it if that is the building."""
        from habitat.sims.habitat_simulator import sim_utilities
        import habitat_sim

        below = self._below(thing)
        if below is None:
            return np.array(thing.translation)
        number, point = below
        if number == habitat_sim.stage_id:
            return point
        corners = np.array(sim_utilities.get_global_keypoints_from_object_id(self._sim, number))
        middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
        return np.array([middle[0], point[1], middle[2]])

    def _sight(self, number: int, pixels: int) -> Sight:
        import habitat_sim

        thing = self._sim.get_rigid_object_manager().get_object_by_id(number)
        on = "gripper"
        if number != self._sim.grasp_mgr.snap_idx:
            below = self._below(thing)
            on = "floor" if below is None or below[0] == habitat_sim.stage_id else "table"
        return Sight(self._names[number], on, in_frame(self._base, np.array(thing.translation)), pixels)

    def _clear(self, place: np.ndarray) -> bool:
        head = self._agent.sim_obj.transformation.transform_point(self._agent.params.cameras["head"].cam_offset_pos)
        return next(self._met(np.array(head), 0.95 * (place - np.array(head))), None) is None


def thread() -> Callable[..., Any]:
    """What runs a call in a new thread, the same for all calls, and returns or raises what that did.

    A daemon, which unlike a pool's threads still runs what is called when the process ends.
    """
    calls: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def work() -> None:
        while True:
            calls.get()()

    def run(call: Callable[..., Any], *arguments: Any) -> Any:
        future: Future[Any] = Future()

        def called() -> None:
            try:
                future.set_result(call(*arguments))
            except BaseException as error:
                future.set_exception(error)

        calls.put(called)
        return future.result()

    Thread(target=work, daemon=True).start()
    return run


def close(envs: list[Any]) -> None:
    while envs:
        envs.pop().close()


def vector(place: Iterable[float]) -> Any:
    """A place as habitat-sim takes it."""
    from magnum import Vector3

    return Vector3(*map(float, place))


def in_frame(base: np.ndarray, place: np.ndarray) -> np.ndarray:
    """A place (3,) of habitat's world (y up) as seen from a robot: ahead, left, up.

    `base` is the robot's transformation (4, 4), whose axes are ahead, up, right.
    """
    ahead, up, right = base[:3, :3].T @ (place - base[:3, 3])
    return np.array([ahead, -right, up])


def travelled(start: np.ndarray, base: np.ndarray) -> np.ndarray:
    """x, y and heading of a robot from where it started, both as transformations (4, 4)."""
    x, y, _ = in_frame(start, base[:3, 3])
    ahead = in_frame(start, start[:3, 3] + base[:3, 0])
    return np.array([x, y, atan2(ahead[1], ahead[0])])


def names(handles: dict[int, str], wanted: int) -> dict[int, str]:
    """Object id → name, from handles such as "data/…/024_bowl_:0001".

    No other object has the wanted one's name: another bowl is an "other bowl".
    """
    kinds = {number: kind(handle) for number, handle in handles.items()}
    return {
        number: f"other {name}" if name == kinds[wanted] and number != wanted else name
        for number, name in kinds.items()
    }


def kind(handle: str) -> str:
    """The name in an object's handle, without YCB's number: "data/…/024_bowl_:0001" → "bowl"."""
    short = re.sub(r"_:\d+$", "", handle.split("/")[-1].split(".")[0])
    return re.sub(r"^\d+(-\w)?_", "", short).replace("_", " ")


def resized(image: np.ndarray, side: int) -> np.ndarray:
    """(h, w, 3) → (side, side, 3), each pixel the nearest."""
    rows, columns = (np.arange(side) * length // side for length in image.shape[:2])
    found: np.ndarray = image[rows[:, None], columns]
    return found
