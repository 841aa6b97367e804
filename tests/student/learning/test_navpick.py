"""Nav & Pick is trained by the same way as all tasks: physics on threads, maps, pictures and texts that grow in number."""

from dataclasses import asdict, replace
import signal

import pytest
import torch

from askonce.cache.errors import AskonceError
from askonce.commands.runs import task_of
from askonce.pipeline.tasks.navpick import env
from askonce.pipeline.tasks.navpick import task as navpick
from askonce.student.learning import presets
from askonce.student.learning.anneal import WITHOUT_TEACHER, Schedule
from askonce.student.learning.distill import Teacher
from askonce.student.learning.train import Settings, train

TASK = navpick.find()
LITTLE = replace(presets.CONTROL["default"].hyperparameters, num_envs=2, update_epochs=1, minibatch_size=32)


def learn(run, method: str, task=TASK, **options):
    """(weights, figures less the seconds) of three iterations."""
    distill_coef = Schedule(10.0, 1.0, 3, 3)
    if method == "hierarchical":
        task, distill_coef = task.over_options(), WITHOUT_TEACHER
    settings = Settings(0, 3, LITTLE, distill_coef)
    network, progress = train(
        task,
        Teacher(task, lambda text: {TASK.decisions(text)[0]: 1.0}),
        settings,
        run,
        about={"method": method},
        **options,
    )
    figures = asdict(progress)
    del figures["seconds"]
    return torch.nn.utils.parameters_to_vector(network.parameters()), figures


@pytest.mark.parametrize("method", ["llm4teach", "hierarchical"])
def test_broken_off_and_resumed_it_ends_bit_for_bit_where_an_unbroken_one_does(tmp_path, monkeypatch, method):
    monkeypatch.setattr(env, "MAX_STEPS", 12)
    unbroken, figures = learn(tmp_path / "unbroken", method)
    stop = lambda progress: signal.raise_signal(signal.SIGTERM) if progress.iteration == 1 else None
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "broken", method, show=stop)
    resumed, figures_resumed = learn(tmp_path / "broken", method, resume=True)
    assert torch.equal(unbroken, resumed) and figures == figures_resumed
    assert figures["env_steps"] <= 3 * 2 * 12 and figures["return_mean"] != 0


def test_a_run_is_not_gone_on_with_in_another_simulator(tmp_path, monkeypatch):
    monkeypatch.setattr(env, "MAX_STEPS", 3)
    learn(tmp_path, "llm4teach")
    with pytest.raises(AskonceError, match="simulator mujoco, not habitat"):
        learn(tmp_path, "llm4teach", task=navpick.find("habitat"), resume=True)


def test_it_is_played_in_its_own_simulator_unless_another_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(env, "MAX_STEPS", 3)
    learn(tmp_path, "llm4teach")
    about = tmp_path / "run.json"
    about.write_text(about.read_text().replace('"mujoco"', '"habitat"'))
    assert task_of(tmp_path, None).simulator == task_of(tmp_path, "NavPick").simulator == "habitat"
    assert task_of(tmp_path, None, "mujoco").simulator == "mujoco"
    assert task_of(tmp_path, "SimpleDoorKey").name == "SimpleDoorKey", "which has no simulators"
