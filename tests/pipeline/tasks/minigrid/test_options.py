"""The options' initiation, policy and termination (appendix A.4.1), through the batch that executes them."""

from collections import deque

import numpy as np
import pytest

from askonce.pipeline import tasks
from askonce.pipeline.tasks.minigrid import NAMES as GRID_TASKS
from askonce.pipeline.tasks.minigrid import engine
from askonce.pipeline.tasks.minigrid.envs import GRID

LEFT, RIGHT, FORWARD, PICK_UP, DROP, TOGGLE, DONE = range(7)


def start(name: str, count: int, seed: int = 0):
    task = tasks.find(name)
    batch = task.batch(count)
    batch.reset(np.arange(count), task.seeds(count, seed))
    return task, batch


def place(batch, n: int, rows: str, direction: int, held: str | None = None) -> None:
    """Puts environment n into a world drawn with # wall, D door, k and K blue and red key, ~ lava, @ agent."""
    world = np.zeros((1, GRID, GRID, 3), np.uint8)
    world[..., 0] = engine.EMPTY
    agent = np.zeros((1, 3), np.int64)
    symbols = {
        "#": (engine.WALL, 5, 0),
        "D": (engine.DOOR, 2, engine.LOCKED),
        "~": (engine.LAVA, 0, 0),
        "k": (engine.KEY, 2, 0),
        "K": (engine.KEY, 0, 0),
    }
    for y, row in enumerate(rows.split()):
        for x, symbol in enumerate(row):
            if symbol == "@":
                agent[0] = (x, y, direction)
            world[0, x, y] = symbols.get(symbol, (engine.EMPTY, 0, 0))
    colored = batch.task.colored
    engine.reset(batch.state, np.array([n]), world, agent, colored)
    if held:
        batch.state.held[n] = symbols[held]
        engine._look(batch.state, n)
        engine._perceive(batch.state, n, colored)


def look_around(batch, n: int) -> None:
    """Lets the agent see everything, without a step."""
    state = batch.state
    known = state.world[n, :, :, 0] != engine.UNSEEN
    state.observation[n, known, :3] = state.world[n, known]
    engine._look(state, n)
    engine._perceive(state, n, batch.task.colored)


def action_of(batch, decision: tuple[str, ...]) -> int:
    """What the decision does next in environment 0."""
    text = batch.task.text(int(batch.situations[0]))
    return int(batch.advise(batch.task.plans({text: {decision: 1.0}})).actions[0, 0])


def follow(batch, decision: tuple[str, ...], steps: int) -> list[int]:
    """The actions that carry out `decision` in environment 0, until it does nothing more."""
    actions = []
    for _ in range(steps):
        action = action_of(batch, decision)
        if action == DONE:
            break
        actions.append(action)
        batch.step(np.full(batch.size, action))
    return actions


ROOM = """
######
#....#
#.@..#
#..k.#
#....#
###D##"""


def test_go_to_walks_a_shortest_path_and_ends_facing_the_target():
    _, batch = start("SimpleDoorKey", 1)
    place(batch, 0, ROOM, direction=3)
    look_around(batch, 0)
    # Turn right, one step, turn right: the key is then right below.
    assert follow(batch, ("go to key",), 20) == [RIGHT, FORWARD, RIGHT]
    assert action_of(batch, ("go to key", "pick up key")) == PICK_UP


def poses_to_face(batch, n: int, target: tuple[int, int]) -> int:
    """Length of a shortest path by a search of its own over the world itself."""
    state = batch.state
    free = {engine.EMPTY, engine.LAVA}
    first = tuple(state.agent[n].tolist())
    queue, lengths = deque([first]), {first: 0}
    while queue:
        x, y, direction = queue.popleft()
        ahead = (x + int(engine.DX[direction]), y + int(engine.DY[direction]))
        if ahead == target:
            return lengths[x, y, direction]
        following = [(x, y, (direction + 1) % 4), (x, y, (direction + 3) % 4)]
        if state.world[n, *ahead, 0] in free:
            following.append((*ahead, direction))
        for pose in following:
            if pose not in lengths:
                lengths[pose] = lengths[x, y, direction] + 1
                queue.append(pose)
    return -1


@pytest.mark.parametrize("name", GRID_TASKS)
def test_go_to_is_as_short_as_can_be_in_known_rooms(name):
    task, batch = start(name, 200, seed=7)
    for n in range(batch.size):
        look_around(batch, n)
    targets = [tuple(cells[0].tolist()) for cells in batch.state.cells]
    lengths = np.array([poses_to_face(batch, n, target) for n, target in enumerate(targets)])
    plans = task.plans(
        {
            task.text(situation): {(f"go to {task.facts(situation).sees[0]}",): 1.0}
            for situation in np.unique(batch.situations).tolist()
        }
    )
    taken = np.zeros(batch.size, int)
    while True:
        actions = batch.advise(plans).actions[:, 0]
        if (actions == DONE).all():
            break
        taken += actions != DONE
        # Walking through lava ends an episode: those agents stop short.
        batch.step(actions)
    burnt = batch.state.ended > 0
    assert (name == "LavaDoorKey") or not burnt.any()
    reachable = lengths >= 0
    assert reachable.sum() > 150 and np.array_equal(taken[reachable & ~burnt], lengths[reachable & ~burnt])


@pytest.mark.parametrize("name", GRID_TASKS)
def test_explore_sees_the_whole_room_and_then_ends(name):
    """Also where things stand in the way. LavaDoorKey's explorers may burn, being blind to lava."""
    task, batch = start(name, 300, seed=3)
    plans = task.plans({text: {("explore",): 1.0} for text in task.situations})
    for _ in range(200):
        actions = batch.advise(plans).actions[:, 0]
        batch.state.steps[:] = 0  # so that nothing is cut off before the room is known
        batch.step(actions)
    alive = batch.state.ended == 0
    assert (actions[alive] == DONE).all(), "no explorer runs in circles"
    seen = batch.state.observation[..., 0] != engine.UNSEEN
    walls = batch.state.world[..., 0] == engine.WALL
    for n in np.flatnonzero(alive):
        width, height = walls[n].any(axis=1).sum(), walls[n].any(axis=0).sum()
        # Two keys can wall in a corner that nobody can then look into.
        assert (~seen[n, :width, :height]).sum() <= (1 if name == "ColoredDoorKey" else 0)
    assert alive.all() or name == "LavaDoorKey"


def test_explore_goes_through_lava_as_if_it_were_floor():
    _, batch = start("LavaDoorKey", 1)
    place(batch, 0, "####### #.....# #@~...# #.....# #....k# ###D###", direction=0)
    assert action_of(batch, ("explore",)) == FORWARD


def test_pick_up_first_drops_what_is_held():
    _, batch = start("ColoredDoorKey", 1)
    place(batch, 0, "##### #..k# #.@.# #...# ##D##", direction=0, held="K")
    look_around(batch, 0)
    assert batch.task.text(int(batch.situations[0])) == "Agent sees a red key, a red door, holds a blue key."
    assert action_of(batch, ("pick up red key",)) == DROP
    assert action_of(batch, ("drop blue key", "go to red key", "pick up red key")) == DROP
    assert action_of(batch, ("pick up blue key",)) == DONE, "it is held already"


def test_drop_turns_to_the_nearest_free_cell():
    _, batch = start("ColoredDoorKey", 1)
    place(batch, 0, "#### #@.# #..# #D##", direction=3, held="k")
    look_around(batch, 0)
    assert follow(batch, ("drop red key",), 9) == [RIGHT, DROP]


def test_drop_finds_no_cell_where_things_wall_the_agent_in():
    _, batch = start("ColoredDoorKey", 1)
    place(batch, 0, "##### #@k.# #K..# ###D#", direction=0, held="k")
    look_around(batch, 0)
    assert batch.task.text(int(batch.situations[0])).endswith("holds a blue key.")
    assert action_of(batch, ("drop blue key",)) == DONE


def test_pick_up_and_open_are_tried_in_place():
    _, batch = start("SimpleDoorKey", 1)
    place(batch, 0, ROOM, direction=3)
    look_around(batch, 0)
    assert action_of(batch, ("pick up key",)) == PICK_UP
    assert action_of(batch, ("open door",)) == TOGGLE


def test_a_decision_acts_by_its_first_option_that_has_not_ended():
    _, batch = start("SimpleDoorKey", 1)
    place(batch, 0, ROOM, direction=3, held="k")
    look_around(batch, 0)
    whole = ("go to key", "pick up key", "go to door", "open door")
    # The key is held: the agent faces the other one's cell, but what it holds counts as reached.
    batch.state.world[0, 3, 3] = (engine.EMPTY, 0, 0)
    look_around(batch, 0)
    assert batch.task.text(int(batch.situations[0])) == "Agent sees a door, holds a key."
    actions = follow(batch, whole, 30)
    assert actions[-1] == TOGGLE and batch.state.ended[0]
    assert len(actions) == poses_to_face_from(ROOM, 3, "D") + 1


def poses_to_face_from(rows: str, direction: int, symbol: str) -> int:
    _, batch = start("SimpleDoorKey", 1)
    place(batch, 0, rows.replace("k", "."), direction)
    lines = rows.split()
    target = next((x, y) for y, row in enumerate(lines) for x, cell in enumerate(row) if cell == symbol)
    return poses_to_face(batch, 0, target)


@pytest.mark.parametrize("decision", [("use key",), ("go to east",), ("pick up handle",), ("go to red door",)])
def test_what_the_text_does_not_name_cannot_be_done(decision):
    _, batch = start("ColoredDoorKey", 1)
    place(batch, 0, "##### #..k# #.@.# #...# #####", direction=0)
    assert action_of(batch, decision) == DONE


def test_a_text_without_an_answer_gets_no_advice():
    task, batch = start("SimpleDoorKey", 5)
    assert not batch.advise(task.plans({})).probabilities.any()
    assert not batch.advise(task.plans({task.text(s): {} for s in batch.situations.tolist()})).probabilities.any()
