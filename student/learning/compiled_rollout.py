"""`rollout.collect` for the worlds of the compiled engine: whole episodes without Python between their steps.

The rollout is that of `rollout.collect` with the same student, the same seeds and the same random numbers.
"""

from collections.abc import Callable
import hashlib
from pathlib import Path
from typing import NamedTuple

from numba import njit
import numpy as np

from askonce.pipeline.tasks.minigrid import engine, envs, options, view
from askonce.pipeline.tasks.minigrid.doorkey import DoorKeyBatch
from askonce.pipeline.tasks.minigrid.engine import RUNNING, TRUNCATED, step_one
from askonce.pipeline.tasks.minigrid.options import advise_one, make_scratch
from askonce.pipeline.tasks.minigrid.view import MOST_ONES, ones_of
from askonce.pipeline.tasks.task import Batch
from askonce.student.learning import fused, ppo, rollout
from askonce.student.learning.distill import Teacher
from askonce.student.learning.fused import Layers, forward, log_softmax
from askonce.student.learning.rollout import Rollout, generalized_advantages


class Rules(NamedTuple):
    """What the engine and the view need to know of a task."""

    max_steps: int
    colored: bool
    planes: np.ndarray
    contents: int


class Trace(NamedTuple):
    """Room for T steps of N episodes: by step as it is taken (T · N, …), or by step and environment (T, N)."""

    ones: np.ndarray
    action: np.ndarray
    log_probability: np.ndarray
    teacher: np.ndarray
    reward: np.ndarray
    value: np.ndarray
    alive: np.ndarray


def player(batch: Batch, learner: ppo.Learner | fused.Learner) -> Callable[..., Rollout]:
    """(layout seeds, teacher or None, rng, share that the teacher acts) → a rollout of one episode per environment.

    Compiled where it can be.
    """
    known = learner.hyperparameters
    given = known.discount, known.gae_lambda
    if isinstance(learner, fused.Learner) and type(batch) is DoorKeyBatch and not known.led:
        return lambda seeds, teacher, rng, led=0.0: collect(
            batch, seeds, learner.layers, teacher, rng, *given, known.reward_scale
        )
    return lambda seeds, teacher, rng, led=0.0: rollout.collect(
        batch, seeds, learner.policy, teacher, rng, *given, learner.see, learner.network.actor, known.reward_scale, led
    )


def collect(
    batch: DoorKeyBatch,
    seeds: np.ndarray,
    layers: Layers,
    teacher: Teacher | None,
    rng: np.random.Generator,
    discount: float,
    gae_lambda: float,
    reward_scale: float = 1.0,
) -> Rollout:
    """Plays one episode per environment of `batch` with the student's own actions."""
    task, state, size = batch.task, batch.state, batch.size
    rules = Rules(task.max_steps, task.colored, batch.planes, len(task.contents))
    actions, shape = int(task.action_space.n), (task.max_steps, size)
    trace = Trace(
        np.empty((task.max_steps * size, MOST_ONES), np.uint16),
        np.empty(shape[0] * size, np.int64),
        np.empty(shape[0] * size, np.float32),
        np.zeros((shape[0] * size, actions if teacher else 0), np.float32),
        np.zeros(shape),
        np.zeros(shape, np.float32),
        np.zeros(shape, dtype=bool),
    )
    drawn, last_values = rng.random(shape), np.zeros(size)
    batch.reset(np.arange(size), seeds)
    step = taken = 0
    unmet = True
    while unmet:
        if teacher:
            teacher.meet(state.situation[state.ended == RUNNING])
            answers = teacher.plans, teacher.met, teacher.states
        else:
            answers = task.plans({}), np.zeros(0, dtype=bool), np.zeros(0, np.int64)
        step, taken, unmet = _play(state, rules, layers, *answers, drawn, trace, last_values, step, taken)
    alive, values = trace.alive[:step], trace.value[:step]
    advantages = generalized_advantages(
        reward_scale * trace.reward[:step], values, alive, last_values, discount, gae_lambda
    )[alive]
    returns = trace.reward[:step].sum(axis=0)
    return Rollout(
        view=trace.ones[:taken],
        action=trace.action[:taken],
        log_probability=trace.log_probability[:taken],
        value=values[alive],
        advantage=advantages.astype(np.float32),
        value_target=(advantages + values[alive]).astype(np.float32),
        teacher=trace.teacher[:taken],
        own=np.ones(taken, dtype=bool),
        returns=returns,
        lengths=alive.sum(axis=0),
        successes=returns > 0,
    )


def _make_play(sources: str):
    """Compiles the loop. Numba's cache on disk sees changes of this file alone; `sources` stands for the others."""

    @njit(cache=True, nogil=True, error_model="numpy")
    def play(state, rules, layers, plans, met, states, drawn, trace, last_values, step, taken):
        """Plays on until all have ended, or one comes into a situation that was not met.

        Returns the steps played, the number of rows written, and whether it was the latter.
        """
        sources  # noqa: B018 – part of the function, so that it is part of the cache's key
        advised = trace.teacher.shape[1] > 0
        first, second = np.empty_like(layers.first_bias), np.empty_like(layers.second_bias)
        outputs, scratch = np.empty_like(layers.heads_bias), make_scratch(state)
        decided = np.empty(plans.verb.shape[1], np.int64)
        probabilities = np.empty(plans.verb.shape[1], np.float32)
        while True:
            running = 0
            for n in range(state.ended.shape[0]):
                if state.ended[n] == RUNNING:
                    running += 1
                    if advised and not (state.situation[n] < met.shape[0] and met[state.situation[n]]):
                        return step, taken, True
            if running == 0:
                break
            for n in range(state.ended.shape[0]):
                if state.ended[n] != RUNNING:
                    continue
                if advised:
                    states[state.situation[n]] += 1
                    advise_one(state, n, plans, decided, probabilities, scratch)
                    for k in range(decided.shape[0]):
                        trace.teacher[taken, decided[k]] += probabilities[k]
                ones_of(state, n, rules.planes, rules.contents, trace.ones[taken])
                forward(layers, trace.ones[taken], first, second, outputs)
                log_softmax(outputs)
                action = draw(outputs, drawn[step, n])
                trace.action[taken], trace.log_probability[taken] = action, outputs[action]
                trace.value[step, n], trace.alive[step, n] = outputs[-1], True
                trace.reward[step, n] = step_one(state, n, action, rules.max_steps, rules.colored)
                taken += 1
            step += 1
        for n in range(state.ended.shape[0]):
            # An episode cut off at T would have gone on; one that ended has no future.
            if state.ended[n] == TRUNCATED:
                ones = np.empty(MOST_ONES, np.uint16)
                ones_of(state, n, rules.planes, rules.contents, ones)
                forward(layers, ones, first, second, outputs)
                last_values[n] = outputs[-1]
        return step, taken, False

    return play


@njit(cache=True, nogil=True)
def draw(log_probabilities, drawn):
    """`pipeline.collect.draw` for one row; the last of `log_probabilities` is no action's."""
    actions, total = log_probabilities.shape[0] - 1, np.float32(0)
    for a in range(actions):
        total += np.exp(log_probabilities[a])
    drawn *= total
    cumulative = np.float32(0)
    for a in range(actions - 1):
        cumulative += np.exp(log_probabilities[a])
        if drawn < cumulative:
            return a
    return actions - 1


def _digest() -> str:
    called = (engine, envs, options, view, fused)
    return hashlib.sha256(b"".join(Path(module.__file__).read_bytes() for module in called)).hexdigest()


_play = _make_play(_digest())
