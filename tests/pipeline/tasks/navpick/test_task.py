"""NavPick as a task of the pipeline: texts, decisions, advice."""

from itertools import islice

import numpy as np
import pytest

from askonce.cache.errors import AskonceError
from askonce.pipeline import build, collect, tasks
from askonce.pipeline.llm import LLM
from askonce.pipeline.parse import parse
from askonce.pipeline.questions import Wanted
from askonce.pipeline.tasks.navpick import describe, env
from askonce.pipeline.tasks.navpick.env import ACTIONS, GRIP, STOP
from askonce.pipeline.tasks.navpick.task import Call
from askonce.pipeline.tasks.navpick.view import IMAGE_SHAPE, VIEW_SIZE, view

TASK = tasks.find("NavPick")
TEXT = "Agent is to pick up a mug. It sees a mug on a table ahead, far; a can on the floor. It holds nothing."
FIRST, HELD_OUT = 4, 1


@pytest.fixture(scope="module")
def batch():
    """Two episodes after some steps of turning in place."""
    batch = TASK.batch(2)
    batch.reset(np.arange(2), np.array([FIRST, HELD_OUT]))
    turning = np.tile(TASK.idle_action, (2, 1))
    turning[:, 1] = 0.7
    for _ in range(5):
        batch.step(turning)
    return batch


def texts(batch) -> list[str]:
    return [TASK.text(situation) for situation in batch.situations.tolist()]


def wanted(batch, n: int) -> str:
    return batch.envs[n].simulator.wanted


def test_a_text_says_what_it_was_written_from():
    told = describe.told(TEXT)
    assert told == describe.Told("mug", (("mug", "table"), ("can", "floor")), "ahead, far", None)
    assert [told.thing(words) for words in ("mug", "red can", "table", "sofa")] == ["mug", "can", "mug", None]
    nothing = describe.told("Agent is to pick up a mug. It sees nothing. It holds a mug.")
    assert nothing == describe.Told("mug", (), None, "mug")
    with pytest.raises(ValueError):
        describe.told("Agent sees a key, holds nothing.")


def test_every_decision_that_rollouts_try_is_one_that_the_parser_reads():
    tried = TASK.decisions(TEXT)
    assert len(tried) == 4
    for decision in (*tried, TASK.prompt.example_decision):
        assert parse(f"Decision: {', '.join(decision)}", TASK.prompt.options).decision == decision
    assert describe.told(TASK.prompt.example_text).wanted == "mug"


def test_the_baselines_skills_are_the_options_with_all_things_that_a_text_names_in_the_same_places():
    lone = "Agent is to pick up a mug. It sees nothing. It holds nothing."
    assert (
        TASK.carry_out(TEXT) == TASK.decisions(TEXT) and len(set(TASK.carry_out(lone))) == len(TASK.fixed_options) == 4
    )
    assert TASK.carry_out(lone)[:2] == TASK.decisions(lone) == TASK.carry_out(TEXT)[:2]


def test_a_skill_with_an_object_that_is_not_there_has_ended(batch):
    advice = batch.advise(TASK.plans({text: dict.fromkeys(TASK.carry_out(text), 1.0) for text in texts(batch)}))
    named = np.array([[len(describe.told(text).things) > 1] for text in texts(batch)])
    assert not advice.ended[:, :2].any() and (advice.ended[:, 2:] == ~named).all()


@pytest.mark.parametrize(
    "words, decision",
    [
        ("First go to the mug, then grasp it.", ("navigate to mug", "pick up mug")),
        ("drive to the mug on the table and pick the mug up", ("navigate to mug", "pick up mug")),
        ("approach mug -> grab mug", ("navigate to mug", "pick up mug")),
        ("lift the mug", ("pick up mug",)),
    ],
)
def test_other_verbs_mean_the_options(words, decision):
    assert parse(f"Decision: {words}", TASK.prompt.options).decision == decision


def test_the_batch_is_what_the_task_says(batch):
    assert batch.view.shape == (2, VIEW_SIZE) == (2, TASK.view_size) and batch.view.dtype == np.float32
    assert np.prod(TASK.image_shape) == np.prod(IMAGE_SHAPE) < VIEW_SIZE
    assert TASK.action_space.contains(TASK.idle_action) and len(TASK.action_names) == len(TASK.idle_action)
    assert not batch.successes(np.zeros(batch.size)).any()
    assert [describe.told(text).wanted for text in texts(batch)] == [wanted(batch, n) for n in range(2)]
    assert not set(TASK.seeds(200, 0)) & set(TASK.seeds(200, 0, held_out=True))


def test_without_any_plan_there_is_no_advice(batch):
    for plans in (TASK.plans({}), TASK.plans({"Agent sees a key, holds nothing.": {("explore",): 1.0}})):
        advice = batch.advise(plans)
        assert not advice.probabilities.any() and (advice.actions == TASK.idle_action).all() and advice.ended.all()


def test_decisions_are_weighed_and_what_names_nothing_stands_still(batch):
    text, _ = texts(batch)
    thing = wanted(batch, 0)
    found = {(f"navigate to {thing}", f"pick up {thing}"): 0.5, (f"pick up {thing}",): 0.25, ("fly to moon",): 0.25}
    advice = batch.advise(TASK.plans({text: found}))
    assert advice.actions.shape == (2, 3, len(ACTIONS)) and abs(advice.actions).max() <= 1
    assert advice.probabilities.tolist() == [[0.5, 0.25, 0.25], [0, 0, 0]]
    assert advice.ended.tolist() == [[False, False, True], [True, True, True]]
    assert (advice.actions[0, 2] == TASK.idle_action).all() and (advice.actions[0, 0] != advice.actions[0, 1]).any()


def test_an_option_on_another_object_sees_that_object_in_the_wanted_ones_place(batch):
    n = next(n for n in range(2) if any(name != wanted(batch, n) for name in batch.sights[n]))
    other = next(name for name in batch.sights[n] if name != wanted(batch, n))
    own, shown = batch._shown([(n, Call("navigate", wanted(batch, n))), (n, Call("navigate", other))])
    assert (own == batch.view[n]).all()
    height, width, _ = IMAGE_SHAPE
    images = [view[: np.prod(IMAGE_SHAPE)].reshape(IMAGE_SHAPE) for view in (own, shown)]
    assert (images[0][..., :2] == images[1][..., :2]).all() and (images[0][..., 2] != images[1][..., 2]).any()


def test_plans_that_grow_text_by_text_are_those_made_at_once(batch):
    both = {
        text: {decision: 1 / len(TASK.decisions(text)) for decision in TASK.decisions(text)} for text in texts(batch)
    }
    plans = TASK.plans({})
    for text, found in both.items():
        plans = TASK.plans({text: found}, plans)
    grown, expected = batch.advise(plans), batch.advise(TASK.plans(both))
    assert np.array_equal(grown.actions, expected.actions)
    assert np.array_equal(grown.probabilities, expected.probabilities)


def test_navigating_has_ended_beside_the_object_and_picking_goes_on():
    batch = TASK.batch(1)
    batch.reset(np.array([0]), np.array([FIRST]))
    batch.envs[0].reset(seed=FIRST, options={"beside": True})
    batch.step(TASK.idle_action[None])
    [text], thing = texts(batch), wanted(batch, 0)
    drive, take = (f"navigate to {thing}",), (f"pick up {thing}",)
    advice = batch.advise(TASK.plans({text: {drive: 0.4, take: 0.3, (*drive, *take): 0.3}}))
    assert advice.ended.tolist() == [[True, False, False]]
    assert (advice.actions[0, 0] == TASK.idle_action).all() and (advice.actions[0, 1] == advice.actions[0, 2]).all()


def test_an_ended_environment_stands_still_and_random_actions_end_none():
    batch = TASK.batch(2)
    batch.reset(np.arange(2), np.array([FIRST, HELD_OUT]))
    actions = TASK.random_actions(np.random.default_rng(0), 2)
    assert (actions[:, STOP] < 0).all() and (abs(actions) <= 1).all() and actions[:, GRIP].any()
    actions[0, STOP] = 1.0
    _, terminated, _ = batch.step(actions)
    before = batch.view.copy(), batch.situations.copy()
    rewards, again, _ = batch.step(actions * [[1], [0.5]])
    assert terminated.tolist() == again.tolist() == [True, False] and rewards[0] == 0
    assert (batch.view[0] == before[0][0]).all() and (batch.view[1] != before[0][1]).any()
    batch.step(actions, going=np.zeros(2, bool))
    assert batch.envs[1].steps == 2


def test_rollouts_meet_the_same_texts_with_the_same_seed():
    first, again = (
        [[TASK.text(situation) for situation in met] for met in islice(collect.random_options(TASK, 3, 0), 25)]
        for _ in range(2)
    )
    assert first == again and len({text for met in first for text in met}) > 3


def test_a_cache_is_built_of_a_few_episodes(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "ROUNDS", 1)
    monkeypatch.setattr(env, "MAX_STEPS", 60)
    report = build.build_cache(TASK, tmp_path, LLM(), episodes=2, wanted=Wanted(3))
    assert (
        report.asked == report.texts > 3
        and report.unparsable == 0
        and report.coverage > 0.9
        and report.states <= 3 * 60
    )
    answered, _ = build.answered(TASK, tmp_path, LLM())
    for text, distribution in answered.items():
        assert sum(distribution.values()) == pytest.approx(1) and TASK.scene(text).wanted == describe.told(text).wanted


def test_a_simulator_is_named_for_navpick_alone():
    assert tasks.find("NavPick", "mujoco") is TASK
    with pytest.raises(AskonceError, match="leave it out"):
        tasks.find("SimpleDoorKey", "mujoco")
    with pytest.raises(AskonceError, match="unknown simulator"):
        tasks.find("NavPick", "gazebo").batch(1)


def test_environments_that_are_held_back_are_not_advised_and_keep_their_view(batch):
    plans = TASK.plans({text: {decision: 0.5 for decision in TASK.carry_out(text)} for text in texts(batch)})
    first = np.array([True, False])
    everyone, one = batch.advise(plans), batch.advise(plans, first)
    assert np.allclose(one.actions[0], everyone.actions[0], atol=1e-6) and not everyone.ended.all(axis=1).any()
    assert one.ended[1].all() and not one.probabilities[1].any() and (one.actions[1] == TASK.idle_action).all()

    held_back = TASK.batch(2)
    held_back.reset(np.arange(2), np.array([FIRST, HELD_OUT]))
    seen = held_back.view.copy()
    held_back.step(everyone.actions[:, 0], first)
    assert (held_back.view[1] == seen[1]).all() and (held_back.view[0] != seen[0]).any()
    assert (held_back.view == view(held_back.observations, held_back._memories)).all()
