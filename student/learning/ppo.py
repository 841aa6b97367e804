"""PPO's clipped update (Schulman et al. 2017) with the teacher's term of Eq. 2 added to its loss.

It serves any network over any view, and is what `fused`, which serves one kind faster, is tested against.
Advantages are normalised over a rollout, and nothing is concluded from those of actions that were the teacher's; the
value loss is clipped like the policy's, and not halved before its coefficient.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from askonce.cache.errors import AskonceError
from askonce.pipeline.tasks.task import Batch
from askonce.student.learning import distributed
from askonce.student.learning.network import ActorCritic, as_policy
from askonce.student.learning.rollout import Rollout

LOSSES = "policy", "value", "entropy", "distillation"


# Of each hyperparameter that is a number.
RANGES: dict[str, tuple[float, float]] = {
    "num_envs": (1, 100_000),
    "update_epochs": (1, 1000),
    "minibatch_size": (1, 10_000_000),
    "ent_coef": (0, 1e6),
    "vf_coef": (0, 1e6),
    "gamma": (0, 1),
    "gae_lambda": (0, 1),
    "learning_rate": (0, 10),
    "final_learning_rate": (0, 10),
    "clip_coef": (1e-6, 1e6),
    "max_grad_norm": (1e-12, 1e12),
    "adam_eps": (0, 1),
    "reward_scale": (1e-12, 1e12),
    "teacher_acts": (0, 1),
}


@dataclass(frozen=True)
class Hyperparameters:
    """The paper's Table 1. It leaves open `gae_lambda`, here as in its Table 2, and Adam's `adam_eps`.

    Beyond the paper the learning rate falls linearly to `final_learning_rate` over a run, so that what was learnt
    is not shaken off again once the teacher has left; `PAPER` keeps it as it is.
    """

    num_envs: int = 10
    update_epochs: int = 3
    minibatch_size: int = 128
    ent_coef: float = 0.001
    vf_coef: float = 0.5
    gamma: float = 0.99
    gae_lambda: float = 0.95
    learning_rate: float = 0.001
    final_learning_rate: float = 0.0
    clip_coef: float = 0.2
    max_grad_norm: float = 0.5
    adam_eps: float = 1e-8
    # Of teacher and student: one of `distill.DIVERGENCES`.
    divergence: str = "kl"
    # The critic learns the returns of so much of each reward.
    reward_scale: float = 1.0
    # Beyond the paper: the teacher acts itself for so much of the time at first, and less as λ falls (docs/methods.md).
    teacher_acts: float = 0.0

    def __post_init__(self) -> None:
        """AskonceError, with exit code 2, for what nothing can be learnt with."""
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            whole = type(getattr(type(self), name)) is int
            if type(value) not in ((int,) if whole else (int, float)) or not least <= value <= most:
                kind = "a whole number" if whole else "a number"
                raise AskonceError(f"{name} is {kind} from {least:g} to {most:g}, not {value!r}", 2)

    def rate(self, done: float) -> float:
        """The learning rate when a share `done` of the run is over."""
        return self.learning_rate + (self.final_learning_rate - self.learning_rate) * done


PAPER = Hyperparameters(final_learning_rate=0.001)


def optimizer(network: ActorCritic, hyperparameters: Hyperparameters) -> torch.optim.Adam:
    return torch.optim.Adam(
        network.parameters(), lr=hyperparameters.learning_rate, eps=hyperparameters.adam_eps, fused=True
    )


class TorchLearner:
    """A student that plays and learns with torch; `fused.FusedLearner` is its compiled counterpart."""

    def __init__(self, network: ActorCritic, adam: torch.optim.Adam, hyperparameters: Hyperparameters):
        self.network, self.adam, self.hyperparameters = network, adam, hyperparameters
        self.policy = as_policy(network)

    @staticmethod
    def see(batch: Batch) -> np.ndarray:
        """What of a batch the policy is given."""
        return batch.view

    def update(
        self, rollout: Rollout, teacher_weight: float, rng: np.random.Generator, done: float = 0.0
    ) -> dict[str, float]:
        """`update`, a share `done` into the run."""
        for group in self.adam.param_groups:
            group["lr"] = self.hyperparameters.rate(done)
        return update(self.network, self.adam, rollout, teacher_weight, self.hyperparameters, rng)

    def finite(self) -> bool:
        """Whether every weight is a number."""
        return all(parameter.isfinite().all() for parameter in self.network.parameters())

    def write(self) -> None:
        """Brings the network and Adam's state up to date, which here they always are."""


def update(
    network: ActorCritic,
    adam: torch.optim.Adam,
    rollout: Rollout,
    teacher_weight: float,
    hyperparameters: Hyperparameters,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Some epochs over a rollout in random minibatches; `teacher_weight` is λ. Returns the mean losses.

    Of several workers each brings the rows of its own rollout: losses are means over the rows of all of them.
    """
    columns = [
        torch.from_numpy(column)
        for column in (
            rollout.view,
            rollout.action,
            rollout.log_probability,
            normalized(rollout.advantage) * rollout.own,
            rollout.value,
            rollout.value_target,
            rollout.teacher,
        )
    ]
    sizes, shares = zip(*distributed.minibatches(len(rollout.action), hyperparameters.minibatch_size))
    sums = torch.zeros(4)
    for _ in range(hyperparameters.update_epochs):
        order = torch.from_numpy(rng.permutation(len(rollout.action)))
        for rows, share in zip(order.split(sizes), shares, strict=True):
            adam.zero_grad()
            if len(rows):
                losses = _losses(network, *(column[rows] for column in columns), hyperparameters)
                policy, value, entropy, distillation = losses
                loss = (
                    policy
                    + hyperparameters.vf_coef * value
                    - hyperparameters.ent_coef * entropy
                    + teacher_weight * distillation
                )
                (share * loss).backward()
                sums += share * torch.stack(losses).detach()
            distributed.add_gradients(network.parameters())
            nn.utils.clip_grad_norm_(network.parameters(), hyperparameters.max_grad_norm)
            adam.step()
    means = distributed.total(sums) / (hyperparameters.update_epochs * len(sizes))
    return dict(zip(LOSSES, means.tolist()))


def normalized(advantage: np.ndarray) -> np.ndarray:
    """Of mean 0 and deviation 1 over the rows of all workers."""
    centred = advantage - distributed.mean(advantage)
    return centred / (np.sqrt(distributed.mean(centred**2)) + 1e-8)


def _losses(network, view, action, old_log_probability, advantage, old_value, target, teacher, hyperparameters):
    outputs, value = network(view.float())
    log_probability, entropy, distillation = network.actor.terms(outputs, action, teacher, hyperparameters.divergence)
    clip = hyperparameters.clip_coef

    ratio = (log_probability - old_log_probability).exp()
    policy_loss = -torch.min(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage).mean()
    clipped_value = old_value + (value - old_value).clamp(-clip, clip)
    value_loss = torch.max((value - target) ** 2, (clipped_value - target) ** 2).mean()
    return policy_loss, value_loss, entropy, distillation
