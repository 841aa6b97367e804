"""NavPick by itself: Gymnasium's contract, the rewards of docs/navpick.md, how episodes end."""

import gymnasium
from gymnasium.utils.env_checker import check_env
import numpy as np
import pytest

from askonce.cache.errors import AskonceError
from askonce.pipeline.tasks.navpick import stages
from askonce.pipeline.tasks.navpick.batch import NavPickBatch
from askonce.pipeline.tasks.navpick.env import MAX_STEPS, SLACK, STOP, NavPick
from askonce.pipeline.tasks.navpick.expert import Expert
from tests.pipeline.tasks.navpick.episodes import GRIP, STILL, play, random_episode, seed_with

ENV_ID = "askonce.pipeline.tasks.navpick.register:askonce/NavPick-v0"


@pytest.fixture(scope="module")
def env():
    return NavPick()


def test_gymnasium_accepts_the_environment():
    check_env(gymnasium.make(ENV_ID).unwrapped, skip_render_check=True)


def test_the_same_seed_and_actions_give_the_same_bits_whatever_was_played_before(env):
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (40, STOP + 1)).astype(np.float32)
    actions[:, STOP] = -1
    fresh = NavPick()
    random_episode(env, 0, 30)

    def played(env):
        yield env.reset(seed=20)[0]
        for action in actions:
            observation, reward, *_ = env.step(action)
            yield observation | {"reward": np.array(reward)}

    for first, second in zip(played(env), played(fresh), strict=True):
        assert all(np.array_equal(first[name], second[name]) for name in second)


def test_a_batch_on_threads_is_its_environments_one_by_one(env):
    batch, seeds = NavPickBatch(3, threads=2), np.array([2, 4, 7])
    batch.reset(np.arange(3), seeds)
    actions = np.random.default_rng(0).uniform(-1, 1, (15, 3, STOP + 1))
    actions[:, :, STOP] = -1
    actions[5, 1, STOP] = 1
    rewards = [batch.step(action) for action in actions]
    for n, seed in enumerate(seeds.tolist()):
        env.reset(seed=seed)
        for step in range(15):
            observation, reward, terminated, *_ = env.step(actions[step, n])
            assert rewards[step][0][n] == reward and rewards[step][1][n] == terminated
            if terminated:
                break
        assert all(np.array_equal(batch.observations[name][n], observation[name]) for name in observation)
    assert rewards[-1][1].tolist() == [False, True, False] and rewards[-1][0][1] == 0


def test_the_expert_earns_what_the_rewards_say(env):
    """Slack for every step, the way of the hand to the object, the first pick-up, the way to rest, and success."""
    env.reset(seed=6)
    start = env.reading
    expert, earned, progress = Expert(env.simulator), 0.0, 0.0
    expert.reset()
    terminated = False
    while not terminated:
        before = env.reading
        _, reward, terminated, _, info = env.step(expert.act())
        earned += reward
        now = env.reading
        if (before.held is None) == (now.held is None):
            way = stages.to_object if now.held is None else stages.to_rest
            progress += way(before) - way(now)
    assert info["success"] and stages.to_rest(env.reading) < stages.CARRY_WITHIN
    assert np.array_equal(start.rest, start.end_effector)
    assert earned == pytest.approx(10 + 2 + 2 * progress + SLACK * env.steps)


def test_stopping_anywhere_else_fails(env):
    env.reset(seed=0)
    action = STILL.copy()
    action[STOP] = 0.01
    _, reward, terminated, _, info = env.step(action)
    assert terminated and info["ended"] == "stopped" and not info["success"] and reward < 0.1


def test_time_runs_out(env):
    env.reset(seed=0)
    env.steps = MAX_STEPS - 3
    ends = [env.step(STILL)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]


def test_a_wrong_object_ends_the_episode(env):
    play(env, seed_with("can"), until=lambda env: env.reading.held == "can")
    env.simulator.wanted = "ball"
    closing = STILL.copy()
    closing[GRIP] = 1.0
    _, reward, terminated, _, info = env.step(closing)
    assert terminated and info["ended"] == "wrong pick" and reward < -0.4


def test_random_actions_solve_nothing(env):
    assert not any(random_episode(env, seed, 60)["success"] for seed in range(1, 7, 2))


def test_unknown_simulators_are_refused():
    with pytest.raises(AskonceError, match="unknown simulator"):
        NavPick("pybullet")


@pytest.mark.study
def test_random_actions_solve_none_of_a_hundred_held_out_episodes(env):
    assert not any(random_episode(env, seed, MAX_STEPS)["success"] for seed in range(1, 201, 2))
