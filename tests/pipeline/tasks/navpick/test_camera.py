"""The depth camera against MuJoCo's own ray casting, and shapes met from all sides."""

import mujoco
import numpy as np
import pytest

from askonce.pipeline.tasks.navpick import rays, robot
from askonce.pipeline.tasks.navpick.camera import directions, tilted
from askonce.pipeline.tasks.navpick.env import NavPick
from askonce.pipeline.tasks.navpick.simulator import DEPTH_PIXELS, MAX_DEPTH

SIDE = 33
KINDS = {"plane": "0 0 1", "sphere": "0.3", "capsule": "0.2 0.3", "cylinder": "0.3 0.2", "box": "0.4 0.2 0.1"}


def reference(model, data, origin, axes, side: int, field: float) -> tuple[np.ndarray, np.ndarray]:
    """(side, side) what each ray meets and how far along the camera's axis, by MuJoCo."""
    towards, along = directions(side, side, field)
    geoms, distances = np.zeros(side * side, np.int32), np.zeros(side * side)
    mujoco.mj_multiRay(
        model,
        data,
        origin,
        np.ascontiguousarray(towards @ axes.T).ravel(),
        None,
        True,
        -1,
        geoms,
        distances,
        None,
        len(geoms),
        1e3,
    )
    return geoms.reshape(side, side), np.where(geoms >= 0, distances * along, np.inf).reshape(side, side)


def test_the_depth_image_is_what_mujoco_s_rays_meet():
    env, rng, other = NavPick(), np.random.default_rng(0), 0
    for seed in range(4):
        env.reset(seed=seed, options={"beside": seed % 2 == 0})
        for _ in range(10):
            env.step(np.append(rng.uniform(-1, 1, 10), -1))
            simulator = env.simulator
            site = simulator.data.site("camera")
            axes = site.xmat.reshape(3, 3) @ tilted(robot.CAMERA_TILT)
            geoms, depths = reference(
                simulator.model, simulator.data, site.xpos, axes, DEPTH_PIXELS, robot.FIELD_OF_VIEW
            )
            np.testing.assert_allclose(simulator.camera.depth, np.minimum(depths / MAX_DEPTH, 1), atol=1e-6)
            other += (geoms != simulator.camera.geoms).sum()
    # Where two geoms touch, either may be said to come first.
    assert other < 20


@pytest.mark.parametrize("kind", KINDS)
def test_a_shape_is_met_from_all_sides_and_from_within(kind):
    model = mujoco.MjModel.from_xml_string(
        f'<mujoco><worldbody><geom type="{kind}" size="{KINDS[kind]}" pos="0.1 -0.2 0.3" euler="20 35 50"/>'
        "</worldbody></mujoco>"
    )
    data, rng, met = mujoco.MjData(model), np.random.default_rng(0), 0
    mujoco.mj_forward(model, data)
    tangents = 1 - 2 * (np.arange(SIDE) + 0.5) / SIDE
    geoms, depths = np.zeros((SIDE, SIDE), np.int32), np.zeros((SIDE, SIDE))
    for far in [0.05, 0.5, 1.0, 2.0] * 10:
        origin, (axes, _) = rng.normal(size=3), np.linalg.qr(rng.normal(size=(3, 3)))
        axes *= np.sign(np.linalg.det(axes))
        origin *= far / np.linalg.norm(origin)
        turn = data.geom_xmat.reshape(1, 3, 3)
        rays.cast(
            model.geom_type,
            model.geom_size,
            (origin - data.geom_xpos) @ turn[0],
            turn.transpose(0, 2, 1) @ axes,
            tangents,
            geoms,
            depths,
        )
        other, wanted = reference(model, data, origin, axes, SIDE, 90.0)
        np.testing.assert_allclose(depths, wanted, rtol=1e-9)
        assert (geoms == other).all()
        met += (geoms == 0).sum()
    assert met > 1000
