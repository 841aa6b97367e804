"""A Gaussian student against torch's own distributions, alone and in a whole update."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from askonce.pipeline.tasks.task import Advice
from askonce.student.learning import ppo
from askonce.student.learning.actor import Gaussian
from askonce.student.learning.mixture import mixture
from askonce.student.learning.network import ActorCritic, as_policy
from askonce.student.learning.rollout import Rollout

VIEW, ACTIONS, STEPS = 6, 3, 80
IDLE = np.array([0.0, -1.0, 0.5])
# A large epsilon, so that a rounding error of the gradient stays one.
ONE_STEP = ppo.Hyperparameters(update_epochs=1, adam_eps=1e-3, ent_coef=0.1)


def a_network() -> ActorCritic:
    torch.manual_seed(0)
    network = ActorCritic(VIEW, ACTIONS, actor=lambda features, actions: Gaussian(features, actions, IDLE))
    with torch.no_grad():
        network.actor.mean.weight *= 100
        network.actor.excess += torch.tensor([0.5, -0.5, 1.0])
    return network


def distribution(network: ActorCritic, views: np.ndarray) -> Independent:
    mean, deviation = network(torch.from_numpy(views).to(network.critic.weight.dtype))[0].chunk(2, dim=-1)
    return Independent(Normal(mean, deviation), 1)


def an_advice(rng: np.random.Generator) -> Advice:
    weights = rng.dirichlet(np.ones(2), size=STEPS) * (rng.random((STEPS, 1)) < 0.8)
    return Advice(rng.uniform(-1, 1, (STEPS, 2, ACTIONS)).astype(np.float32), weights.astype(np.float32), 0.3)


def test_it_begins_at_the_idle_action_and_strays_a_little():
    torch.manual_seed(0)
    network = ActorCritic(VIEW, ACTIONS, actor=lambda features, actions: Gaussian(features, actions, IDLE))
    begun = distribution(network, np.random.default_rng(0).random((50, VIEW), np.float32)).base_dist
    assert torch.allclose(begun.mean, torch.from_numpy(IDLE).float(), atol=0.05)
    assert torch.allclose(begun.stddev, torch.tensor(0.2))


def test_its_actions_are_drawn_from_it_with_their_log_probabilities():
    network, rng = a_network(), np.random.default_rng(0)
    views = rng.random((STEPS, VIEW)).astype(np.float32)
    given, _ = as_policy(network)(views)
    expected, actions = distribution(network, views), network.actor.draw(given, rng)
    assert actions.shape == (STEPS, ACTIONS) and actions.dtype == np.float32
    found = network.actor.log_probability(given, actions)
    assert found == pytest.approx(expected.log_prob(torch.from_numpy(actions)).detach().numpy(), abs=1e-4)
    drawn = network.actor.draw(np.repeat(given[:1], 200_000, axis=0), rng)
    mean, deviation = np.split(given[0], 2)
    # A mean strays by more than five standard errors once in 1.7 million.
    assert np.all(np.abs(drawn.mean(axis=0) - mean) < 5 * deviation / 200_000**0.5)
    assert drawn.std(axis=0) == pytest.approx(deviation, rel=0.01)
    assert np.array_equal(network.actor.acts(given, rng), given[:, :ACTIONS]), "deployed, it strays"


def restated_distance(divergence: str, advice: Advice, student: Independent) -> torch.Tensor:
    """(STEPS,) from options that stray by 0.3, nothing where there is no advice."""
    weights, means = torch.from_numpy(advice.probabilities).double(), torch.from_numpy(advice.actions).double()
    if divergence == "mahalanobis":
        advised = weights.any(dim=1)
        whole = MixtureSameFamily(Categorical(weights[advised]), Independent(Normal(means[advised], 0.3), 1))
        apart = (whole.mean - student.mean[advised]) ** 2 + (0.3 - student.stddev[advised]) ** 2
        return torch.zeros(STEPS).double().masked_scatter(advised, (apart / whole.variance).sum(-1))
    options = [Independent(Normal(means[:, k], 0.3), 1) for k in range(2)]
    if divergence == "kl":
        apart = [option.entropy() + kl_divergence(option, student) for option in options]
    else:
        apart = [((o.mean - student.mean) ** 2 + (o.stddev - student.stddev) ** 2).sum(-1) for o in options]
    return (weights * torch.stack(apart, dim=1)).sum(dim=1)


@pytest.mark.parametrize("divergence", ["kl", "wasserstein", "mahalanobis"])
def test_an_update_is_one_step_down_the_loss_by_torchs_own_distributions(divergence):
    network, rng = a_network(), np.random.default_rng(1)
    column = lambda scale: rng.normal(scale=scale, size=STEPS).astype(np.float32)
    views, advice = rng.random((STEPS, VIEW)).astype(np.float32), an_advice(rng)
    old = distribution(network, views)
    actions = old.sample()
    rollout = Rollout(
        view=views,
        action=actions.numpy(),
        log_probability=old.log_prob(actions).detach().numpy() + column(0.3),
        value=column(0.5),
        advantage=column(2.0),
        value_target=column(3.0),
        teacher=mixture(advice),
        own=np.ones(STEPS, dtype=bool),
        returns=np.zeros(1),
        lengths=np.array([STEPS]),
        successes=np.zeros(1, dtype=bool),
    )
    given = replace(ONE_STEP, divergence=divergence)
    found, double = copy.deepcopy(network), copy.deepcopy(network).double()
    losses = ppo.update(found, ppo.optimizer(found, given), rollout, 2.0, given, np.random.default_rng(0))

    student, value = distribution(double, views), double(torch.from_numpy(views).double())[1]
    advantage = torch.from_numpy(ppo.normalized(rollout.advantage)).double()
    ratio = (student.log_prob(actions) - torch.from_numpy(rollout.log_probability)).exp()
    policy = -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
    before, target = torch.from_numpy(rollout.value), torch.from_numpy(rollout.value_target)
    near = before + (value - before).clamp(-0.2, 0.2)
    critic = torch.maximum((value - target) ** 2, (near - target) ** 2).mean()
    distance = restated_distance(divergence, advice, student)
    restated = policy, critic, student.entropy().mean(), distance.mean()
    assert list(losses.values()) == pytest.approx([loss.item() for loss in restated], rel=1e-4, abs=1e-5)

    (policy + 0.5 * critic - 0.1 * restated[2] + 2.0 * restated[3]).backward()
    gradient = torch.nn.utils.parameters_to_vector([parameter.grad for parameter in double.parameters()])
    of_update = torch.nn.utils.parameters_to_vector([parameter.grad for parameter in found.parameters()])
    assert gradient.norm() > 0.5 and torch.allclose(of_update.double(), gradient * 0.5 / gradient.norm(), atol=1e-5)
