"""The policy's head: what it says of actions, of which one of A is chosen or which are vectors of A numbers.

An actor is a module from features to outputs, and knows what they mean. Played, they are `given` as an array, from
which actions are drawn while it learns; deployed, it `acts` by them. Learning, they are judged by the `terms` of the
loss.
"""

from math import log, pi

import numpy as np
import torch
from torch import nn

from askonce.pipeline import collect
from askonce.student.learning import distill, mixture
from askonce.student.learning.mixture import LEAST_DEVIATION

# The log-probability of the actions taken (B,), and the means of the entropy and of the distance to the teacher.
Terms = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

# A Gaussian student strays by so much at first.
DEVIATION = 0.2


class Categorical(nn.Linear):
    """(B, K) features → (B, A) logits; given as (N, A) probabilities."""

    deployed_name = "probabilities"

    draw = staticmethod(collect.draw)
    # A policy that is unsure in the middle of a room has to move all the same, so its actions are drawn for good.
    acts = staticmethod(collect.draw)
    # Actions drawn from a teacher's rows.
    follow = staticmethod(collect.draw)

    def begin(self) -> None:
        """Near the uniform policy."""
        nn.init.orthogonal_(self.weight, 0.01)
        nn.init.zeros_(self.bias)

    @staticmethod
    def given(outputs: torch.Tensor) -> torch.Tensor:
        return outputs.softmax(-1)

    @staticmethod
    def log_probability(given: np.ndarray, action: np.ndarray) -> np.ndarray:
        return np.log(given[np.arange(len(action)), action])

    @staticmethod
    def terms(outputs: torch.Tensor, action: torch.Tensor, teacher: torch.Tensor, divergence: str) -> Terms:
        """`teacher` is (B, A) as of `distill.teacher_policy`, or (B, 0)."""
        log_policy = outputs.log_softmax(-1)
        log_probability = log_policy.gather(-1, action[:, None]).squeeze(-1)
        entropy = -(log_policy.exp() * log_policy).sum(-1).mean()
        distillation = distill.DIVERGENCES[divergence](teacher, log_policy) if teacher.shape[-1] else torch.zeros(())
        return log_probability, entropy, distillation


class Gaussian(nn.Module):
    """(B, K) features → (B, 2A): means and, the same in every state, standard deviations; given as they are.

    Covariances are diagonal. Actions are not squashed into the action space; the environment clips them.
    """

    deployed_name = "means_and_deviations"

    def __init__(self, features: int, actions: int, idle: np.ndarray | float = 0.0):
        """`idle` (A,) is what it does at first."""
        super().__init__()
        self.idle = idle
        self.mean = nn.Linear(features, actions)
        # The logarithm of what is above the least.
        self.excess = nn.Parameter(torch.full((actions,), log(DEVIATION - LEAST_DEVIATION)))

    def begin(self) -> None:
        nn.init.orthogonal_(self.mean.weight, 0.01)
        with torch.no_grad():
            self.mean.bias[:] = torch.as_tensor(self.idle)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        mean = self.mean(features)
        return torch.cat([mean, (LEAST_DEVIATION + self.excess.exp()).expand_as(mean)], dim=-1)

    @staticmethod
    def given(outputs: torch.Tensor) -> torch.Tensor:
        return outputs

    @staticmethod
    def draw(given: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(N, A) float32."""
        mean, deviation = np.split(given, 2, axis=-1)
        return mean + deviation * rng.standard_normal(mean.shape, np.float32)

    @staticmethod
    def acts(given: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(N, A) float32, the means, as options act by theirs: to stray is to explore."""
        return np.split(given, 2, axis=-1)[0]

    @staticmethod
    def follow(teacher: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(N, A) float32: the means of its mixtures, as strayed from as by one of its options."""
        _, mean, _, deviation = mixture.moments(teacher)
        return mean + deviation * rng.standard_normal(mean.shape, np.float32)

    @staticmethod
    def log_probability(given: np.ndarray, action: np.ndarray) -> np.ndarray:
        mean, deviation = np.split(given, 2, axis=-1)
        return -(((action - mean) / deviation) ** 2 / 2 + np.log(deviation) + np.float32(log(2 * pi) / 2)).sum(axis=-1)

    @staticmethod
    def terms(outputs: torch.Tensor, action: torch.Tensor, teacher: torch.Tensor, divergence: str) -> Terms:
        """`teacher` is (B, 1 + 3A) as of `mixture.mixture`, or (B, 0)."""
        mean, deviation = outputs.chunk(2, dim=-1)
        surprise = ((action - mean) / deviation) ** 2 / 2 + deviation.log() + log(2 * pi) / 2
        entropy = (deviation.log() + log(2 * pi) / 2 + 0.5).sum(-1).mean()
        distillation = (
            mixture.DIVERGENCES[divergence](teacher, mean, deviation) if teacher.shape[-1] else torch.zeros(())
        )
        return -surprise.sum(-1), entropy, distillation
