"""What text and decision alone tell, on the answers that the paper's authors recorded."""

import pytest

from askonce.pipeline import tasks
from askonce.pipeline.audit.rules import RULES, broken
from askonce.pipeline.tasks.minigrid import scene

FAR = "Agent is to pick up a mug. It sees a mug on a table ahead, far; a can on a table."
NEAR = "Agent is to pick up a mug. It sees a mug on a table ahead, near; a can on a table."
HIDDEN = "Agent is to pick up a mug. It sees nothing."

CASES = [
    # task, text, decision, the broken rule
    ("ColoredDoorKey", "Agent sees nothing, holds a red key.", "go to east", "not in the text"),
    ("ColoredDoorKey", "Agent sees a red door, holds a blue key.", "go to blue key", "already held"),
    ("ColoredDoorKey", "Agent sees a red key, holds nothing.", "pick up red key", "out of reach"),
    ("ColoredDoorKey", "Agent sees a red key, holds nothing.", "go to red key, pick up red key", None),
    ("ColoredDoorKey", "Agent sees a red key, a blue key, holds nothing.", "go to key", "ambiguous"),
    ("ColoredDoorKey", "Agent sees a red key, a blue key, holds nothing.", "go to green key", "not in the text"),
    ("ColoredDoorKey", "Agent sees a red key, holds a blue key.", "go to red key, pick up red key", "hands full"),
    (
        "ColoredDoorKey",
        "Agent sees a red key, holds a blue key.",
        "drop blue key, go to red key, pick up red key",
        None,
    ),
    ("ColoredDoorKey", "Agent sees a red key, holds a blue key.", "drop blue key, pick up blue key", None),
    ("ColoredDoorKey", "Agent sees a red key, holds a blue key.", "drop red key", "not held"),
    ("ColoredDoorKey", "Agent sees a red door, holds a blue key.", "go to red door, open red door", "no key"),
    ("ColoredDoorKey", "Agent sees a red key, a blue door, holds a blue key.", "go to blue door, open blue door", None),
    ("ColoredDoorKey", "Agent sees a red door, holds a red key.", "open red door", "out of reach"),
    ("ColoredDoorKey", "Agent sees a red door, holds a blue key.", "explore, drop blue key, go to red key", None),
    (
        "SimpleDoorKey",
        "Agent sees a door, holds a key.",
        "go to key, pick up key, go to door, open door",
        "already held",
    ),
    ("SimpleDoorKey", "Agent sees a key, a door, holds nothing.", "go to key, go to door, use key", "no such option"),
    ("SimpleDoorKey", "Agent sees nothing, holds a key.", "go to door, open door", "not in the text"),
    ("SimpleDoorKey", "Agent sees nothing, holds a key.", "explore, go to door, open door", None),
    ("SimpleDoorKey", "Agent sees nothing, holds a key.", "explore, open door", "out of reach"),
    ("SimpleDoorKey", "Agent sees nothing, holds a key.", "explore, go to east", "not in the text"),
    ("SimpleDoorKey", "Agent sees nothing, holds a key.", "pick up handle", "not in the text"),
    ("SimpleDoorKey", "Agent sees a key, a door, holds nothing.", "go to door, open door", "no key"),
    ("SimpleDoorKey", "Agent sees a key, a door, holds nothing.", "go to door, pick up door", "wrong kind"),
    ("SimpleDoorKey", "Agent sees a key, a door, holds nothing.", "go to key, pick up", "no object"),
    ("SimpleDoorKey", "Agent sees a key, a door, holds nothing.", "go to key, pick up key, open door", "out of reach"),
    ("SimpleDoorKey", "Agent sees a key, holds nothing.", "go to key, pick up key, drop key, pick up key", None),
    ("NavPick", f"{FAR} It holds nothing.", "navigate to mug, pick up mug", None),
    ("NavPick", f"{FAR} It holds nothing.", "navigate to table, pick up mug", None),
    ("NavPick", f"{FAR} It holds nothing.", "pick up mug", "out of reach"),
    ("NavPick", f"{FAR} It holds nothing.", "navigate to can, pick up can", "wrong object"),
    ("NavPick", f"{FAR} It holds nothing.", "navigate to can, pick up mug", "out of reach"),
    ("NavPick", f"{FAR} It holds nothing.", "navigate to mug, navigate to mug", "already there"),
    ("NavPick", f"{FAR} It holds nothing.", "navigate to table, pick up table", "wrong kind"),
    ("NavPick", f"{FAR} It holds nothing.", "navigate to ball", "not in the text"),
    ("NavPick", f"{FAR} It holds nothing.", "open gripper", "no such option"),
    ("NavPick", f"{NEAR} It holds nothing.", "pick up mug", None),
    ("NavPick", f"{NEAR} It holds nothing.", "navigate to mug, pick up mug", "already there"),
    ("NavPick", f"{HIDDEN} It holds nothing.", "navigate to mug, pick up mug", None),
    ("NavPick", f"{HIDDEN} It holds nothing.", "pick up mug", "out of reach"),
    ("NavPick", f"{HIDDEN} It holds a mug.", "pick up mug", None),
    ("NavPick", f"{HIDDEN} It holds a mug.", "navigate to mug", "already held"),
    ("NavPick", f"{FAR} It holds a mug.", "navigate to can", "already held"),
    ("DivergedDoorKey", "Agent sees door1, holds a key.", "go to door2, open door2", "not in the text"),
    ("DivergedDoorKey", "Agent sees door1, door2, holds a key.", "go to door2, open door2", None),
]


@pytest.mark.parametrize("task, text, decision, rule", CASES)
def test_the_first_broken_rule_is_named_with_the_words_at_fault(task, text, decision, rule):
    task = tasks.find(task)
    found = broken(tuple(decision.split(", ")), task.prompt.options, task.scene(text))
    assert (found and found.rule) == rule
    if found:
        assert any(option in found.reason for option in decision.split(", ")) and "\n" not in found.reason


def test_every_rule_is_broken_by_an_example():
    assert {rule for *_, rule in CASES} - {None} == {"no such option", "no object", *RULES}


def test_minigrids_own_doors_open_without_a_key_unless_they_are_locked():
    options = tasks.find("SimpleDoorKey").prompt.options
    there = scene.registered(("closed red door", "locked blue door", "a box"), None)
    assert broken(("go to closed red door", "open closed red door"), options, there) is None
    assert broken(("go to locked blue door", "open locked blue door"), options, there).rule == "no key"


def test_without_facts_only_the_options_themselves_are_judged():
    options = tasks.find("SimpleDoorKey").prompt.options
    assert broken(("go to east", "open door"), options, None) is None
    assert broken(("go to east", "use key"), options, None).rule == "no such option"
