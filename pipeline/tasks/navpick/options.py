"""The two options, Navigate and Pick: networks that were trained once (`cli pretrain`) and are only read from then on.

Each is a Gaussian policy (section 4.2.1): a ResNet18 over the pictures of `view` and two layers over its features
and the sensors give the mean action, and `DEVIATION` the standard deviation, which is the same in every state.
"""

from collections.abc import Callable
from functools import cache
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
import torch
from torch import nn

from cache import durable
from cache.errors import AskonceError
from pipeline.resnet import ResNet18
from pipeline.tasks.navpick.env import ACTIONS
from pipeline.tasks.navpick.view import IMAGE_SHAPE, SENSORS

NAMES = "navigate", "pick"
PLANES = 16
HIDDEN = 256
# As much as a grasp can bear.
DEVIATION = np.full(len(ACTIONS), 0.1, np.float32)

# (n, VIEW_SIZE) views → (n, 11) mean actions in [−1, 1].
OptionPolicy = Callable[[np.ndarray], np.ndarray]


class OptionNetwork(nn.Module):
    """(B, VIEW_SIZE) views → (B, 11) mean actions, which are not yet clipped."""

    def __init__(self):
        super().__init__()
        height, width, channels = IMAGE_SHAPE
        self.resnet = ResNet18(channels, PLANES)
        features = 8 * PLANES * (height // 32) * (width // 32)
        self.mlp = nn.Sequential(
            nn.Linear(features + SENSORS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
            nn.Linear(HIDDEN, len(ACTIONS)),
        )

    def forward(self, view: torch.Tensor) -> torch.Tensor:
        images, sensors = view[:, :-SENSORS], view[:, -SENSORS:]
        # Channels come last in the view, and convolutions over them are faster for it.
        images = images.unflatten(1, IMAGE_SHAPE).permute(0, 3, 1, 2)
        return self.mlp(torch.cat([self.resnet(images), sensors], dim=1))


@cache
def policy(name: str) -> OptionPolicy:
    """One of `NAMES`, as it was trained."""
    return as_policy(load(weights(name)))


def weights(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.safetensors")


def save(network: OptionNetwork, path: Path, about: dict[str, Any]) -> None:
    """Halves of the weights' digits are enough, and half the bytes; `about` is kept beside them."""
    halved = {name: value.half() for name, value in network.state_dict().items()}
    with durable.unfinished(path.parent) as temporary:
        save_file(halved, temporary, {"about": json.dumps(about)})
        durable.rename(temporary, path)


def load(path: Path) -> OptionNetwork:
    """AskonceError where there are no weights of an option."""
    network = OptionNetwork()
    try:
        network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise AskonceError(f"{path} holds no weights of an option ({error}): make them with `cli pretrain`") from None
    return network


def as_policy(network: OptionNetwork) -> OptionPolicy:
    network.eval()

    @torch.inference_mode()
    def act(view: np.ndarray) -> np.ndarray:
        return network(torch.from_numpy(view)).clamp(-1, 1).numpy()

    return act
