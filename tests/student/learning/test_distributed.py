"""Several workers learn as one with all their rows would, stay alike, stop together, and miss one that is gone."""

from dataclasses import asdict, replace
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from askonce.cache.errors import AskonceError
from askonce.commands import training as commands
from askonce.student.learning import checkpoint, distributed, ppo
from askonce.student.learning import train as training
from askonce.student.learning.distill import Teacher, go_without
from askonce.student.learning.ppo import Hyperparameters
from askonce.student.learning.rollout import Rollout
from askonce.student.learning.train import Settings, train
from tests.student.counting import TASK
from tests.student.learning.test_ppo import ONE_STEP, network_and_rollout
from tests.student.workers import together

SETTINGS = Settings(seed=3, iterations=6, hyperparameters=Hyperparameters(num_envs=3, minibatch_size=8))
UNCLIPPED = replace(ONE_STEP, minibatch_size=1000, max_grad_norm=1e9)


@pytest.fixture(autouse=True, scope="module")
def warm(tmp_path_factory):
    """What training imports and compiles late, once in the process that the others are forked from."""
    train(TASK, Teacher(TASK, go_without), replace(SETTINGS, iterations=1), tmp_path_factory.mktemp("warm") / "run")


def weights_of(network: torch.nn.Module) -> np.ndarray:
    return torch.nn.utils.parameters_to_vector(network.parameters()).detach().numpy()


# ---- One update -------------------------------------------------------------------------------------------------


def gradient(*parts: slice) -> tuple[np.ndarray, dict[str, float]]:
    """Of one minibatch, to which each worker brings its part of the same 90 rows; and the losses."""
    network, rollout = network_and_rollout(90)
    rows = parts[0 if distributed.first() else 1]
    own = Rollout(*(column[rows] if len(column) == 90 else column for column in vars(rollout).values()))
    losses = ppo.update(network, ppo.optimizer(network, UNCLIPPED), own, 0.7, UNCLIPPED, np.random.default_rng(0))
    return torch.cat([parameter.grad.ravel() for parameter in network.parameters()]).numpy(), losses


def test_two_workers_have_the_gradient_of_one_with_the_rows_of_both():
    whole, losses = gradient(slice(None))
    for found, told in together(gradient, slice(0, 31), slice(31, 90)):
        np.testing.assert_allclose(found, whole, rtol=1e-4, atol=1e-6)
        assert told == pytest.approx(losses, rel=1e-4)


def few_and_many() -> tuple[list[tuple[int, float]], np.ndarray]:
    network, rollout = network_and_rollout(200)
    rows = 5 if distributed.first() else 200
    own = Rollout(*(column[:rows] for column in vars(rollout).values()))
    given = replace(ONE_STEP, minibatch_size=16)
    ppo.update(network, ppo.optimizer(network, given), own, 1.0, given, np.random.default_rng(rows))
    return distributed.minibatches(rows, given.minibatch_size), weights_of(network)


def test_a_worker_with_fewer_rows_than_there_are_minibatches_takes_every_step():
    (few, weights), (many, others) = together(few_and_many)
    # 205 rows in minibatches of 2 · 16 at most.
    assert [rows for rows, _ in few] == [1, 1, 1, 1, 1, 0, 0]
    assert len(many) == 7 and sum(rows for rows, _ in many) == 200
    assert [one + other for (_, one), (_, other) in zip(few, many)] == pytest.approx([1.0] * 7)
    assert (weights == others).all() and np.isfinite(weights).all()


# ---- Whole runs -------------------------------------------------------------------------------------------------


def learn(run: Path | None, stop_at: int = 0, spoil_at: int = 0, **options):
    """A worker's weights, its figures less the seconds, and its iterations as (layouts, actions).

    In the second worker a signal comes in iteration `stop_at`, and what is not a number in `spoil_at`.
    """
    played, player = [], training.compiled_rollout.player

    def noting(batch, learner):
        play = player(batch, learner)

        def noted(seeds, teacher, rng, teacher_acts):
            rollout = play(seeds, teacher, rng, teacher_acts)
            played.append((seeds.tolist(), rollout.action.tolist()))
            if len(played) == spoil_at and not distributed.first():
                rollout.value[0] = np.nan
            return rollout

        return noted

    def show(progress) -> None:
        if progress.iteration == stop_at and not distributed.first():
            signal.raise_signal(signal.SIGTERM)

    # In a process of their own.
    training.compiled_rollout.player, training.CHECKPOINT_EVERY = noting, 2
    network, progress = train(TASK, Teacher(TASK, go_without), SETTINGS, run, show=show, **options)
    figures = asdict(progress)
    del figures["seconds"]
    return weights_of(network), figures, played


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    run = tmp_path_factory.mktemp("unbroken") / "run"
    return run, together(lambda: learn(run, evaluate_every=3))


def test_workers_stay_alike_play_for_themselves_and_give_the_same_bits_again(unbroken):
    run, ((weights, figures, played), (others, told, played_too)) = unbroken
    assert (weights == others).all() and figures == told
    layouts = [seed for iterations in (played, played_too) for seeds, _ in iterations for seed in seeds]
    assert len(set(layouts)) == 2 * 6 * 3
    assert figures["env_steps"] == sum(len(actions) for _, actions in played + played_too)
    (again, without, _), _ = together(lambda: learn(None))
    assert (again == weights).all() and without | {"evaluations": figures["evaluations"]} == figures
    about = checkpoint.describe(run)
    assert about["workers"] == 2 and about["progress"].items() >= figures.items()


def test_a_signal_to_one_stops_all_and_resumed_they_end_where_unbroken_ones_do(unbroken, tmp_path):
    stopped = together(lambda: learn(tmp_path, stop_at=3, evaluate_every=3))
    assert [type(one) for one in stopped] == [KeyboardInterrupt] * 2
    assert checkpoint.describe(tmp_path)["iteration"] == 3
    (weights, figures, played), (others, _, _) = together(lambda: learn(tmp_path, resume=True, evaluate_every=3))
    assert (weights == unbroken[1][0][0]).all() and (others == weights).all()
    assert figures == unbroken[1][0][1] and len(played) == 3
    with pytest.raises(AskonceError, match="workers 2, not 1"):
        train(TASK, Teacher(TASK, go_without), SETTINGS, tmp_path, resume=True)


def test_what_is_not_finite_in_one_stops_all_with_one_line_and_its_batch_is_kept(tmp_path):
    said, silent = sorted(together(lambda: learn(tmp_path, spoil_at=3)), key=lambda error: type(error).__name__)
    assert (type(said), type(silent), silent.code) == (AskonceError, SystemExit, 1)
    assert "value is not finite" in str(said) and str(tmp_path / "failed-000003.npz") in str(said)
    assert np.isnan(np.load(tmp_path / "failed-000003.npz")["value"][0])
    assert checkpoint.describe(tmp_path)["iteration"] == 2


def test_several_workers_do_not_ask(tmp_path):
    train_command = commands.train.__wrapped__
    said, silent = sorted(
        together(lambda: train_command("LavaDoorKey", cache=tmp_path)), key=lambda error: type(error).__name__
    )
    assert (said.exit_code, silent.code) == (2, 2) and "add --cache-only" in str(said)


# ---- As torchrun starts them ------------------------------------------------------------------------------------


def test_the_death_of_one_ends_all_with_a_line_that_says_how_to_go_on(tmp_path):
    run = tmp_path / "run"
    # With `--`, torchrun does not take --run for an option of its own.
    torchrun = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc-per-node",
            "2",
            "-m",
            "--",
            "tests.student.workers",
            "train",
            "--task",
            "tests.student.counting:TASK",
            "--method",
            "ppo",
            "--iterations",
            "100000",
            "--run",
            run,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    one_of_them = int(torchrun.stdout.readline())
    while not (run / "run.json").exists() and torchrun.poll() is None:
        time.sleep(0.05)
    os.kill(one_of_them, signal.SIGKILL)
    written = torchrun.communicate(timeout=60)[1]
    assert torchrun.returncode == 1
    (line,) = [line for line in written.splitlines() if line.startswith("error:")]
    assert "another worker has ended" in line and "--resume" in line
    assert checkpoint.describe(run)["iteration"] > 0
