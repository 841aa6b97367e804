"""Whole episodes of the student, with the teacher's policy beside every step, and their advantages."""

from collections.abc import Callable
from dataclasses import dataclass

from numba import njit
import numpy as np

from askonce.pipeline.collect import play
from askonce.pipeline.tasks.task import Batch
from askonce.student.learning.actor import Categorical, Gaussian
from askonce.student.learning.network import Policy

# A batch and which of its environments are running → the teacher's (N, A) action probabilities, or what
# `mixture.mixture` makes of vectors; rows of zeros where it has no advice.
TeacherPolicy = Callable[[Batch, np.ndarray], np.ndarray]

STRETCH = 20


@dataclass
class Rollout:
    """S steps of N whole episodes, flat, plus a figure per episode. Lengths are in steps of the world.

    view (S, F), or (S, M) where a view is given by its ones; action (S,) int64 or (S, A) float32, log_probability
    (S,), value (S,), advantage (S,), value_target (S,), teacher (S, A) or (S, 1 + 3A), (S, 0) without one; own (S,) bool,
    whether the student acted and not, for once, its teacher; returns, lengths, successes (N,).
    """

    view: np.ndarray
    action: np.ndarray
    log_probability: np.ndarray
    value: np.ndarray
    advantage: np.ndarray
    value_target: np.ndarray
    teacher: np.ndarray
    own: np.ndarray
    returns: np.ndarray
    lengths: np.ndarray
    successes: np.ndarray


def collect(
    batch: Batch,
    seeds: np.ndarray,
    policy: Policy,
    teacher: TeacherPolicy | None,
    rng: np.random.Generator,
    discount: float,
    gae_lambda: float,
    see: Callable[[Batch], np.ndarray] = lambda batch: batch.view,
    actor: type[Categorical] | Gaussian = Categorical,
    reward_scale: float = 1.0,
    teacher_acts: float = 0.0,
) -> Rollout:
    """Plays one episode per environment of `batch` with the student's own actions; `see` is the policy's input.

    Values and advantages are of the rewards times `reward_scale`, returns are of the rewards as they are. For a share
    `teacher_acts` of the time the teacher acts instead (`taking_turns`).
    """
    views, actions, log_probabilities, values, advised, own = ([] for _ in range(6))
    rewards, worth, alive, durations = ([] for _ in range(4))
    leads = rng.random(batch.size) < teacher_acts if teacher_acts else np.zeros(batch.size, dtype=bool)

    def act(running: np.ndarray) -> np.ndarray:
        view = see(batch)
        given, value = policy(view)
        action = actor.draw(given, rng)
        views.append(view[running])
        actions.append(action)
        values.append(value)
        log_probabilities.append(actor.log_probability(given, action))
        if teacher is not None:
            advised.append(teacher(batch, running))
        return instead_of(action) if teacher_acts else action

    def instead_of(action: np.ndarray) -> np.ndarray:
        """The teacher's actions where it acts and advises one."""
        nonlocal leads
        leads = taking_turns(leads, teacher_acts, rng)
        by_teacher = leads & advised[-1].any(axis=1)
        own.append(~by_teacher)
        return np.where(by_teacher.reshape(-1, *[1] * (action.ndim - 1)), actor.follow(advised[-1], rng), action)

    for running, reward, terminated, truncated in play(batch, seeds, act):  # noqa: B007
        rewards.append(reward)
        worth.append(batch.worth(reward, discount))
        alive.append(running)
        durations.append(batch.durations.copy())
    alive, rewards, values, durations = np.array(alive), np.array(rewards), np.array(values), np.array(durations)
    # An episode cut off at T would have gone on; one that ended has no future.
    last_values = np.where(truncated & ~terminated, policy(see(batch))[1], 0.0)
    discounts = discount**durations
    advantages = generalized_advantages(
        reward_scale * np.array(worth), values, alive, last_values, discounts, gae_lambda
    )
    returns = rewards.sum(axis=0)
    return Rollout(
        view=np.concatenate(views),
        action=np.array(actions)[alive],
        log_probability=np.array(log_probabilities)[alive],
        value=values[alive],
        advantage=advantages[alive].astype(np.float32),
        value_target=(advantages + values)[alive].astype(np.float32),
        teacher=np.array(advised)[alive] if advised else np.zeros((alive.sum(), 0), np.float32),
        own=np.array(own)[alive] if own else np.ones(alive.sum(), dtype=bool),
        returns=returns,
        lengths=(alive * durations).sum(axis=0),
        successes=batch.successes(returns),
    )


def taking_turns(leads: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Who leads in the next step, (N,) bool: chosen anew every `STRETCH` steps on average, a `share` of the time."""
    return np.where(rng.random(len(leads)) < 1 / STRETCH, rng.random(len(leads)) < share, leads)


def generalized_advantages(rewards, values, alive, last_values, discount, gae_lambda):
    """GAE over (T, N) steps; `alive` marks those before an episode's end, last_values (N,) what follows it.

    `discount` is one number, or (T, N): how much what follows each step counts.
    """
    return _generalized_advantages(
        rewards, values, alive, last_values, np.broadcast_to(np.float64(discount), rewards.shape), gae_lambda
    )


@njit(cache=True)
def _generalized_advantages(rewards, values, alive, last_values, discounts, gae_lambda):
    steps, size = rewards.shape
    advantages = np.zeros((steps, size))
    for n in range(size):
        following, advantage = last_values[n], 0.0
        for t in range(steps - 1, -1, -1):
            if alive[t, n]:
                error = rewards[t, n] + discounts[t, n] * following - values[t, n]
                advantage = error + discounts[t, n] * gae_lambda * advantage
                advantages[t, n] = advantage
                following = values[t, n]
    return advantages
