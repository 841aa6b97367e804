"""ResNet18 (He et al. 2016) for small images: eight basic blocks, in groups instead of batches normalised.

What a policy sees changes while it learns and comes in batches of any size, so group normalisation
(Wu and He 2018) stands in for batch normalisation, as in DD-PPO (Wijmans et al. 2019).
"""

import torch
from torch import nn

GROUPS = 4


class ResNet18(nn.Module):
    """(B, C, H, W) images → (B, 8·planes · H/32 · W/32) features; `planes` are the first block's, 64 in the original."""

    def __init__(self, channels: int, planes: int):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, planes, 7, stride=2, padding=3, bias=False),
            nn.GroupNorm(GROUPS, planes),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        widths = [planes, planes, 2 * planes, 4 * planes, 8 * planes]
        blocks = []
        for before, after in zip(widths, widths[1:]):
            blocks += [Block(before, after, 1 if before == after else 2), Block(after, after, 1)]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.blocks(self.stem(image))
        return found.flatten(1)


class Block(nn.Module):
    """Two convolutions, and the way past them."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, after) for _ in range(2))
        self.past = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.GroupNorm(GROUPS, after))
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        inner = self.norms[0](self.first(image)).relu()
        found: torch.Tensor = self.norms[1](self.second(inner)) + self.past(image)
        return found.relu()
