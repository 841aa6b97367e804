"""The paper's four DoorKey worlds as MiniGrid environments (section 4.1.1).

Each is one room whose top left corner is cell (0, 0) of a W × H grid, with a locked door in a wall.
Opening a door ends the episode with MiniGrid's reward, 1 − 0.9·t/T; T steps cut it off.

The observation is the map of everything seen so far, (W, H, 4) uint8: object, colour and state as
MiniGrid encodes them, 0 where nothing was seen yet; the agent's own cell shows what it holds; the
fourth channel is the agent's direction in its own cell and `NO_AGENT` elsewhere. The agent sees the
3 × 3 cells in front of it, its own row included, and walls hide what is behind them.
"""

from typing import Any

from gymnasium import spaces
from minigrid.core.constants import COLOR_NAMES
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import Door, Key, Lava, WorldObj
from minigrid.minigrid_env import MiniGridEnv
import numpy as np

NO_AGENT = 4
VIEW = 3
GRID = 10


class DoorKeyEnv(MiniGridEnv):
    """SimpleDoorKey: find the key, carry it to the door, unlock it."""

    def __init__(self, smallest: int = 5, largest: int = GRID, max_steps: int = 150, **kwargs: Any):
        self.smallest, self.largest = smallest, largest
        super().__init__(
            mission_space=MissionSpace(mission_func=lambda: "open the door"),
            width=GRID,
            height=GRID,
            max_steps=max_steps,
            agent_view_size=VIEW,
            **kwargs,
        )
        self.observation_space = spaces.Box(0, 255, (GRID, GRID, 4), np.uint8)

    def _gen_grid(self, width: int, height: int) -> None:
        self.mission = "open the door"
        self.seen = np.zeros((width, height), dtype=bool)
        self.grid = Grid(width, height)
        width, height = (self._rand_int(self.smallest, self.largest + 1) for _ in range(2))
        self.room = width, height
        self.grid.wall_rect(0, 0, *self.room)
        self.doors: list[Door] = []
        self._furnish()

    def _furnish(self) -> None:
        color = self._rand_elem(COLOR_NAMES)
        self._add_door(self._rand_int(0, 4), color)
        self._place_agent()
        self._place(Key(color))

    def _add_door(self, side: int, color: str) -> tuple[int, int]:
        """A locked door at a random place of the right, bottom, left or top wall; returns the cell inside it."""
        width, height = self.room
        along = self._rand_int(1, (height if side % 2 == 0 else width) - 1)
        door, inside = (
            ((width - 1, along), (width - 2, along)),
            ((along, height - 1), (along, height - 2)),
            ((0, along), (1, along)),
            ((along, 0), (along, 1)),
        )[side]
        self.doors.append(Door(color, is_locked=True))
        self.grid.set(*door, self.doors[-1])
        return inside

    def _place_agent(self) -> None:
        self.place_agent((0, 0), self.room)

    def _place(self, thing: WorldObj, keep_free: tuple[int, int] | None = None) -> None:
        self.place_obj(thing, (0, 0), self.room, reject_fn=lambda _, cell: tuple(cell) == keep_free)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        if any(door.is_open for door in self.doors):
            reward, terminated = self._reward(), True
        return observation, float(reward), terminated, truncated, info

    def gen_obs(self) -> np.ndarray:
        self._look()
        observation = np.full((self.width, self.height, 4), NO_AGENT, dtype=np.uint8)
        observation[..., :3] = self.grid.encode(self.seen)
        held = self.carrying.encode() if self.carrying else (1, 0, 0)
        observation[tuple(self.agent_pos)] = (*held, self.agent_dir)
        return observation

    def _look(self) -> None:
        _, visible = self.gen_obs_grid()
        ahead, right = self.dir_vec, self.right_vec
        for i, j in np.argwhere(visible):
            x, y = self.agent_pos + ahead * (VIEW - 1 - j) + right * (i - VIEW // 2)
            if 0 <= x < self.width and 0 <= y < self.height:
                self.seen[x, y] = True

    def get_full_render(self, highlight: bool, tile_size: int) -> np.ndarray:
        """The whole grid; what the agent remembers is highlighted."""
        x, y = self.agent_pos
        seen = self.seen if highlight else None
        picture: np.ndarray = self.grid.render(tile_size, (x, y), self.agent_dir, highlight_mask=seen)
        return picture


class LavaDoorKeyEnv(DoorKeyEnv):
    """SimpleDoorKey with one lava cell, not in front of the door; stepping into it ends the episode with 0."""

    def _furnish(self) -> None:
        color = self._rand_elem(COLOR_NAMES)
        inside = self._add_door(self._rand_int(0, 4), color)
        self._place_agent()
        self._place(Key(color))
        self._place(Lava(), keep_free=inside)


class ColoredDoorKeyEnv(DoorKeyEnv):
    """A blue door, a blue and a red key, neither in front of the door; only the blue key opens it."""

    def _furnish(self) -> None:
        inside = self._add_door(self._rand_int(0, 4), "blue")
        self._place_agent()
        self._place(Key("blue"), keep_free=inside)
        self._place(Key("red"), keep_free=inside)


class DivergedDoorKeyEnv(DoorKeyEnv):
    """A 10 × 10 room with two doors in opposite walls, either of which will do, and a key near the middle."""

    def __init__(self, smallest: int = GRID, max_steps: int = 60, **kwargs: Any):
        super().__init__(smallest=smallest, max_steps=max_steps, **kwargs)

    def _furnish(self) -> None:
        color = self._rand_elem(COLOR_NAMES)
        side = self._rand_int(0, 2)
        self._add_door(side, color)
        self._add_door(side + 2, color)
        width, height = self.room
        self.place_obj(Key(color), (width // 2 - 1, height // 2 - 1), (2, 2))
        self._place_agent()
