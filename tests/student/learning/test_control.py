"""Continuous control by the same way as MiniGrid's: a teacher of options, distilled, corrected, kept and evaluated."""

from dataclasses import asdict, replace
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from askonce.cache.errors import AskonceError
from askonce.pipeline.tasks.task import action_names
from askonce.student.deploying import export
from askonce.student.judging import evaluate
from askonce.student.learning import anneal, ppo, presets, rollout
from askonce.student.learning.distill import Teacher, go_without
from askonce.student.learning.network import as_policy, build
from askonce.student.learning.train import Settings, train
from tests.student.point import BEACONS, NEAR, PACE, POINT, SKILLS, STEPS, TEACHER

EVERYONE = np.ones(20, dtype=bool)
FAST = replace(presets.CONTROL["default"].hyperparameters, learning_rate=0.003)


def learn(
    run,
    iterations: int,
    task=POINT,
    answers=TEACHER.get,
    given=FAST,
    method="llm4teach",
    schedule="stepwise",
    **options,
):
    """(weights, figures less the seconds)."""
    settings = Settings(1, iterations, given, anneal.schedule(schedule, iterations))
    if method == "hierarchical":
        settings = replace(settings, distill_coef=anneal.WITHOUT_TEACHER)
    network, progress = train(task, Teacher(task, answers), settings, run, about={"method": method}, **options)
    figures = asdict(progress)
    del figures["seconds"]
    return torch.nn.utils.parameters_to_vector(network.parameters()), figures


def started(task=POINT, size: int = 20):
    batch = task.batch(size)
    batch.reset(np.arange(size), task.seeds(size, seed=0))
    return batch


def test_advice_is_a_vector_for_every_decision_and_the_idle_one_where_there_is_none():
    batch, (left, _) = started(), SKILLS
    advice = batch.advise(POINT.plans({"The left beacon is lit.": {left: 0.75, ("fly",): 0.25}}))
    lit = np.array([POINT.text(each) == "The left beacon is lit." for each in batch.situations])
    assert advice.actions.shape == (20, 2, 2) and advice.actions.dtype == np.float32 and lit.any() and not lit.all()
    assert (advice.probabilities[lit] == [0.75, 0.25]).all() and not advice.probabilities[~lit].any()
    assert (advice.actions[lit, 0, 0] < -0.5).all() and not advice.actions[lit, 1].any()
    assert not advice.actions[~lit].any() and advice.deviation == 0.1
    assert not advice.ended[lit, 0].any() and advice.ended[lit, 1].all() and advice.ended[~lit].all()
    assert action_names(POINT) == ("action 0", "action 1")


def test_actions_beyond_the_space_are_clipped_and_who_is_held_back_stays():
    batch, going = started(), np.arange(20) % 2 == 0
    before = np.array(batch.observations)
    batch.step(np.tile([0.5, 99.0], (20, 1)), going)
    moved = np.array(batch.observations) - before
    assert moved[going, :2] == pytest.approx(np.tile([PACE / 2, PACE], (10, 1)), abs=1e-6) and not moved[~going].any()


# The paper's loss and schedule, and what the preset is.
@pytest.mark.parametrize(
    ("schedule", "given"),
    [("stepwise", replace(FAST, divergence="kl", teacher_acts=0.0)), (presets.CONTROL["default"].schedule, FAST)],
)
def test_a_student_learns_from_its_teacher_and_passes_it(tmp_path, schedule, given):
    alone = evaluate.evaluate(POINT, evaluate.teacher(POINT, TEACHER.get), 100, seed=0)
    assert 0.6 < alone.success_rate < 0.9 and alone.return_mean > 0.2
    learn(tmp_path, 40, given=given, schedule=schedule)
    found = evaluate.evaluate(POINT, evaluate.student(POINT, tmp_path), 100, seed=0)
    assert found.success_rate > alone.success_ci95[1] and found.return_mean > alone.return_mean


def test_broken_off_and_resumed_it_ends_bit_for_bit_where_an_unbroken_one_does(tmp_path):
    given = replace(FAST, teacher_acts=0.5)
    unbroken, figures = learn(tmp_path / "unbroken", 6, given=given)
    stop = lambda progress: signal.raise_signal(signal.SIGTERM) if progress.iteration == 3 else None
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "broken", 6, given=given, show=stop)
    resumed, figures_resumed = learn(tmp_path / "broken", 6, given=given, resume=True)
    assert torch.equal(unbroken, resumed) and figures == figures_resumed


STANDING = lambda view: (np.tile(np.float32([0, 0, 0.01, 0.01]), (len(view), 1)), np.zeros(len(view), np.float32))


def test_a_teacher_that_leads_acts_itself_and_the_policy_concludes_nothing_from_it():
    sure = {text: {max(found, key=found.get): 1.0} for text, found in TEACHER.items()}
    network, teacher, rng = build(POINT), Teacher(POINT, sure.get), np.random.default_rng(0)
    played = rollout.collect(
        started(), POINT.seeds(20, seed=0), STANDING, teacher, rng, 0.99, 0.95, actor=network.actor, teacher_acts=1.0
    )
    assert not played.own.any() and played.successes.all(), "the student stands still"
    # What the student would have done is what its log-probabilities are of.
    assert (abs(played.action) < 0.1).all()
    losses = ppo.TorchLearner(network, ppo.optimizer(network, FAST), FAST).update(played, 1.0, rng)
    assert losses["policy"] == 0 and losses["distillation"] > 0


def test_who_leads_changes_every_so_often_and_a_share_of_the_time_it_is_the_teacher():
    rng, steps, size, share = np.random.default_rng(0), 2000, 500, 0.3
    leads = [rng.random(size) < share]
    for _ in range(steps):
        leads.append(rollout.taking_turns(leads[-1], share, rng))
    leads = np.array(leads)
    # Of two steps that are k apart the correlation is (1 − 1/20)^k, so that 39 steps tell as much as one at random.
    error = (share * (1 - share) * 39 / (steps * size)) ** 0.5
    assert abs(leads.mean() - share) < 4 * error
    changes = 2 * share * (1 - share) / rollout.STRETCH
    assert (leads[1:] != leads[:-1]).mean() == pytest.approx(changes, abs=4 * (changes / (steps * size)) ** 0.5)


def test_what_is_deployed_gives_what_actions_are_drawn_from(tmp_path):
    learn(tmp_path / "run", 2)
    network = evaluate.trained(POINT, tmp_path / "run")
    written = export.export(POINT, tmp_path / "run", tmp_path / "point.pt", "torchscript")
    assert "means_and_deviations = policy(view)" in written.example and written.actions == ("action 0", "action 1")
    batch = started()
    with warnings.catch_warnings(action="ignore"):
        deployed = torch.jit.load(tmp_path / "point.pt")(torch.from_numpy(batch.view)).numpy()
    assert deployed == pytest.approx(as_policy(network)(batch.view)[0], abs=1e-6) and deployed.shape == (20, 4)
    printed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", written.example], capture_output=True, text=True, check=True
    )
    assert [line.split(" ")[:2] for line in printed.stdout.splitlines()] == [["action", "0"], ["action", "1"]]


def test_a_success_is_what_the_task_says_and_not_a_positive_return():
    """A point that runs past the wrong beacon ends without success; one that strolls about has earned something."""
    stroll = lambda batch, running, rng: np.array(
        [[0.2 * (1 if seen[2] else -1), 0.0] for seen in batch.observations], np.float32
    )
    found = evaluate.evaluate(POINT, stroll, 20, seed=0)
    assert found.return_mean > 0 and found.success_rate < 1 and found.length_mean > STEPS / 2
    batch = started(size=4)
    actor = build(POINT).actor
    policy = lambda view: (np.tile(np.float32([1, 0, 0.01, 0.01]), (len(view), 1)), np.zeros(len(view), np.float32))
    played = rollout.collect(
        batch, POINT.seeds(4, seed=0), policy, None, np.random.default_rng(0), 0.99, 0.95, actor=actor
    )
    assert played.successes.tolist() == [bool(seen[2]) for seen in batch.observations]


# ---- The hierarchical baseline -----------------------------------------------------------------------------


def test_a_skill_runs_to_its_end_and_its_rewards_are_discounted_one_by_one():
    batch, plain = started(POINT.over_options()), started()
    left = np.zeros(20, np.int64)
    rewards, terminated, _ = batch.step(left)
    total, worth, steps = np.zeros(20), np.zeros(20), np.zeros(20, int)
    plans = POINT.plans({text: {SKILLS[0]: 1.0} for text in TEACHER})
    for k in range(STEPS):
        paid, over, _ = plain.step(plain.advise(plans).actions[:, 0])
        total, worth, steps = total + paid, worth + 0.9**k * paid, steps + (paid != 0)
    assert over.all() and terminated.all() and np.array_equal(batch.durations, steps) and steps.min() > 1
    assert rewards == pytest.approx(total) and batch.worth(rewards, 0.9) == pytest.approx(worth)
    assert all(np.linalg.norm(seen[:2] - BEACONS["left"]) < NEAR for seen in batch.observations)


def test_an_ended_skill_is_one_idle_step_and_everyone_goes_on_in_his_own_time():
    """Of a skill that stops half way, an environment that is there already does nothing for one step."""
    half = lambda option, seen: np.array([1.0, 0.0]) if option == "go" and seen[0] < 0 else None
    task = replace(POINT, act=half, fixed=lambda text: ("go", "wait"), fixed_options=("go", "wait")).over_options()
    batch = started(task)
    before = np.array(batch.observations)[:, 0]
    batch.step(np.zeros(20, np.int64))
    needed = np.ceil(np.maximum(-before, 0) / PACE - 1e-6)
    assert np.array_equal(batch.durations, np.maximum(needed, 1)) and len(set(batch.durations)) > 1
    where = np.array(batch.observations)
    batch.step(np.ones(20, np.int64))
    assert (batch.durations == 1).all() and np.array_equal(where, batch.observations)


def test_the_choice_among_skills_is_learnt(tmp_path):
    task = POINT.over_options()
    _, figures = learn(tmp_path, 30, task, go_without, replace(FAST, ent_coef=0.01), "hierarchical")
    found = evaluate.evaluate(task, evaluate.student(evaluate.as_learnt(POINT, tmp_path), tmp_path), 50, seed=0)
    assert found.success_rate > 0.9 and found.length_mean > 3 and figures["env_steps"] > 30 * 10 * 3
    with pytest.raises(AskonceError, match="options instead of actions"):
        evaluate.trained(POINT, tmp_path)
