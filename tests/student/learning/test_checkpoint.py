"""A run's directory is whole at any moment, and says in one line what is wrong with it."""

import json
import os

import pytest
from safetensors.torch import load_file, save_file
import torch

from askonce.cache.errors import AskonceError
from askonce.student.learning import checkpoint, ppo
from askonce.student.learning.network import ActorCritic


def learner(seed: int):
    """A small network and an Adam that has taken one step."""
    torch.manual_seed(seed)
    network = ActorCritic(view_size=9, actions=4)
    adam = ppo.optimizer(network, ppo.Hyperparameters())
    logits, values = network(torch.rand(8, 9))
    (logits.square().sum() + values.sum()).backward()
    adam.step()
    return network, adam


def same(one: tuple, other: tuple) -> bool:
    """Whether two learners agree bit for bit, moments included."""
    for parameter, twin in zip(one[0].parameters(), other[0].parameters()):
        moments, others = one[1].state[parameter], other[1].state[twin]
        if not torch.equal(parameter, twin) or moments.keys() != others.keys():
            return False
        if not all(torch.equal(moments[name], others[name]) for name in moments):
            return False
    return True


def about(iteration: int) -> dict:
    return {"task": "T", "iteration": iteration, "figure": 0.1 + iteration}


def test_what_is_saved_is_loaded_bit_for_bit(tmp_path):
    saved, loaded = learner(1), learner(2)
    checkpoint.save(tmp_path, *saved, about(7))
    described = checkpoint.load(tmp_path, "T", *loaded)
    assert same(saved, loaded) and described.items() >= about(7).items()
    assert checkpoint.describe(tmp_path) == described
    # Deployed alone: without an optimiser only the network is needed.
    network = ActorCritic(9, 4)
    checkpoint.load(tmp_path, "T", network)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), saved[0].parameters()))


def test_exactly_one_checkpoint_is_left(tmp_path):
    for iteration in (1, 2, 3):
        checkpoint.save(tmp_path, *learner(iteration), about(iteration))
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            f"checkpoint-{iteration:06d}.safetensors",
            "run.json",
        ]


@pytest.mark.parametrize("moment", [1, 2])
def test_a_save_that_dies_leaves_the_checkpoint_before_it(tmp_path, monkeypatch, moment):
    """It dies as the weights are about to appear, and then as run.json is about to name them."""
    before, replaced, replace = learner(1), [], os.replace
    checkpoint.save(tmp_path, *before, about(1))

    def dying(source, target):
        replaced.append(target)
        if len(replaced) == moment:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", dying)
        checkpoint.save(tmp_path, *learner(2), about(2))
    loaded = learner(3)
    assert checkpoint.load(tmp_path, "T", *loaded)["iteration"] == 1 and same(before, loaded)
    after = learner(4)
    checkpoint.save(tmp_path, *after, about(2))
    assert checkpoint.load(tmp_path, "T", *loaded)["iteration"] == 2 and same(after, loaded)
    assert len(list(tmp_path.glob("checkpoint-*"))) == 1


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def not_a_number(path):
    tensors = load_file(path)
    next(tensor for name, tensor in tensors.items() if name.startswith("network.")).fill_(torch.nan)
    save_file(tensors, path)


@pytest.mark.parametrize(
    "damage, says",
    [
        (lambda run: (run / "run.json").unlink(), "there is no run"),
        (lambda run: (run / "run.json").write_text("{"), "cannot read"),
        (lambda run: (run / "run.json").write_bytes(b"\xff"), "cannot read"),
        (lambda run: (run / "run.json").write_text("[" * 100_000), "cannot read"),
        (lambda run: not_a_number(next(run.glob("checkpoint-*"))), "no numbers"),
        (lambda run: (run / "run.json").write_text("[]"), "does not describe a run"),
        (lambda run: (run / "run.json").write_text('{"format": "another"}'), "does not describe a run"),
        (lambda run: edit(run, version=checkpoint.VERSION + 1), "this version can read"),
        (lambda run: edit(run, task=None), "does not describe a run"),
        (lambda run: edit(run, checkpoint=None), "does not describe a run"),
        (lambda run: next(run.glob("checkpoint-*")).unlink(), "checkpoint-000001"),
        (lambda run: cut(next(run.glob("checkpoint-*"))), "checkpoint-000001"),
    ],
)
def test_a_damaged_run_is_named_in_one_line(tmp_path, damage, says):
    checkpoint.save(tmp_path, *learner(1), about(1))
    damage(tmp_path)
    with pytest.raises(AskonceError, match=says) as error:
        checkpoint.load(tmp_path, "T", *learner(2))
    assert "\n" not in str(error.value)


def edit(run, **changes):
    """Changes fields of run.json; None takes one out."""
    content = json.loads((run / "run.json").read_text()) | changes
    kept = {name: value for name, value in content.items() if value is not None}
    (run / "run.json").write_text(json.dumps(kept))


def test_a_run_of_another_task_or_shape_is_refused(tmp_path):
    checkpoint.save(tmp_path, *learner(1), about(1))
    with pytest.raises(AskonceError, match="run of T, not of U"):
        checkpoint.load(tmp_path, "U", *learner(2))
    with pytest.raises(AskonceError, match="size mismatch") as error:
        checkpoint.load(tmp_path, "T", ActorCritic(10, 4))
    assert "\n" not in str(error.value)


def test_a_path_through_a_file_is_no_run(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AskonceError, match="cannot read"):
        checkpoint.describe(tmp_path / "file")
