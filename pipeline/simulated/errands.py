"""What the simulated LLM would tell a robot that has to pick up one thing among others, from the words of NavPick's texts."""

from dataclasses import dataclass
import re

from askonce.pipeline.tasks.task import Decision

OPTIONS = {"navigate to", "pick up"}


@dataclass(frozen=True)
class Errand:
    """The thing to pick up, and whether the text says that the arm reaches it."""

    wanted: str
    at_hand: bool


def errand_of(text: str) -> Errand | None:
    """None for a text that names no such thing."""
    told = re.match(r"agent is to pick up an? ([\w ]+)\. it sees ([^.]*)\.", text.lower())
    if told is None:
        return None
    wanted, seen = told.groups()
    first, *_ = seen.split(";")
    return Errand(wanted, first.endswith("ahead, near"))


def facts_of(text: str) -> tuple[tuple[str, ...], str | None]:
    """Names of the things seen, in the text's order, and of the one held."""
    before, _, holds = text.lower().partition("holds")
    return _things(before.partition("sees")[2]), next(iter(_things(holds)), None)


def choices(sees: tuple[str, ...], holds: str | None, errand: Errand) -> tuple[list[Decision], ...]:
    """The sound, incorrect, inefficient and inconsistent decisions (see `pipeline.simulated.llm.choices`).

    It mistakes another thing for the wanted one, drives to it first, grasps from afar, drives on where it has
    arrived, and uses options that there are not.
    """
    wanted, others = errand.wanted, [thing for thing in sees if thing != errand.wanted]
    drive, take = (f"navigate to {wanted}",), (f"pick up {wanted}",)
    if holds:
        return [take], [], [], [(*drive, *take), (f"put down {wanted}",), ("drive home",)]
    sound: list[Decision] = [take] if errand.at_hand else [(*drive, *take)]
    incorrect: list[Decision] = [(f"navigate to {other}",) for other in others]
    inefficient: list[Decision] = [(f"navigate to {other}", *drive, *take) for other in others]
    inconsistent: list[Decision] = [(f"navigate to {other}", f"pick up {other}") for other in others]
    inconsistent += [(*drive, *take)] if errand.at_hand else [take]
    return sound, incorrect, inefficient, [*inconsistent, (*drive, "open gripper")]


def _things(words: str) -> tuple[str, ...]:
    """ "a mug on a table ahead, near; a can on the floor" → mug, can"""
    return tuple(re.findall(r"\ban? (?!table\b)([\w ]+?)(?= on |[.;]|$)", words))
