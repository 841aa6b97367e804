"""What a text of NavPick says, for the rules of the audit (see `pipeline.tasks.task.Scene`)."""

from collections.abc import Sequence

from askonce.pipeline.tasks.navpick.describe import Told
from askonce.pipeline.tasks.navpick.things import KINDS
from askonce.pipeline.tasks.task import Scene

AT_HAND = "ahead, near"


def scene(told: Told) -> Scene:
    """The wanted object is one that can be gone to though it is not in view, for the robot knows where it is."""

    def which(words: str, names: Sequence[str]) -> int:
        thing = told.thing(words)
        return names.index(thing) if thing in names else -1

    takes = frozenset(told.things) | {kind.name for kind in KINDS}  # another simulator has other objects
    return Scene(
        sees=tuple(name for name in told.things if name != told.holds),
        holds=told.holds,
        appears=frozenset(),
        takes=takes,
        opens=frozenset(),
        which=which,
        unlocks=lambda thing, held: False,
        wanted=told.wanted,
        ahead=told.wanted if told.direction == AT_HAND else None,
    )
