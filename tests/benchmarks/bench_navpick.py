"""Environment steps a second of NavPick on one core, by CPU time: physics, depth image, observation and resets.

The peer is the same batch on two threads, by wall time: what two cores make of it. And depth images a second, whose peer
is MuJoCo's own ray casting in the same states.
"""

import json
import time

import mujoco
import numpy as np

from askonce.pipeline.tasks.navpick import robot
from askonce.pipeline.tasks.navpick.batch import NavPickBatch
from askonce.pipeline.tasks.navpick.camera import directions, tilted
from askonce.pipeline.tasks.navpick.env import NavPick
from askonce.pipeline.tasks.navpick.simulator import DEPTH_PIXELS, MAX_DEPTH

ENVIRONMENTS = 8
STEPS = 60
REPEATS = 5


def rate(batch: NavPickBatch, clock) -> float:
    """Steps a second of the fastest of some repeats; arms wave and wheels turn, and nothing ends on purpose."""
    rng, index = np.random.default_rng(0), np.arange(batch.size)
    rates = []
    for repeat in range(REPEATS + 1):
        taken, started = 0, clock()
        batch.reset(index, 2 * (index + repeat))
        for _ in range(STEPS):
            actions = rng.uniform(-0.5, 0.5, (batch.size, 11))
            actions[:, -1] = -1
            _, terminated, truncated = batch.step(actions)
            taken += int((~(terminated | truncated)).sum())
        rates.append(taken / (clock() - started))
    return max(rates[1:])


def images() -> tuple[float, float]:
    """A second of CPU time: the camera's, and as many rays cast by MuJoCo; the medians over some homes."""
    env, ours, theirs = NavPick(), [], []
    towards, _ = directions(DEPTH_PIXELS, DEPTH_PIXELS, robot.FIELD_OF_VIEW)
    geoms, distances = np.zeros(len(towards), np.int32), np.zeros(len(towards))
    for seed in range(2 * REPEATS):
        env.reset(seed=seed)
        model, data = env.simulator.model, env.simulator.data
        site = data.site("camera")
        rays = np.ascontiguousarray(towards @ (site.xmat.reshape(3, 3) @ tilted(robot.CAMERA_TILT)).T).ravel()
        ours.append(_seconds(lambda: env.simulator.camera.look(model, data)))
        theirs.append(
            _seconds(
                lambda: mujoco.mj_multiRay(
                    model, data, site.xpos, rays, None, True, -1, geoms, distances, None, len(geoms), 4 * MAX_DEPTH
                )
            )
        )
    return 1 / float(np.median(ours)), 1 / float(np.median(theirs))


def _seconds(work) -> float:
    started = time.process_time()
    for _ in range(STEPS):
        work()
    return (time.process_time() - started) / STEPS


def main() -> None:
    ours, theirs = images()
    print(
        json.dumps(
            {
                "name": "navpick_depth",
                "value": round(ours),
                "unit": "64 x 64 depth images/s a core",
                "peers": {"mj_multiRay": round(theirs)},
                "ratio": round(ours / theirs, 2),
            }
        ),
        flush=True,
    )
    one = rate(NavPickBatch(ENVIRONMENTS, threads=1), time.process_time)
    one_by_wall = rate(NavPickBatch(ENVIRONMENTS, threads=1), time.perf_counter)
    two = rate(NavPickBatch(ENVIRONMENTS, threads=2), time.perf_counter)
    print(
        json.dumps(
            {
                "name": "navpick",
                "value": round(one),
                "unit": "environment steps/s a core",
                "peers": {"one_thread": round(one_by_wall), "two_threads": round(two)},
                "ratio": round(two / one_by_wall, 2),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
