"""What the simulator owes to physics: objects are held by friction, fall, rest and are not walked through."""

import mujoco
import numpy as np
import pytest

from askonce.pipeline.tasks.navpick.env import STOP, NavPick
from askonce.pipeline.tasks.navpick.mujoco_simulator import MujocoSimulator
from askonce.pipeline.tasks.navpick.robot import TURN_SPEED
from askonce.pipeline.tasks.navpick.simulator import MAX_FORCE
from askonce.pipeline.tasks.navpick.things import KINDS
from tests.pipeline.tasks.navpick.episodes import GRIP, STILL, carrying, play, seed_with


@pytest.fixture(scope="module")
def env():
    return NavPick()


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_what_is_held_does_not_slip_and_falls_when_let_go(env, kind):
    play(env, seed_with(kind), until=carrying)
    simulator, rng = env.simulator, np.random.default_rng(0)

    def in_hand() -> np.ndarray:
        site = simulator.data.site("end_effector")
        return site.xmat.reshape(3, 3).T @ (simulator.data.body(kind).xpos - site.xpos)

    firm = in_hand()
    for step in range(40):
        shaken = np.zeros(10)
        shaken[0], shaken[1] = 0.6 * np.sin(step), 0.6 * np.cos(step / 2)
        shaken[2:9], shaken[GRIP] = rng.uniform(-0.4, 0.4, 7), 1.0
        shaken[3] -= 0.2
        simulator.step(shaken)
    assert simulator.read().held == kind
    assert np.linalg.norm(in_hand() - firm) < 0.015

    high = simulator.data.body(kind).xpos[2]
    for _ in range(10):
        simulator.step(STILL[:STOP])
    assert simulator.read().held is None and simulator.data.body(kind).xpos[2] < high - 0.15


def test_dropping_the_object_ends_the_episode(env):
    play(env, seed_with("can"), until=lambda env: env.picked and env.reading.lifted > 0.2)
    for _ in range(10):
        _, reward, terminated, _, info = env.step(STILL)
        if terminated:
            break
    assert info["ended"] == "dropped" and reward < -0.5 and not info["success"]


def test_objects_at_rest_stay_where_they_are():
    simulator = MujocoSimulator()
    simulator.reset(0)
    before = simulator.data.qpos.copy()
    for _ in range(50):
        simulator.step(STILL[:STOP])
    assert abs(simulator.data.qpos - before).max() < 0.01


def test_free_fall_takes_the_time_it_takes_and_no_energy_comes_from_nowhere():
    simulator = MujocoSimulator()
    simulator.reset(seed_with("ball"))
    model, data, name = simulator.model, simulator.data, "ball"
    data.joint(name).qpos[2] = 1.8
    data.joint(name).qpos[:2] = simulator.pose[0] - 0.5, simulator.pose[1]
    mujoco.mj_forward(model, data)

    def energy() -> float:
        mujoco.mj_energyPos(model, data)
        mujoco.mj_energyVel(model, data)
        return float(data.energy.sum())

    energies = [energy()]
    for step in range(200):
        mujoco.mj_step(model, data)
        energies.append(energy())
        if step == 79:
            assert data.body(name).xpos[2] == pytest.approx(1.8 - 9.81 * 0.4**2 / 2, abs=0.02)
    released = energies[0] - energies[-1]
    # First-order steps of 5 ms are off by as much: half a step's gain of speed.
    assert max(energies) - energies[0] < 0.01 * released
    assert released == pytest.approx(0.15 * 9.81 * (1.8 - data.body(name).xpos[2]), rel=0.01)


@pytest.mark.parametrize("heading", [0.0, np.pi / 2, np.pi, -np.pi / 2])
def test_driving_into_a_wall_ends_in_a_collision(env, heading):
    env.reset(seed=0)
    env.simulator.data.qpos[2] = heading
    ahead, terminated = STILL.copy(), False
    ahead[0] = 1.0
    while not terminated and env.steps < 120:
        _, reward, terminated, _, info = env.step(ahead)
    width, depth = env.simulator.episode.home.size
    x, y, _ = env.simulator.pose
    assert info["ended"] == "collision" and info["force"] > MAX_FORCE and reward < -0.8
    assert 0.2 < x < width - 0.2 and 0.2 < y < depth - 0.2


def test_touching_a_wall_slowly_is_no_collision_but_does_not_go_through_it(env):
    env.reset(seed=0)
    slowly = STILL.copy()
    slowly[0], slowly[1] = 0.25, 0.02
    forces = []
    while env.steps < 200:
        forces.append(env.step(slowly)[4]["force"])
    assert 20 < max(forces) < MAX_FORCE
    assert env.simulator.episode.home.clearance[tuple(int(place * 10) for place in env.simulator.pose[:2])] > 0.1


def test_the_base_goes_as_fast_as_its_wheels_and_not_sideways():
    simulator = MujocoSimulator()
    simulator.reset(2)
    home, data = simulator.episode.home, simulator.data
    x, y = (np.array(home.rooms[0][:2]) + home.rooms[0][2:]) / 2
    data.qpos[:3] = x, y, 0.0
    for _ in range(5):
        simulator.step(np.array([0.0, 1.0] + [0.0] * 8))
    assert data.qvel[2] == pytest.approx(TURN_SPEED, rel=0.1)
    assert np.hypot(data.qpos[0] - x, data.qpos[1] - y) < 0.05
    simulator.step(np.array([0.5, 0.0] + [0.0] * 8))
    heading = data.qpos[2]
    sideways = np.cos(heading) * data.qvel[1] - np.sin(heading) * data.qvel[0]
    assert abs(sideways) < 0.05
