"""MiniGrid's registered environments through the whole pipeline: asked about, trained in, evaluated."""

import pytest
import torch

from askonce.pipeline import build, tasks
from askonce.pipeline.build import build_cache
from askonce.pipeline.llm import LLM
from askonce.student.judging import evaluate
from askonce.student.learning.anneal import Schedule
from askonce.student.learning.distill import Teacher
from askonce.student.learning.ppo import Hyperparameters
from askonce.student.learning.train import Settings, train

IDS = [
    f"MiniGrid-{name}"
    for name in (
        "DoorKey-5x5-v0",
        "Empty-8x8-v0",
        "FourRooms-v0",
        "KeyCorridorS3R1-v0",
        "LavaCrossingS9N1-v0",
        "LavaGapS5-v0",
        "LockedRoom-v0",
        "MultiRoom-N2-S4-v0",
        "RedBlueDoors-6x6-v0",
        "SimpleCrossingS9N1-v0",
        "Unlock-v0",
        "UnlockPickup-v0",
    )
]
SETTINGS = Settings(
    iterations=2, hyperparameters=Hyperparameters(num_envs=2), distill_coef=Schedule(final_from=1, zero_from=2)
)


def answered(task, cache):
    """The distributions of a small build with the simulated LLM."""
    build_cache(task, cache, LLM(), episodes=6)
    return build.answered(task, cache, LLM())[0]


@pytest.mark.parametrize("name", IDS)
def test_it_is_asked_about_trained_in_and_evaluated(name, tmp_path):
    task = tasks.find(name)
    distributions = answered(task, tmp_path / "cache")
    network, progress = train(task, Teacher(task, distributions.get), SETTINGS, tmp_path / "run")
    assert network.parameter_count <= 24_000
    assert progress.cache_hits > 0 and progress.env_steps > 0
    found = evaluate.evaluate(task, evaluate.student(task, tmp_path / "run"), episodes=3, seed=0)
    alone = evaluate.evaluate(task, evaluate.teacher(task, distributions.get), episodes=3, seed=0)
    assert found.episodes == alone.episodes == 3


def test_the_same_seed_gives_the_same_weights(tmp_path):
    task = tasks.find("MiniGrid-DoorKey-5x5-v0")
    distributions = answered(task, tmp_path)
    weights = [
        torch.nn.utils.parameters_to_vector(train(task, Teacher(task, distributions.get), SETTINGS)[0].parameters())
        for _ in range(2)
    ]
    assert torch.equal(*weights)
