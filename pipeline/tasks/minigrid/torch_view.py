"""The student's view in torch, so that an exported policy takes the observation itself.

The invariant, held by a test over thousands of states: what `view` writes, from the observation alone.
"""

import numpy as np
import torch
from torch import nn

from askonce.pipeline.tasks.minigrid.engine import DX, DY, UNSEEN
from askonce.pipeline.tasks.minigrid.envs import NO_AGENT
from askonce.pipeline.tasks.minigrid.view import NO_PLANE, REACH, plane_table


class EgocentricView(nn.Module):
    """(N, W, H, 4) uint8 observations → (N, view_size) float32 views of these contents."""

    # What an exported policy's input is called, and one to write by hand: (where, value, meaning).
    input_name, zeros = "observation", "nothing was seen yet"
    example = (
        ("[..., 3]", NO_AGENT, "the agent is elsewhere"),
        ("[0, 3, 3]", [1, 0, 0, 0], "it is at (3, 3), holds nothing, looks to the right"),
        ("[0, 4, 3]", [5, 2, 0, NO_AGENT], "there lies a blue key: object, colour, state by MiniGrid"),
    )

    planes: torch.Tensor
    numbers: torch.Tensor
    dx: torch.Tensor
    dy: torch.Tensor

    def __init__(self, contents: tuple[str, ...]):
        super().__init__()
        table = plane_table(contents)
        self.colors = table.shape[1]
        self.outside = int(table[UNSEEN, 0])
        ahead, aside = (grid.ravel() for grid in np.mgrid[REACH : -REACH - 1 : -1, -REACH : REACH + 1])
        for name, values in {
            "planes": table.ravel(),
            "numbers": np.arange(len(contents)),
            # A window's cells relative to the agent, by its direction: (4, WINDOW²).
            "dx": np.outer(DX, ahead) - np.outer(DY, aside),
            "dy": np.outer(DY, ahead) + np.outer(DX, aside),
        }.items():
            self.register_buffer(name, torch.from_numpy(values))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        width, height = observation.shape[1], observation.shape[2]
        kind, color, _, direction = observation.long().flatten(1, 2).unbind(-1)  # (N, W·H) each
        planes = self.planes[kind * self.colors + color]
        here = (direction != NO_AGENT).int().argmax(1, keepdim=True)
        # The agent's own cell shows what it holds, which comes last.
        held = planes.gather(1, here)
        planes = planes.scatter(1, here, torch.full_like(held, NO_PLANE))
        turned = direction.gather(1, here).squeeze(1)
        x, y = here // height + self.dx[turned], here % height + self.dy[turned]
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        window = planes.gather(1, x.clamp(0, width - 1) * height + y.clamp(0, height - 1))
        window = torch.where(inside, window, self.outside)
        return (torch.cat([window, held], 1).unsqueeze(-1) == self.numbers).flatten(1).float()
