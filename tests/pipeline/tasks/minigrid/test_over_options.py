"""Options run to their end, each step of theirs is counted and discounted, and a student learns when to start which."""

import numpy as np
import pytest

from askonce.cache.errors import AskonceError
from askonce.pipeline import tasks
from askonce.pipeline.tasks.minigrid.engine import DOOR, DX, DY, EMPTY, KEY, RUNNING
from askonce.pipeline.tasks.minigrid.options import ENDED, make_scratch
from askonce.pipeline.tasks.minigrid.over_options import NAMES, OPTIONS, next_action, over_options
from askonce.student.judging.evaluate import as_learnt, evaluate, student, trained
from askonce.student.learning.anneal import WITHOUT_TEACHER
from askonce.student.learning.distill import Teacher, go_without
from askonce.student.learning.rollout import collect
from askonce.student.learning.train import Settings, train
from tests.student.example import Episode, Script, ScriptBatch

WORLDS = 200
TASK = over_options(tasks.find("ColoredDoorKey"))


def fresh():
    batch = TASK.batch(WORLDS)
    batch.reset(np.arange(WORLDS), TASK.seeds(WORLDS, seed=1))
    return batch


def started(name: str, batch):
    """The batch after every environment has carried out the option."""
    before = batch.state.steps.copy()
    batch.step(np.full(batch.size, NAMES.index(name)))
    assert np.array_equal(batch.state.steps - before, batch.durations)
    return batch


def next_actions(batch, name: str) -> np.ndarray:
    scratch = make_scratch(batch.state).search
    return np.array([next_action(batch.state, n, *OPTIONS[NAMES.index(name)], scratch) for n in range(batch.size)])


def ahead(batch) -> list:
    world, (x, y, direction) = batch.state.world, batch.state.agent.T
    return world[np.arange(batch.size), x + DX[direction], y + DY[direction], 0]


def start_again(name: str, batch, times: int):
    """Until it has come to its own end, however often the text changes on the way."""
    for _ in range(times):
        started(name, batch)
    return batch


def test_exploring_ends_when_the_text_changes_or_the_room_is_known_and_not_before():
    batch = fresh()
    texts = batch.situations.copy()
    started("explore", batch)
    known = next_actions(batch, "explore") == ENDED
    assert batch.durations.mean() > 3 and (known | (batch.situations != texts) | (batch.state.ended != RUNNING)).all()
    start_again("explore", batch, 5)
    going = batch.state.ended == RUNNING
    assert going.sum() > WORLDS / 2 and (next_actions(batch, "explore")[going] == ENDED).all()
    # Once there is nothing left to explore it is one idle step.
    assert (started("explore", batch).durations[going] == 1).all()


def test_a_key_is_gone_to_and_taken_and_what_is_held_is_dropped_before_another_is_taken():
    batch = start_again("explore", fresh(), 5)
    agent = batch.state.agent.copy()
    started("take key 1", batch)
    there = (batch.state.ended == RUNNING) & (batch.state.held[:, 0] == KEY)
    assert there.sum() > WORLDS / 2 and (batch.durations[there] > 1).any()
    assert (agent != batch.state.agent)[there].any()
    first = batch.state.held[:, 1].copy()
    # What is held has no number. Dropping it gives it one again, which changes the text and ends the option.
    started("take key 1", batch)
    there &= (batch.state.ended == RUNNING) & (batch.state.held[:, 0] == EMPTY)
    assert there.any()
    started("take key 2", batch)
    there &= (batch.state.ended == RUNNING) & (batch.state.held[:, 0] == KEY)
    assert there.any() and (first != batch.state.held[:, 1])[there].any()
    started("drop", batch)
    there &= batch.state.ended == RUNNING
    assert there.any() and (batch.state.held[there, 0] == EMPTY).all()


def test_a_door_is_gone_to_and_one_attempt_is_made_to_open_it():
    batch = start_again("explore", fresh(), 5)
    there = batch.state.ended == RUNNING
    started("open door 1", batch)
    there &= batch.state.ended == RUNNING
    # Without its key it stays shut.
    assert there.sum() > WORLDS / 2 and (ahead(batch)[there] == DOOR).all()
    assert (started("open door 1", batch).durations[there] == 1).all()


def test_what_cannot_be_done_is_one_idle_step_and_turning_one_of_its_own():
    batch = fresh()
    unseen = batch.state.cells[:, 0, 0] < 0
    poses = batch.state.agent.copy()
    for name in ("take key 1", "take key 2", "drop", "open door 2"):
        started(name, batch)
        assert (batch.durations[unseen] == 1).all() and np.array_equal(batch.state.agent[unseen], poses[unseen])
    for name in ("turn left", "turn right"):
        assert (started(name, batch).durations[batch.state.ended == RUNNING] == 1).all()
    going = (batch.state.ended == RUNNING) & unseen
    assert np.array_equal(batch.state.agent[going], poses[going])


def test_a_reward_is_discounted_by_every_step_on_the_way():
    """Two decisions of 3 and 4 steps: the first is worth γ^3 · γ^3 of the reward that the second ends with."""

    class Slow(ScriptBatch):
        taken = np.array([3])

        @property
        def durations(self):
            return self.taken

        def step(self, actions, going=None):
            self.taken = np.array([3 + int(self.steps[0])])
            return super().step(actions)

    batch = Slow(Script((Episode((0.0, 1.0)),)).episodes, 1)
    policy = lambda view: (np.full((len(view), 2), 0.5, np.float32), np.zeros(len(view), np.float32))
    rollout = collect(batch, np.array([0]), policy, None, np.random.default_rng(0), 0.9, 1.0)
    assert rollout.value_target.tolist() == pytest.approx([0.9**3 * 0.9**3, 0.9**3])
    assert rollout.lengths.tolist() == [7] and rollout.returns.tolist() == [1.0]


def test_it_learns_the_same_from_the_same_seed_and_is_evaluated_by_steps_of_the_world(tmp_path):
    plain = tasks.find("SimpleDoorKey")
    settings = Settings(seed=1, iterations=60, distill_coef=WITHOUT_TEACHER)
    about = {"method": "hierarchical"}
    ways = [(over_options(plain), tmp_path / name) for name in ("one", "two")]
    figures = [train(task, Teacher(task, go_without), settings, run, about=about)[1] for task, run in ways]
    assert figures[0].return_mean == figures[1].return_mean and figures[0].env_steps == figures[1].env_steps
    task, run = as_learnt(plain, tmp_path / "one"), tmp_path / "one"
    found = evaluate(task, student(task, run), 100, seed=0)
    assert found.success_rate > 0.8 and 10 < found.length_mean < plain.max_steps
    with pytest.raises(AskonceError, match="options instead of actions"):
        trained(plain, run)


def test_a_task_without_such_options_is_one_line():
    with pytest.raises(AskonceError, match="SimpleDoorKey") as raised:
        tasks.find("MiniGrid-DoorKey-5x5-v0").over_options()
    assert raised.value.exit_code == 2


def test_environments_that_are_held_back_stand_still():
    batch, going = fresh(), np.arange(WORLDS) % 2 == 0
    before = batch.state.steps.copy(), batch.state.world.copy(), batch.situations.copy()
    rewards, terminated, truncated = batch.step(np.full(WORLDS, NAMES.index("explore")), going)
    held = ~going
    for now, then in zip((batch.state.steps, batch.state.world, batch.situations), before, strict=True):
        assert np.array_equal(now[held], then[held])
    assert (batch.durations[going] > 0).all() and not batch.durations[held].any()
    assert not (rewards[held].any() or terminated[held].any() or truncated[held].any())


def test_stepping_one_half_and_then_the_other_is_stepping_all_at_once():
    at_once, in_turn, first = fresh(), fresh(), np.arange(WORLDS) % 2 == 0
    rng = np.random.default_rng(0)
    while (at_once.state.ended == RUNNING).any():
        chosen = rng.integers(len(NAMES), size=WORLDS)
        rewards, *ends = at_once.step(chosen)
        paid, *_ = in_turn.step(chosen, first)
        also_paid, *ends_in_turn = in_turn.step(chosen, ~first)
        assert np.array_equal(paid + also_paid, rewards) and np.array_equal(ends, ends_in_turn)
    for expected, found in zip(at_once.state, in_turn.state, strict=True):
        assert np.array_equal(expected, found)
