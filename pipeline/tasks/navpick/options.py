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

from askonce.cache import durable
from askonce.cache.errors import AskonceError
from askonce.pipeline.resnet import ResNet18
from askonce.pipeline.streams import ImageAndSensors
from askonce.pipeline.tasks.navpick.env import ACTIONS
from askonce.pipeline.tasks.navpick.view import IMAGE_SHAPE, SENSORS, WAY

NAMES = "navigate", "pick"
PLANES = 8
HIDDEN = 256
DROPOUT = 0.2  # of what the pictures tell, while it learns: homes differ in it
# The pictures of the view that each is shown, and how many of its sensors. Map and way are no help to a hand, and
# differ wherever the robot came from.
SHOWN = {"navigate": ((0, 1, 2), SENSORS), "pick": ((0,), SENSORS - WAY)}
# As much as a grasp can bear.
DEVIATION = np.full(len(ACTIONS), 0.1, np.float32)

# (n, VIEW_SIZE) views → (n, 11) mean actions in [−1, 1].
OptionPolicy = Callable[[np.ndarray], np.ndarray]


class OptionNetwork(nn.Module):
    """(B, VIEW_SIZE) views → (B, 11) mean actions, which are not yet clipped."""

    def __init__(self, name: str):
        super().__init__()
        height, width, _ = IMAGE_SHAPE
        pictures, self.told = SHOWN[name]
        self.pictures = list(pictures)
        self.streams = ImageAndSensors(
            ResNet18(len(pictures), PLANES), (height, width, len(pictures)), self.told, HIDDEN, DROPOUT
        )
        self.mlp = nn.Sequential(
            nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, len(ACTIONS))
        )

    def forward(self, view: torch.Tensor) -> torch.Tensor:
        images, sensors = view[:, :-SENSORS], view[:, -SENSORS:][:, : self.told]
        images = images.reshape(-1, *IMAGE_SHAPE)[..., self.pictures].permute(0, 3, 1, 2)
        actions: torch.Tensor = self.mlp(self.streams(images, sensors))
        return actions


@cache
def policy(name: str) -> OptionPolicy:
    """One of `NAMES`, as it was trained."""
    return as_policy(load(name, weights(name)))


def weights(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.safetensors")


def save(network: OptionNetwork, path: Path, about: dict[str, Any]) -> None:
    """Halves of the weights' digits are enough, and half the bytes; `about` is kept beside them."""
    halved = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    with durable.unfinished(path.parent) as temporary:
        save_file(halved, temporary, {"about": json.dumps(about)})
        durable.rename(temporary, path)


def load(name: str, path: Path) -> OptionNetwork:
    """AskonceError where there are no weights of an option."""
    network = OptionNetwork(name)
    try:
        network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except (OSError, SafetensorError) as error:
        raise AskonceError(f"{path} holds no weights ({error}): make them with `cli pretrain`") from None
    except RuntimeError:
        # What torch says of it fills a page.
        raise AskonceError(f"{path} holds another network's weights: make {name}'s with `cli pretrain`") from None
    return network


def as_policy(network: OptionNetwork) -> OptionPolicy:
    # Convolutions are faster with channels last, as they are in the view.
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # left out of torch's stubs

    @torch.inference_mode()
    def act(view: np.ndarray) -> np.ndarray:
        actions: np.ndarray = network(torch.from_numpy(view)).clamp(-1, 1).numpy()
        return actions

    return act
