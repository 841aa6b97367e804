"""The protocol that every task obeys: an environment, its options, its texts, its part of the prompt.

The pipeline and the student meet a task only through `Task` and `Batch`. The MiniGrid tasks
implement both with one compiled engine (`pipeline/tasks/minigrid`); a task of your own is
usually a `GymTask` (`pipeline/tasks/gym_task.py`), which implements them over any Gymnasium
environment from a few Python functions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gymnasium import Space
from gymnasium.spaces import Discrete
import numpy as np

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
class Prompt:
    """A task's part of the prompt; `pipeline/prompt.py` frames it.

    `setting` says where the agent is, what it must do and by which rules; the worked example is a
    text with the three stages of its answer: what is seen and held, what should be done, the decision.
    """

    setting: str
    options: tuple[Option, ...]
    example_text: str
    example_observation: str
    example_reasoning: str
    example_decision: Decision


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


class Batch(Protocol):
    """N environments that advance together. An ended one stays as it ended until it is reset.

    size          N
    observations  (N, ...) what each agent knows now
    view          (N, F) uint8 or float32: the same as the inputs of the student's network
    situations    (N,) int64: equal where the text is equal; `Task.text` writes it out

    Where `view` is one-hot a batch may offer `ones` too, for a faster student: (N, M) uint16, the inputs
    that are 1 in any order, each row filled up with F. Where a positive return is no success, `successes` (N,) bool
    says whether each episode that has ended succeeded. A batch whose steps take several of the world's each says
    how many by `durations` (N,) int64, and is paid with the last of them; or it has rewards on the way, which
    `worth(discount)` (N,) float64 discounts to the step's beginning.
    """

    size: int
    observations: np.ndarray
    view: np.ndarray
    situations: np.ndarray

    def reset(self, index: np.ndarray, seeds: np.ndarray) -> None:
        """Starts environments `index` anew, environment index[i] with the layout of seeds[i]."""

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(N, …) actions → (N,) float64 rewards, bool terminated, bool truncated.

        An ended environment stands still, earns nothing, and reports again how it ended. Vectors are clipped to the
        action space. Where the task has `skills`, a second argument, (N,) bool, says which of the others go on.
        """

    def advise(self, plans: Any) -> Advice:
        """The next action of every decision in `plans` (made by `Task.plans`) for the present texts.

        Where the task has `skills`, a second argument, (N,) bool, says of which that is asked.
        """


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


class Playout(Protocol):
    """States of a task, copied out of its batches, from which decisions are played out.

    A decision is carried out option by option until the last has ended; then one fixed competent policy goes on
    that sees no more than the agent does. Both have the task's whole time, however late the state was visited.
    The same call gives the same result. A careful execution goes around what kills and has been seen.

    time       the most steps of an episode
    dangerous  whether anything kills, so that a careful execution may differ
    """

    time: int
    dangerous: bool

    def copy(self, batch: "Batch", index: np.ndarray) -> Any:
        """The states of these environments: arrays by name (a NamedTuple), the environment's axis first."""

    def play(self, states: Any, decision: Decision, careful: bool = False) -> Outcomes:
        """`decision` and what follows, from each of the states; () is the competent policy alone.

        All states have the same text.
        """

    def trace(self, states: Any, decision: Decision, careful: bool = False) -> Trace:
        """The same from the first of the states, with the way it took."""

    def next_actions(self, states: Any, decision: Decision, careful: bool = False) -> np.ndarray:
        """(P,) the first action of the decision in each state."""

    def picture(self, states: Any) -> tuple[np.ndarray, np.ndarray]:
        """The first state's world (W, H, 3) uint8 and what the agent knows of it, (W, H, 4) uint8."""

    def load(self, states: Any) -> "Batch":
        """A batch of environments in these states."""


class Task(Protocol):
    """A world, its options, its text template and its part of the prompt.

    name          what --task takes
    env_id        Gymnasium id of one environment
    prompt        the task's part of the prompt
    action_space  of one environment
    view_size     F, the width of `Batch.view`

    A task may offer more: `action_names`, one word or two for each action; `watched()`, a `Watched` that
    shows people the world as well as its texts; `view_module()`, a torch module from `Batch.observations` to
    `Batch.view`, for exported students to take observations (see `pipeline/tasks/minigrid/torch_view.py`);
    for the audit, `scene(text)`, a `Scene`, and `playout()`, a `Playout`; for the hierarchical baseline,
    `skill_names`, K of them, and `skills(text)`, the K decisions of one option each that its policy chooses among.

    image_shape   (H, W, C) where `Batch.view` begins with an image: its first H·W·C columns, in this order
    idle_action   (A,) where actions are vectors: the one that does nothing, at which the student starts
    together      the most environments worth having at once, and episodes worth playing, where steps are costly
    random_actions(rng, N)  (N, …) what rollouts at random do, where uniform ones tell nothing
    """

    name: str
    env_id: str
    prompt: Prompt
    action_space: Space
    view_size: int

    def batch(self, size: int) -> Batch:
        """A fresh batch of `size` environments, to be reset before use."""

    def seeds(self, count: int, seed: int, held_out: bool = False) -> np.ndarray:
        """`count` layout seeds (int64) drawn from `seed`; held-out layouts never occur in the others."""

    def text(self, situation: int) -> str:
        """The text description c(s) of one value of `Batch.situations`."""

    def describe(self, sees: Sequence[str], holds: str | None) -> str:
        """The same text from the names of what is seen and held, in the order in which it names them."""

    def canonical(self, words: str) -> str:
        """A name or an option as decisions recorded elsewhere write it → as this task's texts write it."""

    def decisions(self, text: str) -> tuple[Decision, ...]:
        """The single-option decisions that make sense in `text`: what option-driven rollouts draw from."""

    def plans(self, distributions: Distributions, earlier: Any = None) -> Any:
        """Decisions and their probabilities in the form that `Batch.advise` executes.

        With `earlier` plans, those and these together; `earlier` is used up. Texts are met one after
        another, so what this costs must not grow with how many are in `earlier` (but now and then).
        """


def action_names(task: Task) -> tuple[str, ...]:
    """The task's own, or "action 0", "action 1", … A vector has a name for each of its numbers."""
    space = task.action_space
    count = int(space.n) if isinstance(space, Discrete) else int(np.prod(space.shape))
    return getattr(task, "action_names", ()) or tuple(f"action {action}" for action in range(count))


def worth_playing(task: Task, usual: int) -> int:
    """How many episodes to play where nobody says, or at once; fewer of a world whose steps are costly."""
    return min(usual, getattr(task, "together", usual))
