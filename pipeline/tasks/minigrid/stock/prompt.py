"""An environment's part of the prompt, from its mission and what there is in it.

Environments that differ only in size have the same prompt, so that one pays for all.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from minigrid.core.constants import IDX_TO_OBJECT

from askonce.pipeline.tasks.minigrid import doorkey
from askonce.pipeline.tasks.minigrid.stock.layouts import Layout
from askonce.pipeline.tasks.task import Prompt

_ON_THE_WAY = {
    "explore": "look at parts of the world not seen yet, until all that can be reached is known",
    "go to": "walk until the object is right in front of the agent, or onto the goal",
}
OPTIONS = tuple(replace(option, help=_ON_THE_WAY.get(option.name, option.help)) for option in doorkey.OPTIONS)

_KEY_EXAMPLE: dict[str, Any] = dict(
    example_text="Agent sees a red key, holds nothing.",
    example_observation="The agent sees a red key and holds nothing. It has not seen a locked door yet.",
    example_reasoning="It will need the key for a locked door, and its hands are free, so it should walk to the red "
    "key and then take it.",
    example_decision=("go to red key", "pick up red key"),
)
_BARE_EXAMPLE: dict[str, Any] = dict(
    example_text="Agent sees nothing, holds nothing.",
    example_observation="The agent sees nothing of interest and holds nothing.",
    example_reasoning="It does not know yet where to go, so it should look around.",
    example_decision=("explore",),
)


def prompt_of(mission: str, sampled: Sequence[Layout]) -> Prompt:
    """The prompt of an environment, from its mission in canonical colours and a sample of its layouts."""
    kinds = {IDX_TO_OBJECT[kind] for layout in sampled for kind in layout.kinds}
    rules = {
        "A locked door opens only while the agent holds a key of the door's own colour.": {"door", "key"} <= kinds,
        "A blocked door is locked, and an object lies before it that has to be taken away first.": {"door", "key"}
        <= kinds
        and kinds & {"ball", "box"},
        "Other doors are opened on the way and not mentioned.": {"door", "key"} <= kinds,
        "Doors are opened on the way and not mentioned.": "door" in kinds
        and "key" not in kinds
        and "door" not in mission,
        "A box may hide a key: it is seen once the box is open.": any(layout.hides for layout in sampled),
        "The agent keeps clear of lava by itself.": "lava" in kinds,
    }
    setting = (
        "An agent is in a world laid out as a grid. It remembers what it has seen, and it can hold one object at a "
        f"time. Its task is to {mission}."
    )
    return Prompt(
        " ".join((setting, *(rule for rule, holds in rules.items() if holds))),
        OPTIONS,
        **(_KEY_EXAMPLE if "key" in kinds else _BARE_EXAMPLE),
    )
