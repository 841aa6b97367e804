"""What the simulated LLM does about MiniGrid's missions, by the words of the prompt alone."""

from itertools import chain, combinations

import pytest

from askonce.pipeline import tasks
from askonce.pipeline.parse import parse
from askonce.pipeline.prompt import messages
from askonce.pipeline.simulated import llm as simulated
from askonce.pipeline.simulated.llm import KINDS, Errors, choices, facts_of
from askonce.pipeline.simulated.missions import Mission, mission_of

DOORKEY, LOCKED_ROOM, PICKUP, BLOCKED, MAZE, DOORS, UNLOCK, CROSSING = (
    f"MiniGrid-{name}-v0"
    for name in (
        "DoorKey-8x8",
        "LockedRoom",
        "UnlockPickup",
        "BlockedUnlockPickup",
        "ObstructedMaze-1Dlhb",
        "RedBlueDoors-6x6",
        "Unlock",
        "LavaCrossingS9N1",
    )
)

SOUND = [
    (DOORKEY, "nothing, holds nothing", "explore"),
    (DOORKEY, "a red key, holds nothing", "go to red key, pick up red key"),
    (DOORKEY, "a locked red door, holds nothing", "explore"),
    (DOORKEY, "a locked red door, holds a red key", "go to locked red door, open locked red door"),
    (DOORKEY, "nothing, holds a red key", "explore"),
    (DOORKEY, "a goal, holds a red key", "go to goal"),
    (CROSSING, "lava, holds nothing", "explore"),
    (CROSSING, "a goal, lava, holds nothing", "go to goal"),
    (PICKUP, "a red box, holds a blue key", "drop blue key, go to red box, pick up red box"),
    (PICKUP, "a blue key, a red box, holds nothing", "go to red box, pick up red box"),
    (BLOCKED, "a blue key, a blocked blue door, a green ball, holds nothing", "go to green ball, pick up green ball"),
    (
        BLOCKED,
        "a blocked blue door, a green ball, holds a blue key",
        "drop blue key, go to green ball, pick up green ball",
    ),
    (BLOCKED, "a blue key, a locked blue door, holds a green ball", "drop green ball"),
    (MAZE, "a locked blue door, a green box, holds nothing", "go to green box, open green box"),
    (MAZE, "a blue key, a locked blue door, holds nothing", "go to blue key, pick up blue key"),
    (DOORS, "a closed blue door, holds nothing", "explore"),
    (DOORS, "a closed red door, a closed blue door, holds nothing", "go to closed red door, open closed red door"),
    (DOORS, "a closed blue door, an open red door, holds nothing", "go to closed blue door, open closed blue door"),
    (LOCKED_ROOM, "a closed blue door, holds nothing", "go to closed blue door, open closed blue door"),
    (UNLOCK, "a locked red door, holds a red key", "go to locked red door, open locked red door"),
]


@pytest.mark.parametrize("name, seen, decision", SOUND)
def test_without_errors_it_gets_on_with_the_mission(name, seen, decision):
    prompt = tasks.find(name).prompt
    for sample in range(10):
        said = simulated.complete(messages(prompt, f"Agent sees {seen}."), sample, Errors(0, 0, 0), 0)
        assert ", ".join(parse(said, prompt.options).decision) == decision


@pytest.mark.parametrize(
    "words, mission",
    [
        ("Its task is to use the key to open the door and then get to the goal. More.", Mission("goal")),
        ("Its task is to pick up the red ball.", Mission("red ball")),
        ("Its task is to open the red door then the blue door.", Mission("", ("red door", "blue door"))),
        ("Its task is to open the door.", None),
        ("Its task is to open either of the two doors, door1 or door2.", None),
        ("A robot in a kitchen.", None),
    ],
)
def test_reads_the_mission_of_a_prompt(words, mission):
    assert mission_of(words) == mission


def texts(things: tuple[str, ...], held: tuple[str, ...]) -> list[str]:
    seen = chain.from_iterable(combinations(things, size) for size in range(len(things) + 1))
    return [f"Agent sees {', '.join(names) or 'nothing'}, holds {thing}." for names in seen for thing in held]


MISSIONS = (Mission("goal"), Mission("red box"), Mission("", ("red door", "blue door")))


@pytest.mark.parametrize("mission", MISSIONS, ids=str)
def test_each_decision_is_of_one_kind_and_reads_back_from_what_it_says(mission):
    options = tasks.find(DOORKEY).prompt.options
    things = (
        "a red key",
        "a locked blue door",
        "a blocked green door",
        "a closed red door",
        "a green ball",
        "a red box",
        "a goal",
    )
    for text in texts(things, ("nothing", "a blue key", "a green ball")):
        possible = choices(facts_of(text), mission)
        assert list(possible) == list(KINDS) and possible["sound"] and possible["inconsistent"]
        found = [decision for decisions in possible.values() for decision in decisions]
        assert len(found) == len(set(found))
        for decision in found:
            assert parse(f"Decision: {', '.join(decision)}", options).decision == decision


def test_errors_come_where_they_are_possible():
    prompt = tasks.find(PICKUP).prompt
    text = "Agent sees a blue key, a locked green door, holds nothing."
    found = simulated.probabilities(messages(prompt, text), Errors(0.2, 0.2, 0.2), 0)
    assert sum(found.values()) == pytest.approx(1) and min(found.values()) > 0
    possible = choices(facts_of(text), Mission("red box"))
    assert set(found) == {decision for decisions in possible.values() for decision in decisions}
