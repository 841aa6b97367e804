"""`cli train --config`: a file's settings are those of the flags, which go before it; a run's own run.json is one."""

import json

import pytest

from askonce.cache.errors import AskonceError
from askonce.student.learning import config

ALONE = ("train", "--task", "SimpleDoorKey", "--method", "ppo", "--json")
FILE = """
task = "SimpleDoorKey"
method = "ppo"
iterations = 3
seed = 5
[hyperparameters]
ent_coef = 0.02
minibatch_size = 64
"""


def settings(run) -> dict:
    return json.loads((run / "run.json").read_text())["settings"]


def test_a_file_and_flags_and_a_run_of_before_make_the_same_run(run, tmp_path):
    (tmp_path / "run.toml").write_text(FILE)
    assert run("train", "--config", tmp_path / "run.toml", "--run", tmp_path / "one", "--json").code == 0
    found = settings(tmp_path / "one")
    assert (found["iterations"], found["seed"]) == (3, 5)
    assert found["hyperparameters"]["ent_coef"] == 0.02 and found["hyperparameters"]["minibatch_size"] == 64
    again = "train", "--config", tmp_path / "one" / "run.json", "--run", tmp_path / "two", "--json"
    assert run(*again).code == 0 and settings(tmp_path / "two") == found


def test_what_is_given_on_the_command_line_goes_before_the_file(run, tmp_path):
    (tmp_path / "run.toml").write_text(FILE)
    given = "--iterations", 2, "--run", tmp_path / "run", "--json"
    assert run("train", "--config", tmp_path / "run.toml", *given).figures["iterations"] == 2
    assert settings(tmp_path / "run")["seed"] == 5


@pytest.mark.parametrize(
    "content, says",
    [
        ("iteratons = 3", "iteratons"),
        ("[hyperparameters]\nentropy = 1", "ent_coef"),
        ("[hyperparameters]\nent_coef = 'much'", "ent_coef"),
        ("[distill_coef]\nfinal = [1]", "final"),
        ("hyperparameters = 3", "table"),
        ("= 3", "cannot read"),
    ],
)
def test_what_is_no_setting_is_one_line_and_wrong_use(run, tmp_path, content, says):
    (tmp_path / "run.toml").write_text(content)
    ended = run(*ALONE, "--run", tmp_path / "run", "--config", tmp_path / "run.toml")
    assert ended.code == 2 and says in ended.figures["error"] and "\n" not in ended.figures["error"]
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(AskonceError, match="cannot read"):
        config.read(tmp_path / "none.toml", ["task"])
