"""What could have been decided in a text: the decisions among which the best one is looked for."""

from collections.abc import Iterable

from askonce.pipeline.audit.rules import broken, split
from askonce.pipeline.tasks.task import Decision, Scene, Task


def alternatives(task: Task, text: str, scene: Scene | None, said: Iterable[Decision]) -> list[Decision]:
    """The consistent ones among what was said, what is done with one thing in two options, that after dropping
    another thing, and the text's single options; each once, in this order.

    Of what was not said the first half of another is left out: what follows it may be the other half."""
    singles = task.decisions(text)
    thing = {single: split(single[0], task.prompt.options)[1] for single in singles}
    pairs = [one + other for one in singles for other in singles if one != other and thing[one] == thing[other] != ""]
    held = scene.holds if scene else None
    drops = [single for single in singles if held and thing[single] == held]
    after_drops = [drop + pair for drop in drops for pair in pairs if thing[pair[:1]] != held]
    is_consistent = lambda decision: broken(decision, task.prompt.options, scene) is None
    others = [*filter(is_consistent, [*pairs, *after_drops, *singles])]
    whole = (one for one in others if not any(_is_half(one, other) for other in others))
    return list(dict.fromkeys([*filter(is_consistent, said), *whole]))


def _is_half(decision: Decision, other: Decision) -> bool:
    return len(decision) < len(other) and other[: len(decision)] == decision
