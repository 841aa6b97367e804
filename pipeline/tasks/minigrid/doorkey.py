"""The four DoorKey tasks: environment, engine, options, text and prompt put together as `Task`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any
import zlib

import gymnasium
import numpy as np

from askonce.pipeline.tasks.minigrid import describe, draw, engine, options, scene
from askonce.pipeline.tasks.minigrid.describe import Facts
from askonce.pipeline.tasks.minigrid.envs import GRID, ColoredDoorKeyEnv, DivergedDoorKeyEnv, DoorKeyEnv, LavaDoorKeyEnv
from askonce.pipeline.tasks.minigrid.kernels import Rules, kernels
from askonce.pipeline.tasks.minigrid.layouts import COLORED, DIVERGED, SIMPLE, WITH_LAVA, draw_layouts
from askonce.pipeline.tasks.minigrid.play import DoorKeyPlayout
from askonce.pipeline.tasks.minigrid.view import MOST_ONES, egocentric_ones, one_hot, plane_table, view_size
from askonce.pipeline.tasks.task import (
    Advice,
    Batch,
    Decision,
    Distributions,
    Example,
    Kernels,
    Option,
    Prompt,
    Scene,
    Task,
    Watched,
)

ACTION_NAMES: tuple[str, ...] = ("left", "right", "forward", "pick up", "drop", "toggle", "done")
OPTIONS = (
    Option(
        "explore",
        "look at parts of the room not seen yet, until the whole room is known",
        takes_object=False,
        synonyms=("look around", "search", "scan", "wander"),
    ),
    Option(
        "go to",
        "walk until the object is right in front of the agent",
        synonyms=(
            "goto",
            "go towards",
            "go toward",
            "move to",
            "move towards",
            "walk to",
            "navigate to",
            "head to",
            "approach",
            "return to",
        ),
    ),
    Option(
        "pick up",
        "take the object right in front of the agent",
        synonyms=("pickup", "pick", "take", "grab", "get", "collect"),
    ),
    Option("drop", "put down the object that the agent holds", synonyms=("put down", "release", "place", "discard")),
    Option("open", "open the object right in front of the agent", synonyms=("unlock",)),
)
VERBS = {
    "explore": options.EXPLORE,
    "go to": options.GO_TO,
    "pick up": options.PICK_UP_X,
    "drop": options.DROP_X,
    "open": options.OPEN_X,
}

# One layout in this many is kept for evaluation, chosen by its content.
HELD_OUT_SHARE = 8


@dataclass(frozen=True)
class DoorKeyTask(Task):
    """One of the four tasks (see `pipeline.tasks.task.Task`)."""

    name: str
    env_class: type[DoorKeyEnv]
    layout: int  # how `layouts` draws the same
    prompt: Prompt
    contents: tuple[str, ...]  # what the student tells apart (see `view`)
    colored: bool = False
    numbered_doors: bool = False
    env_id: str = field(init=False)
    view_size: int = field(init=False)

    action_space = gymnasium.spaces.Discrete(engine.ACTIONS)
    action_names = ACTION_NAMES

    def __post_init__(self) -> None:
        object.__setattr__(self, "env_id", f"askonce.pipeline.tasks.minigrid.register:askonce/{self.name}-v0")
        object.__setattr__(self, "view_size", view_size(self.contents))

    @cached_property
    def max_steps(self) -> int:
        return self.env_class().max_steps

    def batch(self, size: int) -> "DoorKeyBatch":
        return DoorKeyBatch(self, size)

    def seeds(self, count: int, seed: int, held_out: bool = False) -> np.ndarray:
        """Layouts are split by a digest of their content, so that no evaluated one was trained on."""
        drawn, rng = np.zeros(0, np.int64), np.random.default_rng([seed, held_out])
        while len(drawn) < count:
            candidates = rng.integers(2**31, size=count + HELD_OUT_SHARE)
            layouts = zip(*self.layouts(candidates))
            digests = np.array([zlib.crc32(agent, zlib.crc32(world)) for world, agent in layouts])
            drawn = np.concatenate([drawn, candidates[(digests % HELD_OUT_SHARE == 0) == held_out]])
        return drawn[:count]

    def layouts(self, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Worlds (B, W, H, 3) uint8 and agents (B, 3) int64: those of the environment's reset(seed=…)."""
        worlds = np.empty((len(seeds), GRID, GRID, 3), np.uint8)
        agents = np.empty((len(seeds), 3), np.int64)
        draw_layouts(self.layout, seeds, worlds, agents)
        return worlds, agents

    def facts(self, situation: int) -> describe.Facts:
        return describe.facts(situation, self.colored, self.numbered_doors)

    def text(self, situation: int) -> str:
        known = self.facts(situation)
        return describe.describe(known.sees, known.holds)

    def describe(self, sees: Sequence[str], holds: str | None) -> str:
        return describe.describe([self.canonical(name) for name in sees], holds and self.canonical(holds))

    def canonical(self, words: str) -> str:
        return describe.canonical(words)

    def watched(self) -> Watched:
        batch = self.batch(1)
        world, observation = batch.state.world[0], batch.state.observation[0]
        return Watched(
            batch,
            partial(draw.picture, world, observation),
            partial(draw.symbols, world, observation),
            partial(draw.held, observation),
        )

    def view_module(self) -> Any:
        """The view in torch, from observations."""
        # Imported late: nothing but exporting a student needs torch here.
        from askonce.pipeline.tasks.minigrid.torch_view import EgocentricView

        return EgocentricView(self.contents)

    @cached_property
    def situations(self) -> dict[str, int]:
        """Text → situation, for every text that the template can write."""
        return {self.text(situation): situation for situation in reversed(range(engine.SITUATIONS))}

    def decisions(self, text: str) -> tuple[Decision, ...]:
        known = self.facts(self.situations[text])
        choices = [("explore",)]
        for name in known.sees:
            verbs = ("go to", "open") if "door" in name else ("go to", "pick up")
            choices += [(f"{verb} {name}",) for verb in verbs]
        if known.holds:
            choices.append((f"drop {known.holds}",))
        return tuple(choices)

    def candidates(self, text: str) -> tuple[Decision, ...]:
        return describe.with_approaches(self.decisions(text))

    def plans(self, distributions: Distributions, earlier: options.Plans | None = None) -> options.Plans:
        """Texts that this task cannot write have no effect."""
        answered = [
            (self.situations[text], found) for text, found in distributions.items() if found and text in self.situations
        ]
        most = max((len(found) for _, found in answered), default=1)
        longest = max((len(decision) for _, found in answered for decision in found), default=1)
        used = 0 if earlier is None else int(earlier.row.max()) + 1
        plans = options.with_room(earlier, used, (used + len(answered), most, longest))
        for row, (situation, found) in enumerate(answered, start=used):
            plans.row[situation] = row
            known = self.facts(situation)
            for k, (decision, probability) in enumerate(found.items()):
                plans.probability[row, k] = probability
                for i, words in enumerate(decision):
                    plans.verb[row, k, i], plans.slot[row, k, i] = self.compile(words, known)
        return plans

    def compile(self, words: str, known: Facts) -> tuple[int, int]:
        """An option's verb and slot, as in `options.Plans`."""
        for name, verb in VERBS.items():
            if words == name:
                return (verb, -1)
            if words.startswith(name + " ") and name != "explore":
                return (verb, describe.slot_of(words.removeprefix(name + " "), known))
        return (options.NO_SUCH_OPTION, -1)

    def scene(self, text: str) -> Scene:
        """KeyError for what is no text of this task."""
        known = self.facts(self.situations[text])
        return scene.doorkey(known.sees, known.holds)

    def sources(self) -> tuple[Path, ...]:
        return tuple(Path(__file__).parent.glob("*.py"))

    def over_options(self) -> Task:
        """Compiled: an option's steps never come up to Python."""
        from askonce.pipeline.tasks.minigrid.over_options import over_options

        return over_options(self)

    def playout(self) -> DoorKeyPlayout:
        return DoorKeyPlayout(self)


class DoorKeyBatch(Batch):
    """N DoorKey worlds in the compiled engine (see `pipeline.tasks.task.Batch`)."""

    def __init__(self, task: DoorKeyTask, size: int):
        self.task, self.size = task, size
        self.state = engine.empty_state(size, GRID, GRID)
        self._rewards = np.zeros(size)
        self.planes = plane_table(task.contents)
        self._view = np.zeros((size, task.view_size), np.uint8)
        self._ones = np.zeros((size, MOST_ONES), np.uint16)

    @property
    def observations(self) -> np.ndarray:
        return self.state.observation

    @property
    def situations(self) -> np.ndarray:
        return self.state.situation

    @property
    def view(self) -> np.ndarray:
        one_hot(self.ones, self._view)
        return self._view

    @property
    def ones(self) -> np.ndarray:
        egocentric_ones(self.state, self.planes, len(self.task.contents), self._ones)
        return self._ones

    def reset(self, index: np.ndarray, seeds: np.ndarray) -> None:
        engine.reset(self.state, np.asarray(index), *self.task.layouts(np.asarray(seeds)), self.task.colored)

    def step(self, actions: np.ndarray, going: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        with self._held_back(going):
            engine.step(self.state, actions, self.task.max_steps, self.task.colored, self._rewards)
        ended = self.state.ended
        return self._rewards.copy(), ended & engine.TERMINATED > 0, ended & engine.TRUNCATED > 0

    def advise(self, plans: options.Plans, going: np.ndarray | None = None) -> Advice:
        shape = (self.size, plans.verb.shape[1])
        advice = Advice(np.empty(shape, np.int64), np.empty(shape, np.float32))
        with self._held_back(going):
            options.advise(self.state, plans, advice.actions, advice.probabilities)
        return advice

    @cached_property
    def _kernels(self) -> Kernels:
        task = self.task
        return kernels(self.state, Rules(task.max_steps, task.colored, self.planes, len(task.contents)), task.plans({}))

    def kernels(self) -> Kernels | None:
        return self._kernels

    @contextmanager
    def _held_back(self, going: np.ndarray | None) -> Iterator[None]:
        """The engine leaves an ended environment as it is, so one that is held back is one for the moment."""
        waiting = np.zeros(self.size, bool) if going is None else (self.state.ended == engine.RUNNING) & ~going
        self.state.ended[waiting] = engine.TRUNCATED
        try:
            yield
        finally:
            self.state.ended[waiting] = engine.RUNNING


_SETTING = (
    "An agent is in a locked room laid out as a grid. It remembers what it has seen, and it can hold one "
    "object at a time. Its task is to open {goal}. {rule}"
)
_REASONING = (
    "It will need the key for the door, and its hands are free, so it should walk to the {key} and then take it."
)


def _prompt(goal: str, rule: str, key: str, door: str) -> Prompt:
    return Prompt(
        setting=_SETTING.format(goal=goal, rule=rule),
        options=OPTIONS,
        example_text=f"Agent sees a {key}, holds nothing.",
        example_observation=f"The agent sees a {key} and holds nothing. It has not seen a door yet.",
        example_reasoning=_REASONING.format(key=key),
        example_decision=(f"go to {key}", f"pick up {key}"),
        more_examples=(
            Example(
                "Agent sees nothing, holds nothing.",
                "The agent sees nothing of use and holds nothing.",
                "It knows of neither a key nor a door, so it should look for them.",
                ("explore",),
            ),
            Example(
                f"Agent sees {door}, holds a {key}.",
                f"The agent sees {door} and holds a {key}.",
                "It holds the key that opens the door, so it should walk to the door and then open it.",
                (f"go to {door.removeprefix('a ')}", f"open {door.removeprefix('a ')}"),
            ),
        ),
    )


_ANY_KEY = "A door opens only while the agent holds the key."
_SIMPLE = _prompt("the door", _ANY_KEY, "key", "a door")

_CONTENTS = ("empty", "wall", "door", "key")

TASKS = (
    DoorKeyTask("SimpleDoorKey", DoorKeyEnv, SIMPLE, _SIMPLE, _CONTENTS),
    # Its texts and its prompt are SimpleDoorKey's: neither knows of lava. The student sees it.
    DoorKeyTask("LavaDoorKey", LavaDoorKeyEnv, WITH_LAVA, _SIMPLE, (*_CONTENTS, "lava")),
    DoorKeyTask(
        "ColoredDoorKey",
        ColoredDoorKeyEnv,
        COLORED,
        _prompt(
            "the door",
            "A door opens only while the agent holds a key of the door's own colour.",
            "red key",
            "a red door",
        ),
        ("empty", "wall", "door", "blue key", "red key"),
        colored=True,
    ),
    DoorKeyTask(
        "DivergedDoorKey",
        DivergedDoorKeyEnv,
        DIVERGED,
        _prompt("either of the two doors, door1 or door2", _ANY_KEY, "key", "door1"),
        _CONTENTS,
        numbered_doors=True,
    ),
)
