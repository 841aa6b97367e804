"""Exported files are run as their users run them: by another process that finds nothing of this project."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from askonce.cache.errors import AskonceError
from askonce.pipeline import tasks
from askonce.pipeline.collect import play
from askonce.pipeline.tasks.gym_task import GymTask
from askonce.student.deploying import export
from askonce.student.judging import evaluate
from askonce.student.learning import checkpoint, ppo
from askonce.student.learning.network import ActorCritic, as_policy

FILES = {"onnx": "student.onnx", "torchscript": "student.pt"}
POLE = GymTask(
    "CartPole", "CartPole-v1", prompt=None, write=str, options=lambda text: [], act=lambda option, pole: None
)
# Whatever is installed beside this project, none of it can be imported.
ALONE = "import sys\nsys.modules.update(dict.fromkeys(('cache', 'cli', 'commands', 'pipeline', 'student')))\n"
ASK = {
    "onnx": "given = np.load('given.npy')\nnp.save('onnx.npy', policy.run(None, {%r: given})[0])\n",
    "torchscript": "import numpy as np\ngiven = torch.from_numpy(np.load('given.npy'))\n"
    "np.save('torchscript.npy', policy(given))  # for %s\n",
}


def keep(directory, task):
    """A run whose student has learnt nothing, but is sure of it: states make a difference."""
    directory.mkdir()
    torch.manual_seed(0)
    network = ActorCritic(task.view_size, int(task.action_space.n))
    torch.nn.init.orthogonal_(network.actor.weight, 3)
    adam = ppo.optimizer(network, ppo.Hyperparameters())
    checkpoint.save(directory, network, adam, {"task": task.name, "iteration": 1})
    return directory


def episode(task, run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observations, views and the student's probabilities in an episode of random actions, step by step."""
    batch, policy = task.batch(1), as_policy(evaluate.trained(task, run))
    rng, steps = np.random.default_rng(0), []

    def act(running):
        steps.append((np.array(batch.observations[0]), batch.view[0].copy(), policy(batch.view)[0][0]))
        return rng.integers(task.action_space.n, size=1)

    for _ in play(batch, task.seeds(1, 0, held_out=True), act):
        pass
    return tuple(np.stack(column) for column in zip(*steps))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A student in both formats, and what their own examples print, each in a process of its own."""
    task, directory = tasks.find("ColoredDoorKey"), tmp_path_factory.mktemp("exported")
    run = keep(directory / "run", task)
    observations, _, probabilities = episode(task, run)
    np.save(directory / "given.npy", observations)
    written, processes = {}, {}
    for form, name in FILES.items():
        written[form] = export.export(task, run, directory / name, form)
        program = ALONE + written[form].example + ASK[form] % "observation"
        processes[form] = subprocess.Popen(
            [sys.executable, "-I", "-c", program],
            cwd=directory,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    ended = {form: (*process.communicate(), process.returncode) for form, process in processes.items()}
    return directory, written, ended, probabilities


@pytest.mark.parametrize("form", FILES)
def test_the_example_runs_as_it_stands_without_this_project(exported, form):
    _, written, ended, _ = exported
    out, err, code = ended[form]
    assert (code, err) == (0, "")
    shown = dict(line.rsplit(maxsplit=1) for line in out.splitlines())
    assert tuple(name.strip() for name in shown) == written[form].actions
    assert sum(map(float, shown.values())) == pytest.approx(1, abs=0.005)
    assert len(written[form].example.splitlines()) <= 10


@pytest.mark.parametrize("form", FILES)
def test_it_is_the_student_over_a_whole_episode(exported, form):
    directory, _, _, probabilities = exported
    found = np.load(directory / f"{form}.npy")
    assert found.shape == probabilities.shape and np.ptp(probabilities, axis=0).max() > 0.1
    assert np.abs(found - probabilities).max() < 1e-5


@pytest.mark.parametrize("form", FILES)
def test_it_is_the_policy_alone_and_tells_nothing_of_this_machine(exported, form):
    directory, written, _, _ = exported
    content = (directory / FILES[form]).read_bytes()
    assert len(content) == written[form].bytes and b"critic" not in content
    assert export.__file__.removesuffix("export.py").encode() not in content
    assert sorted(path.name for path in directory.iterdir() if path.suffix == ".tmp") == []
    assert (written[form].input, written[form].dtype) == ("observation", "uint8")
    assert written[form].shape == (10, 10, 4)


def test_a_task_whose_view_is_made_in_python_is_given_its_view(tmp_path):
    written = export.export(POLE, keep(tmp_path / "run", POLE), tmp_path / "pole.pt", "torchscript")
    assert (written.input, written.shape, written.dtype) == ("view", (4,), "float32")
    assert written.actions == ("action 0", "action 1")
    _, views, probabilities = episode(POLE, tmp_path / "run")
    with warnings.catch_warnings(action="ignore"):
        policy = torch.jit.load(tmp_path / "pole.pt")
    assert np.abs(policy(torch.from_numpy(views)).numpy() - probabilities).max() < 1e-5


def test_exporting_says_nothing_of_its_own(tmp_path, capfd):
    run = keep(tmp_path / "run", POLE)
    with warnings.catch_warnings(action="error"):
        for form, name in FILES.items():
            export.export(POLE, run, tmp_path / name, form)
    assert capfd.readouterr() == ("", "")


def test_without_its_packages_onnx_says_what_to_install_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    run = keep(tmp_path / "run", POLE)
    with pytest.raises(AskonceError, match=r"onnxscript: pip install 'askonce\[export\]'"):
        export.export(POLE, run, tmp_path / "pole.onnx", "onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
