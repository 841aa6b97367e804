"""What a run takes where nothing else is said, by the kind of its task: --preset default, or the paper's own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gymnasium.spaces import Discrete

from askonce.pipeline.tasks.task import Task
from askonce.student.learning import anneal, ppo
from askonce.student.learning.train import Settings


@dataclass(frozen=True)
class Preset:
    """`over_options` is in the place of `hyperparameters` for the hierarchical baseline.

    `schedule` is one of `anneal.SCHEDULES`, `torso` one of `network.IMAGE_TORSOS`.
    """

    hyperparameters: ppo.Hyperparameters
    over_options: ppo.Hyperparameters
    iterations: int
    schedule: str
    torso: str = "small"

    def of(self, method: str) -> ppo.Hyperparameters:
        return self.over_options if method == "hierarchical" else self.hyperparameters


def _exploring(given: ppo.Hyperparameters) -> ppo.Hyperparameters:
    """A policy over options has hardly any success at first, and must not settle before it has met enough of it."""
    return replace(given, ent_coef=0.01)


# Table 1. The teacher leaves sooner by default (docs/methods.md).
MINIGRID: Mapping[str, Preset] = {
    "default": Preset(ppo.Hyperparameters(), _exploring(ppo.Hyperparameters()), anneal.ITERATIONS, "stepwise-300"),
    "paper": Preset(ppo.PAPER, ppo.PAPER, anneal.ITERATIONS, "stepwise"),
}

# Table 2. Its annealing ends at 5e6 and 1e7 steps: at 3,000 an iteration, ten whole episodes of 300 steps, these are
# iterations 1,667 and 3,333, where `stepwise` has them in a run of 5,000. Not in the table: what the critic learns of
# a reward. Returns are up to 20 here, to MiniGrid's 1; a critic that may move by no more than the clipping parameter
# would be late, and its error would fill the whole gradient.
TABLE_2 = ppo.Hyperparameters(
    update_epochs=1,
    minibatch_size=1024,
    learning_rate=3e-4,
    final_learning_rate=3e-4,
    adam_eps=1e-5,
    divergence="wasserstein",
    reward_scale=0.1,
)
# On two cores physics is what takes the time, so that each step is learnt from more often, and none is lost on a student
# that stands still where it does not know how to go on (docs/methods.md).
_CONTROL = replace(
    TABLE_2,
    num_envs=20,
    update_epochs=8,
    minibatch_size=256,
    learning_rate=1e-3,
    final_learning_rate=0.0,
    divergence="mahalanobis",
    teacher_acts=0.5,
)
CONTROL: Mapping[str, Preset] = {
    "default": Preset(_CONTROL, _exploring(_CONTROL), 60, "kept"),
    "paper": Preset(TABLE_2, TABLE_2, 5000, "stepwise", "resnet18"),
}
# The same for one of A actions by an image, where there is no mean to be wrong.
_IMAGES = replace(_CONTROL, divergence="kl")
IMAGES: Mapping[str, Preset] = CONTROL | {"default": Preset(_IMAGES, _exploring(_IMAGES), 60, "kept")}


def preset(name: str, task: Task) -> Preset:
    """ "default" or "paper", for a task that acts by vectors, for one that sees images, or for one like MiniGrid's."""
    if not isinstance(task.action_space, Discrete):
        return CONTROL[name]
    return (IMAGES if task.image_shape else MINIGRID)[name]


def settings(task: Task, method: str, iterations: int | None, seed: int) -> Settings:
    """Those of a run of which nothing else is said."""
    usual = preset("default", task)
    length = iterations or usual.iterations
    schedule = anneal.schedule(usual.schedule, length) if method == "llm4teach" else anneal.WITHOUT_TEACHER
    return Settings(seed, length, usual.of(method), schedule, usual.torso)
