"""What the camera shows and the gripper holds → the text c(s); the same facts give the same text.

Texts are few because places are rough and because no more is told than decisions depend on. The wanted object is
named first, ahead, to the left or to the right, near (the arm reaches it when the robot faces it) or far. Of the
others the nearest alone is named, and beside the wanted one only where the arm could take it by mistake.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import atan2, hypot, radians
import re

from askonce.pipeline.tasks.navpick.simulator import Reading, Sight

IDENTIFIED = 4  # pixels of the depth image that an object must take up
SIDEWAYS = radians(20)
NEAR = 0.70  # m from the robot's middle

VOWELS = "aeiou"
ONE = r"an? (\w+(?: \w+)*?)"
TEXT = re.compile(rf"Agent is to pick up {ONE}\. It sees (.+)\. It holds (nothing|an? [\w ]+)\.")
PLACE = re.compile(rf"{ONE} on (?:a|the) (table|floor)(?: (.+))?")


@dataclass(frozen=True)
class Told:
    """What a text says: the wanted object, (name, what it is on) of each object in view in the text's order, the
    wanted one's direction where it is in view, such as "ahead, near", and what is held."""

    wanted: str
    sees: tuple[tuple[str, str], ...]
    direction: str | None
    holds: str | None

    @property
    def things(self) -> tuple[str, ...]:
        """All that are named, the wanted one first."""
        return tuple(dict.fromkeys([self.wanted, *(name for name, _ in self.sees)]))

    def thing(self, words: str) -> str | None:
        """The object that an option names: by its noun, the wanted one by its table, too; None for any other."""
        if words.split()[-1] == "table":
            return self.wanted
        names = [self.wanted, self.holds, *(name for name, _ in self.sees)]
        # "other bowl" ends with "bowl".
        return max((name for name in names if name and f" {words}".endswith(f" {name}")), key=len, default=None)


def describe(wanted: str, sees: Iterable[str], holds: str | None) -> str:
    """`sees` are phrases as `places` writes them: "a mug on a table ahead, near"."""
    seen = "; ".join(sees) or "nothing"
    return f"Agent is to pick up {article(wanted)}. It sees {seen}. It holds {article(holds) if holds else 'nothing'}."


def text(wanted: str, sights: list[Sight], reading: Reading) -> str:
    return describe(wanted, places(wanted, sights, reading.held), reading.held)


def places(wanted: str, sights: list[Sight], held: str | None) -> list[str]:
    """A phrase for each object that is named; what is held is in no place."""
    seen = {sight.name: sight for sight in sights if sight.pixels >= IDENTIFIED and sight.name != held}
    first = seen.pop(wanted, None)
    named = [f"{_placed(first)} {direction(first)}"] if first else []
    other = min(seen.values(), key=away, default=None)
    return [*named, _placed(other)] if other and (first is None or away(other) < NEAR) else named


def told(text: str) -> Told:
    """The inverse of `describe`. ValueError for what is no text of it."""
    found = TEXT.fullmatch(text)
    if found is None:
        raise ValueError(f"no text of NavPick: {text!r}")
    wanted, seen, held = found.groups()
    sees, where = [], None
    for phrase in () if seen == "nothing" else seen.split("; "):
        told = PLACE.fullmatch(phrase)
        if told is None:
            raise ValueError(f"no text of NavPick: {text!r}")
        name, on, place = told.groups()
        sees.append((name, on))
        where = where or place
    return Told(wanted, tuple(sees), where, None if held == "nothing" else held.partition(" ")[2])


def direction(sight: Sight) -> str:
    """Such as "to the left, far"."""
    x, y, _ = sight.at
    angle = atan2(y, x)
    side = "to the left" if angle > SIDEWAYS else "to the right" if angle < -SIDEWAYS else "ahead"
    return f"{side}, {'near' if away(sight) < NEAR else 'far'}"


def away(sight: Sight) -> float:
    """m on the floor."""
    x, y, _ = sight.at
    return hypot(x, y)


def _placed(sight: Sight) -> str:
    return f"{article(sight.name)} on {'the floor' if sight.on == 'floor' else 'a table'}"


def article(name: str) -> str:
    return f"an {name}" if name[0] in VOWELS else f"a {name}"
