"""What earlier versions wrote: a run of 0.1.0, broken off after 12 of 30 iterations, is read, evaluated and ended."""

import json
from pathlib import Path
import zipfile

import pytest

from askonce.pipeline import tasks
from askonce.student.judging import evaluate
from askonce.student.learning import checkpoint
from askonce.student.learning.anneal import WITHOUT_TEACHER, Schedule
from askonce.student.learning.distill import Teacher, go_without
from askonce.student.learning.ppo import Hyperparameters
from askonce.student.learning.train import Settings, train
from askonce.student.showing import runs

TASK = tasks.find("SimpleDoorKey")


@pytest.fixture
def run(tmp_path):
    with zipfile.ZipFile(Path(__file__).with_name("run_0_1_0.zip")) as file:
        file.extractall(tmp_path)
    return tmp_path / "run"


def test_it_is_read_with_the_names_of_today(run):
    about = checkpoint.describe(run)
    assert Hyperparameters(**about["settings"]["hyperparameters"]) == Hyperparameters()
    assert Schedule(**about["settings"]["distill_coef"]) == WITHOUT_TEACHER
    assert "distill_coef" in about["progress"] and runs.read(run).iterations == 12


def test_it_is_evaluated_and_gone_on_with(run):
    assert evaluate.evaluate(TASK, evaluate.student(TASK, run), 20, seed=0).episodes == 20
    settings = Settings(seed=0, iterations=30, distill_coef=WITHOUT_TEACHER)
    _, progress = train(TASK, Teacher(TASK, go_without), settings, run, resume=True, about={"method": "ppo"})
    assert progress.iteration == 30 and progress.env_steps > 12 * 150
    assert json.loads((run / "run.json").read_text())["version"] == checkpoint.VERSION


def test_what_is_no_run_of_any_version_is_one_line(run):
    about = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(about | {"version": 1}))
    with pytest.raises(checkpoint.AskonceError, match="train it again"):
        checkpoint.describe(run)
