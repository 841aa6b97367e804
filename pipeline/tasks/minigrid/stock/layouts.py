"""What MiniGrid makes of a seed: the layouts of an environment, told apart by their content."""

from dataclasses import dataclass
from functools import cache, lru_cache
import re
from typing import Any
import zlib

import gymnasium
from minigrid.core.constants import COLOR_TO_IDX
from minigrid.minigrid_env import MiniGridEnv

from askonce.pipeline.tasks.minigrid.doorkey import HELD_OUT_SHARE
from askonce.pipeline.tasks.minigrid.stock import sight


def make(env_id: str) -> MiniGridEnv:
    """MiniGrid's environment, which observes nothing by itself."""
    env = gymnasium.make(env_id).unwrapped
    assert isinstance(env, MiniGridEnv)
    # Most of the time of a step of MiniGrid's, and `sight.look` does it a hundred times faster.
    env.gen_obs = lambda: None  # type: ignore[method-assign]
    return env


@cache
def environment(env_id: str) -> MiniGridEnv:
    """The one that layouts are drawn from."""
    return make(env_id)


@dataclass(frozen=True)
class Layout:
    """What is worth knowing of the world of one seed.

    kinds       MiniGrid's numbers of the things in it, also of those in boxes
    has_rivals  of the kind of thing that the mission names by its colour there are others
    hides       something is in a box
    digest      of all of it
    """

    mission: str
    kinds: frozenset[int]
    has_rivals: bool
    hides: bool
    digest: int

    @property
    def is_held_out(self) -> bool:
        return self.digest % HELD_OUT_SHARE == 0


@lru_cache(maxsize=1 << 16)
def layout(env_id: str, seed: int) -> Layout | None:
    """The layout of one seed; None for the few for which MiniGrid finds no place for everything."""
    env = environment(env_id)
    try:
        env.reset(seed=seed)
    except RecursionError:  # by which MiniGrid says that it has tried often enough
        return None
    cells: list[Any] = env.grid.grid
    things = [thing for thing in cells if thing is not None and thing.type != "wall"]
    hidden = [thing.contains for thing in things if thing.contains is not None]
    wanted = re.findall(r"(\w+) (key|door|ball|box)\b", env.mission)
    agent = [*map(int, env.agent_pos), int(env.agent_dir)]
    whole = [env.mission, sight.encode(env).tolist(), agent, [thing.encode() for thing in hidden]]
    return Layout(
        env.mission,
        frozenset(thing.encode()[0] for thing in things + hidden),
        any(
            thing.type == kind and thing.color != color
            for thing in things
            for color, kind in wanted
            if color in COLOR_TO_IDX
        ),
        bool(hidden),
        zlib.crc32(repr(whole).encode()),
    )
