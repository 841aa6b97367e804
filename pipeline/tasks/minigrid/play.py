"""Decisions carried out in copies of states, option by option, and then the continuation, until the episode ends.

What an option names is bound where the decision starts: a door to its cell, a key to its colour, which no two
keys of a room share; whatever comes into sight meanwhile changes nothing about it. What the text does not name
is looked for when its option's turn comes. An option has ended

- when the options say so (`options.option_action`),
- when it has tried once to pick up or to open what is ahead: an attempt that failed would be repeated for ever,
- when a step changed nothing, for the same reason: what cannot be carried out costs a step,
- explore: when the text has changed, for then an LLM is asked anew.

A decision all of whose options have ended where it starts is one step of standing still, as it is for a teacher.

Every copy starts with the clock at 0. How late an agent comes into a state is no doing of a decision that is made
there; with the clock as it stood, any step wasted would be a failure in states close enough to the end.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
import os
from typing import TYPE_CHECKING, NamedTuple, cast

from numba import njit
import numpy as np

from askonce.pipeline.compiled import compiled
from askonce.pipeline.tasks.minigrid import continuation, describe, engine, options
from askonce.pipeline.tasks.minigrid.engine import (
    DONE,
    DOOR,
    EMPTY,
    HELD,
    KEY,
    PICK_UP,
    RUNNING,
    SLOTS,
    TERMINATED,
    TOGGLE,
    State,
)
from askonce.pipeline.tasks.minigrid.options import ENDED, EXPLORE
from askonce.pipeline.tasks.minigrid.picture import as_named, picture
from askonce.pipeline.tasks.task import Batch, Decision, Outcomes, Playout, Trace

if TYPE_CHECKING:
    from askonce.pipeline.tasks.minigrid.doorkey import DoorKeyBatch, DoorKeyTask

# What stands in the place of a slot: a name that the text lacks; a colour that it lacks, and any.
ABSENT, OTHER_COLOR, ANY_COLOR = -1, -2, -1
# So many states make a second thread worth while.
FEW = 64
ENDS = ("success", "lava", "too long")


class Steps(NamedTuple):
    """A decision's options for the states of one text, L of them.

    verb   (L,) as in `options.Plans`
    slot   (L,) which thing of the text, ABSENT for none of them
    kind   (L,) what to look for in the place of an absent one: KEY, DOOR, or EMPTY for nothing that there is
    color  (L,) then, the slot of a thing of that colour, OTHER_COLOR or ANY_COLOR
    """

    verb: np.ndarray
    slot: np.ndarray
    kind: np.ndarray
    color: np.ndarray


def steps_of(compiled: list[tuple[int, int]], decision: Decision, known: describe.Facts) -> Steps:
    """From (verb, slot) of each option, as for `options.Plans`, and its words."""
    colors = {
        name.split()[0]: slot
        for name, slot in zip((*known.sees, known.holds or ""), (*known.slots, HELD))
        if len(name.split()) > 1
    }
    rows = []
    for (verb, slot), words in zip(compiled, decision, strict=True):
        *before, noun = words.split()
        kind = {"key": KEY, "door": DOOR}.get(noun.rstrip("0123456789"), EMPTY) if slot < 0 else EMPTY
        color = next((word for word in before if word in describe.CANONICAL_COLORS), None)
        rows.append((verb, slot, kind, colors.get(color, OTHER_COLOR) if color else ANY_COLOR))
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    return Steps(*np.ascontiguousarray(columns))


@njit(cache=True, nogil=True)
def _look_at_slots(state, n):
    """(SLOTS, 4): kind, colour, x and y of what the text names, kind EMPTY for nothing."""
    things = np.zeros((SLOTS, 4), np.int64)
    for slot in range(SLOTS):
        x, y = state.cells[n, slot, 0], state.cells[n, slot, 1]
        if x >= 0:
            # The agent's own cell shows what it holds.
            things[slot, 0], things[slot, 1] = state.observation[n, x, y, 0], state.observation[n, x, y, 1]
            things[slot, 2], things[slot, 3] = x, y
        else:
            things[slot, 0] = EMPTY
    return things


@njit(cache=True, nogil=True)
def _slot(state, n, steps, at, named, found):
    """Where the thing of option `at` is now among what a text would name, ABSENT if it is not.

    `named` are the things of the text (`_look_at_slots`), `found` (L, 4) what absent ones turned out to be.
    """
    thing = found[at]
    if steps.slot[at] >= 0:
        thing = named[steps.slot[at]]
    elif thing[0] == EMPTY and steps.kind[at] != EMPTY:
        for other in _look_at_slots(state, n):
            if other[0] == steps.kind[at] and _is_new(other, named) and _has_color(other, steps.color[at], named):
                thing[:] = other
                break
    if thing[0] == EMPTY:
        return ABSENT
    now = _look_at_slots(state, n)
    for slot in range(SLOTS):
        if _is_same(now[slot], thing):
            return slot
    return ABSENT


@njit(cache=True, nogil=True)
def _is_same(one, other):
    """A key is known by its colour, a door by its place."""
    if one[0] != other[0] or one[1] != other[1]:
        return False
    return one[0] == KEY or (one[2] == other[2] and one[3] == other[3])


@njit(cache=True, nogil=True)
def _is_new(thing, named):
    for other in named:
        if _is_same(thing, other):
            return False
    return True


@njit(cache=True, nogil=True)
def _has_color(thing, color, named):
    if color == ANY_COLOR:
        return True
    if color != OTHER_COLOR:
        return thing[1] == named[color, 1]
    for other in named:
        if other[0] != EMPTY and other[1] == thing[1]:
            return False
    return True


@compiled
def _play(state, steps, colored, careful, always, max_steps, success, killed, taken, poses, decided):
    """Writes (P,) outcomes of states (P, …); `poses` (P or 0, max_steps + 1, 4) and `decided` (P,) the way.

    `careful` is for the decision, `always` (True) for the continuation.
    """
    search = options.make_scratch(state).search
    for n in range(state.steps.shape[0]):
        state.steps[n], state.ended[n], reward = 0, RUNNING, 0.0
        named, found = _look_at_slots(state, n), np.full((steps.verb.shape[0], 4), EMPTY, np.int64)
        at, begun, situation = 0, True, state.situation[n]
        while state.ended[n] == RUNNING:
            if begun:
                situation = state.situation[n]
            if at < steps.verb.shape[0]:
                slot = _slot(state, n, steps, at, named, found)
                if steps.verb[at] == EXPLORE and state.situation[n] != situation:
                    action = ENDED
                else:
                    action = options.option_action(state, n, steps.verb[at], slot, search, careful)
                begun = action == ENDED
                if begun:
                    at += 1
                    continue
                decided[n] += 1
            elif at > 0 and decided[n] == 0:
                action = DONE
                decided[n] = 1
            else:
                action = continuation.competent_action(state, n, search, always)
            x, y, direction, kind = state.agent[n, 0], state.agent[n, 1], state.agent[n, 2], state.held[n, 0]
            if poses.shape[0] > 0:
                row = poses[n, state.steps[n]]
                row[0], row[1], row[2], row[3] = x, y, direction, action
            reward += engine.step_one(state, n, action, max_steps, colored)
            same = (
                x == state.agent[n, 0]
                and y == state.agent[n, 1]
                and direction == state.agent[n, 2]
                and kind == state.held[n, 0]
            )
            if at < steps.verb.shape[0] and (same or action == PICK_UP or action == TOGGLE or action == DONE):
                at += 1
                begun = True
        success[n] = reward > 0
        killed[n] = reward <= 0 and state.ended[n] & TERMINATED > 0
        taken[n] = state.steps[n]
        if poses.shape[0] > 0:
            row = poses[n, state.steps[n]]
            row[0], row[1], row[2], row[3] = state.agent[n, 0], state.agent[n, 1], state.agent[n, 2], -1


@compiled
def _first_actions(state, steps, careful, always, actions):
    """Writes (P,) the first action of the decision, that of the continuation where it has none."""
    search = options.make_scratch(state).search
    for n in range(actions.shape[0]):
        named, found = _look_at_slots(state, n), np.full((steps.verb.shape[0], 4), EMPTY, np.int64)
        actions[n] = ENDED
        for at in range(steps.verb.shape[0]):
            slot = _slot(state, n, steps, at, named, found)
            actions[n] = options.option_action(state, n, steps.verb[at], slot, search, careful)
            if actions[n] != ENDED:
                break
        if actions[n] == ENDED and steps.verb.shape[0] > 0:
            actions[n] = DONE
        elif actions[n] == ENDED:
            actions[n] = continuation.competent_action(state, n, search, always)


@dataclass(frozen=True)
class DoorKeyPlayout(Playout):
    """`pipeline.tasks.task.Playout` of one of the DoorKey tasks."""

    task: "DoorKeyTask"

    @property
    def time(self) -> int:
        return self.task.max_steps

    @property
    def dangerous(self) -> bool:
        return "lava" in self.task.contents

    def copy(self, batch: Batch, index: np.ndarray) -> State:
        return State(*(array[index] for array in cast("DoorKeyBatch", batch).state))

    def play(self, states: State, decision: Decision, careful: bool = False) -> Outcomes:
        count = len(states.steps)
        outcomes = Outcomes(np.zeros(count, bool), np.zeros(count, bool), np.zeros(count, np.int64))
        steps = self._steps(states, decision)

        def part(first: int, last: int) -> None:
            self._run(states, slice(first, last), steps, careful, outcomes, np.zeros((0, 0, 4), np.int16))

        # Whatever the number of threads: each state is played by itself.
        threads = min(os.cpu_count() or 1, 2, max(count // FEW, 1))
        bounds = [count * thread // threads for thread in range(threads + 1)]
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(part, bounds, bounds[1:]))
        return outcomes

    def trace(self, states: State, decision: Decision, careful: bool = False) -> Trace:
        outcomes = Outcomes(np.zeros(1, bool), np.zeros(1, bool), np.zeros(1, np.int64))
        poses = np.zeros((1, self.time + 1, 4), np.int16)
        decided = self._run(states, slice(0, 1), self._steps(states, decision), careful, outcomes, poses)
        end = ENDS[0] if outcomes.success[0] else ENDS[1] if outcomes.killed[0] else ENDS[2]
        return Trace(poses[0, : outcomes.steps[0] + 1], int(decided[0]), end)

    def next_actions(self, states: State, decision: Decision, careful: bool = False) -> np.ndarray:
        steps, actions = self._steps(states, decision), np.empty(len(states.steps), np.int64)
        _first_actions(states, steps, careful, True, actions)
        return actions

    def picture(self, states: State) -> tuple[np.ndarray, np.ndarray]:
        return states.world[0], states.observation[0]

    def returns(self, outcomes: Outcomes) -> np.ndarray:
        """MiniGrid's reward: 1 − 0.9·t/T for a success after t steps."""
        return outcomes.success * (1 - 0.9 * outcomes.steps / self.time)

    def drawing(self, world: np.ndarray, knowledge: np.ndarray, trace: Trace) -> str:
        if self.task.colored:
            world, knowledge = as_named(world, knowledge)
        return picture(world, knowledge, trace)

    def load(self, states: State) -> Batch:
        batch = self.task.batch(len(states.steps))
        for ours, theirs in zip(batch.state, states):
            ours[:] = theirs
        return batch

    def _steps(self, states: State, decision: Decision) -> Steps:
        known = self.task.facts(int(states.situation[0]))
        return steps_of([self.task.compile(words, known) for words in decision], decision, known)

    def _run(
        self, states: State, part: slice, steps: Steps, careful: bool, outcomes: Outcomes, poses: np.ndarray
    ) -> np.ndarray:
        copies = State(*(array[part].copy() for array in states))
        decided = np.zeros(len(copies.steps), np.int64)
        _play(
            copies,
            steps,
            self.task.colored,
            careful,
            True,
            self.time,
            outcomes.success[part],
            outcomes.killed[part],
            outcomes.steps[part],
            poses,
            decided,
        )
        return decided
