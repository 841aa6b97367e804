"""A world of one's own and the task made of it: the example of docs/adding-a-task.md."""

import gymnasium
from gymnasium import spaces
import numpy as np

from askonce.pipeline.tasks.gym_task import GymTask
from askonce.pipeline.tasks.task import Option, Prompt

LENGTH, STEPS = 10, 60
STAY, LEFT, RIGHT, TAKE, OPEN = range(5)


class Corridor(gymnasium.Env):
    """A corridor of 10 cells with an agent, a key and a locked door, each somewhere else."""

    observation_space = spaces.Dict(
        {
            "agent": spaces.Discrete(LENGTH),
            "key": spaces.Discrete(LENGTH),
            "door": spaces.Discrete(LENGTH),
            "holds": spaces.Discrete(2),
        }
    )
    action_space = spaces.Discrete(5)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.agent, self.key, self.door = map(int, self.np_random.permutation(LENGTH)[:3])
        self.holds = self.steps = 0
        return self._observation(), {}

    def step(self, action):
        self.steps += 1
        self.agent = int(np.clip(self.agent + {LEFT: -1, RIGHT: 1}.get(int(action), 0), 0, LENGTH - 1))
        self.holds |= int(action == TAKE and self.agent == self.key)
        opened = bool(action == OPEN and self.agent == self.door and self.holds)
        reward = 1 - 0.9 * self.steps / STEPS if opened else 0.0
        return self._observation(), reward, opened, False, {}

    def _observation(self):
        return {"agent": self.agent, "key": self.key, "door": self.door, "holds": self.holds}


gymnasium.register("Corridor-v0", Corridor, max_episode_steps=STEPS)


def write(seen) -> str:
    """Observation → text: what the LLM is asked about."""
    things = ["door"] if seen["holds"] else ["key", "door"]
    place = next((f"at the {thing}" for thing in things if seen["agent"] == seen[thing]), "between things")
    held = "a key" if seen["holds"] else "nothing"
    return f"Agent stands {place}, sees {', '.join(f'a {thing}' for thing in things)}, holds {held}."


def options(text: str) -> list[str]:
    """The options that make sense in a text: what rollouts try out."""
    if "holds a key" in text:
        return ["go to door", "open door"]
    return ["go to key", "take key", "go to door"]


def act(option: str, seen) -> int | None:
    """The option's next action; None once it has ended, or where it cannot do anything."""
    verb, _, thing = option.rpartition(" ")
    if thing not in ("key", "door"):
        return None
    distance = seen[thing] - seen["agent"]
    match verb:
        case "go to" if distance:
            return RIGHT if distance > 0 else LEFT
        case "take" if thing == "key" and not distance and not seen["holds"]:
            return TAKE
        case "open" if thing == "door" and not distance:
            return OPEN
    return None


def look(seen) -> np.ndarray:
    """Observation → the inputs of the student's network: one-hot places, and whether it holds the key."""
    places = [np.eye(LENGTH, dtype=np.float32)[seen[name]] for name in ("agent", "key", "door")]
    return np.concatenate([*places, [np.float32(seen["holds"])]])


CORRIDOR = GymTask(
    name="Corridor",
    env_id="Corridor-v0",
    prompt=Prompt(
        setting="An agent is in a corridor with a key and a locked door. It has to open the door, for which "
        "it needs the key.",
        options=(
            Option("go to", "walk until the agent stands at the object", synonyms=("walk to", "move to")),
            Option("take", "take the object at which the agent stands", synonyms=("pick up", "get", "grab")),
            Option("open", "open the object at which the agent stands", synonyms=("unlock",)),
        ),
        example_text="Agent stands at the door, sees a door, holds a key.",
        example_observation="The agent stands at the door and holds a key.",
        example_reasoning="The key fits the door, so it should open the door.",
        example_decision=("open door",),
    ),
    write=write,
    options=options,
    act=act,
    look=look,
    idle=STAY,
    action_names=("stay", "left", "right", "take", "open"),
)
