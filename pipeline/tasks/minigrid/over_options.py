"""The hierarchical baseline: a policy over the task's options, learnt from scratch, without an LLM.

As Matthews et al. 2022, whom the paper compares with, the student is given the options' own policies and learns
when to start which. It is a semi-Markov decision process (Sutton et al. 1999): each decision starts an option,
which runs until it ends, and pays γ^(k−1) r for k steps that paid r, since here a reward ends the episode; what
follows counts γ^k. All else is PPO as for the other methods, with a network of the same size whose outputs are
options instead of actions.

The options are the same in every state: explore; go to and take each of two keys; drop what is held; go to and open
each of two doors, things being numbered in the order of the scan; and, as options of one step, turning and walking,
without which the baseline could not keep out of lava that the others are blind to. None is masked. One that names
nothing in sight, or has nothing left to do, is carried out as the teacher's are: the agent does nothing for a step.

An option ends when it has nothing left to do, after a step that acts on an object (an attempt may fail, and would be
repeated for ever), with the episode, and when the text changes: only then would an LLM be asked anew, too. Left to
its own end, exploring goes on until the whole room is known, which takes DivergedDoorKey's 60 steps and more.
"""

from dataclasses import dataclass, fields

from gymnasium.spaces import Discrete
from numba import njit
import numpy as np

from askonce.pipeline.compiled import compiled
from askonce.pipeline.tasks.minigrid import engine, options
from askonce.pipeline.tasks.minigrid.doorkey import DoorKeyBatch, DoorKeyTask
from askonce.pipeline.tasks.minigrid.engine import (
    DONE,
    EMPTY,
    FIRST_DOOR,
    FORWARD,
    HELD,
    LEFT,
    PICK_UP,
    RIGHT,
    RUNNING,
    TERMINATED,
    TOGGLE,
    TRUNCATED,
)
from askonce.pipeline.tasks.minigrid.options import DROP_X, ENDED, EXPLORE, GO_TO, OPEN_X, PICK_UP_X

# The verb of an option of one step, whose slot is its action.
STEP = -1
# (verb, slot) of each option, and its name.
OPTIONS = np.array(
    [
        (EXPLORE, -1),
        *((PICK_UP_X, slot) for slot in range(FIRST_DOOR)),
        (DROP_X, HELD),
        *((OPEN_X, slot) for slot in range(FIRST_DOOR, HELD)),
        (STEP, LEFT),
        (STEP, RIGHT),
        (STEP, FORWARD),
    ]
)
NAMES = ("explore", "take key 1", "take key 2", "drop", "open door 1", "open door 2", "turn left", "turn right", "walk")


@dataclass(frozen=True)
class OptionsTask(DoorKeyTask):
    """A DoorKey task whose actions are `OPTIONS` (see `pipeline.tasks.task.Task`)."""

    action_space = Discrete(len(OPTIONS))
    action_names = NAMES
    acts_by_options = True

    def batch(self, size: int) -> "OptionsBatch":
        return OptionsBatch(self, size)


def over_options(task: DoorKeyTask) -> OptionsTask:
    """The same task, its actions being `OPTIONS`."""
    return OptionsTask(**{field.name: getattr(task, field.name) for field in fields(task) if field.init})


class OptionsBatch(DoorKeyBatch):
    """N worlds that advance by an option each, of `durations` (N,) int64 steps; each in its own time."""

    def __init__(self, task: OptionsTask, size: int):
        super().__init__(task, size)
        self._durations = np.zeros(size, np.int64)

    @property
    def durations(self) -> np.ndarray:
        return self._durations

    def kernels(self) -> None:
        """An option takes a step of its own length, which the compiled rollout does not know."""

    def step(self, chosen: np.ndarray, going: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(N,) indices into `OPTIONS`; the rewards are undiscounted."""
        with self._held_back(going):
            _run(self.state, OPTIONS[chosen], self.task.max_steps, self.task.colored, self._rewards, self._durations)
        ended = self.state.ended
        return self._rewards.copy(), ended & TERMINATED > 0, ended & TRUNCATED > 0


@njit(cache=True, nogil=True)
def next_action(state, n, verb, slot, scratch):
    """The next action of one of `OPTIONS` in environment n, ENDED once it has ended."""
    if verb == STEP:
        return slot
    # What is held has to be dropped first, or the agent would turn from a free cell to the key and back for ever.
    if verb == OPEN_X or verb == PICK_UP_X and state.held[n, 0] == EMPTY:
        action = options.option_action(state, n, GO_TO, slot, scratch, False)
        if action != ENDED:
            return action
    return options.option_action(state, n, verb, slot, scratch, False)


@compiled
def _run(state, chosen, max_steps, colored, rewards, durations):
    scratch = options.make_scratch(state)
    for n in range(chosen.shape[0]):
        verb, slot = chosen[n, 0], chosen[n, 1]
        rewards[n], durations[n], situation = 0.0, 0, state.situation[n]
        while state.ended[n] == RUNNING and state.situation[n] == situation:
            action = next_action(state, n, verb, slot, scratch.search)
            if action == ENDED:
                if durations[n] > 0:
                    break
                action = DONE
            rewards[n] += engine.step_one(state, n, action, max_steps, colored)
            durations[n] += 1
            if verb == STEP or action == DONE or action == PICK_UP or action == TOGGLE:
                break
