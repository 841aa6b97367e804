"""How well a policy does over held-out layouts, each figure with its 95 % interval."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from askonce.cache.errors import AskonceError
from askonce.pipeline.collect import draw, play
from askonce.pipeline.growing_plans import GrowingPlans
from askonce.pipeline.statistics import Z95, normal, wilson
from askonce.pipeline.tasks.task import Batch, Lookup, Task, worth_playing
from askonce.student.learning import checkpoint
from askonce.student.learning.network import ActorCritic, as_policy, build

# (batch, running, rng) → (N,) actions, or (N, A) where they are vectors.
Act = Callable[[Batch, np.ndarray, np.random.Generator], np.ndarray]

EPISODES, BATCH = 1000, 1000


@dataclass(frozen=True)
class Evaluation:
    """Means over `episodes`, each with the ends of its 95 % interval: normal for means, Wilson's for the rate."""

    episodes: int
    return_mean: float
    return_ci95: tuple[float, float]
    length_mean: float
    length_ci95: tuple[float, float]
    success_rate: float
    success_ci95: tuple[float, float]


def evaluate(task: Task, act: Act, episodes: int, seed: int) -> Evaluation:
    """Plays `episodes` held-out layouts drawn from `seed`; what a success is, `Batch.successes` says."""
    rng = np.random.default_rng([seed, 3])
    seeds = task.seeds(episodes, seed, held_out=True)
    returns, lengths, successes = np.zeros(episodes), np.zeros(episodes), np.zeros(episodes, dtype=bool)
    together, batch = worth_playing(task, BATCH), None
    for start in range(0, episodes, together):
        part = slice(start, min(start + together, episodes))
        if batch is None or batch.size != part.stop - start:
            batch = task.batch(part.stop - start)
        for running, rewards, _, _ in play(batch, seeds[part], lambda running: act(batch, running, rng)):
            returns[part] += rewards
            lengths[part] += running * batch.durations
        successes[part] = batch.successes(returns[part])
    return Evaluation(
        episodes,
        returns.mean(),
        normal(returns),
        lengths.mean(),
        normal(lengths),
        successes.mean(),
        wilson(successes.mean(), episodes, Z95),
    )


def trained(task: Task, run: Path) -> ActorCritic:
    """The network of a run of `task`."""
    about = checkpoint.describe(run)
    if about.get("method") == "hierarchical" and not task.acts_by_options:
        raise AskonceError(
            f"{run} chooses options instead of actions (--method hierarchical): only `cli evaluate` plays it"
        )
    network = build(task, about.get("settings", {}).get("torso", "small"))
    checkpoint.load(run, task.name, network)
    return network


def student(task: Task, run: Path) -> Act:
    """A trained student alone: no teacher, no cache, no LLM."""
    # More threads only get in each other's way at these sizes.
    torch.set_num_threads(1)
    network = trained(task, run)
    policy = as_policy(network)
    return lambda batch, running, rng: network.actor.acts(policy(batch.view)[0], rng)


def as_learnt(task: Task, run: Path) -> Task:
    """The task as the run's method sees it."""
    return task.over_options() if checkpoint.describe(run).get("method") == "hierarchical" else task


def teacher(task: Task, lookup: Lookup) -> Act:
    """The teacher alone (LLM solely): an action of π_T at every step, the idle one where it has no answer.

    Where actions are vectors it is the mean of the option that was drawn: options were trained to act by it.
    """
    plans = GrowingPlans(task, lookup)

    def act(batch: Batch, running: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        advice = batch.advise(plans.meet(batch.situations))
        return advice.actions[np.arange(batch.size), draw(advice.probabilities, rng)]

    return act
