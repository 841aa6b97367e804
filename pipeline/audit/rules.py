"""What can be told from a text and a decision alone: which rule a decision breaks, if any.

A decision is gone through option by option, over what the agent would then know, hold and have right in front
of it. The first option that breaks a rule makes the decision inconsistent; it says what the options cannot do
there, however luckily the agent may stand. Without a `Scene` only the rules on the options themselves apply.

Picking up and opening take what is right in front of the agent. Where a text does not say what that is, they are
within reach only after `go to` it, or after dropping it there. `navigate to` is a robot's word for going there; where
only one thing is wanted, `pick up` is not over until that thing is where it belongs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from askonce.pipeline.tasks.task import Decision, Option, Scene


@dataclass(frozen=True)
class Broken:
    """A rule by its name in `RULES`, and in a sentence how the decision breaks it."""

    rule: str
    reason: str


@dataclass(frozen=True)
class Known:
    """What would be true before an option is carried out.

    explored  whether something may have come into sight since the text was written
    """

    sees: tuple[str, ...]
    holds: str | None
    ahead: str | None = None
    explored: bool = False


@dataclass(frozen=True)
class Said:
    """One option: its words, its verb, its object's words, and the thing they name, "" where they name none."""

    words: str
    verb: Option
    object: str
    thing: str


GO = "go to", "navigate to"

# How an option breaks a rule, in words; None where it does not.
Rule = Callable[[Said, Known, Scene], str | None]


def broken(decision: Decision, options: Sequence[Option], scene: Scene | None) -> Broken | None:
    """The first rule that the decision breaks."""
    known = Known(scene.sees, scene.holds, scene.ahead) if scene else None
    for words in decision:
        verb, named = split(words, options)
        if verb is None:
            return Broken("no such option", f'"{words}" is none of the options')
        if verb.takes_object and not named:
            return Broken("no object", f'"{words}" does not say what')
        if scene and known:
            said = Said(words, verb, named, _thing(named, known, scene) if named else "")
            for name, rule in RULES.items():
                if reason := rule(said, known, scene):
                    return Broken(name, reason)
            known = _after(said, known)
    return None


def split(words: str, options: Sequence[Option]) -> tuple[Option | None, str]:
    """ "go to red key" → the option "go to", "red key"; None for a verb that no option has."""
    verb = next(
        (
            option
            for option in options
            if words == option.name or words.startswith(f"{option.name} ") and option.takes_object
        ),
        None,
    )
    return verb, words.removeprefix(verb.name).strip() if verb else ""


def _thing(words: str, known: Known, scene: Scene) -> str:
    names = [*known.sees, *filter(None, [known.holds])]
    at = scene.which(words, names)
    if at >= 0:
        return names[at]
    # What is not in the text may have been found by exploring since.
    may_be_there = known.explored and _noun(words) in scene.appears and not _candidates(words, names)
    return words if may_be_there else ""


def _after(said: Said, known: Known) -> Known:
    thing = said.thing
    others = tuple(name for name in known.sees if name != thing)
    match said.verb.name:
        case "explore":
            return replace(known, ahead=None, explored=True)
        case "go to" | "navigate to":
            return replace(known, sees=(*others, thing), ahead=thing)
        case "pick up":
            return replace(known, sees=others, holds=thing, ahead=None)
        case "drop":
            return replace(known, sees=(*others, thing), holds=None, ahead=thing)
        case "open":
            return replace(known, explored=True)
    return known


# ---- The rules ---------------------------------------------------------------------------------------------------


def _ambiguous(said: Said, known: Known, scene: Scene) -> str | None:
    if not said.thing and (candidates := _candidates(said.object, [*known.sees, *filter(None, [known.holds])])):
        return f'"{said.words}" may mean {" or ".join(candidates)}'
    return None


def _not_in_the_text(said: Said, known: Known, scene: Scene) -> str | None:
    if said.object and not said.thing:
        return f'"{said.words}" names {_with_article(said.object)} that the text does not'
    return None


def _wrong_kind(said: Said, known: Known, scene: Scene) -> str | None:
    fitting = {"pick up": scene.takes, "drop": scene.takes, "open": scene.opens}.get(said.verb.name)
    for name in filter(None, (said.thing, said.object)):
        if fitting is not None and _noun(name) not in fitting:
            return f'"{said.words}": {_with_article(name)} is nothing to {said.verb.name}'
    return None


def _wrong_object(said: Said, known: Known, scene: Scene) -> str | None:
    if said.verb.name == "pick up" and scene.wanted and scene.wanted != said.thing:
        return f'"{said.words}", but it is {_with_article(scene.wanted)} that is wanted'
    return None


def _already_held(said: Said, known: Known, scene: Scene) -> str | None:
    if said.verb.name in (*GO, "pick up") and said.thing == known.holds != scene.wanted:
        return f'"{said.words}", but it is in the agent\'s hands'
    if said.verb.name in GO and known.holds and known.holds == scene.wanted:
        return f'"{said.words}", but the agent holds {_with_article(known.holds)} already'
    return None


def _already_there(said: Said, known: Known, scene: Scene) -> str | None:
    if said.verb.name == "navigate to" and said.thing == known.ahead:
        return f'"{said.words}", but the agent is there already'
    return None


def _hands_full(said: Said, known: Known, scene: Scene) -> str | None:
    if said.verb.name == "pick up" and known.holds and known.holds != scene.wanted:
        return f'"{said.words}", but the agent still holds {_with_article(known.holds)}'
    return None


def _not_held(said: Said, known: Known, scene: Scene) -> str | None:
    if said.verb.name == "drop" and said.thing != known.holds:
        return f'"{said.words}", but the agent does not hold it'
    return None


def _no_key(said: Said, known: Known, scene: Scene) -> str | None:
    if said.verb.name == "open" and not scene.unlocks(said.thing, known.holds):
        held = _with_article(known.holds) if known.holds else "nothing"
        return f'"{said.words}", but the agent holds {held}, which does not unlock it'
    return None


def _out_of_reach(said: Said, known: Known, scene: Scene) -> str | None:
    goes_on = said.verb.name == "pick up" and said.thing == known.holds
    if said.verb.name in ("pick up", "open") and said.thing != known.ahead and not goes_on:
        return f'"{said.words}" from afar: the agent has not gone to it'
    return None


# In the order in which they are looked at, after "no such option" and "no object".
RULES: dict[str, Rule] = {
    "ambiguous": _ambiguous,
    "not in the text": _not_in_the_text,
    "wrong kind": _wrong_kind,
    "wrong object": _wrong_object,
    "already held": _already_held,
    "already there": _already_there,
    "hands full": _hands_full,
    "not held": _not_held,
    "no key": _no_key,
    "out of reach": _out_of_reach,
}


def _candidates(words: str, names: Sequence[str]) -> list[str]:
    """The names that share the noun and all other words."""
    first, noun = set(words.split()[:-1]), words.split()[-1:]
    return [name for name in names if [_noun(name)] == noun and first <= set(name.split())]


def _noun(words: str) -> str:
    return words.split()[-1].rstrip("0123456789")


def _with_article(name: str) -> str:
    if name[-1].isdigit():
        return name
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
