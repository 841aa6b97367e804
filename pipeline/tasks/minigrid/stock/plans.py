"""Decisions in words → steps that the options execute, by what the words stand for in a situation."""

from askonce.pipeline.tasks.minigrid import describe
from askonce.pipeline.tasks.minigrid.doorkey import VERBS
from askonce.pipeline.tasks.minigrid.options import DROP_X, EXPLORE, GO_TO, NO_SUCH_OPTION, PICK_UP_X
from askonce.pipeline.tasks.minigrid.stock.facts import Facts, Thing
from askonce.pipeline.tasks.task import Decision

# The option's verb, and the thing that it is about.
Step = tuple[int, Thing]
NOTHING = Thing("", -1)


class Plans:
    """The teacher's decisions by text, compiled for each choice of colours in which a text is met."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[Decision, float]]] = {}
        self.compiled: dict[str, dict[Facts, list[tuple[tuple[Step, ...], float]]]] = {}

    def of(self, facts: Facts) -> list[tuple[tuple[Step, ...], float]]:
        answers = self.answers.get(facts.text, [])
        met = self.compiled.setdefault(facts.text, {})
        if facts not in met:
            met[facts] = [(_compile(decision, facts), probability) for decision, probability in answers]
        return met[facts]


def _compile(decision: Decision, facts: Facts) -> tuple[Step, ...]:
    """ "pick up X" is "drop what is held, pick up X": before the agent goes to X, or it would turn away from it."""
    steps = tuple(_step(words, facts) for words in decision)
    if facts.holds is None or any(verb == DROP_X for verb, _ in steps):
        return steps
    for at, (verb, thing) in enumerate(steps):
        if verb == PICK_UP_X and thing not in (facts.holds, NOTHING):
            at -= at > 0 and steps[at - 1] == (GO_TO, thing)
            return (*steps[:at], (DROP_X, facts.holds), *steps[at:])
    return steps


def _step(words: str, facts: Facts) -> Step:
    for name, verb in VERBS.items():
        if words == name:
            return verb, NOTHING
        if words.startswith(name + " ") and verb != EXPLORE:
            named = (*facts.sees, *filter(None, [facts.holds]))
            at = describe.which(words.removeprefix(name + " "), [thing.name for thing in named])
            return verb, named[at] if at >= 0 else NOTHING
    return NO_SUCH_OPTION, NOTHING
