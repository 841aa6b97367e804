"""Runs are found at any depth and described by their run.json alone; damaged ones are named."""

from dataclasses import asdict
from pathlib import Path

import pytest

from askonce.cache.errors import AskonceError
from askonce.student.learning import checkpoint, ppo
from askonce.student.learning.network import ActorCritic
from askonce.student.learning.train import Progress, Settings
from askonce.student.showing import runs


def keep(directory: Path, task: str, **about: object) -> Path:
    directory.mkdir(parents=True)
    network = ActorCritic(3, 2)
    progress = Progress(iteration=20, env_steps=900, seconds=2.0, return_mean=0.5, success_rate=0.75)
    checkpoint.save(
        directory,
        network,
        ppo.optimizer(network, ppo.Hyperparameters()),
        {"task": task, "iteration": 20, "settings": asdict(Settings(iterations=30)), "progress": asdict(progress)}
        | about,
    )
    return directory


def test_runs_are_found_at_any_depth_in_the_order_of_their_paths(tmp_path):
    keep(tmp_path / "b", "Two", teacher="gpt@1", method="llm4teach")
    keep(tmp_path / "a" / "deeper", "One")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "progress.json").write_text("{}")
    (first, second), damaged = runs.find(tmp_path)
    assert damaged == []
    assert (first.run, second.run) == (tmp_path / "a" / "deeper", tmp_path / "b")
    assert (first.task, first.method, first.teacher) == ("One", None, None)
    assert (second.task, second.method, second.teacher) == ("Two", "llm4teach", "gpt@1")
    for run in first, second:
        assert (run.iterations, run.iterations_wanted, run.env_steps) == (20, 30, 900)
        assert (run.success_rate, run.return_mean, run.steps_per_second) == (0.75, 0.5, 450)
        assert run.when.timestamp() == pytest.approx((run.run / "run.json").stat().st_mtime, abs=1e-3)


def test_a_run_itself_may_be_named(tmp_path):
    assert [run.task for run in runs.find(keep(tmp_path / "run", "One"))[0]] == ["One"]


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b"[]", b'{"format": "other"}', b'{"task": "One"}'])
def test_a_damaged_one_is_named_and_the_others_are_listed(tmp_path, damage):
    keep(tmp_path / "sound", "One")
    (keep(tmp_path / "damaged", "Two") / "run.json").write_bytes(damage)
    found, (line,) = runs.find(tmp_path)
    assert [run.task for run in found] == ["One"]
    assert str(tmp_path / "damaged" / "run.json") in line and "\n" not in line


@pytest.mark.parametrize("lacking", [{"progress": {}}, {"settings": None}, {"progress": {"seconds": "soon"}}])
def test_one_without_its_figures_is_damaged(tmp_path, lacking):
    keep(tmp_path / "run", "One", **lacking)
    assert runs.find(tmp_path)[0] == [] and "run.json" in runs.find(tmp_path)[1][0]


def test_a_directory_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(AskonceError, match="none"):
        runs.find(tmp_path / "none")
