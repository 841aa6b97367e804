"""One update against a restatement of its loss, row by row, with automatic differentiation."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from askonce.student.learning import ppo
from askonce.student.learning.network import ActorCritic
from askonce.student.learning.ppo import Hyperparameters
from askonce.student.learning.rollout import Rollout

VIEW, ACTIONS = 12, 5
TABLE_1 = dict(
    num_envs=10,
    update_epochs=3,
    minibatch_size=128,
    ent_coef=0.001,
    vf_coef=0.5,
    gamma=0.99,
    learning_rate=0.001,
    clip_coef=0.2,
    max_grad_norm=0.5,
)
ONE_STEP = Hyperparameters(update_epochs=1)


def network_and_rollout(steps: int, seed: int = 0) -> tuple[ActorCritic, Rollout]:
    """Steps whose old policy and values are far enough from the network's that every clip has work to do."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    advice = rng.dirichlet(np.full(ACTIONS, 0.5), size=steps) * (rng.random((steps, 1)) < 0.8)
    column = lambda scale: rng.normal(scale=scale, size=steps).astype(np.float32)
    network = ActorCritic(VIEW, ACTIONS)
    with torch.no_grad():
        network.actor.weight *= 100  # as it begins it is all but uniform, and its entropy all but flat
    return network, Rollout(
        view=rng.random((steps, VIEW)).astype(np.float32),
        action=rng.integers(ACTIONS, size=steps),
        log_probability=np.log(1 / ACTIONS) + column(0.4),
        value=column(0.5),
        advantage=column(2.0) + 1,
        value_target=column(3.0),
        teacher=advice.astype(np.float32),
        own=np.ones(steps, dtype=bool),
        returns=np.zeros(1),
        lengths=np.array([steps]),
        successes=np.zeros(1, dtype=bool),
    )


def restated_losses(network: ActorCritic, rollout: Rollout, clip: float) -> list[torch.Tensor]:
    """Policy, value, entropy and distillation losses over the whole rollout, in float64."""
    steps = len(rollout.action)
    spread = ((rollout.advantage - rollout.advantage.mean()) ** 2).mean() ** 0.5
    policy_loss = value_loss = entropy = distillation = 0.0
    for n in range(steps):
        logits, value = network(torch.tensor(rollout.view[n : n + 1], dtype=torch.float64))
        policy = logits[0].exp() / logits[0].exp().sum()
        advantage = float(rollout.advantage[n] - rollout.advantage.mean()) / float(spread)
        ratio = policy[rollout.action[n]] / float(np.exp(rollout.log_probability[n], dtype=np.float64))
        # The pessimistic bound of Schulman et al. (2017), section 3, told apart by the advantage's sign.
        if advantage > 0:
            policy_loss -= advantage * ratio if ratio < 1 + clip else advantage * (1 + clip)
        else:
            policy_loss -= advantage * ratio if ratio > 1 - clip else advantage * (1 - clip)
        old, target = float(rollout.value[n]), float(rollout.value_target[n])
        moved = value[0].item() - old
        nearby = value[0] if abs(moved) < clip else old + clip * np.sign(moved)
        further = (value[0] - target) ** 2
        value_loss += further if further >= (nearby - target) ** 2 else (nearby - target) ** 2
        entropy -= sum(policy[a] * policy[a].log() for a in range(ACTIONS))
        distillation -= sum(float(rollout.teacher[n, a]) * policy[a].log() for a in range(ACTIONS))
    return [torch.as_tensor(loss) / steps for loss in (policy_loss, value_loss, entropy, distillation)]


def vector(network: ActorCritic) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(network.parameters()).detach().double()


def updated(network, rollout: Rollout, weight: float, hyperparameters=Hyperparameters(), seed: int = 0):
    """A copy of `network` after one update, Adam's state, and the losses."""
    network = copy.deepcopy(network)
    adam = ppo.optimizer(network, hyperparameters)
    losses = ppo.update(network, adam, rollout, weight, hyperparameters, np.random.default_rng(seed))
    return network, adam, losses


def test_the_defaults_are_table_1():
    defaults = Hyperparameters()
    assert {name: getattr(defaults, name) for name in TABLE_1} == TABLE_1


def test_the_learning_rate_falls_linearly_and_stays_in_the_papers_setting():
    assert [Hyperparameters().rate(done) for done in (0, 0.25, 1)] == pytest.approx([0.001, 0.00075, 0])
    assert {ppo.PAPER.rate(done) for done in (0, 0.25, 1)} == {0.001}
    assert replace(ppo.PAPER, final_learning_rate=0.0) == Hyperparameters()


@pytest.mark.parametrize("weight, ent_coef", [(0.0, 0.001), (0.1, 0.001), (10.0, 0.001), (0.0, 1.0)])
def test_one_minibatch_is_one_adam_step_down_the_restated_loss(weight, ent_coef):
    network, rollout = network_and_rollout(steps=100)
    # A large epsilon, so that a rounding error of the gradient stays one.
    hyperparameters = replace(ONE_STEP, ent_coef=ent_coef, adam_eps=1e-3)
    found, _, losses = updated(network, rollout, weight, hyperparameters)

    double = copy.deepcopy(network).double()
    policy, value, entropy, distillation = restated = restated_losses(double, rollout, clip=0.2)
    assert list(losses) == ["policy", "value", "entropy", "distillation"]
    assert list(losses.values()) == pytest.approx([loss.item() for loss in restated], rel=1e-5, abs=1e-6)

    (policy + 0.5 * value - ent_coef * entropy + weight * distillation).backward()
    gradient = torch.nn.utils.parameters_to_vector([parameter.grad for parameter in double.parameters()])
    norm = gradient.norm()
    assert norm > 0.5, "else the test would not see the clipping"
    clipped = gradient * 0.5 / norm
    of_update = torch.nn.utils.parameters_to_vector([parameter.grad for parameter in found.parameters()])
    assert torch.allclose(of_update.double(), clipped, atol=1e-6)
    # Adam's first step: the moments, freed of their bias, are the gradient and its square.
    expected = vector(network) - 0.001 * clipped / (clipped.abs() + 1e-3)
    assert torch.allclose(vector(found), expected, atol=1e-6)


def test_a_small_gradient_is_not_clipped():
    network, rollout = network_and_rollout(steps=100)
    loose = replace(ONE_STEP, max_grad_norm=1e6)
    double = copy.deepcopy(network).double()
    policy, value, entropy, _ = restated_losses(double, rollout, clip=0.2)
    (policy + 0.5 * value - 0.001 * entropy).backward()
    found, _, _ = updated(network, rollout, 0.0, loose)
    for parameter, same in zip(found.parameters(), double.parameters()):
        assert torch.allclose(parameter.grad.double(), same.grad, atol=1e-5, rtol=1e-5)


def test_the_restatement_meets_every_clip():
    """Else it would prove less than it seems to."""
    network, rollout = network_and_rollout(steps=100)
    logits, value = network(torch.from_numpy(rollout.view))
    new = logits.detach().log_softmax(-1).numpy()[np.arange(100), rollout.action]
    ratio, good = np.exp(new - rollout.log_probability), rollout.advantage > rollout.advantage.mean()
    for side in (good & (ratio > 1.2), ~good & (ratio < 0.8), good & (ratio < 0.8), ~good & (ratio > 1.2)):
        assert side.any()
    assert 5 < (np.abs(value.detach().numpy() - rollout.value) > 0.2).sum() < 95


def test_without_any_advice_the_teachers_weight_changes_nothing():
    network, rollout = network_and_rollout(steps=300)
    silent = replace(rollout, teacher=np.zeros_like(rollout.teacher))
    absent = replace(rollout, teacher=np.zeros((300, 0), np.float32))
    alone, _, _ = updated(network, absent, 0.0)
    for rollout in (silent, absent):
        assert torch.equal(vector(updated(network, rollout, 10.0)[0]), vector(alone))


def test_every_epoch_goes_once_through_all_rows_in_minibatches():
    network, rollout = network_and_rollout(steps=256)
    standing = replace(Hyperparameters(), learning_rate=0.0, minibatch_size=64)
    _, adam, losses = updated(network, rollout, 1.0, standing)
    assert {int(state["step"]) for state in adam.state.values()} == {3 * 256 // 64}
    # A network that stands still has the same mean over minibatches as over all rows, if each came once.
    restated = restated_losses(copy.deepcopy(network).double(), rollout, clip=0.2)
    assert list(losses.values()) == pytest.approx([loss.item() for loss in restated], rel=1e-5, abs=1e-6)
    _, adam, _ = updated(network, network_and_rollout(steps=300)[1], 1.0)
    assert {int(state["step"]) for state in adam.state.values()} == {3 * 3}


def test_the_order_of_the_rows_is_the_generators():
    network, rollout = network_and_rollout(steps=300)
    first, again, other = (vector(updated(network, rollout, 1.0, seed=seed)[0]) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_before_the_first_step_the_ratio_is_1_so_nothing_is_clipped():
    """With the network's own log-probabilities the narrowest clip gives the same step as none."""
    network, rollout = network_and_rollout(steps=100)
    log_policy = network(torch.from_numpy(rollout.view))[0].detach().softmax(-1).numpy()
    rollout = replace(rollout, log_probability=np.log(log_policy[np.arange(100), rollout.action]))
    _, value = network(torch.from_numpy(rollout.view))
    rollout = replace(rollout, value=value.detach().numpy())
    narrow, _, losses = updated(network, rollout, 0.0, replace(ONE_STEP, clip_coef=1e-5, adam_eps=1e-3))
    wide, _, _ = updated(network, rollout, 0.0, replace(ONE_STEP, clip_coef=1e5, adam_eps=1e-3))
    assert torch.allclose(vector(narrow), vector(wide), atol=1e-7)
    assert losses["policy"] == pytest.approx(0, abs=1e-5)


def test_a_heavy_teacher_draws_the_student_all_the_way_to_it():
    states, copies = 8, 32
    rng = np.random.default_rng(0)
    teacher = rng.dirichlet(np.full(ACTIONS, 0.7), size=states).astype(np.float32)
    network, rollout = network_and_rollout(states * copies)
    which = np.arange(states * copies) % states
    rollout = replace(
        rollout,
        view=np.eye(VIEW, dtype=np.float32)[which],
        teacher=teacher[which],
        advantage=np.zeros(states * copies, np.float32),
    )
    adam = ppo.optimizer(network, Hyperparameters())
    for _ in range(100):
        ppo.update(network, adam, rollout, 10.0, Hyperparameters(), rng)
    student = network(torch.eye(VIEW)[:states])[0].softmax(-1).detach().numpy()
    assert np.abs(student - teacher).sum(axis=1).max() / 2 < 0.05
