"""What the texts of MiniGrid worlds say, for the rules of the audit (see `pipeline.tasks.task.Scene`)."""

from collections.abc import Sequence

from askonce.pipeline.tasks.minigrid.describe import which
from askonce.pipeline.tasks.task import Scene

KEY, DOOR = frozenset({"key"}), frozenset({"door"})
TAKES, OPENS = frozenset({"key", "ball", "box"}), frozenset({"door", "box"})


def doorkey(sees: Sequence[str], holds: str | None) -> Scene:
    """Of a DoorKey world, where every door is locked."""
    return Scene(tuple(sees), holds, KEY | DOOR, KEY, DOOR, which, _fits)


def registered(sees: Sequence[str], holds: str | None) -> Scene:
    """Of one of MiniGrid's own environments, which say of a door that it is locked."""
    return Scene(tuple(sees), holds, TAKES | OPENS | {"goal"}, TAKES, OPENS, which, _opens)


def _opens(thing: str, held: str | None) -> bool:
    return not {"locked", "blocked"} & set(thing.split()) or _fits(thing, held)


def _fits(door: str, held: str | None) -> bool:
    """Whether what is held is a key of the door's colour, or names do not tell."""
    if held is None or held.split()[-1] != "key":
        return False
    # The word before the noun; a locked door's first one is no colour.
    colors = held.split()[-2:-1], [word for word in door.split()[-2:-1] if word not in ("locked", "blocked")]
    return not all(colors) or colors[0] == colors[1]
