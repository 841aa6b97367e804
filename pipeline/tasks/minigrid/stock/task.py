"""Any of MiniGrid's registered environments as a `Task`, under its own id: `--task MiniGrid-DoorKey-8x8-v0`.

The worlds are MiniGrid's own, stepped one after another; what is slow about them, the making of
observations, is left out and done in compiled code instead. All else that distinguishes one environment
from another (size, view, kinds of things, mission) is read off the environment.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
import re

import gymnasium
from minigrid.core.constants import IDX_TO_OBJECT
from minigrid.minigrid_env import MiniGridEnv
import numpy as np

from askonce.cache.errors import AskonceError
from askonce.pipeline.tasks.interned import Interned
from askonce.pipeline.tasks.minigrid import describe, scene
from askonce.pipeline.tasks.minigrid.engine import ACTIONS, DONE, DROP, EMPTY, PICK_UP, TOGGLE
from askonce.pipeline.tasks.minigrid.options import ENDED
from askonce.pipeline.tasks.minigrid.stock import sight
from askonce.pipeline.tasks.minigrid.stock.facts import Facts, Mission, facts_of, mission_of, perceive
from askonce.pipeline.tasks.minigrid.stock.layouts import Layout, environment, layout, make
from askonce.pipeline.tasks.minigrid.stock.options import option_action, scratch_for
from askonce.pipeline.tasks.minigrid.stock.plans import Plans, Step
from askonce.pipeline.tasks.minigrid.stock.prompt import prompt_of
from askonce.pipeline.tasks.minigrid.stock.view import Window, egocentric_view, list_ones, most_ones, window
from askonce.pipeline.tasks.task import Advice, Batch, Decision, Distributions, Prompt, Scene, Task

# Where nothing moves but the agent, the five options are all that is needed, and no two episodes differ in
# more of their mission than colours.
FAMILIES = (
    "BlockedUnlockPickup",
    "DistShift",
    "DoorKey",
    "Empty",
    "FourRooms",
    "KeyCorridor",
    "LavaCrossing",
    "LavaGap",
    "LockedRoom",
    "MultiRoom",
    "ObstructedMaze",
    "RedBlueDoors",
    "SimpleCrossing",
    "Unlock",
    "UnlockPickup",
)

# So many layouts show what an environment holds.
SAMPLE = 64

# What rollouts try with a thing.
_VERBS_FOR = {
    "key": ("go to", "pick up"),
    "ball": ("go to", "pick up"),
    "box": ("go to", "pick up", "open"),
    "door": ("go to", "open"),
    "goal": ("go to",),
    "lava": (),
}


def ids() -> tuple[str, ...]:
    """The Gymnasium ids of the environments that are tasks."""
    fitting = [name for name in gymnasium.registry if _family(name) in FAMILIES]
    newest = {name.rpartition("-v")[0]: name for name in sorted(fitting)}
    return tuple(name for name in fitting if name in newest.values())


@cache
def find(env_id: str) -> "StockTask":
    """The task of one id. AskonceError if it is none."""
    if env_id not in gymnasium.registry:
        raise AskonceError(f"MiniGrid has no environment {env_id!r}: `cli tasks` lists those that are tasks", 2)
    if _family(env_id) not in FAMILIES:
        raise AskonceError(f"{env_id} needs other options than there are here: `cli tasks` lists what fits", 2)
    return StockTask(env_id)


def _family(env_id: str) -> str:
    """MiniGrid-DoorKey-8x8-v0 → DoorKey, MiniGrid-LavaGapS7-v0 → LavaGap; empty for what is not MiniGrid's."""
    found = re.match(r"MiniGrid-(.+?)(?:S\d|\d*-|$)", env_id)
    return found[1] if found else ""


@dataclass(frozen=True)
class StockTask(Interned, Task):
    """One registered environment (see `pipeline.tasks.task.Task`)."""

    name: str

    action_space = gymnasium.spaces.Discrete(ACTIONS)

    @property
    def env_id(self) -> str:  # type: ignore[override]  # known once a layout is drawn
        return self.name

    @property
    def view_size(self) -> int:  # type: ignore[override]  # known once a layout is drawn
        return self.window.size

    @cached_property
    def prompt(self) -> Prompt:  # type: ignore[override]  # known once layouts are drawn
        return prompt_of(self.mission, self._sampled)

    @cached_property
    def mission(self) -> str:
        """The mission in canonical colours, the same in every episode."""
        missions = {mission_of(layout.mission).words for layout in self._sampled}
        if len(missions) > 1:
            raise AskonceError(f"{self.name} has several missions, such as {', '.join(sorted(missions)[:2])}", 2)
        return missions.pop()

    @cached_property
    def window(self) -> Window:
        env, sampled = environment(self.name), self._sampled
        kinds = tuple(IDX_TO_OBJECT[kind] for kind in sorted(set().union(*(layout.kinds for layout in sampled))))
        return window(env.width, env.height, kinds, any(layout.has_rivals for layout in sampled))

    @cached_property
    def _sampled(self) -> list[Layout]:
        return list(filter(None, (layout(self.name, seed) for seed in range(0, 2 * SAMPLE, 2))))

    @cached_property
    def separable(self) -> bool:  # type: ignore[override]  # known once layouts are drawn
        """Whether there are enough layouts to keep some for evaluation; some environments have a single one."""
        held_out = {layout.digest: layout.is_held_out for layout in self._sampled}.values()
        return 2 <= sum(held_out) <= len(held_out) - 2

    def batch(self, size: int) -> "StockBatch":
        return StockBatch(self, size)

    def seeds(self, count: int, seed: int, held_out: bool = False) -> np.ndarray:
        """Even seeds are for training, odd ones for evaluation, and wherever there are enough layouts to do so,
        they are split by a digest of their content, so that no evaluated one was trained on."""
        drawn: list[int] = []
        rng = np.random.default_rng([seed, held_out])
        while len(drawn) < count:
            candidate = int(rng.integers(2**30)) * 2 + held_out
            found = layout(self.name, candidate)
            if found and (found.is_held_out == held_out or not self.separable):
                drawn.append(candidate)
        return np.array(drawn, dtype=np.int64)

    def describe(self, sees: Sequence[str], holds: str | None) -> str:
        return describe.describe(sees, holds)

    def decisions(self, text: str) -> tuple[Decision, ...]:
        sees, holds = describe.named_in(text)
        choices = [("explore",)]
        choices += [(f"{verb} {name}",) for name in sees for verb in _VERBS_FOR[name.split()[-1]]]
        return (*choices, (f"drop {holds}",)) if holds else tuple(choices)

    def candidates(self, text: str) -> tuple[Decision, ...]:
        return describe.with_approaches(self.decisions(text))

    def scene(self, text: str) -> Scene:
        """ValueError for what is no text."""
        return scene.registered(*describe.named_in(text))

    def plans(self, distributions: Distributions, earlier: Plans | None = None) -> Plans:
        plans = Plans() if earlier is None else earlier
        for text, found in distributions.items():
            plans.answers[text] = list(found.items())
            plans.compiled.pop(text, None)
        return plans


class StockBatch(Batch):
    """N MiniGrid environments stepped in turn (see `pipeline.tasks.task.Batch`)."""

    def __init__(self, task: StockTask, size: int):
        self.task, self.size = task, size
        self._envs = [make(task.name) for _ in range(size)]
        width, height = self._envs[0].width, self._envs[0].height
        self.worlds = sight.empty_worlds(size, width, height)
        self._situations = np.zeros(size, np.int64)
        self._missions = [Mission("", (), 0)] * size
        self._doors = np.zeros(size, np.int64)
        self._wanted_colors = np.zeros(size, np.int64)
        self._facts = [Facts((), None)] * size
        self._perceived = np.zeros(size, np.int64)
        self._terminated = np.ones(size, dtype=bool)
        self._truncated = np.zeros(size, dtype=bool)
        self._scratch = scratch_for(width, height)
        self._view = np.zeros((size, task.view_size), np.uint8)
        self._ones = np.zeros((size, most_ones(width, height, task.window)), np.uint16)

    @property
    def observations(self) -> np.ndarray:
        """(N, W, H, 4) uint8: the map of everything seen so far, as in the DoorKey tasks."""
        return sight.observation(self.worlds)

    @property
    def situations(self) -> np.ndarray:
        return self._situations

    @property
    def view(self) -> np.ndarray:
        seen = self.task.window
        egocentric_view(self.worlds, self._wanted_colors, seen.reach, seen.planes, seen.count, seen.wanted, self._view)
        return self._view

    @property
    def ones(self) -> np.ndarray:
        """(N, M) uint16: the inputs that are 1, each row filled up with F."""
        list_ones(self.view, self._ones)
        return self._ones

    def reset(self, index: np.ndarray, seeds: np.ndarray) -> None:
        for n, seed in zip(index, seeds, strict=True):
            env = self._envs[n]
            env.reset(seed=int(seed))
            self.worlds.world[n], self.worlds.memory[n] = sight.encode(env), 0
            self._missions[n] = mission = mission_of(env.mission)
            self._doors[n] = mission.doors
            self._wanted_colors[n] = mission.colors[0] if mission.colors else -1
            self._terminated[n] = self._truncated[n] = False
            self._perceived[n] = -1
            self._note_agent(n, env)
        self._perceive(np.asarray(index))

    def step(self, actions: np.ndarray, going: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rewards = np.zeros(self.size)
        running = np.flatnonzero(self._acting(going))
        for n in running.tolist():
            env, action = self._envs[n], int(actions[n])
            _, rewards[n], self._terminated[n], self._truncated[n], _ = env.step(action)
            if action in (PICK_UP, DROP, TOGGLE):
                ahead = tuple(env.front_pos)
                thing = env.grid.get(*ahead)
                self.worlds.world[(n, *ahead)] = thing.encode() if thing else (EMPTY, 0, 0)
            self._note_agent(n, env)
        self._perceive(running)
        return rewards, self._terminated.copy(), self._truncated.copy()

    def advise(self, plans: Plans, going: np.ndarray | None = None) -> Advice:
        acting = self._acting(going)
        chosen = [plans.of(facts) for facts in self._facts]
        most = max(map(len, chosen)) or 1
        advice = Advice(np.full((self.size, most), DONE), np.zeros((self.size, most), np.float32))
        for n, decisions in enumerate(chosen):
            known: dict[Step, int] = {}
            for k, (steps, probability) in enumerate(decisions):
                advice.probabilities[n, k] = probability
                if acting[n]:
                    advice.actions[n, k] = self._next_action(n, steps, known)
        return advice

    def _acting(self, going: np.ndarray | None) -> np.ndarray:
        running = ~(self._terminated | self._truncated)
        return running if going is None else running & going

    def _next_action(self, n: int, steps: Iterable[Step], known: dict[Step, int]) -> int:
        for step in steps:
            if step not in known:
                verb, thing = step
                known[step] = option_action(
                    self.worlds.memory[n],
                    self.worlds.agent[n],
                    self.worlds.held[n],
                    self._doors[n],
                    verb,
                    thing.kind,
                    thing.color,
                    thing.state,
                    self._scratch,
                )
            if known[step] != ENDED:
                return known[step]
        return DONE

    def _note_agent(self, n: int, env: MiniGridEnv) -> None:
        self.worlds.agent[n] = (*env.agent_pos, env.agent_dir)
        self.worlds.held[n] = env.carrying.encode() if env.carrying else (EMPTY, 0, 0)

    def _perceive(self, index: np.ndarray) -> None:
        sight.look(self.worlds, index, self._envs[0].agent_view_size, self._envs[0].see_through_walls)
        before = self._perceived[index]
        perceive(self.worlds, index, self._doors, self._perceived)
        for n in index[self._perceived[index] != before].tolist():
            self._facts[n] = facts_of(int(self._perceived[n]), self._missions[n].colors)
            self._situations[n] = self.task.number(self._facts[n].text)
