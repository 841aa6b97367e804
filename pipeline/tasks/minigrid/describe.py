"""Situation → facts → text c(s), and an option's words → the thing that they name (appendix A.2).

A situation is the number that the engine perceives (`engine._perceive`). Things are named in its slot
order: keys, then doors, each in the order of the scan, then what is held. Where a task has colours,
they are the canonical ones below by order of mention: the LLM is asked about one text for all
situations that differ only by the names of their colours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
import re

from askonce.pipeline.tasks.minigrid.engine import FIRST_DOOR, HELD, SLOTS
from askonce.pipeline.tasks.task import Decision

CANONICAL_COLORS = ("red", "blue", "green")
GO_TO, HANDLING = "go to ", ("pick up", "open")


@dataclass(frozen=True)
class Facts:
    """What a text says: names in order, each with the engine's slot; `holds` is None for nothing."""

    sees: tuple[str, ...]
    slots: tuple[int, ...]
    holds: str | None


def facts(situation: int, colored: bool, numbered_doors: bool) -> Facts:
    names = [_name(situation, slot, colored, numbered_doors) for slot in range(SLOTS)]
    seen = {slot: name for slot, name in enumerate(names[:HELD]) if name}
    return Facts(tuple(seen.values()), tuple(seen), names[HELD])


def _name(situation: int, slot: int, colored: bool, numbered_doors: bool) -> str | None:
    rank = ((situation >> (2 * slot)) & 3) - 1
    if rank < 0:
        return None
    is_door = FIRST_DOOR <= slot < HELD
    noun = "door" if is_door else "key"
    if numbered_doors and is_door:
        return f"{noun}{slot - FIRST_DOOR + 1}"
    return f"{CANONICAL_COLORS[rank]} {noun}" if colored else noun


def describe(sees: Sequence[str], holds: str | None) -> str:
    """The text template: the same facts give the same text."""
    seen = ", ".join(map(_with_article, sees)) or "nothing"
    return f"Agent sees {seen}, holds {_with_article(holds) if holds else 'nothing'}."


def _with_article(name: str) -> str:
    if name[-1].isdigit() or name == "lava":
        return name
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def named_in(text: str) -> tuple[tuple[str, ...], str | None]:
    """The inverse of `describe`, for things with articles."""
    sees, holds = (
        [re.sub("^an? ", "", name) for name in listed.split(", ") if name != "nothing"]
        for listed in text.removeprefix("Agent sees ").removesuffix(".").split(", holds ")
    )
    return tuple(sees), next(iter(holds), None)


def canonical(words: str) -> str:
    """Recorded decisions write color1, color2 for colours in order of mention. ValueError for color9."""
    return re.sub(r"color(\d+)", lambda match: _canonical_color(int(match[1])), words)


def _canonical_color(number: int) -> str:
    if not 1 <= number <= len(CANONICAL_COLORS):
        raise ValueError(f"color{number} is none of the {len(CANONICAL_COLORS)} colours that a text can name")
    return CANONICAL_COLORS[number - 1]


def slot_of(words: str, known: Facts) -> int:
    """The slot of the thing that an option's object names, -1 if the text names no such thing.

    The exact name wins; else words that fit a single thing ("key" where one key is in the text,
    "locked red door" for "red door").
    """
    named = dict(zip(known.sees, known.slots)) | ({known.holds: HELD} if known.holds else {})
    at = which(words, list(named))
    return list(named.values())[at] if at >= 0 else -1


def which(words: str, names: Sequence[str]) -> int:
    """The index of the one of `names` that an option's object names, as `slot_of` has it; else -1."""
    if words in names:
        return names.index(words)
    fitting = [at for at, name in enumerate(names) if _fits(words.split(), name.split())]
    return fitting[0] if len(fitting) == 1 else -1


def _fits(words: list[str], name: list[str]) -> bool:
    if not words:
        return False
    noun = name[-1].rstrip("0123456789")
    shorter = words[-1] == noun and set(words[:-1]) <= set(name[:-1])
    longer = words[-1] == name[-1] and set(name) <= set(words)
    return shorter or longer


def with_approaches(decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
    """Single options, and each that handles a thing once more, after going there."""
    singles = [option for option, *_ in decisions]
    approached = {option.removeprefix(GO_TO): option for option in singles if option.startswith(GO_TO)}
    plans = [
        (going, option)
        for option in singles
        for name, going in approached.items()
        if option != going and option.endswith(f" {name}") and option.removesuffix(f" {name}") in HANDLING
    ]
    return (*decisions, *plans)
