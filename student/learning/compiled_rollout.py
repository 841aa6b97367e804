"""`rollout.collect` for the worlds of the compiled engine: whole episodes without Python between their steps.

The rollout is that of `rollout.collect` with the same student, the same seeds and the same random numbers.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from numba import njit
import numpy as np

from askonce.pipeline.compiled import compiled
from askonce.pipeline.tasks.task import Batch
from askonce.student.learning import fused, ppo, rollout
from askonce.student.learning.distill import Teacher
from askonce.student.learning.fused import Layers, forward, log_softmax
from askonce.student.learning.rollout import Rollout, generalized_advantages

TRUNCATED = 2  # A bit of `Kernels.state.ended`.
# A world's own, in whose place `_play` puts them.
_step = _advise = _list_ones = _scratch = _decisions = None


class Buffer(NamedTuple):
    """Room for T steps of N episodes: by step as it is taken (T · N, …), or by step and environment (T, N)."""

    ones: np.ndarray
    action: np.ndarray
    log_probability: np.ndarray
    teacher: np.ndarray
    reward: np.ndarray
    value: np.ndarray
    alive: np.ndarray


def player(batch: Batch, learner: ppo.TorchLearner | fused.FusedLearner) -> Callable[..., Rollout]:
    """(layout seeds, teacher or None, rng, share that the teacher acts) → a rollout of one episode per environment.

    Compiled where it can be.
    """
    known = learner.hyperparameters
    given = known.gamma, known.gae_lambda
    if isinstance(learner, fused.FusedLearner) and batch.kernels() is not None and not known.teacher_acts:
        return lambda seeds, teacher, rng, teacher_acts=0.0: collect(
            batch, seeds, learner.layers, teacher, rng, *given, known.reward_scale
        )
    return lambda seeds, teacher, rng, teacher_acts=0.0: rollout.collect(
        batch,
        seeds,
        learner.policy,
        teacher,
        rng,
        *given,
        learner.see,
        learner.network.actor,
        known.reward_scale,
        teacher_acts,
    )


def collect(
    batch: Batch,
    seeds: np.ndarray,
    layers: Layers,
    teacher: Teacher | None,
    rng: np.random.Generator,
    discount: float,
    gae_lambda: float,
    reward_scale: float = 1.0,
) -> Rollout:
    """Plays one episode per environment of `batch`, which has `kernels`, with the student's own actions."""
    world, size = batch.kernels(), batch.size
    actions, shape = len(layers.heads) - 1, (world.max_steps, size)
    rows = world.max_steps * size
    buffer = Buffer(
        np.empty((rows, world.most_ones), np.uint16),
        np.empty(rows, np.int64),
        np.empty(rows, np.float32),
        np.zeros((rows, actions if teacher else 0), np.float32),
        np.zeros(shape),
        np.zeros(shape, np.float32),
        np.zeros(shape, dtype=bool),
    )
    play = _play(world.step, world.advise, world.list_ones, world.scratch, world.decisions)
    drawn, last_values = rng.random(shape), np.zeros(size)
    nothing = world.no_plans, np.zeros(0, dtype=bool), np.zeros(0, np.int64)
    batch.reset(np.arange(size), seeds)
    step = taken = 0
    unmet = True
    while unmet:
        if teacher:
            teacher.meet(world.state.situation[world.state.ended == 0])
        answers = (teacher.plans, teacher.met, teacher.states) if teacher else nothing
        step, taken, unmet = play(
            world.state, world.rules, layers, *answers, drawn, buffer, last_values, world.most_ones, step, taken
        )
    alive, values = buffer.alive[:step], buffer.value[:step]
    advantages = generalized_advantages(
        reward_scale * buffer.reward[:step], values, alive, last_values, discount, gae_lambda
    )[alive]
    returns = buffer.reward[:step].sum(axis=0)
    return Rollout(
        view=buffer.ones[:taken],
        action=buffer.action[:taken],
        log_probability=buffer.log_probability[:taken],
        value=values[alive],
        advantage=advantages.astype(np.float32),
        value_target=(advantages + values[alive]).astype(np.float32),
        teacher=buffer.teacher[:taken],
        own=np.ones(taken, dtype=bool),
        returns=returns,
        lengths=alive.sum(axis=0),
        successes=batch.successes(returns),
    )


@cache
def _play(*kernels: Callable) -> Callable:
    """The loop below, compiled over a world's functions."""
    names = dict(zip(("_step", "_advise", "_list_ones", "_scratch", "_decisions"), kernels, strict=True))
    return compiled(_loop, names, error_model="numpy")


def _loop(state, rules, layers, plans, met, states, drawn, buffer, last_values, most_ones, step, taken):
    """Plays on until all have ended, or one comes into a situation that was not met.

    Returns the steps played, the number of rows written, and whether it was the latter.
    """
    advised = buffer.teacher.shape[1] > 0
    first, second = np.empty_like(layers.first_bias), np.empty_like(layers.second_bias)
    outputs, scratch = np.empty_like(layers.heads_bias), _scratch(state)
    decided = np.empty(_decisions(plans), np.int64)
    probabilities = np.empty(_decisions(plans), np.float32)
    while True:
        running = 0
        for n in range(state.ended.shape[0]):
            if state.ended[n] == 0:
                running += 1
                if advised and not (state.situation[n] < met.shape[0] and met[state.situation[n]]):
                    return step, taken, True
        if running == 0:
            break
        for n in range(state.ended.shape[0]):
            if state.ended[n] != 0:
                continue
            if advised:
                states[state.situation[n]] += 1
                _advise(state, n, plans, decided, probabilities, scratch)
                for k in range(decided.shape[0]):
                    buffer.teacher[taken, decided[k]] += probabilities[k]
            _list_ones(state, n, rules, buffer.ones[taken])
            forward(layers, buffer.ones[taken], first, second, outputs)
            log_softmax(outputs)
            action = draw(outputs, drawn[step, n])
            buffer.action[taken], buffer.log_probability[taken] = action, outputs[action]
            buffer.value[step, n], buffer.alive[step, n] = outputs[-1], True
            buffer.reward[step, n] = _step(state, n, action, rules)
            taken += 1
        step += 1
    for n in range(state.ended.shape[0]):
        # An episode cut off at T would have gone on; one that ended has no future.
        if state.ended[n] == TRUNCATED:
            ones = np.empty(most_ones, np.uint16)
            _list_ones(state, n, rules, ones)
            forward(layers, ones, first, second, outputs)
            last_values[n] = outputs[-1]
    return step, taken, False


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
