"""The task can be done as it is defined."""

import pytest

from askonce.pipeline.tasks.navpick.env import NavPick
from askonce.pipeline.tasks.navpick.expert import Expert
from askonce.pipeline.tasks.navpick.stages import beside
from tests.pipeline.tasks.navpick.episodes import play


def test_the_expert_solves_held_out_episodes():
    env = NavPick()
    assert [play(env, seed)[0]["success"] for seed in (1, 3)] == [True] * 2


def test_an_episode_can_start_where_navigating_has_ended():
    env = NavPick()
    env.reset(seed=5, options={"beside": True})
    expert, terminated = Expert(env.simulator), False
    expert.reset()
    assert beside(env.reading)
    while not terminated:
        _, _, terminated, truncated, info = env.step(expert.pick())
    assert info["success"] and env.steps < 80


@pytest.mark.study
def test_the_expert_solves_at_least_95_of_100_held_out_episodes():
    env = NavPick()
    assert sum(play(env, seed)[0]["success"] for seed in range(1, 201, 2)) >= 95
