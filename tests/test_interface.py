"""`import askonce`, and what the wheel and the command line promise to those who have modules of their own."""

import json
import os
from pathlib import Path
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

import askonce
from askonce.cache import query
from tests.command import SCRIPT, command

ROOT = Path(__file__).parents[1]
TASK = "ColoredDoorKey"


def python(*arguments: object, cwd: Path, path: Path = ROOT) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(path)}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, env=environment, text=True, capture_output=True
    )


def test_the_quick_start_runs_as_it_is_written(tmp_path):
    lines = (ROOT / "docs" / "quickstart.py").read_text().splitlines()
    assert len(lines) <= 25
    ended = python(ROOT / "docs" / "quickstart.py", 30, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "14 texts, 140 completions" in ended.stdout and "parameters" in ended.stdout


def explorer(chats: list) -> list[str]:
    """An LLM that always says the same."""
    assert all(message.keys() == {"role", "content"} for chat in chats for message in chat)
    return ["Observation: …\nDecision: explore" for _ in chats]


def test_a_python_function_is_asked_once_like_any_llm(tmp_path):
    cache = tmp_path / "cache"
    report = askonce.build_cache(TASK, cache, explorer, samples=2, episodes=30)
    assert report.asked == report.texts > 0 and report.completions == 2 * report.texts and report.unparsable == 0
    again = askonce.build_cache(TASK, cache, explorer, samples=2, episodes=30)
    assert (again.asked, again.completions) == (0, 0)
    assert askonce.look_up(cache, TASK, "Agent sees nothing, holds nothing.") == {("explore",): 1.0}
    assert askonce.look_up(cache, TASK, "Agent sees a unicorn.") is None
    (stored,) = query.stats(cache).teachers
    assert stored.model == "explorer"
    # The same function is the same address; another one is another.
    (row, *_) = query.show(cache, "Agent sees nothing, holds nothing.")
    assert row.endpoint == f"python:{__name__}.explorer"


@pytest.mark.parametrize("said", [lambda chats: "explore", lambda chats: [], lambda chats: [None for _ in chats]])
def test_a_function_that_returns_something_else_is_one_line(tmp_path, said):
    with pytest.raises(askonce.AskonceError, match="list of strings") as error:
        askonce.build_cache(TASK, tmp_path / "cache", said, episodes=6)
    assert "\n" not in str(error.value)


def test_a_student_is_a_torch_module_over_observations(tmp_path):
    shown = []
    askonce.train(TASK, tmp_path / "run", iterations=3, show=lambda progress: shown.append(progress.iteration))
    assert shown == [1, 2, 3]
    policy = askonce.load_student(TASK, tmp_path / "run")
    batch = askonce.find_task(TASK).batch(5)
    batch.reset(np.arange(5), np.arange(5))
    probabilities = policy(torch.from_numpy(batch.observations))
    assert probabilities.shape == (5, 7) and torch.allclose(probabilities.sum(-1), torch.ones(5))
    with pytest.raises(askonce.AskonceError, match="either the student"):
        askonce.evaluate(TASK)


def test_everything_that_is_offered_is_there_and_documented():
    for name in askonce.__all__:
        assert getattr(askonce, name).__doc__ or name == "Decision"
    assert askonce.__version__ and not hasattr(askonce, "nothing")


def test_what_the_commands_do_can_be_done_from_python(tmp_path):
    cache, run = tmp_path / "cache", tmp_path / "run"
    asked = askonce.build_cache(TASK, cache, samples=2, episodes=30)
    other = askonce.explain(cache, TASK, "Agent sees nothing, holds nothing.", askonce.LLM(temperature=0.5))
    assert not other.completions and [found.field for found in other.differences] == ["temperature"]
    assert askonce.cache_stats(cache).teachers[0].completions == asked.completions
    assert askonce.explain(cache, TASK, "Agent sees nothing, holds nothing.").completions == 2
    assert askonce.verify_cache(cache).rows == asked.completions and not askonce.repair_cache(cache).ask_again
    assert askonce.export_dataset(cache, tmp_path / "dataset").completions == asked.completions
    assert askonce.import_dataset(tmp_path / "dataset", tmp_path / "other").added == asked.completions
    assert askonce.merge_caches(cache, tmp_path / "other").held == asked.completions
    askonce.train(TASK, run, cache=cache, iterations=2)
    assert [found.run for found in askonce.find_runs(tmp_path)[0]] == [run]
    frames = list(askonce.watch(TASK, run=run, cache=cache, episodes=1))
    assert frames[-1].ended and frames[0].student is not None and frames[0].teacher is not None
    written = askonce.write_report(cache, tmp_path / "report.html", [run], episodes=5)
    assert (tmp_path / "report.html").exists() and len(written.held) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["cache", "--help"]])
def test_help_loads_nothing_that_takes_long(tmp_path, arguments):
    program = """
import sys
from askonce import cli
sys.argv = ["cli", *sys.argv[1:]]
try:
    cli.main()
finally:
    print([name for name in ("torch", "numpy", "pyarrow", "duckdb") if name in sys.modules], file=sys.stderr)
"""
    ended = python("-c", program, *arguments, cwd=tmp_path)
    assert ended.returncode == 0 and "Usage" in ended.stdout and ended.stderr.strip() == "[]"


def test_the_shell_completes_the_names_of_tasks(tmp_path):
    asked = {"_CLI_COMPLETE": "complete_bash", "COMP_WORDS": "cli train --task Lava", "COMP_CWORD": "3"}
    ended = subprocess.run([SCRIPT], env=os.environ | asked, cwd=tmp_path, text=True, capture_output=True)
    assert ended.stdout.split() == ["LavaDoorKey"]


# ---- With modules of one's own -----------------------------------------------------------------------------

MINE = """
import numpy as np

from askonce import GymTask, Option, Prompt

print("a world that talks")


def act(option, seen):
    print("and goes on talking")
    return 1


TASK = GymTask(
    "Mine", "CartPole-v1", Prompt("Balance.", (Option("push", "push"),), "It leans.", "It leans.", "Push.", ("push right",)),
    write=lambda seen: "It leans.", options=lambda text: ["push right"], act=act,
)
"""


@pytest.fixture
def own(tmp_path) -> Path:
    """A folder with modules that are named as rooms of the project are."""
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").write_text("")
    (tmp_path / "pipeline" / "mine.py").write_text(MINE)
    for name in ("cache", "commands", "student", "cli"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not this one')")
    return tmp_path


def test_a_users_own_modules_harm_nothing_and_what_they_print_is_not_in_the_way(own):
    ended = command(
        "build-cache",
        "--task",
        "pipeline.mine:TASK",
        "--cache",
        own / "c",
        "--episodes",
        3,
        "--samples",
        1,
        "--json",
        cwd=own,
    )
    assert ended.code in (0, 3), ended.err
    assert json.loads(ended.out)["texts"] == 1 and "a world that talks" in ended.err
    assert ended.out.count("\n") == 1


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built of a copy: setuptools leaves a folder beside the sources, which other tests would find."""
    folder = tmp_path_factory.mktemp("wheel")
    left_out = shutil.ignore_patterns(
        ".*", "tests", "docs", "site", "build", "__pycache__", "*.egg-info", "runs", "caches"
    )
    shutil.copytree(ROOT, folder / "checkout", symlinks=True, ignore=left_out)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, folder / "checkout"],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_claims_one_name_and_two_scripts(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        (scripts,) = (file.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    assert {name.partition("/")[0] for name in names} == {"askonce", f"askonce-{askonce.__version__}.dist-info"}
    assert scripts.split() == ["[console_scripts]", "askonce", "=", "askonce.cli:main", "cli", "=", "askonce.cli:main"]
    for needed in (
        "py.typed",
        "cache/index.py",
        "pipeline/tasks/measured.json",
        "pipeline/tasks/navpick/pick.safetensors",
        "student/showing/report/template.html",
    ):
        assert f"askonce/{needed}" in names


def test_the_wheel_works_beside_a_users_own_modules(wheel, own):
    with zipfile.ZipFile(wheel) as file:
        file.extractall(own / "installed")
    program = "import sys; sys.argv[0] = 'cli'; from askonce.cli import main; main()"
    ended = python("-c", program, "tasks", "--json", cwd=own, path=own / "installed")
    assert ended.returncode == 0, ended.stderr
    assert TASK in {task["name"] for task in json.loads(ended.stdout)["tasks"]}
