"""The contract: what every task must offer, and what it may. An environment, its options, its texts, its prompt.

The pipeline and the student meet a task only through `Task` and `Batch`. The MiniGrid tasks
implement both with one compiled engine (`pipeline/tasks/minigrid`); a task of your own is
usually a `GymTask` (`pipeline/tasks/gym_task.py`), which implements them over any Gymnasium
environment from a few Python functions.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gymnasium import Space
from gymnasium.spaces import Box, Discrete
import numpy as np

from askonce.cache.errors import AskonceError

# What an LLM answered for one text: options in the order in which they are to be carried out,
# each in normal form, such as ("go to red key", "pick up red key").
Decision = tuple[str, ...]

# text → decision → probability
Distributions = Mapping[str, Mapping[Decision, float]]

# The same one by one: None for a text without an answer, empty where no answer holds a decision.
Lookup = Callable[[str], Mapping[Decision, float] | None]


@dataclass(frozen=True)
class Option:
    """One kind of option as the LLM is told of it.

    `name` is the verb in normal form ("go to"); with `takes_object` it is followed by an object
    of the text ("go to red key"). `synonyms` are other verbs that LLMs write for it.
    """

    name: str
    help: str
    takes_object: bool = True
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """A text, and the three stages of the answer to it."""

    text: str
    observation: str
    reasoning: str
    decision: Decision


@dataclass(frozen=True)
class Prompt:
    """A task's part of the prompt; `pipeline/prompt.py` frames it.

    `setting` says where the agent is, what it must do and by which rules; the worked example is a
    text with the three stages of its answer: what is seen and held, what should be done, the decision. There may be
    `more_examples`, which prompts of several examples show after it.
    """

    setting: str
    options: tuple[Option, ...]
    example_text: str
    example_observation: str
    example_reasoning: str
    example_decision: Decision
    more_examples: tuple[Example, ...] = ()


@dataclass
class Advice:
    """What the teacher's decisions would do next in each of N environments (Eq. 1).

    actions        (N, K) int64, or (N, K, A) float32 where actions are vectors: the next action of each of up to K
                   decisions, the idle one where there is none
    probabilities  (N, K) float32: Pr(decision | text); rows of zeros where the text has no answer
    deviation      of vectors: the standard deviation of the options' Gaussian policies about `actions`, one number
                   or (A,)
    ended          (N, K) bool: which decisions have no option left that could act; None where that is not told
    """

    actions: np.ndarray
    probabilities: np.ndarray
    deviation: float | np.ndarray = 0.0
    ended: np.ndarray | None = None


@dataclass(frozen=True)
class Kernels:
    """Compiled functions (numba's) of a world, for the loop that the learner compiles of them.

    state      a NamedTuple of arrays over N environments; of it the loop reads `ended` (N,) uint8, 0 while an episode
               runs, with bit 1 once it has terminated and bit 2 where it was truncated, and `situation` (N,) int64
    rules      what the functions need to know besides, the same in every environment
    max_steps  T, of an episode
    most_ones  M, the width of `Batch.ones`
    step       (state, n, action, rules) → the reward, the state being written in place
    advise     (state, n, plans, actions (K,), probabilities (K,), scratch): writes one row of `Batch.advise`
    list_ones  (state, n, rules, ones (M,)): writes one row of `Batch.ones`
    scratch    (state) → room to work in, for `advise`
    decisions  (plans) → K
    no_plans   plans without any decision
    """

    state: Any
    rules: Any
    max_steps: int
    most_ones: int
    step: Callable[..., Any]
    advise: Callable[..., Any]
    list_ones: Callable[..., Any]
    scratch: Callable[..., Any]
    decisions: Callable[..., Any]
    no_plans: Any


class Batch(ABC):
    """N environments that advance together. An ended one stays as it ended until it is reset.

    size          N
    observations  (N, ...) what each agent knows now
    view          (N, F) uint8 or float32: the same as the inputs of the student's network
    situations    (N,) int64: equal where the text is equal; `Task.text` writes it out

    What is abstract every world gives; the rest has a default, and is there to be overridden.
    """

    size: int

    @property
    @abstractmethod
    def observations(self) -> Any: ...

    @property
    @abstractmethod
    def view(self) -> np.ndarray: ...

    @property
    @abstractmethod
    def situations(self) -> np.ndarray: ...

    @abstractmethod
    def reset(self, index: np.ndarray, seeds: np.ndarray) -> None:
        """Starts environments `index` anew, environment index[i] with the layout of seeds[i]."""

    @abstractmethod
    def step(self, actions: np.ndarray, going: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(N, …) actions → (N,) float64 rewards, bool terminated, bool truncated.

        An ended environment stands still, earns nothing, and reports again how it ended. So does one that is held
        back: `going` (N,) bool says which act, None all. Vectors are clipped to the action space.
        """

    @abstractmethod
    def advise(self, plans: Any, going: np.ndarray | None = None) -> Advice:
        """The next action of every decision in `plans` (made by `Task.plans`) for the present texts.

        `going` (N,) bool says which environments are asked about, None all; of the others nothing is told.
        """

    @property
    def ones(self) -> np.ndarray | None:
        """(N, M) uint16: the inputs of a one-hot `view` that are 1, in any order, each row filled up with F.

        None where the view is not one-hot; with them the student is a good deal faster.
        """
        return None

    @property
    def durations(self) -> np.ndarray:
        """(N,) int64: how many of the world's steps the last step took."""
        return np.ones(self.size, np.int64)

    def worth(self, rewards: np.ndarray, discount: float) -> np.ndarray:
        """(N,) the last step's `rewards` as seen from its beginning, where they are paid with its last one.

        Sutton et al. 1999; a batch with rewards on the way discounts each by its own time.
        """
        return np.asarray(rewards * discount ** np.maximum(self.durations - 1, 0))

    def successes(self, returns: np.ndarray) -> np.ndarray:
        """(N,) bool: which of the episodes that have ended with these returns succeeded."""
        return returns > 0

    def kernels(self) -> Kernels | None:
        """What the learner compiles a whole rollout of; None where the world is stepped from Python."""
        return None


@dataclass(frozen=True)
class Watched:
    """One environment for people to look at; what a task cannot show is None.

    batch    of one environment
    picture  pixels a side → (h, w, 3) uint8: the world as it is, about as large
    symbols  the rows of the agent's map, each cell a symbol and the name of its colour
    holds    what the agent holds, in words
    fps      steps that are shown a second
    """

    batch: Batch
    picture: Callable[[int], np.ndarray] | None = None
    symbols: Callable[[], list[list[tuple[str, str]]]] | None = None
    holds: Callable[[], str] | None = None
    fps: float = 4.0


@dataclass(frozen=True)
class Scene:
    """What a text says, for the rules by which a decision is judged without playing it (`pipeline.audit.rules`).

    sees, holds  the names in the text, in its order; `holds` is None for nothing
    appears      nouns of what exploring may bring into sight
    takes, opens nouns of what can be picked up, and of what can be opened
    which        (words, names) → the index of the one name that an option's object means, else -1
    unlocks      (thing, what is held or None) → whether opening it would succeed, as far as names tell
    wanted       the only thing that may be picked up, until it is where it belongs; None for any
    ahead        what is within reach, where the text tells
    """

    sees: tuple[str, ...]
    holds: str | None
    appears: frozenset[str]
    takes: frozenset[str]
    opens: frozenset[str]
    which: Callable[[str, Sequence[str]], int]
    unlocks: Callable[[str, str | None], bool]
    wanted: str | None = None
    ahead: str | None = None


@dataclass(frozen=True)
class Outcomes:
    """How P states went on: `success` (P,) bool, `killed` (P,) bool, `steps` (P,) int64 from the state to the end.

    `killed` is an end in failure before the time was up.
    """

    success: np.ndarray
    killed: np.ndarray
    steps: np.ndarray


@dataclass(frozen=True)
class Trace:
    """One state played out, for a picture.

    poses    (N, 4) int16: x, y, direction, and the action taken there, -1 at the last
    decided  how many of the actions belong to the decision; the continuation takes the others
    end      success, lava or too long
    """

    poses: np.ndarray
    decided: int
    end: str

    @property
    def steps(self) -> int:
        return len(self.poses) - 1


class Playout(ABC):
    """States of a task, copied out of its batches, from which decisions are played out.

    A decision is carried out option by option until the last has ended; then one fixed competent policy goes on
    that sees no more than the agent does. Both have the task's whole time, however late the state was visited.
    The same call gives the same result. A careful execution goes around what kills and has been seen.

    """

    @property
    @abstractmethod
    def time(self) -> int:
        """The most steps of an episode."""

    @property
    @abstractmethod
    def dangerous(self) -> bool:
        """Whether anything kills, so that a careful execution may differ."""

    @abstractmethod
    def copy(self, batch: "Batch", index: np.ndarray) -> Any:
        """The states of these environments: arrays by name (a NamedTuple), the environment's axis first."""

    @abstractmethod
    def play(self, states: Any, decision: Decision, careful: bool = False) -> Outcomes:
        """`decision` and what follows, from each of the states; () is the competent policy alone.

        All states have the same text.
        """

    @abstractmethod
    def trace(self, states: Any, decision: Decision, careful: bool = False) -> Trace:
        """The same from the first of the states, with the way it took."""

    @abstractmethod
    def next_actions(self, states: Any, decision: Decision, careful: bool = False) -> np.ndarray:
        """(P,) the first action of the decision in each state."""

    @abstractmethod
    def picture(self, states: Any) -> tuple[np.ndarray, np.ndarray]:
        """The first state's world (W, H, 3) uint8 and what the agent knows of it, (W, H, 4) uint8."""

    @abstractmethod
    def returns(self, outcomes: Outcomes) -> np.ndarray:
        """(P,) what the world pays for these outcomes."""

    def drawing(self, world: np.ndarray, knowledge: np.ndarray, trace: Trace) -> str:
        """A state as `picture` gives it with the way that was taken from it, as SVG; empty where nothing draws it."""
        return ""

    @abstractmethod
    def load(self, states: Any) -> "Batch":
        """A batch of environments in these states."""


# (batch, running (N,) bool) → (N, A) actions.
Act = Callable[[Batch, np.ndarray], np.ndarray]


class Lesson(ABC):
    """An option that a network can learn from a scripted expert (`student.learning.pretrain`).

    error_weights  (A,) how much the error in each number of an action counts
    weights        the file of the weights that come with the task
    """

    @property
    @abstractmethod
    def error_weights(self) -> tuple[float, ...]: ...

    @property
    @abstractmethod
    def weights(self) -> Path: ...

    @abstractmethod
    def network(self) -> Any:
        """An untrained torch module, (B, F) views → (B, A) actions."""

    @abstractmethod
    def save(self, network: Any, path: Path, about: dict[str, Any]) -> None:
        """Writes its weights, with what is said of them."""

    @abstractmethod
    def load(self, path: Path) -> Any:
        """AskonceError where there are no weights of this option."""

    @abstractmethod
    def policy(self, network: Any) -> Callable[[np.ndarray], np.ndarray]:
        """(N, F) views → (N, A) actions."""

    @abstractmethod
    def play(self, seeds: np.ndarray, act: Act) -> list[tuple[str, int]]:
        """(ending, steps) of an episode for each seed; "success" is the option's own goal, "" the time's end."""

    @abstractmethod
    def expert(self, batch: Batch) -> Callable[[int], np.ndarray]:
        """n → (A,) what the expert would do now in environment n of a batch that has just begun."""

    @abstractmethod
    def disturbance(self, size: int, rng: np.random.Generator) -> Callable[[np.ndarray, float], np.ndarray]:
        """((N, A) actions, standard deviation) → the same, disturbed, so that the expert has something to correct."""


class Task(ABC):
    """A world, its options, its text template and its part of the prompt.

    name          what --task takes
    env_id        Gymnasium id of one environment
    prompt        the task's part of the prompt
    action_space  of one environment
    view_size     F, the width of `Batch.view`

    What is abstract, and the attributes above, every task gives. The rest has a default, and is there to be
    overridden:

    action_names  one word or two for each action; by default "action 0", "action 1", …
    image_shape   (H, W, C) where `Batch.view` begins with an image: its first H·W·C columns, in this order
    idle_action   (A,) where actions are vectors: the one that does nothing, at which the student starts
    together      the most environments worth having at once, and episodes worth playing, where steps are costly
    separable     whether there are layouts enough to evaluate on others than those of training
    simulator     what steps the world, where there are several to choose from
    fixed_options names of the K options among which the hierarchical baseline's policy chooses
    acts_by_options  whether the actions are these options (`over_options`)
    """

    name: str
    env_id: str
    prompt: Prompt
    action_space: Space[Any]
    view_size: int

    action_names: tuple[str, ...] = ()
    image_shape: tuple[int, ...] = ()
    idle_action: np.ndarray | float = 0.0
    together: int | None = None
    separable: bool = True
    simulator: str | None = None
    fixed_options: tuple[str, ...] = ()
    acts_by_options: bool = False

    @abstractmethod
    def batch(self, size: int) -> Batch:
        """A fresh batch of `size` environments, to be reset before use."""

    @abstractmethod
    def seeds(self, count: int, seed: int, held_out: bool = False) -> np.ndarray:
        """`count` layout seeds (int64) drawn from `seed`; held-out layouts never occur in the others."""

    @abstractmethod
    def text(self, situation: int) -> str:
        """The text description c(s) of one value of `Batch.situations`."""

    @abstractmethod
    def decisions(self, text: str) -> tuple[Decision, ...]:
        """The single-option decisions that make sense in `text`: what option-driven rollouts draw from."""

    def candidates(self, text: str) -> tuple[Decision, ...]:
        """The decisions among which an LLM chooses that is asked for one letter: those, and usual plans."""
        return self.decisions(text)

    @abstractmethod
    def plans(self, distributions: Distributions, earlier: Any = None) -> Any:
        """Decisions and their probabilities in the form that `Batch.advise` executes.

        With `earlier` plans, those and these together; `earlier` is used up. Texts are met one after
        another, so what this costs must not grow with how many are in `earlier` (but now and then).
        """

    def describe(self, sees: Sequence[str], holds: str | None) -> str:
        """The text that names what is seen and held, in this order. ValueError where texts are not made so."""
        raise ValueError(f"{self.name} has no text for what is seen and held")

    def canonical(self, words: str) -> str:
        """A name or an option as decisions recorded elsewhere write it → as this task's texts write it."""
        return words

    def random_actions(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """(N, …) what rollouts at random do: uniform, unless that tells nothing."""
        space = self.action_space
        if isinstance(space, Box):
            return rng.uniform(space.low, space.high, (size, *space.shape))
        assert isinstance(space, Discrete), f"{space} is neither of numbers nor of vectors"
        return np.asarray(space.start + rng.integers(int(space.n), size=size))

    def carry_out(self, text: str) -> tuple[Decision, ...]:
        """The K decisions of one option each that `fixed_options` name, as they are carried out in `text`."""
        return ()

    def over_options(self) -> "Task":
        """The same task with its fixed options for actions. AskonceError where it has none."""
        from askonce.pipeline.tasks.over_options import OptionsTask

        if not self.fixed_options:
            raise AskonceError(
                f"the hierarchical baseline has no options for {self.name}: it learns SimpleDoorKey, LavaDoorKey, "
                "ColoredDoorKey, DivergedDoorKey, NavPick, and tasks that offer fixed options of their own",
                2,
            )
        return OptionsTask(self)

    def watched(self) -> Watched:
        """One environment for people to look at, with what the task can show of it."""
        return Watched(self.batch(1))

    def view_module(self) -> Any | None:
        """A torch module from `Batch.observations` to `Batch.view`, for exported students to take observations."""
        return None

    def scene(self, text: str) -> Scene | None:
        """What `text` says, for the audit's rules; None where decisions are not judged by rules."""
        return None

    def playout(self) -> Playout | None:
        """For the audit: what plays decisions out; None where that cannot be done."""
        return None

    def lessons(self) -> Mapping[str, Lesson]:
        """The options that can be learnt from an expert, by name."""
        return {}

    def sources(self) -> tuple[Path, ...]:
        """The files, beside those that all tasks share, on which the course of a run depends."""
        return ()


def action_names(task: Task) -> tuple[str, ...]:
    """The task's own, or "action 0", "action 1", … A vector has a name for each of its numbers."""
    space = task.action_space
    count = int(space.n) if isinstance(space, Discrete) else int(np.prod(space.shape or ()))
    return task.action_names or tuple(f"action {action}" for action in range(count))


def worth_playing(task: Task, usual: int) -> int:
    """How many episodes to play where nobody says, or at once; fewer of a world whose steps are costly."""
    return usual if task.together is None else min(usual, task.together)
