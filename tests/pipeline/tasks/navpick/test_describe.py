"""Texts: what is in view, by rough place, and what is held."""

import numpy as np
import pytest

from askonce.pipeline.tasks.navpick import describe
from askonce.pipeline.tasks.navpick.env import NavPick
from askonce.pipeline.tasks.navpick.simulator import Sight
from tests.pipeline.tasks.navpick.episodes import play


def sight(name: str, x: float, y: float, on: str = "table", pixels: int = 20) -> Sight:
    return Sight(name, on, np.array([x, y, 0.7]), pixels)


def text(wanted: str, sights: list[Sight], held: str | None = None) -> str:
    return describe.describe(wanted, describe.places(wanted, sights, held), held)


def test_the_wanted_object_is_named_first_with_its_place_and_another_where_the_arm_could_take_it():
    mug = sight("mug", 0.6, 0)
    assert text("mug", [sight("ball", 0.5, 0.4), sight("can", 0.4, 0.1), mug]) == (
        "Agent is to pick up a mug. It sees a mug on a table ahead, near; a can on a table. It holds nothing."
    )
    assert describe.places("mug", [sight("ball", 2, 0), mug], None) == ["a mug on a table ahead, near"]


def test_where_the_wanted_object_is_not_in_view_the_nearest_is_named():
    assert describe.places("mug", [sight("ball", 2, 0), sight("can", 1, 1)], None) == ["a can on a table"]


@pytest.mark.parametrize(
    "x, y, words",
    [(0.6, 0.1, "ahead, near"), (0.5, 0.4, "to the left, near"), (2, -1, "to the right, far"), (2, 0, "ahead, far")],
)
def test_places_are_rough(x, y, words):
    assert describe.direction(sight("mug", x, y)) == words


def test_what_is_tiny_is_not_identified_and_what_is_held_is_in_no_place():
    sights = [sight("mug", 0.4, -0.2, "gripper"), sight("box", 3, 0, pixels=3), sight("can", 1, 0, "floor")]
    assert text("mug", sights, "mug") == "Agent is to pick up a mug. It sees a can on the floor. It holds a mug."
    assert text("mug", []) == "Agent is to pick up a mug. It sees nothing. It holds nothing."


def test_names_of_several_words_are_read_back():
    bowls = [sight("bowl", 0.6, 0), sight("other bowl", 0.5, 0.1), sight("master chef can", 2, 0)]
    told = describe.told(text("bowl", bowls, "master chef can"))
    assert told == describe.Told("bowl", (("bowl", "table"), ("other bowl", "table")), "ahead, near", "master chef can")
    assert [told.thing(f"pick up {name}") for name in ("bowl", "other bowl", "master chef can", "can")] == [
        "bowl",
        "other bowl",
        "master chef can",
        None,
    ]


def test_an_episode_told_by_its_texts():
    env, told = NavPick(), []

    def listen(env) -> bool:
        told.append(describe.text(env.simulator.wanted, env.simulator.sights(), env.reading))
        return False

    assert play(env, 3, until=listen)[0]["success"]
    assert told[-1].endswith(f"It holds a {env.simulator.wanted}.")
    assert any("ahead, near" in words for words in told) and len(set(told)) < 20
