"""The value of every state of a small room that is wholly known, by exhaustive search: a second, slow account of the
DoorKey worlds, written from their rules, that shares no code with the engine, the options or the continuation."""

from collections import deque
from typing import NamedTuple

AHEAD = ((1, 0), (0, 1), (-1, 0), (0, -1))
LEFT, RIGHT, FORWARD, PICK_UP, DROP, TOGGLE, DONE = range(7)


class Room(NamedTuple):
    """Cells inside the walls, the door's cell and the colour of its key."""

    cells: frozenset
    door: tuple[int, int]
    color: int


class Now(NamedTuple):
    """The agent, the colour of the key it holds (None: nothing) and (colour, cell) of the keys that lie about."""

    x: int
    y: int
    direction: int
    held: int | None
    keys: frozenset


def after(room: Room, now: Now, action: int) -> Now | None:
    """What an action leads to; None once the door is open."""
    dx, dy = AHEAD[now.direction]
    ahead = (now.x + dx, now.y + dy)
    lying = {cell: color for color, cell in now.keys}
    match action:
        case 0:
            return now._replace(direction=(now.direction - 1) % 4)
        case 1:
            return now._replace(direction=(now.direction + 1) % 4)
        case 2 if ahead in room.cells and ahead not in lying:
            return now._replace(x=ahead[0], y=ahead[1])
        case 3 if ahead in lying and now.held is None:
            return now._replace(held=lying[ahead], keys=now.keys - {(lying[ahead], ahead)})
        case 4 if now.held is not None and ahead in room.cells and ahead not in lying:
            return now._replace(held=None, keys=now.keys | {(now.held, ahead)})
        case 5 if ahead == room.door and now.held == room.color:
            return None
    return now


def values(room: Room, starts: list[Now]) -> dict[Now, int]:
    """The fewest steps to an open door, from every state that any of `starts` can lead to."""
    into: dict[Now | None, list[Now]] = {}
    found, queue = set(starts), deque(starts)
    while queue:
        now = queue.popleft()
        for action in range(6):
            following = after(room, now, action)
            into.setdefault(following, []).append(now)
            if following is not None and following not in found:
                found.add(following)
                queue.append(following)
    steps: dict[Now | None, int] = {None: 0}
    goals: deque = deque([None])
    while goals:
        reached = goals.popleft()
        for before in into.get(reached, ()):
            if before not in steps:
                steps[before] = steps[reached] + 1
                goals.append(before)
    del steps[None]
    return steps
