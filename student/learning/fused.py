"""`ppo.TorchLearner` for a perceptron over a one-hot view, compiled: forward, backward, clipping and Adam in one loop.

At minibatches of a hundred rows torch spends its time on dispatch, not on arithmetic. Here a view is the
list of its ones: the first layer is the sum of the weights they name, and the gradient goes to the same
weights. Losses and parameters are those of `ppo.update` to float32 rounding. Adam is torch's, so a weight
whose gradient is zero still moves while its moments decay.
"""

from math import exp, log, sqrt
from typing import NamedTuple

from numba import njit
import numpy as np
import torch

from askonce.pipeline.tasks.task import Batch
from askonce.student.learning import distributed, ppo
from askonce.student.learning.actor import Categorical
from askonce.student.learning.network import ActorCritic
from askonce.student.learning.rollout import Rollout

# With numpy's rule for division no loop must stop to ask for zero, and with sums in any order all are vectorised.
compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})

BETAS = 0.9, 0.999


class Layers(NamedTuple):
    """A flat float32 vector by its parts: F inputs, H and K hidden units, A actions and the value."""

    first: np.ndarray  # (F, H)
    first_bias: np.ndarray  # (H,)
    second: np.ndarray  # (H, K)
    second_bias: np.ndarray  # (K,)
    heads: np.ndarray  # (A + 1, K)
    heads_bias: np.ndarray  # (A + 1,)


class Columns(NamedTuple):
    """What the losses need of S steps: `ones` (S, M) uint16, action (S,) int64, the rest float32."""

    ones: np.ndarray
    action: np.ndarray
    log_probability: np.ndarray
    advantage: np.ndarray
    value: np.ndarray
    value_target: np.ndarray
    teacher: np.ndarray  # (S, A), or (S, 0) without one


class Coefficients(NamedTuple):
    """Of the loss's terms, float32, and of the step, float64."""

    clip: np.float32
    value: np.float32
    entropy: np.float32
    teacher: np.float32
    wasserstein: bool
    max_grad_norm: float
    learning_rate: float
    epsilon: float


class FusedLearner:
    """A network and its Adam as flat vectors; `write` brings torch's own tensors up to date."""

    def __init__(self, network: ActorCritic, adam: torch.optim.Adam, hyperparameters: ppo.Hyperparameters):
        self.network, self.adam, self.hyperparameters = network, adam, hyperparameters
        self.parameters, self.gradient, self.mean, self.square = np.zeros((4, network.parameter_count), np.float32)
        self.layers, self.gradients = _layers(self.parameters, network), _layers(self.gradient, network)
        self.steps = 0
        for parameter, window in zip(network.parameters(), _as_torch(self.layers), strict=True):
            window[...] = parameter.detach().numpy()
        for moment, windows in self._moments():
            for parameter, window in zip(network.parameters(), windows, strict=True):
                if state := adam.state[parameter]:
                    window[...] = state[moment].numpy()
                    self.steps = int(state["step"])

    @staticmethod
    def see(batch: Batch) -> np.ndarray:
        return batch.ones

    def policy(self, ones: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, M) ones → (N, A) action probabilities and (N,) values."""
        outputs = np.empty((len(ones), len(self.layers.heads)), np.float32)
        policies_and_values(self.layers, ones, outputs)
        return outputs[:, :-1], outputs[:, -1]

    def update(
        self, rollout: Rollout, teacher_weight: float, rng: np.random.Generator, done: float = 0.0
    ) -> dict[str, float]:
        """As `ppo.TorchLearner.update`, which draws the same minibatches."""
        given = self.hyperparameters
        columns = Columns(
            rollout.view,
            rollout.action,
            rollout.log_probability,
            ppo.normalized(rollout.advantage),
            rollout.value,
            rollout.value_target,
            rollout.teacher,
        )
        steps = len(rollout.action)
        orders = np.stack([rng.permutation(steps) for _ in range(given.update_epochs)])
        losses = np.zeros(4)
        self.steps = _update(
            self.layers,
            self.gradients,
            self.parameters,
            self.gradient,
            self.mean,
            self.square,
            self.steps,
            columns,
            orders,
            given.minibatch_size,
            self._coefficients(teacher_weight, done),
            losses,
        )
        return dict(zip(ppo.LOSSES, losses.tolist()))

    def _coefficients(self, teacher_weight: float, done: float) -> Coefficients:
        given = self.hyperparameters
        return Coefficients(
            np.float32(given.clip_coef),
            np.float32(given.vf_coef),
            np.float32(given.ent_coef),
            np.float32(teacher_weight),
            given.divergence == "wasserstein",
            given.max_grad_norm,
            given.rate(done),
            given.adam_eps,
        )

    def finite(self) -> bool:
        """Whether every weight is a number."""
        return bool(np.isfinite(self.parameters).all())

    def write(self) -> None:
        """Brings the network and Adam's state up to date."""
        with torch.no_grad():
            for parameter, window in zip(self.network.parameters(), _as_torch(self.layers), strict=True):
                parameter.copy_(torch.from_numpy(window))
        if not self.steps:
            return
        for parameter in self.network.parameters():
            self.adam.state[parameter]["step"] = torch.tensor(float(self.steps))
        for moment, windows in self._moments():
            for parameter, window in zip(self.network.parameters(), windows, strict=True):
                self.adam.state[parameter][moment] = torch.from_numpy(window.copy())

    def _moments(self):
        for moment, flat in (("exp_avg", self.mean), ("exp_avg_sq", self.square)):
            yield moment, _as_torch(_layers(flat, self.network))


def learner_of(
    network: ActorCritic, adam: torch.optim.Adam, hyperparameters: ppo.Hyperparameters, batch: Batch
) -> "FusedLearner | ppo.TorchLearner":
    """The compiled learner where it knows the network and the batch says which inputs are 1, torch's elsewhere.

    It takes its steps alone; several workers learn with torch.
    """
    alone = distributed.size() == 1
    known = type(network) is ActorCritic and type(network.actor) is Categorical and batch.ones is not None
    return (FusedLearner if known and alone else ppo.TorchLearner)(network, adam, hyperparameters)


def _layers(flat: np.ndarray, network: ActorCritic) -> Layers:
    """`flat` by its parts, which look into it."""
    (hidden, inputs), (second, _) = network.torso[0].weight.shape, network.torso[2].weight.shape
    outputs = network.actor.out_features + 1
    shapes = ((inputs, hidden), (hidden,), (hidden, second), (second,), (outputs, second), (outputs,))
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    return Layers(*(part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes)))


def _as_torch(layers: Layers) -> list[np.ndarray]:
    """The same memory in the order and the shapes of `ActorCritic.parameters()`."""
    heads, bias = layers.heads, layers.heads_bias
    return [
        layers.first.T,
        layers.first_bias,
        layers.second.T,
        layers.second_bias,
        heads[:-1],
        bias[:-1],
        heads[-1:],
        bias[-1:],
    ]


@compiled
def policies_and_values(layers, ones, outputs):
    """Writes (N, A + 1): the probabilities of the actions, and the value."""
    first, second = np.empty_like(layers.first_bias), np.empty_like(layers.second_bias)
    for n in range(ones.shape[0]):
        forward(layers, ones[n], first, second, outputs[n])
        log_softmax(outputs[n])
        for a in range(outputs.shape[1] - 1):
            outputs[n, a] = exp(outputs[n, a])


@compiled
def forward(layers, ones, first, second, outputs):
    """Writes the hidden units (H,) and (K,) of one row of ones, and its outputs (A + 1,): logits and value."""
    for h in range(first.shape[0]):
        first[h] = layers.first_bias[h]
    weight, end, i = layers.first, layers.first.shape[0], 0
    # Four at a time, because each pass over the hidden units has to fetch and put back their sums.
    while i + 4 <= len(ones) and ones[i + 3] < end:
        a, b, c, d = ones[i], ones[i + 1], ones[i + 2], ones[i + 3]
        for h in range(first.shape[0]):
            first[h] += weight[a, h] + weight[b, h] + weight[c, h] + weight[d, h]
        i += 4
    while i < len(ones) and ones[i] < end:
        for h in range(first.shape[0]):
            first[h] += weight[ones[i], h]
        i += 1
    _relu(first)
    _affine(first, layers.second, layers.second_bias, second)
    _relu(second)
    for o in range(outputs.shape[0]):
        total = layers.heads_bias[o]
        for k in range(second.shape[0]):
            total += layers.heads[o, k] * second[k]
        outputs[o] = total


@compiled
def _affine(inputs, weight, bias, outputs):
    for o in range(outputs.shape[0]):
        outputs[o] = bias[o]
    for i in range(inputs.shape[0]):
        if inputs[i] > 0:
            for o in range(outputs.shape[0]):
                outputs[o] += inputs[i] * weight[i, o]


@compiled
def _relu(units):
    for h in range(units.shape[0]):
        units[h] = max(units[h], np.float32(0))


@compiled
def log_softmax(outputs):
    """In place, of all but the last, which is the value."""
    greatest, total = outputs[0], np.float32(0)
    for a in range(1, outputs.shape[0] - 1):
        greatest = max(greatest, outputs[a])
    for a in range(outputs.shape[0] - 1):
        total += exp(outputs[a] - greatest)
    for a in range(outputs.shape[0] - 1):
        outputs[a] -= greatest + log(total)


@compiled
def _update(
    layers, gradients, parameters, gradient, mean, square, steps, columns, orders, minibatch, coefficients, losses
):
    """Epochs over `orders` (E, S) in minibatches, one Adam step each; writes the mean losses, returns the steps."""
    sums, batches = np.zeros(4, np.float32), 0
    for order in orders:
        for start in range(0, len(order), minibatch):
            rows = order[start : start + minibatch]
            gradient[:] = 0
            sums[:] = 0
            _backward(layers, gradients, columns, rows, coefficients, sums)
            for i in range(4):
                losses[i] += sums[i] / len(rows)
            batches += 1
            _adam(parameters, gradient, mean, square, steps + batches, coefficients)
    for i in range(4):
        losses[i] /= batches
    return steps + batches


@compiled
def _backward(layers, gradients, columns, rows, coefficients, sums):
    """Adds the gradient of the mean loss over `rows` to `gradients`, and each row's four losses to `sums`."""
    first, second = np.empty_like(layers.first_bias), np.empty_like(layers.second_bias)
    to_first, to_second = np.empty_like(first), np.empty_like(second)
    outputs, to_outputs = np.empty_like(layers.heads_bias), np.empty_like(layers.heads_bias)
    share = np.float32(1 / len(rows))
    for row in rows:
        forward(layers, columns.ones[row], first, second, outputs)
        log_softmax(outputs)
        _loss(columns, row, outputs, coefficients, to_outputs, sums)
        for o in range(to_outputs.shape[0]):
            to_outputs[o] *= share
        _heads_backward(second, layers.heads, to_outputs, to_second, gradients.heads, gradients.heads_bias)
        _affine_backward(first, layers.second, to_second, to_first, gradients.second, gradients.second_bias)
        for one in columns.ones[row]:
            if one == layers.first.shape[0]:
                break
            for h in range(to_first.shape[0]):
                gradients.first[one, h] += to_first[h]
        for h in range(to_first.shape[0]):
            gradients.first_bias[h] += to_first[h]


@compiled
def _heads_backward(inputs, weight, to_outputs, to_inputs, to_weight, to_bias):
    for i in range(inputs.shape[0]):
        to_inputs[i] = 0
    for o in range(to_outputs.shape[0]):
        slope = to_outputs[o]
        to_bias[o] += slope
        for i in range(inputs.shape[0]):
            to_weight[o, i] += slope * inputs[i]
            to_inputs[i] += slope * weight[o, i]
    for i in range(inputs.shape[0]):
        if inputs[i] <= 0:
            to_inputs[i] = 0


@compiled
def _affine_backward(inputs, weight, to_outputs, to_inputs, to_weight, to_bias):
    """Of a layer whose inputs come out of a ReLU: what is zero passes nothing on and learns nothing."""
    for o in range(to_outputs.shape[0]):
        to_bias[o] += to_outputs[o]
    for i in range(inputs.shape[0]):
        to_inputs[i] = 0
        if inputs[i] > 0:
            total = np.float32(0)
            for o in range(to_outputs.shape[0]):
                to_weight[i, o] += inputs[i] * to_outputs[o]
                total += weight[i, o] * to_outputs[o]
            to_inputs[i] = total


@compiled
def _loss(columns, row, outputs, coefficients, to_outputs, sums):
    """Adds one row's losses to `sums` and writes its loss's gradient by the logits and the value.

    `outputs` are log-probabilities and the value. `ppo.py` has the same in words of torch.
    """
    actions, value, one = outputs.shape[0] - 1, outputs[-1], np.float32(1)
    clip, advantage, action = coefficients.clip, columns.advantage[row], columns.action[row]

    ratio = exp(outputs[action] - columns.log_probability[row])
    clipped_ratio = min(max(ratio, one - clip), one + clip)
    sums[0] -= min(ratio * advantage, clipped_ratio * advantage)
    to_action = -ratio * advantage if ratio * advantage <= clipped_ratio * advantage else np.float32(0)

    old_value, target = columns.value[row], columns.value_target[row]
    error = value - target
    clipped_error = old_value + min(max(value - old_value, -clip), clip) - target
    sums[1] += max(error * error, clipped_error * clipped_error)
    nearby = abs(value - old_value) <= clip
    to_outputs[-1] = 2 * coefficients.value * error if nearby or error * error > clipped_error * clipped_error else 0

    entropy, advised = np.float32(0), np.float32(0)
    for a in range(actions):
        to_outputs[a] = exp(outputs[a])
        entropy -= to_outputs[a] * outputs[a]
    for a in range(columns.teacher.shape[1]):
        advised += columns.teacher[row, a]
    sums[2] += entropy
    if coefficients.wasserstein:
        pull = np.float32(0)
        for a in range(columns.teacher.shape[1]):
            gap = columns.teacher[row, a] - advised * to_outputs[a]
            sums[3] += abs(gap) / 2
            pull += np.sign(gap) * to_outputs[a]
        for a in range(actions):
            slope = coefficients.entropy * (outputs[a] + entropy) - to_action
            if columns.teacher.shape[1] > 0:
                gap = columns.teacher[row, a] - advised * to_outputs[a]
                slope -= coefficients.teacher * advised * (np.sign(gap) - pull) / 2
            to_outputs[a] *= slope
    else:
        for a in range(actions):
            to_outputs[a] *= coefficients.entropy * (outputs[a] + entropy) + coefficients.teacher * advised - to_action
        for a in range(columns.teacher.shape[1]):
            sums[3] -= columns.teacher[row, a] * outputs[a]
            to_outputs[a] -= coefficients.teacher * columns.teacher[row, a]
    to_outputs[action] += to_action


@compiled
def _adam(parameters, gradient, mean, square, step, coefficients):
    """One step with the gradient clipped to its greatest norm (Kingma and Ba 2015, algorithm 1)."""
    total = np.float32(0)
    for i in range(gradient.shape[0]):
        total += gradient[i] * gradient[i]
    scale = np.float32(min(coefficients.max_grad_norm / (sqrt(total) + 1e-6), 1.0))
    of_mean, of_square = np.float32(1 - BETAS[0]), np.float32(1 - BETAS[1])
    kept = np.float32(BETAS[1])
    rate = np.float32(coefficients.learning_rate / (1 - BETAS[0] ** step))
    unbiased = np.float32(1 / sqrt(1 - BETAS[1] ** step))
    epsilon = np.float32(coefficients.epsilon)
    for i in range(gradient.shape[0]):
        slope = gradient[i] * scale
        mean[i] += (slope - mean[i]) * of_mean
        square[i] = square[i] * kept + slope * slope * of_square
        parameters[i] -= rate * mean[i] / (np.sqrt(square[i]) * unbiased + epsilon)
