"""NavPick over the real habitat-lab and habitat-sim, in the stand-in home; skipped where habitat-sim is missing."""

from math import cos, hypot, pi, sin

from gymnasium.utils.env_checker import check_env
import numpy as np
import pytest

pytest.importorskip("habitat_sim", reason="habitat-sim (docs/habitat.md) is not installed", exc_type=ImportError)

from askonce.pipeline.tasks.navpick import stages  # noqa: E402
from askonce.pipeline.tasks.navpick.batch import NavPickBatch  # noqa: E402
from askonce.pipeline.tasks.navpick.describe import text  # noqa: E402
from askonce.pipeline.tasks.navpick.env import GRIP, STOP, NavPick  # noqa: E402
from askonce.pipeline.tasks.navpick.robot import CAMERA_HEIGHT, CAMERA_TILT  # noqa: E402
from tests.pipeline.tasks.navpick import habitat_stand_in  # noqa: E402

pytestmark = pytest.mark.habitat

# From the torso's top to the suction cup's end, the stand-in's arm: offset before each joint, its axis.
TORSO = np.array([-0.09, 0.0, 0.38 + 0.15])
ARM = (
    ((0.12, 0, 0.35), 2),
    ((0.12, 0, 0.06), 1),
    ((0.22, 0, 0), 0),
    ((0.13, 0, 0), 1),
    ((0.20, 0, 0), 0),
    ((0.12, 0, 0), 1),
    ((0.14, 0, 0), 0),
)
HAND = np.array([0.18, 0.0, 0.0])


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    folder = tmp_path_factory.mktemp("habitat")
    habitat_stand_in.write(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = NavPick("habitat")
        yield made
        made.simulator.close()


def still(**changed: float) -> np.ndarray:
    """An action that keeps everything as it is, suction off, but for what is named."""
    action = np.zeros(STOP + 1, np.float32)
    action[GRIP] = action[STOP] = -1
    for name, value in changed.items():
        action[{"ahead": 0, "turn": 1, "grip": GRIP, "stop": STOP}[name]] = value
    return action


def hand(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the suction cup's end is in the robot's frame, and where it points."""
    at, turned = TORSO, np.eye(3)
    for (offset, axis), angle in zip(ARM, joints):
        at = at + turned @ offset
        turned = turned @ rotation(axis, angle)
    return at + turned @ HAND, turned[:, 0]


def rotation(axis: int, angle: float) -> np.ndarray:
    c, s, matrix = cos(angle), sin(angle), np.eye(3)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    return matrix


def towards(goal: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """A change of the joints that brings the hand nearer to a goal, pointing down: damped least squares."""

    def error(q):
        at, points = hand(q)
        return np.concatenate([goal - at, 0.3 * np.cross(points, (0, 0, -1))])

    now, small = error(joints), 1e-4
    jacobian = np.stack([(now - error(joints + small * unit)) / small for unit in np.eye(7)], axis=1)
    return jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-3 * np.eye(6), now)


def reach(env: NavPick, goal: np.ndarray, grip: float, steps: int = 40, until=lambda: False) -> float:
    """Brings the hand to a goal in the robot's frame; what all of it was rewarded with."""
    total = 0.0
    for _ in range(steps):
        action = still(grip=grip)
        action[2:9] = np.clip(towards(goal, env.reading.joints[:7]) / 0.1, -0.6, 0.6)
        _, reward, terminated, _, info = env.step(action)
        total += reward
        assert not terminated, info
        if until() or np.linalg.norm(env.reading.end_effector - goal) < 0.01:
            break
    return total


def test_gymnasium_accepts_the_environment(env):
    check_env(env, skip_render_check=True)


def test_the_same_seed_and_actions_give_the_same_bits_whatever_was_played_before(env):
    actions = np.random.default_rng(0).uniform(-0.5, 0.5, (15, STOP + 1)).astype(np.float32)
    actions[:, STOP] = -1

    def played(seed, steps=15):
        yield env.reset(seed=seed)[0]
        for action in actions[:steps]:
            yield env.step(action)[0]

    first = list(played(4))
    for seed, steps in ((7, 15), (2, 6), (0, 7)):  # in the other layout, and so many steps in the same one
        list(played(seed, steps))
        for one, other in zip(first, played(4), strict=True):
            assert all(np.array_equal(one[name], other[name]) for name in one)


def test_even_seeds_are_other_layouts_than_odd_ones(env):
    scenes = [[env.reset(seed=seed) and env.simulator.episode.scene_id for seed in (n, n + 2, n + 4)] for n in (0, 1)]
    assert len(set(scenes[0])) == len(set(scenes[1])) == 1 and scenes[0] != scenes[1]


def test_it_starts_away_from_the_object_or_on_request_beside_it(env):
    for seed in range(4):
        env.reset(seed=seed)
        assert hypot(*env.reading.object[:2]) > 1.5
        env.reset(seed=seed, options={"beside": True})
        assert stages.beside(env.reading)


def test_commands_are_metres_and_radians_in_the_robots_frame(env):
    env.reset(seed=2, options={"beside": True})
    before = env.reading
    for _ in range(4):
        env.step(still(ahead=-1.0))
    back = env.reading
    assert np.allclose(back.pose, (-0.3, 0, 0), atol=0.01)
    assert np.allclose(back.object, before.object + (0.3, 0, 0), atol=0.02)
    for _ in range(5):
        env.step(still(turn=1.0))
    x, y, z = back.object
    c, s = cos(0.5), sin(0.5)
    assert np.isclose(env.reading.pose[2], 0.5, atol=0.01)
    assert np.allclose(env.reading.object, (c * x + s * y, c * y - s * x, z), atol=0.02)
    joints = env.reading.joints[:7]
    action = still()
    action[2:9] = 0.5
    env.step(action)
    env.step(still())
    assert np.allclose(env.reading.joints[:7] - joints, 0.05, atol=0.02)


def test_it_knows_its_hand_and_the_table(env):
    env.reset(seed=0, options={"beside": True})
    assert np.allclose(env.reading.end_effector, hand(env.reading.joints[:7])[0], atol=0.02)
    assert np.allclose(env.reading.end_effector, env.reading.rest)
    assert np.isclose(env.reading.object[2] - env.reading.target[2], habitat_stand_in.HALF[1], atol=0.03)
    x, y = env.reading.object[:2] - env.reading.target[:2]
    assert 0.2 < hypot(x, y) < hypot(*habitat_stand_in.TABLE[::2])


def test_the_camera_shows_the_object_where_it_is(env):
    """The wanted object's pixels lie where a pinhole camera like the embedded one has them, and as far away."""
    env.reset(seed=0, options={"beside": True})
    for _ in range(3):
        env.step(still(ahead=-1.0))
    simulator, reading = env.simulator, env.reading
    seen = {sight.name: sight for sight in simulator.sights()}
    wanted = seen[simulator.wanted]
    assert wanted.on == "table" and wanted.pixels > 4 and np.allclose(wanted.at, reading.object)
    mask = simulator._seen["head_panoptic"][..., 0] - 100 == simulator._wanted.object_id
    rows, columns = np.nonzero(mask)
    x, y, z = reading.object - (0.0, 0.0, CAMERA_HEIGHT)
    c, s = cos(CAMERA_TILT), sin(CAMERA_TILT)
    ahead, up = c * x - s * z, s * x + c * z
    assert np.allclose((columns.mean(), rows.mean()), (31.5 - 32 * y / ahead, 31.5 - 32 * up / ahead), atol=1.5)
    assert np.isclose(10 * np.median(reading.depth[mask]), ahead, atol=0.06)
    assert reading.depth.dtype == np.float32 and reading.depth.shape == (64, 64)
    assert f"It sees a {simulator.wanted} on a table ahead" in text(simulator.wanted, simulator.sights(), reading)


def test_the_object_is_taken_by_suction_carried_and_the_episode_won(env):
    env.reset(seed=0, options={"beside": True})
    wanted = env.simulator.wanted
    above = env.reading.object + (0, 0, habitat_stand_in.HALF[1])
    total = reach(env, above + (0, 0, 0.10), -1.0, 60)
    total += reach(env, above - (0, 0, 0.04), 1.0, until=lambda: env.reading.held is not None)
    assert env.reading.held == wanted and not stages.lifted(env.reading, wanted)
    total += reach(env, env.reading.end_effector + (0, 0, 0.15), 1.0)
    assert stages.lifted(env.reading, wanted) and env.picked
    assert [sight.on for sight in env.simulator.sights() if sight.name == wanted] in ([], ["gripper"])
    total += reach(env, env.reading.rest, 1.0, 80, until=lambda: stages.carried(env.reading, wanted))
    _, reward, terminated, _, info = env.step(still(grip=1.0, stop=1.0))
    assert terminated and info["success"] and reward > 9 and total > 1


def test_what_is_let_go_falls_and_ends_the_episode(env):
    env.reset(seed=0, options={"beside": True})
    above = env.reading.object + (0, 0, habitat_stand_in.HALF[1])
    reach(env, above + (0, 0, 0.10), -1.0, 60)
    reach(env, above - (0, 0, 0.04), 1.0, until=lambda: env.reading.held is not None)
    reach(env, env.reading.end_effector + (0, 0, 0.25), 1.0)
    for _ in range(20):
        *_, terminated, _, info = env.step(still())
        if terminated:
            break
    assert info["ended"] == "dropped"
    for _ in range(10):
        env.simulator.step(still()[:STOP])
    assert env.simulator.read().held is None and env.simulator.read().lifted < 0.02


def test_an_arm_pressed_on_the_table_is_a_force_and_the_base_stops_at_walls(env):
    env.reset(seed=0, options={"beside": True})
    assert env.reading.force == 0
    forces = []
    for _ in range(60):
        action = still()
        action[2:9] = np.clip(towards(env.reading.target - (0, 0, 0.3), env.reading.joints[:7]) / 0.1, -1, 1)
        *_, terminated, _, info = env.step(action)
        forces.append(info["force"])
        if terminated:
            break
    assert max(forces) > 0
    env.reset(seed=0)
    for _ in range(100):
        env.step(still(ahead=1.0))
    x, z, _ = habitat_stand_in.ROOM
    place = env.simulator._base[:3, 3]
    assert abs(place[0]) < x and abs(place[2]) < z


def test_people_get_a_picture(env):
    for_people = NavPick("habitat", render_mode="rgb_array")
    try:
        for_people.reset(seed=0)
        picture = for_people.render()
    finally:
        for_people.simulator.close()
    assert picture.shape == (320, 960, 3) and picture.dtype == np.uint8
    assert all(view.std() > 5 for view in np.split(picture, 3, axis=1))


def test_a_batch_is_its_environments_one_by_one(env):
    batch = NavPickBatch(2, "habitat")
    batch.reset(np.arange(2), np.array([2, 5]))
    actions = np.random.default_rng(0).uniform(-0.5, 0.5, (5, 2, STOP + 1))
    actions[..., STOP] = -1
    for action in actions:
        batch.step(action)
    for n, seed in enumerate((2, 5)):
        env.reset(seed=seed)
        for action in actions[:, n]:
            observation, *_ = env.step(action)
        assert all(np.array_equal(batch.observations[name][n], observation[name]) for name in observation)


def test_nothing_of_the_home_is_between_head_and_object_when_beside_it(env):
    env.reset(seed=0, options={"beside": True})
    assert env.reading.clear
    for _ in range(round(pi / 0.1)):
        env.step(still(turn=1.0))
    assert not any(sight.name == env.simulator.wanted for sight in env.simulator.sights())
