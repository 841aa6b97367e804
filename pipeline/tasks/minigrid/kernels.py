"""What the learner compiles into its own loop, so that a whole rollout runs without Python between its steps."""

from typing import NamedTuple

from numba import njit
import numpy as np

from askonce.pipeline.tasks.minigrid import engine, options, view
from askonce.pipeline.tasks.task import Kernels


class Rules(NamedTuple):
    """What the engine and the view need to know of a task."""

    max_steps: int
    colored: bool
    planes: np.ndarray
    contents: int


@njit(cache=True, nogil=True)
def step(state, n, action, rules):
    return engine.step_one(state, n, action, rules.max_steps, rules.colored)


@njit(cache=True, nogil=True)
def list_ones(state, n, rules, ones):
    view.ones_of(state, n, rules.planes, rules.contents, ones)


@njit(cache=True, nogil=True)
def decisions(plans):
    return plans.verb.shape[1]


def kernels(state: engine.State, rules: Rules, no_plans: options.Plans) -> Kernels:
    return Kernels(
        state,
        rules,
        rules.max_steps,
        view.MOST_ONES,
        step,
        options.advise_one,
        list_ones,
        options.make_scratch,
        decisions,
        no_plans,
    )
