"""Which preset a task has, and that the paper's are the paper's."""

from dataclasses import asdict
from types import SimpleNamespace

from gymnasium.spaces import Discrete
import numpy as np
import pytest

from askonce.pipeline import tasks
from askonce.pipeline.tasks.navpick.env import MAX_STEPS
from askonce.student.learning import anneal, distill, mixture, ppo
from askonce.student.learning.presets import CONTROL, IMAGES, MINIGRID, preset
from tests.student.point import POINT

TABLE_2 = dict(
    num_envs=10,
    update_epochs=1,
    minibatch_size=1024,
    ent_coef=0.001,
    vf_coef=0.5,
    gamma=0.99,
    gae_lambda=0.95,
    learning_rate=0.0003,
    final_learning_rate=0.0003,
    adam_eps=0.00001,
    clip_coef=0.2,
    max_grad_norm=0.5,
    divergence="wasserstein",
)


# One of three actions by an image.
SEEN = SimpleNamespace(action_space=Discrete(3), image_shape=(28, 28, 3))


def test_vectors_and_images_are_learnt_by_table_2_and_minigrid_by_table_1():
    for name in ("default", "paper"):
        assert preset(name, tasks.find("LavaDoorKey")) is MINIGRID[name]
        assert preset(name, POINT) is CONTROL[name]
        assert preset(name, SEEN) is IMAGES[name]
        assert CONTROL[name].hyperparameters.divergence in mixture.DIVERGENCES
        assert {IMAGES[name].hyperparameters.divergence, MINIGRID[name].hyperparameters.divergence} <= set(
            distill.DIVERGENCES
        )
    assert asdict(CONTROL["paper"].of("llm4teach")).items() >= TABLE_2.items()
    assert MINIGRID["default"].of("ppo") == ppo.Hyperparameters() and MINIGRID["paper"].of("ppo") == ppo.PAPER
    assert MINIGRID["default"].of("hierarchical").ent_coef == 0.01


def test_the_papers_annealing_of_vectors_is_table_2s_in_steps_of_episodes_at_their_longest():
    paper = CONTROL["paper"]
    schedule = anneal.schedule(paper.schedule, paper.iterations)
    assert (schedule.initial, schedule.final, schedule.decay) == (10, 0.1, None) and paper.torso == "resnet18"
    ends = np.array([schedule.final_from, schedule.zero_from]) * paper.hyperparameters.num_envs * MAX_STEPS
    assert ends == pytest.approx([5e6, 1e7], rel=1e-3) and schedule.zero_from < paper.iterations
