"""The student's policy and value network: a torso over what the student sees, an actor and a critic.

The torso is a small perceptron, the paper's of MiniGrid, or, where the view begins with an image, one of
`IMAGE_TORSOS`.
"""

from collections.abc import Callable
from functools import partial
from math import prod

from gymnasium.spaces import Box, Discrete
import numpy as np
import torch
from torch import nn

from askonce.cache.errors import AskonceError
from askonce.pipeline.resnet import ResNet18
from askonce.pipeline.streams import ImageAndSensors
from askonce.pipeline.tasks.task import Task
from askonce.student.learning.actor import Categorical, Gaussian

# (N, F) views → what the actor draws actions from (probabilities, or means and deviations) and (N,) values.
Policy = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

# The paper's student has 24 thousand parameters (section 5).
PARAMETERS = 24_000
SECOND_LAYER = 32


class ActorCritic(nn.Module):
    """(B, F) views → (B, …) outputs of its actor and (B,) values.

    `torso` makes `features` of a view; without one it is a perceptron for F inputs. `actor` makes a head for so many
    features and actions.
    """

    def __init__(
        self,
        view_size: int,
        actions: int,
        torso: nn.Module | None = None,
        features: int = SECOND_LAYER,
        actor: Callable[[int, int], Categorical | Gaussian] = Categorical,
    ):
        super().__init__()
        self.torso = torso or perceptron(view_size, actions)
        self.actor = actor(features, actions)
        self.critic = nn.Linear(features, 1)
        for layer in self.torso.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                _begin(layer, 2**0.5)
        self.actor.begin()
        _begin(self.critic, 1)

    def forward(self, view: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.torso(view)
        return self.actor(features), self.critic(features).squeeze(-1)

    @property
    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


def build(task: Task, torso: str = "small") -> ActorCritic:
    """The network for a task; `torso` is one of `IMAGE_TORSOS`, and matters where the view begins with an image."""
    space, shape = task.action_space, task.image_shape
    if isinstance(space, Discrete):
        actions, actor = int(space.n), Categorical
    elif isinstance(space, Box) and len(space.shape) == 1:
        actions, actor = space.shape[0], partial(Gaussian, idle=task.idle_action)
    else:
        raise AskonceError(f"{task.name} acts by {space}: a student learns one of A actions, or vectors of numbers", 2)
    if not shape:
        return ActorCritic(task.view_size, actions, actor=actor)
    convolutions, width, features = IMAGE_TORSOS[torso]
    seen = ImageTorso(shape, task.view_size, convolutions(shape[2]), width, features)
    return ActorCritic(task.view_size, actions, seen, features, actor)


def perceptron(view_size: int, actions: int) -> nn.Sequential:
    """The first layer is as wide as `PARAMETERS` allows for F inputs."""
    after = (SECOND_LAYER + 1) * (actions + 1) + SECOND_LAYER
    first_layer = max((PARAMETERS - after) // (view_size + 1 + SECOND_LAYER), 1)
    return nn.Sequential(nn.Linear(view_size, first_layer), nn.ReLU(), nn.Linear(first_layer, SECOND_LAYER), nn.ReLU())


class ImageTorso(nn.Module):
    """(B, F) views that begin with an image → (B, K)."""

    def __init__(self, shape: tuple[int, ...], view_size: int, convolutions: nn.Module, width: int, features: int):
        super().__init__()
        self.shape = shape
        self.streams = ImageAndSensors(convolutions, shape, view_size - prod(shape), width)
        self.layers = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, features), nn.ReLU())

    def forward(self, view: torch.Tensor) -> torch.Tensor:
        pixels = prod(self.shape)
        image = view[:, :pixels].unflatten(1, self.shape).permute(0, 3, 1, 2)
        return self.layers(self.streams(image, view[:, pixels:]))


def small_convolutions(channels: int) -> nn.Sequential:
    """Those of Mnih et al. 2015 at half their width; padded, as they would not see the edge of 64 × 64 pixels."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 8, stride=4),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3),
        nn.ReLU(),
        nn.Flatten(),
    )


# Convolutions, and the widths of the last two layers. DD-PPO's ResNet18 begins with 32 planes, too.
IMAGE_TORSOS = {"small": (small_convolutions, 256, 128), "resnet18": (partial(ResNet18, planes=32), 512, 512)}


def _begin(layer: nn.Module, gain: float) -> None:
    nn.init.orthogonal_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def as_policy(network: ActorCritic) -> Policy:
    """The network as a function of arrays, without gradients."""

    @torch.inference_mode()
    def policy(view: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        outputs, values = network(torch.from_numpy(view).float())
        return network.actor.given(outputs).numpy(), values.numpy()

    return policy
