"""NavPick as a `Task`: texts, decisions carried out by the two frozen options, and the student's view.

Views and options use what the robot observes; texts, and where other objects than the wanted one are, come from
what the simulator identifies in the camera's picture (`Simulator.sights`), and whether Navigate has ended from what
it knows of the robot's place (`Reading`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from gymnasium.spaces import Box
import numpy as np

from askonce.pipeline.tasks.interned import Interned
from askonce.pipeline.tasks.navpick import describe, scene
from askonce.pipeline.tasks.navpick.batch import NavPickBatch
from askonce.pipeline.tasks.navpick.env import ACTIONS, GRIP, STOP, idle
from askonce.pipeline.tasks.navpick.memory import Memory, Way
from askonce.pipeline.tasks.navpick.prompt import NAVIGATE, PICK, PROMPT
from askonce.pipeline.tasks.navpick.simulator import Sight
from askonce.pipeline.tasks.navpick.stages import beside, reached
from askonce.pipeline.tasks.navpick.view import IMAGE_SHAPE, VIEW_SIZE, view
from askonce.pipeline.tasks.task import Advice, Batch, Decision, Distributions, Lesson, Scene, Task, Watched

# A step, in seconds.
STEP = 0.1
# Of three pictures side by side each is so much smaller than one alone.
SIDE = 0.7

# Which frozen network carries an option out.
POLICIES = {NAVIGATE: "navigate", PICK: "pick"}


class Call(NamedTuple):
    """An option as it is carried out: a network of `options.policy`, and the object that it is told of."""

    policy: str
    thing: str


# Situation → its decisions, each as calls and a probability. None stands for an option that names nothing.
Plans = dict[int, list[tuple[tuple[Call | None, ...], float]]]


@cache
def find(simulator: str = "mujoco") -> "NavPickTask":
    return NavPickTask(simulator)


@dataclass(frozen=True)
class NavPickTask(Interned, Task):
    """See `pipeline.tasks.task.Task`. The simulator is none of the LLM's business: caches serve all of them."""

    simulator: str = "mujoco"

    name = "NavPick"
    env_id = "askonce.pipeline.tasks.navpick.register:askonce/NavPick-v0"
    prompt = PROMPT
    action_space = Box(-1.0, 1.0, (len(ACTIONS),), np.float32)
    action_names = ACTIONS
    view_size = VIEW_SIZE
    image_shape = IMAGE_SHAPE
    idle_action = idle()
    # A batch of more gains nothing on a few cores, and the first episodes in a hundred homes compile as many models.
    together = 100
    fixed_options = tuple(f"{verb} the {which} object" for which in ("wanted", "other") for verb in POLICIES)

    def batch(self, size: int) -> "AdvisedBatch":
        return AdvisedBatch(self, size)

    def seeds(self, count: int, seed: int, held_out: bool = False) -> np.ndarray:
        """Even seeds are episodes in the ten homes for training, odd ones in a hundred others."""
        return np.random.default_rng([seed, held_out]).integers(2**30, size=count) * 2 + held_out

    def random_actions(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """(N, 11) uniform, but never a request to stop, which would end every episode at once."""
        actions = rng.uniform(-1.0, 1.0, (size, len(ACTIONS)))
        actions[:, STOP] = -1.0
        return actions

    def decisions(self, text: str) -> tuple[Decision, ...]:
        """Either option with every object that the text names; with the wanted one alone once it is held."""
        told = describe.told(text)
        return _either_option([told.wanted] if told.holds else told.things)

    def carry_out(self, text: str) -> tuple[Decision, ...]:
        """Either option with the wanted object and with the other that a text may name; else they name nothing."""
        return _either_option([*describe.told(text).things, "nothing"][:2])

    def scene(self, text: str) -> Scene:
        """ValueError for what is no text."""
        return scene.scene(describe.told(text))

    def plans(self, distributions: Distributions, earlier: Plans | None = None) -> Plans:
        """Texts that this task cannot write have no effect."""
        plans: Plans = {} if earlier is None else earlier
        for text, found in distributions.items():
            if (told := _told(text)) is not None:
                plans[self.number(text)] = [
                    (tuple(_call(words, told) for words in decision), probability)
                    for decision, probability in found.items()
                ]
        return plans

    def lessons(self) -> Mapping[str, Lesson]:
        from askonce.pipeline.tasks.navpick.lessons import lessons

        return lessons(self)

    def sources(self) -> tuple[Path, ...]:
        """This folder's code and the options' networks, less what only teaches, shows, or is another simulator's."""
        folder, idle = Path(__file__).parent, {"expert", "lessons", "render", "habitat_simulator"}
        shared = [folder.parents[1] / name for name in ("resnet.py", "streams.py")]
        code = [path for path in folder.glob("*.py") if path.stem not in idle]
        return (*shared, *code, *folder.glob("*.safetensors"))

    def watched(self) -> Watched:
        """From outside, from close by, and what the head camera sees, side by side; in real time."""
        batch = AdvisedBatch(self, 1, render_mode="rgb_array")
        simulator = batch.envs[0].simulator
        return Watched(batch, lambda side: simulator.picture(round(SIDE * side)), fps=1 / STEP)


def _told(text: str) -> describe.Told | None:
    try:
        return describe.told(text)
    except ValueError:
        return None


def _either_option(things: Sequence[str]) -> tuple[Decision, ...]:
    return tuple((f"{verb} {thing}",) for thing in things for verb in POLICIES)


def _call(words: str, told: describe.Told) -> Call | None:
    verb = next((verb for verb in POLICIES if words.startswith(f"{verb} ")), None)
    if verb is None or verb == PICK and words.endswith(" table"):
        return None
    thing = told.thing(words)
    return Call(POLICIES[verb], thing) if thing else None


class AdvisedBatch(NavPickBatch, Batch):
    """N environments with views, texts and advice (see `pipeline.tasks.task.Batch`)."""

    def __init__(self, task: NavPickTask, size: int, render_mode: str | None = None):
        super().__init__(size, task.simulator, render_mode=render_mode)
        self.task = task
        self._situations = np.zeros(size, np.int64)
        self.sights: list[dict[str, Sight]] = [{} for _ in range(size)]
        self._memories = [Memory() for _ in range(size)]
        self._view = np.zeros((size, VIEW_SIZE), np.float32)
        self._changed = np.ones(size, dtype=bool)

    @property
    def situations(self) -> np.ndarray:
        return self._situations

    @property
    def view(self) -> np.ndarray:
        """(N, VIEW_SIZE) float32. The next step writes over it."""
        if changed := np.flatnonzero(self._changed).tolist():
            self._view[changed] = self._seen(changed, {})
            self._changed[:] = False
        return self._view

    def _seen(self, rows: list[int], otherwise: dict[str, np.ndarray]) -> np.ndarray:
        """(M, VIEW_SIZE) the views of some environments, with other observations in the place of their own."""
        observations = {name: value[rows] for name, value in self.observations.items()} | otherwise
        return view(observations, [self._memories[n] for n in rows])

    def reset(self, index: np.ndarray, seeds: np.ndarray, beside: bool = False) -> None:
        for n in index.tolist():
            self._memories[n].reset()
        super().reset(index, seeds, beside)
        self._tell(index)

    def step(self, actions: np.ndarray, going: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        stepped = np.flatnonzero(self.acting(going))
        result = super().step(actions, going)
        self._tell(stepped)
        return result

    def advise(self, plans: Plans, going: np.ndarray | None = None) -> Advice:
        from askonce.pipeline.tasks.navpick.options import DEVIATION

        chosen = [
            plans.get(situation, ()) if goes else ()
            for situation, goes in zip(self.situations.tolist(), self.acting(going))
        ]
        shape = self.size, max(map(len, chosen), default=1) or 1
        advice = Advice(
            np.zeros((*shape, len(ACTIONS)), np.float32),
            np.zeros(shape, np.float32),
            DEVIATION,
            ended := np.ones(shape, dtype=bool),
        )
        advice.actions[:] = self._still[:, None]
        wanting: dict[tuple[int, Call], list[int]] = {}
        for n, decisions in enumerate(chosen):
            for k, (calls, probability) in enumerate(decisions):
                advice.probabilities[n, k] = probability
                if (call := next((call for call in calls if not self._over(n, call)), None)) is not None:
                    wanting.setdefault((n, call), []).append(k)
                    ended[n, k] = False
        for (n, _), ks, action in zip(wanting, wanting.values(), self._carried_out(list(wanting))):
            advice.actions[n, ks] = action
        return advice

    @property
    def _still(self) -> np.ndarray:
        """(N, 11) standing still, without letting go."""
        actions = np.tile(self.task.idle_action, (self.size, 1))
        actions[self.observations["holding"][:, 0] > 0, GRIP] = 1.0
        return actions

    def _over(self, n: int, call: Call | None) -> bool:
        """Whether Navigate has ended. Pick goes on to the episode's end."""
        if call is None or call.policy != "navigate":
            return False
        now = self.envs[n].reading
        if now.held == call.thing:
            return True
        return beside(now) if call.thing == self.envs[n].simulator.wanted else reached(self._place(n, call.thing))

    def _place(self, n: int, thing: str) -> np.ndarray:
        """(3,) m in the robot's frame: the wanted object's is known wherever it is, another's is in view."""
        wanted = thing == self.envs[n].simulator.wanted
        return self.observations["object"][n] if wanted else self.sights[n][thing].at

    def _carried_out(self, wanting: list[tuple[int, Call]]) -> np.ndarray:
        """(M, 11) the options' mean actions."""
        from askonce.pipeline.tasks.navpick import options

        actions = np.zeros((len(wanting), len(ACTIONS)), np.float32)
        for name in POLICIES.values():
            rows = [row for row, (_, call) in enumerate(wanting) if call.policy == name]
            if rows:
                actions[rows] = options.policy(name)(self._shown([wanting[row] for row in rows]))
        # Whoever drives keeps hold of what it holds.
        rows = [
            row
            for row, (n, call) in enumerate(wanting)
            if call.policy == "navigate" and self.observations["holding"][n, 0] > 0
        ]
        actions[rows, GRIP] = 1.0
        return actions

    def _shown(self, wanting: Sequence[tuple[int, Call]]) -> np.ndarray:
        """(M, VIEW_SIZE) the views, as if the called object were the wanted one."""
        rows = [n for n, _ in wanting]
        views = self.view[rows]
        others = [row for row, (n, call) in enumerate(wanting) if call.thing != self.envs[n].simulator.wanted]
        if others:
            places = np.array([self._place(n, call.thing) for n, call in (wanting[row] for row in others)], np.float32)
            x, y, _ = places.T
            # The table is not told apart from what stands on it.
            target = np.stack([np.hypot(x, y), np.arctan2(y, x)], axis=1)
            views[others] = self._seen([rows[row] for row in others], {"object": places, "target": target})
        return views

    def way(self, n: int) -> Way:
        """To the wanted object, over what one robot has seen so far."""
        return self._memories[n].way(self.observations["pose"][n], self.observations["object"][n, :2])

    def _observe(self, n: int, observation: dict[str, np.ndarray]) -> None:
        super()._observe(n, observation)
        self._memories[n].update(observation)
        self.sights[n] = {sight.name: sight for sight in self.envs[n].simulator.sights()}

    def _tell(self, index: np.ndarray) -> None:
        """Texts are numbered as they are met: by one thread, in one order."""
        self._changed[index] = True
        for n in index.tolist():
            env = self.envs[n]
            text = describe.text(env.simulator.wanted, list(self.sights[n].values()), env.reading)
            self._situations[n] = self.task.number(text)
