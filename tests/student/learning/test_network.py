"""The student's size and shape."""

from gymnasium.spaces import Box, MultiDiscrete
import pytest
import torch

from askonce.cache.errors import AskonceError
from askonce.pipeline import tasks
from askonce.pipeline.tasks.minigrid import NAMES as GRID_TASKS
from askonce.student.learning.network import ActorCritic, build
from tests.student.example import Script


@pytest.mark.parametrize("name", GRID_TASKS)
def test_it_has_about_24_thousand_parameters(name):
    task = tasks.find(name)
    network = ActorCritic(task.view_size, task.action_space.n)
    assert 20_000 <= network.parameter_count <= 24_000
    assert network.parameter_count == sum(tensor.numel() for tensor in network.state_dict().values())


def test_logits_and_value_come_a_row_a_view():
    network = ActorCritic(view_size=30, actions=7)
    logits, values = network(torch.rand(5, 30))
    assert logits.shape == (5, 7) and values.shape == (5,)


def test_it_begins_near_the_uniform_policy():
    """Else the first rollouts would explore little, and the teacher would first have to undo it."""
    torch.manual_seed(0)
    logits, _ = ActorCritic(view_size=900, actions=7)((torch.rand(100, 900) < 0.3).float())
    assert torch.allclose(logits.softmax(-1), torch.tensor(1 / 7), atol=0.05)


def test_the_same_torch_seed_gives_the_same_weights():
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.nn.utils.parameters_to_vector(ActorCritic(30, 7).parameters())

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


# ---- Images and vectors ------------------------------------------------------------------------------------


class Seen(Script):
    """What a network has to know of a task that sees an image of 64 × 64 and five numbers, and acts by vectors."""

    name, view_size, image_shape = "Seen", 64 * 64 * 2 + 5, (64, 64, 2)
    action_space, episodes = Box(-1, 1, (11,)), ()

    def __init__(self):
        pass


@pytest.mark.parametrize("torso, fewest, most", [("small", 50_000, 500_000), ("resnet18", 2_000_000, 10_000_000)])
def test_images_are_seen_by_convolutions_and_beside_them_the_rest(torso, fewest, most):
    network = build(Seen(), torso)
    outputs, values = network(torch.rand(3, Seen.view_size))
    assert outputs.shape == (3, 22) and values.shape == (3,) and fewest < network.parameter_count <= most
    views = torch.zeros(8, Seen.view_size)
    # A pixel in a corner of the second channel, and the last number: either is seen.
    views[1, 64 * 64 * 2 - 1] = views[2, -1] = 9.0
    plain, pixel, number = network(views)[1][:3].tolist()
    assert plain != pixel and plain != number


def test_the_image_is_the_first_columns_row_by_row():
    given = []
    network = build(Seen())
    network.torso.streams.image[0].register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    view = torch.rand(2, Seen.view_size)
    network(view)
    for row, column, channel in ((0, 0, 0), (0, 1, 0), (3, 0, 1), (63, 63, 1)):
        assert torch.equal(given[0][:, channel, row, column], view[:, (row * 64 + column) * 2 + channel])


def test_other_actions_than_one_of_many_or_vectors_are_one_line():
    task = Seen()
    task.action_space = MultiDiscrete([2, 3])
    with pytest.raises(AskonceError, match="Seen acts by MultiDiscrete"):
        build(task)
