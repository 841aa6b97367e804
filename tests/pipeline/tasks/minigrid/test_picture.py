"""Pictures against the states that they are of, read back from what is drawn."""

import re

import numpy as np
import pytest

from askonce.pipeline import tasks
from askonce.pipeline.collect import play
from askonce.pipeline.tasks.minigrid import engine
from askonce.pipeline.tasks.minigrid.describe import describe
from askonce.pipeline.tasks.minigrid.picture import ASIDE, CELL, Pose, as_named, picture
from askonce.pipeline.tasks.task import Trace

COLORS = {0: "red", 1: "green", 2: "blue"}


@pytest.fixture(scope="module")
def states():
    """Worlds, what is known of them, texts and paths of 40 episodes of random actions."""
    task, rng = tasks.find("ColoredDoorKey"), np.random.default_rng(1)
    batch, poses = task.batch(40), [[] for _ in range(40)]
    # Forward more often than not, or nothing is ever found.
    deal = np.array([0.15, 0.15, 0.5, 0.1, 0.05, 0.05, 0])
    kept, found = {}, []

    def act(running):
        actions = rng.choice(engine.ACTIONS, 40, p=deal)
        for n in np.flatnonzero(running):
            if len(poses[n]) == 30:
                state, text = batch.state, task.text(int(batch.situations[n]))
                kept[n] = state.world[n].copy(), state.observation[n].copy(), text
            poses[n].append(Pose(*batch.state.agent[n].tolist(), int(actions[n])))
        return actions

    for _ in play(batch, task.seeds(40, 3), act):
        pass
    for n, state in kept.items():
        path = *poses[n][30:], Pose(*batch.state.agent[n].tolist(), -1)
        found.append((*state, Trace(np.array(path, np.int16), 5, "too long")))
    return found


def cells(outline: str) -> set[tuple[int, int]]:
    return {
        (int(x) // CELL + more, int(y) // CELL)
        for x, y, length in re.findall(r"M(\d+) (\d+)h(\d+)v20h-\d+z", outline)
        for more in range(int(length) // CELL)
    }


def drawn(svg: str, name: str) -> str:
    return "".join(re.findall(rf'<path class="{name}" d="([^"]*)"', svg))


def test_walls_and_what_is_unseen_are_drawn_where_they_are(states):
    for world, knowledge, _, played in states:
        svg = picture(world, knowledge, played)
        width, height = (int(side) // CELL for side in re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())
        assert cells(drawn(svg, "wall")) == set(map(tuple, np.argwhere(world[..., 0] == engine.WALL).tolist()))
        unseen = np.argwhere(knowledge[:width, :height, 0] == engine.UNSEEN).tolist()
        assert cells(drawn(svg, "unseen")) == set(map(tuple, unseen))


def test_a_path_is_one_line_from_where_the_agent_is_to_where_it_ends(states):
    for world, knowledge, _, played in states:
        svg = picture(world, knowledge, played)
        parts = [drawn(svg, "way"), drawn(svg, "way then")]
        at = None
        for part in filter(None, parts):
            x, y = map(int, re.match(r"M(-?\d+) (-?\d+)", part).groups())
            assert at in (None, (x, y))
            for axis, by, to_x, to_y in re.findall(r"([hv])(-?\d+)|l(-?\d+) (-?\d+)", part):
                dx, dy = (int(to_x), int(to_y)) if not axis else (int(by), 0) if axis == "h" else (0, int(by))
                # Along the grid, or turning aside on the spot.
                assert axis or (abs(dx), abs(dy)) == (ASIDE, ASIDE)
                x, y = x + dx, y + dy
            at = x, y
        end, middle = Pose(*played.poses[-1].tolist()), CELL / 2
        assert at is None or max(abs(at[0] - CELL * end.x - middle), abs(at[1] - CELL * end.y - middle)) == ASIDE


def test_colours_are_those_that_the_text_names(states):
    for world, knowledge, text, _ in states:
        world, knowledge = as_named(world, knowledge)
        name = lambda cell: f"{COLORS[cell[1]]} {'key' if cell[0] == engine.KEY else 'door'}"
        around = [cell for cell in knowledge.reshape(-1, 4).tolist() if cell[3] == 4]
        keys, doors = ([name(cell) for cell in around if cell[0] == kind] for kind in (engine.KEY, engine.DOOR))
        (agent,) = [cell for cell in knowledge.reshape(-1, 4).tolist() if cell[3] != 4]
        assert describe(keys + doors, name(agent) if agent[0] == engine.KEY else None) == text
        # What was seen has one colour, known or not.
        seen = (knowledge[..., 0] == world[..., 0]) & (knowledge[..., 3] == 4)
        assert (knowledge[..., 1] == world[..., 1])[seen].all()


def test_marks_are_where_it_was_done(states):
    poses = Pose(2, 3, 0, engine.PICK_UP), Pose(2, 3, 1, engine.DROP), Pose(2, 3, 1, engine.DROP), Pose(2, 3, 1, -1)
    world, knowledge, _, _ = states[0]
    svg = picture(world, knowledge, Trace(np.array(poses, np.int16), 1, "success"))
    marks = re.findall(r'href="#([\w-]+)" x="(\d+)" y="(\d+)" class="mark"', svg)
    assert marks == [("pick-up", str(3 * CELL), str(3 * CELL)), ("drop", str(2 * CELL), str(4 * CELL))]
