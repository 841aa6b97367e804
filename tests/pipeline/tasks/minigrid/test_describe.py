"""Observation → text, and an option's words → the thing they name."""

from hypothesis import given
from hypothesis import strategies as st
from minigrid.core.constants import IDX_TO_COLOR
import numpy as np
import pytest

from askonce.pipeline import tasks
from askonce.pipeline.tasks.minigrid import NAMES as GRID_TASKS
from askonce.pipeline.tasks.minigrid import describe, engine
from askonce.pipeline.tasks.minigrid.envs import NO_AGENT


def facts_of(observation: np.ndarray, colored: bool, numbered: bool) -> tuple[list[str], str | None]:
    """A slow, obvious restatement of the template's facts, straight from one observation."""
    agent = tuple(np.argwhere(observation[..., 3] != NO_AGENT)[0])
    things = [(cell, *observation[cell][:2]) for cell in map(tuple, np.argwhere(observation[..., 0] > 0))]
    keys = [color for cell, kind, color in things if kind == engine.KEY and cell != agent]
    doors = [color for cell, kind, color in things if kind == engine.DOOR]
    held = [color for cell, kind, color in things if kind == engine.KEY and cell == agent]
    order = list(dict.fromkeys(keys + doors + held))
    color = lambda index: ("red ", "blue ", "green ")[order.index(index)] if colored else ""
    names = [f"{color(key)}key" for key in keys]
    names += [f"door{n}" if numbered else f"{color(door)}door" for n, door in enumerate(doors, start=1)]
    return names, f"{color(held[0])}key" if held else None


@pytest.mark.parametrize("name", GRID_TASKS)
def test_the_text_says_what_the_observation_holds(name):
    task = tasks.find(name)
    batch = task.batch(100)
    batch.reset(np.arange(100), task.seeds(100, seed=1))
    rng = np.random.default_rng(1)
    texts = set()
    for _ in range(60):
        for observation, situation in zip(batch.observations, batch.situations.tolist()):
            text = task.text(situation)
            texts.add(text)
            assert text == task.describe(*facts_of(observation, task.colored, task.numbered_doors))
        batch.step(rng.choice(7, size=100, p=(0.15, 0.15, 0.3, 0.25, 0.05, 0.05, 0.05)))
    assert len(texts) >= 5


def test_colours_that_differ_only_by_name_are_one_situation():
    task = tasks.find("ColoredDoorKey")
    batch = task.batch(2)
    batch.reset(np.arange(2), task.seeds(2, seed=0))
    world = np.full((2, 10, 10, 3), (engine.EMPTY, 0, 0), np.uint8)
    for n, (key, door) in enumerate(((0, 2), (3, 4))):
        world[n, 3, 2] = (engine.KEY, key, 0)
        world[n, 3, 3] = (engine.DOOR, door, engine.LOCKED)
    engine.reset(batch.state, np.arange(2), world, np.array([[2, 2, 0]] * 2), True)
    assert batch.situations[0] == batch.situations[1]
    assert task.text(int(batch.situations[0])) == "Agent sees a red key, a blue door, holds nothing."
    assert {IDX_TO_COLOR[int(c)] for c in batch.observations[1, 3, 2:4, 1]} == {"purple", "yellow"}


@pytest.mark.parametrize(
    "name, sees, holds, text",
    [
        ("SimpleDoorKey", [], None, "Agent sees nothing, holds nothing."),
        ("SimpleDoorKey", ["key", "door"], None, "Agent sees a key, a door, holds nothing."),
        (
            "ColoredDoorKey",
            ["color1 key", "color2 door"],
            "color2 key",
            "Agent sees a red key, a blue door, holds a blue key.",
        ),
        ("DivergedDoorKey", ["door1", "door2"], "key", "Agent sees door1, door2, holds a key."),
    ],
)
def test_recorded_facts_give_the_same_text(name, sees, holds, text):
    task = tasks.find(name)
    assert task.describe(sees, holds) == text
    assert text in task.situations


@pytest.mark.parametrize(
    "words, slot",
    [
        ("red key", 0),
        ("blue key", 1),
        ("blue door", 2),
        ("door", 2),
        ("locked blue door", 2),
        ("key", -1),
        ("green key", -1),
        ("red door", -1),
        ("door handle", -1),
        ("", -1),
    ],
)
def test_an_object_is_named_exactly_or_unmistakably(words, slot):
    known = describe.Facts(("red key", "blue key", "blue door"), (0, 1, 2), None)
    assert describe.slot_of(words, known) == slot


def test_what_is_held_is_named_too():
    assert describe.slot_of("key", describe.Facts(("door1",), (2,), "key")) == engine.HELD
    assert describe.slot_of("door", describe.Facts(("door1",), (2,), "key")) == 2


@given(st.integers(0, engine.SITUATIONS - 1))
def test_every_situation_has_one_text_and_only_decisions_it_names(situation):
    task = tasks.find("ColoredDoorKey")
    text = task.text(situation)
    known = task.facts(task.situations[text])
    for (option,) in task.decisions(text):
        named = option.partition(" key")[0].split()[-1] if "key" in option else None
        assert option == "explore" or any(option.endswith(name) for name in (*known.sees, known.holds or "-")), named
