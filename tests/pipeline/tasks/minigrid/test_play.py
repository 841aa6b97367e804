"""Decisions carried out in copies of states, and the competent policy that goes on."""

import numpy as np
import pytest

from askonce.pipeline import tasks
from askonce.pipeline.tasks.minigrid import NAMES as GRID_TASKS
from askonce.pipeline.tasks.minigrid.engine import LAVA
from tests.pipeline.tasks.minigrid.test_options import DROP, FORWARD, PICK_UP, TOGGLE, look_around, place, start

TWO_KEYS = "###### #....# #.@..# #k..K# #....# ###D##"


def room(name: str, rows: str, direction: int, held: str | None = None, known: bool = True):
    """The playout of a task and a state in the drawn room."""
    task, batch = start(name, 1)
    place(batch, 0, rows, direction, held)
    if known:
        look_around(batch, 0)
    playout = task.playout()
    return playout, playout.copy(batch, np.arange(1))


def way(playout, state, decision: str, careful: bool = False) -> list[int]:
    """The actions that carry out the decision."""
    trace = playout.trace(state, tuple(decision.split(", ")), careful)
    return trace.poses[: trace.decided, 3].tolist()


@pytest.mark.parametrize(
    "name, least", [("SimpleDoorKey", 0.99), ("LavaDoorKey", 0.95), ("ColoredDoorKey", 0.95), ("DivergedDoorKey", 0.95)]
)
def test_the_continuation_is_competent_by_itself(name, least):
    task, batch = start(name, 1000, seed=5)
    outcomes = task.playout().play(task.playout().copy(batch, np.arange(1000)), ())
    assert outcomes.success.mean() >= least and not outcomes.killed.any()


def test_playing_leaves_the_states_as_they_were_and_is_the_same_again():
    task, batch = start("ColoredDoorKey", 300)
    playout = task.playout()
    states = playout.copy(batch, np.arange(300))
    before = [array.copy() for array in states]
    first, second = (playout.play(states, ("explore",)) for _ in range(2))
    assert all(np.array_equal(*pair) for pair in zip(vars(first).values(), vars(second).values()))
    assert all(np.array_equal(*pair) for pair in zip(before, states))


def test_the_way_that_is_shown_is_the_one_that_was_played():
    task, batch = start("LavaDoorKey", 40)
    playout = task.playout()
    for n in range(40):
        state = playout.copy(batch, np.array([n]))
        trace, outcome = playout.trace(state, ("explore",)), playout.play(state, ("explore",))
        again = playout.load(state)
        for x, y, direction, action in trace.poses[:-1].tolist():
            assert again.state.agent[0].tolist() == [x, y, direction]
            rewards, terminated, _ = again.step(np.array([action]))
        assert again.state.agent[0].tolist() == trace.poses[-1, :3].tolist() and trace.poses[-1, 3] == -1
        assert len(trace.poses) - 1 == outcome.steps[0] and terminated[0]
        assert trace.end == ("success" if rewards[0] > 0 else "lava")


def test_a_name_means_the_same_thing_to_the_end_though_the_text_would_rename_it():
    # What is held is named last, and red, being mentioned first, is the other key's colour.
    playout, state = room("ColoredDoorKey", TWO_KEYS.replace("k", "."), direction=3, held="k")
    assert playout.task.text(int(state.situation[0])) == "Agent sees a red key, a blue door, holds a blue key."
    # Dropped ahead, at (2, 1), the blue key comes before the red one and takes its name.
    actions = way(playout, state, "drop blue key, go to red key, pick up red key, go to blue door")
    assert actions[0] == DROP and actions.count(PICK_UP) == 1
    trace = playout.trace(state, ("drop blue key", "go to red key", "pick up red key"))
    x, y, direction, _ = trace.poses[trace.decided - 1].tolist()
    assert (x + [1, 0, -1, 0][direction], y + [0, 1, 0, -1][direction]) == (4, 3)


def test_what_cannot_be_done_costs_a_step_and_attempts_are_not_repeated():
    playout, state = room("ColoredDoorKey", TWO_KEYS, direction=3)
    assert len(way(playout, state, "go to east, use key, pick up red key")) == 3
    assert way(playout, state, "open red door") == [TOGGLE]


def test_exploring_ends_with_the_text_and_what_was_named_ahead_is_looked_for_then():
    playout, state = room(
        "SimpleDoorKey", "########## #@.......# #........# #........# #......k.# ####D#####", 0, known=False
    )
    trace = playout.trace(state, ("explore",))
    task = playout.task
    batch, texts = playout.load(state), []
    for action in trace.poses[: trace.decided, 3].tolist():
        batch.step(np.array([action]))
        texts.append(task.text(int(batch.situations[0])))
    assert texts[-1] != texts[0] == "Agent sees nothing, holds nothing."
    found = texts[-1].split()[3].rstrip(",")
    further = way(playout, state, f"explore, go to {found}")
    assert len(further) > trace.decided and further[: trace.decided] == trace.poses[: trace.decided, 3].tolist()


def test_a_clock_that_has_run_is_set_back():
    playout, state = room("SimpleDoorKey", TWO_KEYS.replace("K", "."), direction=3)
    late = state._replace(steps=np.full(1, playout.time - 1))
    assert playout.play(late, ("explore",)).success[0]


def test_lava_kills_the_blind_and_is_gone_around_by_the_careful():
    playout, state = room("LavaDoorKey", "####### #@~..k# #.....# ###D###", direction=0)
    fetch = ("go to key", "pick up key")
    blind, careful = playout.play(state, fetch), playout.play(state, fetch, careful=True)
    assert blind.killed[0] and not blind.success[0] and blind.steps[0] == 1
    assert careful.success[0] and playout.trace(state, fetch).end == "lava"
    assert way(playout, state, "go to key")[0] == FORWARD
    assert playout.next_actions(state, fetch)[0] == FORWARD != playout.next_actions(state, fetch, careful=True)[0]
    assert (playout.picture(state)[0][..., 0] == LAVA).sum() == 1


def test_the_continuation_makes_way_to_a_door_that_a_key_blocks():
    playout, state = room("ColoredDoorKey", "###### #....# #.@..# #....# #..K.# ###D##", direction=3, held="k")
    assert playout.task.text(int(state.situation[0])) == "Agent sees a red key, a blue door, holds a blue key."
    assert playout.play(state, ()).success[0]
    assert [DROP in playout.trace(state, ()).poses[:, 3]] == [True]


def test_every_task_that_says_so_plays_and_the_others_do_not():
    assert all(tasks.find(name).playout() for name in GRID_TASKS)
    assert tasks.find("MiniGrid-DoorKey-5x5-v0").playout() is None
