"""What a network makes of images beside numbers that sensors tell."""

import torch
from torch import nn


class ImageAndSensors(nn.Module):
    """(B, C, H, W) images and (B, S) sensors → (B, width) features, half of them from each.

    They come together after layers of their own, else the few numbers that a grasp depends on are lost among hundreds of
    features (docs/methods.md). `dropout` is the share of what the images tell that is left out while it learns.
    """

    def __init__(
        self, convolutions: nn.Module, image_shape: tuple[int, int, int], sensors: int, width: int, dropout: float = 0.0
    ):
        """`convolutions` make (B, K) of images, whose shape is (height, width, channels)."""
        super().__init__()
        height, across, channels = image_shape
        with torch.no_grad():
            seen = convolutions(torch.zeros(1, channels, height, across)).shape[1]
        half = width // 2
        self.image = nn.Sequential(convolutions, nn.Linear(seen, half), nn.ReLU(), nn.Dropout(dropout))
        self.sensors = nn.Sequential(nn.Linear(sensors, half), nn.ReLU(), nn.Linear(half, half), nn.ReLU())

    def forward(self, image: torch.Tensor, sensors: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.image(image), self.sensors(sensors)], dim=1)
