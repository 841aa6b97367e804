"""The pre-training of NavPick's options by DAgger (Ross et al. 2011): the option drives, the expert corrects.

In the first round the scripted expert drives itself; afterwards it takes turns with the option as learnt so far, and
says in every state that they come to what it would have done. The option learns to do the same from all rounds
together. The expert knows the whole home; to Navigate it says what it would do by the map of what was seen so far, as
nobody can learn to foresee what is behind a wall. All of it happens in the ten homes for
training; how well it went is measured in the hundred others.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from askonce.pipeline.tasks.navpick import task as navpick
from askonce.pipeline.tasks.navpick.env import ACTIONS, GRIP, MAX_STEPS, STOP
from askonce.pipeline.tasks.navpick.expert import Expert
from askonce.pipeline.tasks.navpick.options import OptionNetwork, OptionPolicy, as_policy
from askonce.pipeline.tasks.navpick.stages import beside
from askonce.pipeline.tasks.navpick.task import AdvisedBatch
from askonce.student.learning.rollout import taking_turns

TOGETHER = 25
# After so many steps an episode is over: Pick starts where Navigate has ended.
LIMITS = {"navigate": MAX_STEPS, "pick": 120}
# How much each action's error counts: for Navigate the wheels are what matters.
WEIGHTS = {"navigate": [3.0, 3.0] + 7 * [1.0] + [0.5, 0.5], "pick": 11 * [1.0]}

# (batch, running) → (N, 11) actions.
Act = Callable[[AdvisedBatch, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Settings:
    """A round is `episodes` episodes, then `updates` minibatches of all states so far; the last has `last_updates`.

    After the first round the expert drives a share `expert_drives` of the time. Whoever drives, wheels and joints get
    Gaussian noise of standard deviation `noise`, and one episode in four begins with an arm thrown out of its fold.
    """

    seed: int = 0
    rounds: int = 10
    episodes: int = 100
    updates: int = 200
    last_updates: int = 2000
    minibatch: int = 256
    learning_rate: float = 1e-3
    expert_drives: float = 0.3
    noise: float = 0.15


@dataclass(frozen=True)
class Progress:
    """After a round: states gathered so far, the mean squared error, how the round's episodes ended."""

    round: int
    states: int
    error: float
    endings: Counter


def pretrain(
    option: str, settings: Settings, show: Callable[[Progress], None] = lambda progress: None
) -> OptionNetwork:
    """Trains "navigate" or "pick"; the same settings give the same network on one machine."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng([settings.seed, 4])
    network = OptionNetwork(option)
    adam = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    views, labels = [], []
    for round in range(settings.rounds):
        seeds = navpick.find().seeds(settings.episodes, settings.seed << 32 | round)
        drive = _Dagger(as_policy(network) if round else None, option, settings, rng)
        endings = play(option, seeds, drive)
        views += drive.views
        labels += drive.labels
        updates = settings.last_updates if round == settings.rounds - 1 else settings.updates
        error = _fit(network, adam, views, labels, torch.tensor(WEIGHTS[option]), updates, settings, rng)
        show(Progress(round + 1, len(views), error, Counter(ending for ending, _ in endings)))
    return network


def evaluate(option: str, policy: OptionPolicy, episodes: int, seed: int) -> list[tuple[str, int]]:
    """How held-out episodes of the option alone end, and after how many steps, without noise."""
    seeds = navpick.find().seeds(episodes, seed, held_out=True)
    return play(option, seeds, lambda batch, running: _only(option, policy(batch.view)))


def play(option: str, seeds: np.ndarray, act: Act) -> list[tuple[str, int]]:
    """(ending, steps) of an episode for each seed. "success" is the option's own goal (`stages`), "" the time's end.

    Navigate starts anywhere in the home, Pick beside the table.
    """
    ended = []
    for start in range(0, len(seeds), TOGETHER):
        chunk = seeds[start : start + TOGETHER]
        batch = navpick.find().batch(len(chunk))
        batch.reset(np.arange(len(chunk)), chunk, beside=option == "pick")
        ended += _play(option, batch, act)
    return ended


def _play(option: str, batch: AdvisedBatch, act: Act) -> list[tuple[str, int]]:
    endings, running = [("", LIMITS[option])] * batch.size, np.ones(batch.size, dtype=bool)
    for step in range(1, LIMITS[option] + 1):
        batch.step(act(batch, running), running)
        for n in np.flatnonzero(running).tolist():
            if option == "navigate" and beside(batch.envs[n].reading):
                endings[n], running[n] = ("success", step), False
            elif batch.ended[n]:
                endings[n], running[n] = (batch.infos[n]["ended"], step), False
        if not running.any():
            break
    return endings


class _Dagger:
    """The driver of one round; `views` and `labels` are what was seen, and what the expert would have done."""

    def __init__(self, policy: OptionPolicy | None, option: str, settings: Settings, rng: np.random.Generator):
        self.policy, self.option, self.settings, self.rng = policy, option, settings, rng
        self.share = settings.expert_drives if policy else 1.0
        self.views: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []
        self.batch: AdvisedBatch | None = None

    def __call__(self, batch: AdvisedBatch, running: np.ndarray) -> np.ndarray:
        rng = self.rng
        if batch is not self.batch:
            self._begin(batch)
        labels = np.zeros((batch.size, len(ACTIONS)), np.float32)
        for n in np.flatnonzero(running):
            labels[n] = self._expert(n)
        self.views += list(batch.view[running].astype(np.float16))
        self.labels += list(labels[running])
        actions = labels.copy()
        if self.policy:
            actions = np.where(self.expert_drives[:, None], labels, self.policy(batch.view))
        actions[:, :GRIP] += self.settings.noise * rng.normal(size=(batch.size, GRIP))
        actions[:, 2:GRIP] += self.thrown * (self.left > 0)[:, None]
        self.left -= 1
        self.expert_drives = taking_turns(self.expert_drives, self.share, rng)
        return _only(self.option, actions)

    def _expert(self, n: int) -> np.ndarray:
        expert = self.experts[n]
        return expert.pick() if self.option == "pick" else expert.navigate(self.batch.way(n))

    def _begin(self, batch: AdvisedBatch) -> None:
        rng, size = self.rng, batch.size
        self.batch, self.experts = batch, [Expert(env.simulator) for env in batch.envs]
        for expert in self.experts:
            expert.reset()
        self.expert_drives = rng.random(size) < self.share
        self.left = np.where(rng.random(size) < 0.25, rng.integers(5, 25, size), 0)
        self.thrown = rng.normal(size=(size, GRIP - 2))


def _only(option: str, actions: np.ndarray) -> np.ndarray:
    """Navigate is over when it has arrived, not when it says so."""
    if option == "navigate":
        actions = actions.copy()
        actions[:, STOP] = -1.0
    return actions


def _fit(network, adam, views, labels, weights, updates, settings: Settings, rng: np.random.Generator) -> float:
    """Random minibatches of all states, with a rate that falls; the last tenth's mean squared error."""
    network.train()
    errors = []
    for update in range(updates):
        for group in adam.param_groups:
            group["lr"] = settings.learning_rate * (1 - 0.95 * update / updates)
        rows = rng.integers(len(views), size=settings.minibatch)
        seen = torch.from_numpy(np.stack([views[row] for row in rows]).astype(np.float32))
        wanted = torch.from_numpy(np.stack([labels[row] for row in rows]))
        squared = (network(seen) - wanted).square()
        adam.zero_grad()
        (weights * squared).mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        adam.step()
        errors.append(squared.mean().item())
    return float(np.mean(errors[-max(updates // 10, 1) :]))
