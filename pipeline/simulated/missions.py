"""What the simulated LLM would do where there is more to do than to open a door: MiniGrid's other missions.

It reads three kinds: get to the goal, pick up a named thing, open named doors in their order; whatever
stands before that ("use the key to open the door and then get to the goal") follows from what is seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
import re

from askonce.pipeline.tasks.task import Decision

EXPLORE = ("explore",)


@dataclass(frozen=True)
class Mission:
    """The thing to reach in the end ("goal", "red box"; empty if there is none), or the doors to open in order."""

    target: str
    doors: tuple[str, ...] = ()


def mission_of(instructions: str) -> Mission | None:
    """The mission that a prompt's setting states; None for one that is not understood."""
    stated = re.search(r"\btask is to ([^.]*)", instructions)
    words = stated[1] if stated else ""
    if re.search(r"\bthe goal\b", words):
        return Mission("goal")
    if wanted := re.fullmatch(r"pick up the (\w+ (?:key|ball|box))", words):
        return Mission(wanted[1])
    doors = re.findall(r"\bthe (\w+ door)\b", words)
    return Mission("", tuple(doors)) if doors else None


def choices(sees: tuple[str, ...], holds: str | None, mission: Mission) -> tuple[list[Decision], ...]:
    """The sound, incorrect, inefficient and inconsistent decisions (see `pipeline.simulated.llm.choices`)."""
    sound = [next(_opportunities(sees, holds, mission))]
    free = holds is None
    keys = [thing for thing in sees if thing.endswith("key")]
    locked = [thing for thing in sees if thing.startswith("locked")]
    missing = mission.target or next((door for door in mission.doors if not _of(sees, door)), "handle")

    incorrect = [steps[:1] for steps in sound if len(steps) > 1 and not steps[0].startswith("drop")]
    incorrect += [_fetch(key) for key in keys if free and locked and not any(_fits(key, door) for door in locked)]
    inefficient = [("explore", *steps) for steps in sound if steps != EXPLORE]
    inefficient += [(f"drop {holds}", *_fetch(holds))] if holds else []
    inconsistent = [_reach(missing)] if missing not in sees else [(f"go to {missing}", f"use {missing}")]
    inconsistent += [_open(door) for door in locked if holds is None or not _fits(holds, door)]
    return _distinct(sound, incorrect, inefficient, inconsistent)


def _opportunities(sees: tuple[str, ...], holds: str | None, mission: Mission) -> Iterator[Decision]:
    """What gets on with the mission, best first."""
    keys, balls, boxes = ([thing for thing in sees if thing.endswith(noun)] for noun in ("key", "ball", "box"))
    locked, blocked = ([thing for thing in sees if thing.startswith(state)] for state in ("locked", "blocked"))
    put_down = (f"drop {holds}",) if holds else ()
    if mission.target in sees:
        yield _reach(mission.target) if mission.target == "goal" else (*put_down, *_reach(mission.target))
    for door in mission.doors:
        if f"open {door}" not in sees:
            yield _open(f"closed {door}") if f"closed {door}" in sees else EXPLORE
    yield from (_open(door) for door in locked if holds and _fits(holds, door))
    if holds and holds.endswith("ball"):
        yield put_down
    yield from ((*put_down, *_fetch(ball)) for ball in balls if blocked)
    wanted = [key for key in keys if any(_fits(key, door) for door in locked)] or keys[: not locked]
    yield from ((*put_down, *_fetch(key)) for key in wanted if not (holds and holds.endswith("key") and not locked))
    yield from (_open(thing) for thing in sees if thing.startswith("closed"))
    yield from (_open(box) for box in boxes)
    yield EXPLORE


def _reach(thing: str) -> Decision:
    return ("go to goal",) if thing == "goal" else _fetch(thing)


def _fetch(thing: str) -> Decision:
    return (f"go to {thing}", f"pick up {thing}")


def _open(thing: str) -> Decision:
    return (f"go to {thing}", f"open {thing}")


def _fits(key: str, door: str) -> bool:
    """red key, locked red door"""
    return key.endswith("key") and key.split()[0] == door.split()[1]


def _of(sees: tuple[str, ...], door: str) -> bool:
    return any(thing.endswith(door) for thing in sees)


def _distinct(*kinds: list[Decision]) -> tuple[list[Decision], ...]:
    """Every decision under the first kind that it is of."""
    seen: set[Decision] = set()
    kept = []
    for decisions in kinds:
        kept.append([decision for decision in dict.fromkeys(decisions) if decision not in seen])
        seen.update(decisions)
    return tuple(kept)
