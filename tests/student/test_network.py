"""The student's size and shape."""

import pytest
import torch

from pipeline import tasks
from student.network import ActorCritic


@pytest.mark.parametrize("name", tasks.names())
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
