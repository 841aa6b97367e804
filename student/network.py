"""The student's policy and value network: a small perceptron over what the student sees."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

# (N, F) views → (N, A) action probabilities and (N,) values.
Policy = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

# The paper's student has 24 thousand parameters (section 5).
PARAMETERS = 24_000
SECOND_LAYER = 32


class ActorCritic(nn.Module):
    """(B, F) views → (B, A) action logits and (B,) values.

    The first layer is as wide as `PARAMETERS` allows for F inputs.
    """

    def __init__(self, view_size: int, actions: int):
        super().__init__()
        after = (SECOND_LAYER + 1) * (actions + 1) + SECOND_LAYER
        first_layer = max((PARAMETERS - after) // (view_size + 1 + SECOND_LAYER), 1)
        self.torso = nn.Sequential(
            nn.Linear(view_size, first_layer), nn.ReLU(), nn.Linear(first_layer, SECOND_LAYER), nn.ReLU()
        )
        self.actor = nn.Linear(SECOND_LAYER, actions)
        self.critic = nn.Linear(SECOND_LAYER, 1)
        for layer, gain in ((self.torso[0], 2**0.5), (self.torso[2], 2**0.5), (self.actor, 0.01), (self.critic, 1)):
            nn.init.orthogonal_(layer.weight, gain)
            nn.init.zeros_(layer.bias)

    def forward(self, view: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.torso(view)
        return self.actor(features), self.critic(features).squeeze(-1)

    @property
    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


def as_policy(network: ActorCritic) -> Policy:
    """The network as a function of arrays, without gradients."""

    @torch.inference_mode()
    def policy(view: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits, values = network(torch.from_numpy(view).float())
        return logits.softmax(-1).numpy(), values.numpy()

    return policy
