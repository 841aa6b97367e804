"""Which preset a task has, and that the paper's are the paper's."""

from dataclasses import asdict

from pipeline import tasks
from student import ppo
from student.presets import CONTROL, MINIGRID, preset
from tests.student.point import POINT

TABLE_2 = dict(
    trajectories=10, epochs=1, minibatch=1024, entropy_coefficient=0.001, value_coefficient=0.5, discount=0.99,
    gae_lambda=0.95, learning_rate=0.0003, final_learning_rate=0.0003, epsilon=0.00001, clip=0.2,
    max_gradient_norm=0.5, divergence="wasserstein",
)


def test_vectors_and_images_are_learnt_by_table_2_and_minigrid_by_table_1():
    for name in ("default", "paper"):
        assert preset(name, tasks.find("LavaDoorKey")) is MINIGRID[name]
        assert preset(name, POINT) is CONTROL[name]
    assert asdict(CONTROL["paper"].of("llm4teach")).items() >= TABLE_2.items()
    assert MINIGRID["default"].of("ppo") == ppo.Hyperparameters() and MINIGRID["paper"].of("ppo") == ppo.PAPER
    assert MINIGRID["default"].of("hierarchical").entropy_coefficient == 0.01
