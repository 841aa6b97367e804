"""Algorithm 1 end to end: the same seed, the same result, broken off or not, and never a socket."""

from dataclasses import asdict, replace
import json
import math
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import time

import gymnasium
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
import torch

from askonce.cache import store
from askonce.cache.errors import AskonceError
from askonce.pipeline import tasks
from askonce.pipeline.collect import draw
from askonce.pipeline.tasks.gym_task import GymTask
from askonce.student.judging import evaluate
from askonce.student.learning import checkpoint, compiled_rollout
from askonce.student.learning import train as training
from askonce.student.learning.anneal import WITHOUT_TEACHER, Schedule
from askonce.student.learning.distill import Teacher, refuse
from askonce.student.learning.network import ActorCritic, as_policy
from askonce.student.learning.ppo import Hyperparameters
from askonce.student.learning.train import Settings, train
from tests.cache.example import completion
from tests.student.example import PERFECT

# Its untrained students end their episodes early, in lava, so lengths differ.
TASK = tasks.find("LavaDoorKey")
# All three parts of Eq. 3 within 12 iterations.
SETTINGS = Settings(
    seed=3, iterations=12, hyperparameters=Hyperparameters(num_envs=4), distill_coef=Schedule(final_from=4, zero_from=8)
)
# One text less than there are.
PARTIAL = {text: found for text, found in PERFECT.items() if text != "Agent sees a door, holds nothing."}


def learn(run: Path | None = None, distributions=PARTIAL, settings=SETTINGS, task=TASK, **options):
    """(weights, figures less the seconds) of a whole run, or of the rest of one."""
    options = {"evaluate": evaluate.evaluate} | options
    network, progress = train(task, Teacher(task, distributions.get), settings, run, **options)
    figures = asdict(progress)
    del figures["seconds"]
    return torch.nn.utils.parameters_to_vector(network.parameters()), figures


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    run = tmp_path_factory.mktemp("unbroken") / "run"
    shown = []
    weights, figures = learn(run, show=lambda progress: shown.append(replace(progress)))
    return run, weights, figures, shown


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run)).Reload()
    tags = events.Tags()["scalars"]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


# ---- The same seed, the same result ------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_and_figures_with_or_without_a_run_directory(unbroken):
    _, weights, figures, _ = unbroken
    again, figures_again = learn()
    assert torch.equal(weights, again) and figures == figures_again
    other, _ = learn(settings=replace(SETTINGS, seed=4))
    assert not torch.equal(weights, other)


def test_without_a_teachers_weight_nothing_is_asked_or_counted():
    def asked(text: str) -> None:
        raise AssertionError(text)

    alone = replace(SETTINGS, distill_coef=WITHOUT_TEACHER)
    network, progress = train(TASK, Teacher(TASK, asked), alone)
    weights, figures = learn(settings=alone)
    assert torch.equal(torch.nn.utils.parameters_to_vector(network.parameters()), weights)
    assert (progress.cache_hits, progress.cache_misses, progress.distill_coef) == (0, 0, 0)


def test_a_run_from_before_there_was_a_setting_has_its_default(unbroken, tmp_path):
    shutil.copytree(unbroken[0], tmp_path / "run")
    about = json.loads((tmp_path / "run/run.json").read_text())
    del about["settings"]["distill_coef"]["decay"], about["settings"]["hyperparameters"]["divergence"]
    (tmp_path / "run/run.json").write_text(json.dumps(about))
    weights, _ = learn(tmp_path / "run", resume=True, about={"method": "llm4teach"})
    assert torch.equal(weights, unbroken[1])
    with pytest.raises(AskonceError, match="method llm4teach, not ppo"):
        learn(tmp_path / "run", resume=True, about={"method": "ppo"})


def fall_over(number: int) -> None:
    raise MemoryError


@pytest.mark.parametrize(
    "stop, number, kept, raised",
    [
        (signal.raise_signal, signal.SIGINT, 7, KeyboardInterrupt),
        (signal.raise_signal, signal.SIGTERM, 7, KeyboardInterrupt),
        (fall_over, signal.SIGINT, 5, MemoryError),
    ],
)
def test_a_run_broken_off_and_resumed_ends_bit_for_bit_where_an_unbroken_one_does(
    unbroken, tmp_path, monkeypatch, stop, number, kept, raised
):
    """One that is told to stop goes on from there, one that falls over from its last checkpoint."""
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 5)
    _, weights, figures, _ = unbroken
    handler = signal.getsignal(number)
    with pytest.raises(raised):
        learn(tmp_path, show=lambda progress: stop(number) if progress.iteration == 7 else None)
    assert signal.getsignal(number) is handler
    assert checkpoint.describe(tmp_path)["iteration"] == kept
    # TensorBoard tells the files of one run apart, and orders them, by the second.
    second = int(time.time())
    while int(time.time()) == second:
        time.sleep(0.01)
    resumed, figures_resumed = learn(tmp_path, resume=True)
    assert torch.equal(weights, resumed) and figures == figures_resumed
    for tag, points in curves(tmp_path).items():
        assert [step for step, _ in points] == list(range(1, 13)), tag
        if not tag.startswith("time/"):
            assert points == curves(unbroken[0])[tag]


def test_every_iteration_plays_layouts_and_draws_actions_of_its_own(monkeypatch):
    layouts, actions, collect = [], [], compiled_rollout.collect

    def recorded(batch, seeds, *rest):
        rollout = collect(batch, seeds, *rest)
        layouts.append(seeds)
        actions.append(rollout.action.copy())
        return rollout

    monkeypatch.setattr(compiled_rollout, "collect", recorded)
    # A student that stays as it is repeats itself wherever the randomness does.
    standing = replace(SETTINGS, hyperparameters=replace(SETTINGS.hyperparameters, learning_rate=0.0))
    learn(settings=standing)
    assert len(set(np.concatenate(layouts).tolist())) == 12 * 4
    assert len({tuple(drawn[:20]) for drawn in actions}) == 12


def test_resuming_a_finished_run_changes_nothing(unbroken):
    run, weights, figures, _ = unbroken
    again, figures_again = learn(run, resume=True)
    assert torch.equal(weights, again) and figures == figures_again


def test_the_last_iteration_is_not_interrupted(tmp_path):
    learn(
        tmp_path,
        settings=replace(SETTINGS, iterations=2),
        show=lambda progress: signal.raise_signal(signal.SIGTERM) if progress.iteration == 2 else None,
    )
    assert checkpoint.describe(tmp_path)["iteration"] == 2


# ---- What is kept ------------------------------------------------------------------------------------------


def test_the_run_keeps_the_weights_that_train_returns(unbroken):
    run, weights, figures, _ = unbroken
    network = ActorCritic(TASK.view_size, TASK.action_space.n)
    about = checkpoint.load(run, TASK.name, network)
    assert torch.equal(torch.nn.utils.parameters_to_vector(network.parameters()), weights)
    assert about["parameters"] == network.parameter_count and about["settings"] == asdict(SETTINGS)
    assert about["progress"].items() >= figures.items()


def test_the_directory_is_whole_after_every_iteration_and_holds_one_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 3)
    named = []

    def look(progress) -> None:
        if (tmp_path / "run.json").exists():
            network = ActorCritic(TASK.view_size, TASK.action_space.n)
            named.append(checkpoint.load(tmp_path, TASK.name, network)["iteration"])
            assert len(list(tmp_path.glob("checkpoint-*"))) == 1

    learn(tmp_path, settings=replace(SETTINGS, iterations=8), show=look)
    # `show` comes before the iteration's own checkpoint.
    assert named == [3, 3, 3, 6, 6]
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-000008.safetensors"]


def test_where_iterations_take_long_each_is_kept_with_its_curve(unbroken, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0)
    kept = []

    def look(progress):
        if progress.iteration > 1:
            kept.append(
                (
                    json.loads((tmp_path / "run" / "run.json").read_text())["iteration"],
                    len(curves(tmp_path / "run")["rollout/return_mean"]),
                )
            )

    weights, figures = learn(tmp_path / "run", show=look)
    assert torch.equal(weights, unbroken[1]) and figures == unbroken[2]
    assert [iteration for iteration, _ in kept] == list(range(1, SETTINGS.iterations))
    # A checkpoint's own curve is there by then.
    assert all(points >= iteration for iteration, points in kept)


def test_a_run_of_so_many_steps_ends_with_the_iteration_that_takes_the_last_of_them(unbroken):
    shown = []
    whole = replace(SETTINGS, steps=unbroken[2]["env_steps"])
    learn(settings=whole, show=lambda progress: shown.append(replace(progress)))
    reached = [0, *(progress.env_steps for progress in shown[:-1])]
    assert [progress.distill_coef for progress in shown] == [
        SETTINGS.distill_coef.at(12 * steps / whole.steps) for steps in reached
    ]
    assert reached[-1] < whole.steps <= shown[-1].env_steps


def test_tensorboard_has_every_iterations_figures(unbroken):
    run, _, _, shown = unbroken
    found = curves(run)
    assert set(found) >= {
        "rollout/return_mean",
        "rollout/length_mean",
        "rollout/success_rate",
        "rollout/env_steps",
        "teacher/distill_coef",
        "teacher/misses",
        "time/steps_per_second",
        "loss/policy",
        "loss/value",
        "loss/entropy",
        "loss/distillation",
    }
    assert all([step for step, _ in points] == list(range(1, 13)) for points in found.values())
    for tag, figure in (
        ("teacher/distill_coef", "distill_coef"),
        ("rollout/env_steps", "env_steps"),
        ("teacher/misses", "cache_misses"),
    ):
        expected = [getattr(progress, figure) for progress in shown]
        assert [value for _, value in found[tag]] == pytest.approx(expected)
    assert [value for _, value in found["teacher/distill_coef"]] == pytest.approx(
        [SETTINGS.distill_coef.at(iteration) for iteration in range(12)]
    )
    distillation = [value for _, value in found["loss/distillation"]]
    assert all(distillation[:8]) and not any(distillation[8:])


def test_figures_are_means_over_recent_iterations(unbroken):
    run, _, figures, shown = unbroken
    lengths = [value for _, value in curves(run)["rollout/length_mean"]]
    assert figures["length_mean"] == pytest.approx(sum(lengths[-2:]) / 2), "of a short run the last tenth"
    assert figures["env_steps"] == pytest.approx(4 * sum(lengths))
    assert [progress.iteration for progress in shown] == list(range(1, 13))


# ---- Evaluated on the way, and stopped by it ------------------------------------------------------------------


def test_evaluating_on_the_way_changes_nothing_of_the_training_and_goes_on_where_it_was(unbroken, tmp_path):
    _, weights, figures, _ = unbroken
    stop = lambda progress: signal.raise_signal(signal.SIGTERM) if progress.iteration == 7 else None
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "broken", show=stop, evaluate_every=3)
    ways = [learn(tmp_path / "broken", resume=True, evaluate_every=3), learn(tmp_path / "whole", evaluate_every=3)]
    for found, reached in ways:
        assert torch.equal(found, weights) and reached | {"evaluations": []} == figures
    evaluations = ways[0][1]["evaluations"]
    kept = checkpoint.describe(tmp_path / "whole")["progress"]["evaluations"]
    assert evaluations == ways[1][1]["evaluations"] == kept
    assert [one["iteration"] for one in evaluations] == [3, 6, 9, 12]
    assert evaluations[-1]["env_steps"] == figures["env_steps"]
    for name in ("success_rate", "return_mean", "length_mean"):
        drawn = curves(tmp_path / "whole")[f"eval/{name}"]
        assert drawn == [(one["iteration"], pytest.approx(one[name])) for one in evaluations]
    act = evaluate.student(TASK, tmp_path / "whole")
    again = evaluate.evaluate(TASK, act, training.EVALUATED, SETTINGS.seed << 32 | 0xFFFFFFFF)
    assert again.length_mean == pytest.approx(evaluations[-1]["length_mean"], rel=0.01)


@pytest.mark.parametrize("evaluate_every", [2, None])
def test_it_stops_once_it_succeeds_often_enough_and_goes_on_when_asked_to(tmp_path, monkeypatch, evaluate_every):
    monkeypatch.setattr(training, "RECENT", 3)
    task = tasks.find("SimpleDoorKey")
    settings = replace(SETTINGS, iterations=40, distill_coef=Schedule(final_from=40, zero_from=40))
    options = dict(task=task, settings=settings, distributions=PERFECT, evaluate_every=evaluate_every)
    _, figures = learn(tmp_path, stop_at_success=0.5, **options)
    stopped = figures["iteration"]
    reached = figures["evaluations"][-1] if evaluate_every else figures
    assert reached["success_rate"] >= 0.5 and 3 <= stopped < 40
    about = checkpoint.describe(tmp_path)
    assert about["progress"]["stopped_at_success"] == 0.5 and about["iteration"] == stopped
    assert learn(tmp_path, resume=True, stop_at_success=0.5, **options)[1] == figures
    weights, figures = learn(tmp_path, resume=True, **options)
    assert figures["iteration"] == 40 and figures["stopped_at_success"] is None
    assert torch.equal(weights, learn(**options)[0])


# ---- What is not finite ---------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_the_run_and_its_batch_is_kept(unbroken, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path, show=lambda progress: signal.raise_signal(signal.SIGTERM) if progress.iteration == 3 else None)
    before = {name: kept for name, kept in contents(tmp_path).items() if not name.startswith("events")}
    spoilt = PARTIAL | {"Agent sees nothing, holds nothing.": {("explore",): float("nan")}}
    with pytest.raises(AskonceError, match="iteration 4 .*distillation.*teacher is not finite") as error:
        learn(tmp_path, resume=True, distributions=spoilt)
    assert "\n" not in str(error.value) and error.value.exit_code == 1
    kept = np.load(tmp_path / "failed-000004.npz", allow_pickle=False)
    assert str(tmp_path / "failed-000004.npz") in str(error.value)
    assert np.isnan(kept["teacher"]).any() and np.isfinite(kept["value"]).all() and len(kept["action"])
    assert contents(tmp_path).items() >= before.items()
    assert torch.equal(learn(tmp_path, resume=True)[0], unbroken[1])


@pytest.mark.parametrize(
    "spoil, says",
    [
        (dict(look=lambda seen: np.array([np.inf if seen["steps"] > 2 else 1.0], np.float32)), "view"),
        (dict(env_id="Rewarding-v0"), "returns"),
    ],
)
def test_neither_does_a_view_or_a_reward_of_ones_own_task_go_unnoticed(tmp_path, recwarn, spoil, says):
    """Tasks of one's own are learnt with torch."""
    with pytest.raises(AskonceError, match=f"of its batch .*{says}") as error:
        train(replace(COUNTING, **spoil), Teacher(COUNTING, {}.get), SETTINGS, tmp_path / "run")
    assert "\n" not in str(error.value) and not recwarn.list
    left = [path.name for path in (tmp_path / "run").iterdir() if "tfevents" not in path.name]
    assert left == ["failed-000001.npz"]


class Counting(gymnasium.Env):
    """Ends after five steps, which it counts; pays what it was made to."""

    observation_space = gymnasium.spaces.Dict({"steps": gymnasium.spaces.Discrete(6)})
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, reward: float):
        self.reward = reward

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return {"steps": 0}, {}

    def step(self, action):
        self.steps += 1
        return {"steps": self.steps}, self.reward if self.steps == 3 else 0.0, self.steps == 5, False, {}


gymnasium.register("Counting-v0", lambda: Counting(1.0), disable_env_checker=True)
gymnasium.register("Rewarding-v0", lambda: Counting(math.nan), disable_env_checker=True)
COUNTING = GymTask(
    "Counting",
    "Counting-v0",
    prompt=None,
    write=lambda seen: "Agent counts.",
    options=lambda text: [],
    act=lambda option, seen: None,
    look=lambda seen: np.array([seen["steps"]], np.float32),
)


# ---- The teacher's part ------------------------------------------------------------------------------------


def test_every_state_met_while_the_teacher_is_open_is_a_hit_or_a_miss(unbroken):
    _, _, figures, shown = unbroken
    assert figures["cache_hits"] + figures["cache_misses"] == shown[7].env_steps
    assert 0 < figures["cache_misses"] < figures["cache_hits"]


def test_without_advice_the_teachers_term_is_absent():
    """A cache that answers nothing trains the student that PPO alone trains, bit for bit."""
    short = replace(SETTINGS, iterations=3)
    silent, figures = learn(distributions={}, settings=short)
    alone, _ = learn(settings=replace(short, distill_coef=Schedule(final_from=0, zero_from=0)))
    assert torch.equal(silent, alone)
    assert figures["cache_misses"] == figures["env_steps"] and figures["cache_hits"] == 0
    advised, _ = learn(settings=short)
    assert not torch.equal(advised, alone)


def test_a_student_of_a_good_teacher_soon_opens_doors():
    task = tasks.find("SimpleDoorKey")
    settings = Settings(iterations=15, distill_coef=Schedule(final_from=15, zero_from=15))

    def success_rate(iterations: int) -> float:
        network, _ = train(task, Teacher(task, PERFECT.get), replace(settings, iterations=iterations))
        policy = as_policy(network)
        act = lambda batch, running, rng: draw(policy(batch.view)[0], rng)
        return evaluate.evaluate(task, act, 100, seed=0).success_rate

    assert success_rate(0) < 0.25 and success_rate(15) > 0.5


def test_a_teacher_that_refuses_ends_the_run():
    with pytest.raises(AskonceError, match="build-cache"):
        train(TASK, Teacher(TASK, {}.get, refuse), SETTINGS)


# ---- What a run is not resumed with ------------------------------------------------------------------------


def contents(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.iterdir()}


def test_a_run_that_exists_is_not_overwritten(unbroken):
    run = unbroken[0]
    before = contents(run)
    with pytest.raises(AskonceError, match="--resume") as error:
        learn(run)
    assert error.value.exit_code == 2 and "\n" not in str(error.value) and contents(run) == before


@pytest.mark.parametrize(
    "changed, says",
    [
        (dict(settings=replace(SETTINGS, seed=4)), "seed 3, not 4"),
        (dict(settings=replace(SETTINGS, iterations=13)), "iterations 12, not 13"),
        (dict(settings=replace(SETTINGS, distill_coef=Schedule(final_from=4, zero_from=9))), "zero_from"),
        (dict(about={"teacher": "another", "teacher_form": "soft"}), "teacher one, not another"),
        (dict(about={"teacher": "one", "teacher_form": "hard"}), "teacher_form soft, not hard"),
        (dict(task=tasks.find("SimpleDoorKey")), "run of LavaDoorKey"),
    ],
)
def test_a_run_is_resumed_as_it_was_started_or_not_at_all(tmp_path, changed, says):
    with pytest.raises(KeyboardInterrupt):
        learn(
            tmp_path,
            about={"teacher": "one", "teacher_form": "soft"},
            show=lambda progress: signal.raise_signal(signal.SIGINT),
        )
    before = contents(tmp_path)
    with pytest.raises(AskonceError, match=says) as error:
        learn(tmp_path, resume=True, **{"about": {"teacher": "one", "teacher_form": "soft"}} | changed)
    assert "\n" not in str(error.value) and contents(tmp_path) == before


def test_there_is_nothing_to_resume_where_there_is_no_run(tmp_path):
    with pytest.raises(AskonceError, match="there is no run") as error:
        learn(tmp_path / "none", resume=True)
    assert "\n" not in str(error.value) and not (tmp_path / "none").exists()


# ---- As a process ------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[3]
# Ends the process where Python touches a socket, whatever would be made of an exception.
WITHOUT_SOCKETS = """
import json, os, sys

def forbid(event, arguments):
    if event.startswith("socket.") and event != "socket.gethostname":
        os.write(2, f"{event} {arguments}".encode())
        os._exit(97)

sys.addaudithook(forbid)
"""
COMMANDS = """
from askonce.cli import main

for command in json.loads(sys.argv[1]):
    sys.argv = ["cli", *command]
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
"""


def python(*arguments: str, **options) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> str:
    """A cache that holds `PARTIAL` for SimpleDoorKey."""
    directory = tmp_path_factory.mktemp("partial") / "cache"
    store.append(
        directory,
        [
            completion(text, content=f"Decision: {', '.join(decision)}", weight=share)
            for text, found in PARTIAL.items()
            for decision, share in found.items()
        ],
    )
    return str(directory)


def test_no_socket_is_opened_in_training_and_evaluation(tmp_path, cache):
    run = str(tmp_path / "run")
    train_it = [
        "train",
        "--task",
        "SimpleDoorKey",
        "--cache",
        cache,
        "--cache-only",
        "--run",
        run,
        "--iterations",
        "3",
        "--json",
    ]
    commands = [
        train_it,
        [*train_it, "--resume"],
        ["evaluate", "--task", "SimpleDoorKey", "--run", run, "--episodes", "20", "--json"],
        ["evaluate", "--task", "SimpleDoorKey", "--teacher", "--cache", cache, "--episodes", "20", "--json"],
    ]
    process = python("-c", WITHOUT_SOCKETS + COMMANDS, json.dumps(commands), cwd=tmp_path)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    trained, resumed, of_student, of_teacher = map(json.loads, output.splitlines())
    assert trained["iterations"] == 3 and trained["llm_calls"] == 0
    # The schedule is in proportion to the iterations: the teacher is open in the first of them alone.
    assert 0 < trained["cache_hits"] < trained["env_steps"] - trained["cache_misses"]
    assert set(trained["missing"]) == {"Agent sees a door, holds nothing."}
    assert sum(trained["missing"].values()) == trained["cache_misses"] > 0
    assert "Agent sees a door, holds nothing." in errors
    assert resumed["env_steps"] == trained["env_steps"]
    assert of_student["episodes"] == of_teacher["episodes"] == 20


def test_that_guard_would_notice_a_socket():
    process = python("-c", WITHOUT_SOCKETS + "import socket; socket.socket()")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 97 and errors.startswith("socket.")
