"""The simulated LLM: reads a prompt's words, answers in words, errs at given rates in the paper's three ways.

It knows nothing but the messages, as a real LLM does, and its answer depends on nothing but the messages,
its seed and error rates, and the sample's index. It understands DoorKey worlds, the missions of MiniGrid's
registered environments (`missions`) and a robot's errands (`errands`); of any other task it picks a listed
option at random.

Real LLMs do not err evenly: they misread one situation most of the time and another never. So the
error rates are only the average over texts; each text has its own (`rates_of_text`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
import hashlib
import json
import random
import re
from typing import Any
from urllib.parse import parse_qsl, urlencode

from askonce.cache.errors import AskonceError
from askonce.pipeline.estimators.scored import QUESTION, letters_in
from askonce.pipeline.simulated import errands, missions
from askonce.pipeline.simulated.errands import Errand
from askonce.pipeline.simulated.missions import Mission
from askonce.pipeline.simulated.response import SIMULATED
from askonce.pipeline.tasks.task import Decision

MODEL = SIMULATED
# Its answer to a question for a letter, where what it would do is not among the choices.
NO_LETTER = "None"

SOUND, INCORRECT, INEFFICIENT, INCONSISTENT = KINDS = ("sound", "incorrect", "inefficient", "inconsistent")

# The smaller, the more a text's error rates differ from the average.
CONCENTRATION = 3.0

# How often it goes back and forth where it does not get away from a thought, as LLMs do: far enough for the time to
# run out, and short enough for an answer of 512 tokens.
PACES = 20

DOORKEY_OPTIONS = {"explore", "go to", "pick up", "drop", "open"}


@dataclass(frozen=True)
class Errors:
    """The probabilities of the paper's three kinds of error (section 4.1.2), averaged over texts."""

    incorrect: float = 0.1
    inefficient: float = 0.1
    inconsistent: float = 0.05

    def __post_init__(self) -> None:
        rates = (self.incorrect, self.inefficient, self.inconsistent)
        if not (all(rate >= 0 for rate in rates) and sum(rates) <= 1 + 1e-9):
            raise AskonceError("error rates are probabilities: none below 0, and no more than 1 together", 2)


@dataclass(frozen=True)
class Facts:
    """What a text says: names of the things seen, in its order, and of the one held (None: nothing)."""

    sees: tuple[str, ...]
    holds: str | None


def identity(errors: Errors, seed: int) -> str:
    """What its answers depend on besides the request: "simulated?seed=0&incorrect=0.1&…"."""
    return f"{MODEL}?{urlencode({'seed': seed} | asdict(errors))}"


def from_identity(text: str) -> tuple[Errors, int]:
    """The inverse of `identity`. ValueError for any other text."""
    name, _, query = text.partition("?")
    settings = dict(parse_qsl(query))
    if name != MODEL or set(settings) != {"seed", *(field.name for field in fields(Errors))}:
        raise ValueError(f"no identity of a simulated LLM: {text!r}")
    seed = int(settings.pop("seed"))
    return Errors(**{name: float(rate) for name, rate in settings.items()}), seed


def complete(messages: Sequence[Mapping[str, str]], sample: int, errors: Errors, seed: int) -> str:
    """The completion with index `sample` of a chat as `pipeline.prompt.messages` writes it.

    Where the last message lists choices by letter (`pipeline.estimators.scored.letter_messages`), one of the letters.
    """
    rng = _rng(seed, sample, json.dumps([[message["role"], message["content"]] for message in messages]))
    if letters := letter_probabilities(messages, errors, seed):
        return rng.choices(list(letters), list(letters.values()))[0]
    options, text, facts, mission = _read(messages)
    if _is_understood(options, facts, mission):
        decision, _ = decide(facts, rng, rates_of_text(text, errors, seed), mission)
    else:
        decision = _any_option(options, facts, rng)
    return _in_words(facts, decision, rng)


def complete_json(
    messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], sample: int, errors: Errors, seed: int
) -> str:
    """The same as a JSON object of `schema` (`pipeline.estimators.json_object`), whose options it keeps to."""
    rng = _rng(seed, sample, json.dumps([[message["role"], message["content"]] for message in messages]))
    allowed, likely = schema["properties"]["decision"]["items"]["enum"], probabilities(messages, errors, seed)
    possible = {decision: share for decision, share in likely.items() if set(decision) <= set(allowed)}
    decided = rng.choices(list(possible), list(possible.values()))[0] if possible else (rng.choice(allowed),)
    plan = " and then ".join(map(_with_the, decided[:LONGEST_PLAN]))
    stages = {"observation": _read(messages)[1], "reasoning": f"The agent should {plan}.", "decision": list(decided)}
    return json.dumps({name: stages[name] for name in schema["properties"]})


def probabilities(messages: Sequence[Mapping[str, str]], errors: Errors, seed: int) -> dict[Decision, float]:
    """How likely each decision is in a chat as `complete` takes it: what samples are drawn from."""
    options, text, facts, mission = _read(messages)
    if not _is_understood(options, facts, mission):
        return _any_probabilities(options, facts)
    rates = asdict(rates_of_text(text, errors, seed))
    possible = choices(facts, mission)
    found: dict[Decision, float] = {}
    by_kind = {kind: rate for kind, rate in rates.items() if possible[kind]}
    by_kind[SOUND] = max(0.0, 1.0 - sum(by_kind.values()))
    for kind, rate in by_kind.items():
        for decision in possible[kind]:
            found[decision] = found.get(decision, 0.0) + rate / len(possible[kind])
    return found


def letter_probabilities(messages: Sequence[Mapping[str, str]], errors: Errors, seed: int) -> dict[str, float]:
    """Letter → probability where the last message asks for one; what is not among the choices is "None"."""
    lettered = letters_in(messages)
    if not lettered:
        return {}
    of_decision = probabilities(messages, errors, seed)
    found = {letter: of_decision.get(decision, 0.0) for letter, decision in lettered.items()}
    outside = 1.0 - sum(found.values())
    return found | ({NO_LETTER: outside} if outside > 1e-9 else {})


def facts_of(text: str) -> Facts:
    """ "Agent sees a red key, door1, holds nothing." → ("red key", "door1"), None"""
    before, _, holds = text.lower().partition("holds")
    held = _names(holds)
    return Facts(_names(before.partition("sees")[2]), held[0] if held else None)


def rates_of_text(text: str, errors: Errors, seed: int) -> Errors:
    """The text's own error rates: one draw from a Dirichlet distribution with the mean `errors`."""
    rng = _rng(seed, text)
    given = asdict(errors)
    mean = {SOUND: max(0.0, 1.0 - sum(given.values()))} | given
    drawn = {kind: rng.gammavariate(CONCENTRATION * rate, 1.0) for kind, rate in mean.items() if rate > 0}
    total = sum(drawn.values())
    return Errors(**{kind: drawn.get(kind, 0.0) / total for kind in given}) if total > 0 else errors


def decide(
    facts: Facts, rng: random.Random, errors: Errors, mission: Mission | Errand | None = None
) -> tuple[Decision, str]:
    """A decision and its kind. Where the kind drawn is impossible, it is sound."""
    rates = [errors.incorrect, errors.inefficient, errors.inconsistent]
    kind = rng.choices(KINDS, [max(0.0, 1.0 - sum(rates)), *rates])[0]
    possible = choices(facts, mission)
    kind = kind if possible[kind] else SOUND
    return rng.choice(possible[kind]), kind


def choices(facts: Facts, mission: Mission | Errand | None = None) -> dict[str, tuple[Decision, ...]]:
    """The decisions of each kind that it may take, in a DoorKey world where there is no mission.

    sound         gets on with the task by what the text says
    incorrect     can be carried out, and fails: back and forth between two things until the time is up
    inefficient   can be carried out, but is not needed: exploring on, the wrong key, dropping the right one
    inconsistent  cannot be carried out: no key or not the door's, full hands, a thing or an option that is not there

    Kinds are the audit's (docs/audit.md), which plays every decision out and then goes on competently. A wrong key
    makes no failure then, for it can be exchanged. Lava would make one, but no text tells of it.
    """
    keys = [thing for thing in facts.sees if _noun(thing) == "key"]
    doors = [thing for thing in facts.sees if _noun(thing) == "door"]
    if isinstance(mission, Errand):
        by_kind = errands.choices(facts.sees, facts.holds, mission)
    elif mission is not None:
        by_kind = missions.choices(facts.sees, facts.holds, mission)
    else:
        by_kind = _with_free_hands(keys, doors) if facts.holds is None else _with_a_key(facts.holds, keys, doors)
    return {kind: tuple(found) for kind, found in zip(KINDS, by_kind)}


# ---- A DoorKey world -----------------------------------------------------------------------------


def _with_free_hands(keys: list[str], doors: list[str]) -> tuple[list[Decision], ...]:
    wanted = [key for key in keys if any(_fits(key, door) for door in doors)] if doors else keys[:1]
    sound = [_fetch(key) for key in wanted] or [("explore",)]
    incorrect = _paces((), [*keys, *doors])
    inefficient = [("explore", *steps) for steps in sound if wanted]
    inefficient += [_fetch(key) for key in keys if doors and key not in wanted]
    inconsistent = [_unlock(door) for door in doors] or [_unlock("door")]
    inconsistent += [(f"go to {key}", "use key") for key in keys] or [_fetch("key")]
    return sound, incorrect, inefficient, inconsistent


def _with_a_key(held: str, keys: list[str], doors: list[str]) -> tuple[list[Decision], ...]:
    fitting = [door for door in doors if _fits(held, door)]
    better = [key for key in keys if not fitting and any(_fits(key, door) for door in doors)]
    drop = (f"drop {held}",)
    exchange = [(*drop, *_fetch(key)) for key in keys]
    sound = [_unlock(door) for door in fitting] or [(*drop, *_fetch(key)) for key in better]
    # A key that fits none of the doors is only in the way.
    sound = sound or [drop if doors else ("explore",)]
    incorrect = _paces((), [*keys, *doors]) or _paces(drop, [held, *keys, *doors])
    inefficient = [(*drop, *_fetch(held))]
    inefficient += [("explore", *steps) for steps in sound if fitting or better]
    inefficient += exchange if fitting else [("explore",)] if doors and not better else []
    inconsistent = [_fetch(key) for key in keys] + [(f"go to {door}", "use key") for door in doors]
    inconsistent += [] if fitting else [_unlock(door) for door in doors]
    return sound, incorrect, inefficient, inconsistent or [_unlock("door"), _fetch("handle")]


def _paces(before: Decision, things: list[str]) -> list[Decision]:
    back_and_forth = tuple(f"go to {thing}" for thing in (things[0], things[-1])) if len(things) > 1 else ()
    return [(*before, *back_and_forth * PACES)] if back_and_forth else []


def _fetch(key: str) -> Decision:
    return (f"go to {key}", f"pick up {key}")


def _unlock(door: str) -> Decision:
    return (f"go to {door}", f"open {door}")


def _fits(key: str, door: str) -> bool:
    # The word before the noun; a locked door's first one is no colour.
    colors = key.split()[-2:-1], door.split()[-2:-1]
    return not all(colors) or colors[0] == colors[1]


def _noun(thing: str) -> str:
    return thing.split()[-1].rstrip("0123456789")


# ---- Reading the prompt --------------------------------------------------------------------------


def _read(messages: Sequence[Mapping[str, str]]) -> tuple[dict[str, bool], str, Facts, Mission | Errand | None]:
    """The options that the instructions list, the text that the user asks about last, what it says, and the
    mission or errand. Where nothing stands in the system's name, the text is the question's last paragraph."""
    of_user = [message["content"] for message in messages if message["role"] == "user"]
    # A letter may be asked for within the question about the text, or after its answer.
    questions = [content.partition(QUESTION)[0].strip() for content in of_user] or [messages[-1]["content"]]
    text = next(filter(None, reversed(questions)), "")
    instructions = "\n".join(message["content"] for message in messages if message["role"] == "system")
    if not instructions:
        instructions, _, text = text.rpartition("\n\n")
    options = _options_of(instructions)
    if set(options) >= errands.OPTIONS and (errand := errands.errand_of(text)):
        return options, text, Facts(*errands.facts_of(text)), errand
    return options, text, facts_of(text), missions.mission_of(instructions)


def _options_of(instructions: str) -> dict[str, bool]:
    """Verb → whether it takes an object, from the lines "- go to <object>: …" of the prompt."""
    listed = re.findall(r"^- ([a-z][a-z ]*?)( <object>)?: ", instructions, flags=re.MULTILINE)
    return {verb: bool(takes_object) for verb, takes_object in listed}


def _names(listing: str) -> tuple[str, ...]:
    parts = (" ".join(part.split()).rstrip(". ") for part in listing.split(","))
    names = (re.sub(r"^(?:and )?(?:an? |the )?", "", part) for part in parts)
    return tuple(name for name in names if name and name != "nothing")


def _is_understood(options: Mapping[str, bool], facts: Facts, mission: Mission | Errand | None) -> bool:
    if isinstance(mission, Errand):
        return True
    holds_key = facts.holds is None or _noun(facts.holds) == "key"
    known_things = all(_noun(name) in ("key", "door") for name in facts.sees)
    return set(options) >= DOORKEY_OPTIONS and (mission is not None or holds_key and known_things)


def _any_probabilities(options: Mapping[str, bool], facts: Facts) -> dict[Decision, float]:
    """What `_any_option` draws from."""
    things = [*facts.sees, *filter(None, [facts.holds])]
    usable = [verb for verb, takes_object in options.items() if things or not takes_object] or list(options)
    found: dict[Decision, float] = {} if usable else {("wait",): 1.0}
    for verb in usable:
        named = [f"{verb} {thing}" for thing in things] if options[verb] and things else [verb]
        for words in named:
            found[(words,)] = found.get((words,), 0.0) + 1.0 / len(usable) / len(named)
    return found


def _any_option(options: Mapping[str, bool], facts: Facts, rng: random.Random) -> Decision:
    """One listed option, with a thing that the text names where it takes an object."""
    things = [*facts.sees, *filter(None, [facts.holds])]
    usable = [verb for verb, takes_object in options.items() if things or not takes_object] or list(options)
    if not usable:
        return ("wait",)
    verb = rng.choice(usable)
    return (f"{verb} {rng.choice(things)}" if options[verb] and things else verb,)


def _rng(*parts: object) -> random.Random:
    return random.Random(hashlib.sha256(json.dumps(parts).encode()).digest())


# ---- Answering in words --------------------------------------------------------------------------

# Options that it speaks of before it decides.
LONGEST_PLAN = 4


def _in_words(facts: Facts, decision: Decision, rng: random.Random) -> str:
    """The three stages of an answer in one of the styles that LLMs have."""
    seen = ", ".join(map(_with_article, facts.sees)) or "nothing of interest"
    held = _with_article(facts.holds) if facts.holds else "nothing"
    observation = f"The agent sees {seen} and holds {held}."
    plan = " and then ".join(map(_with_the, decision[:LONGEST_PLAN]))
    because = rng.choice(["to get closer to its goal", "as the next step of its task", "given what it knows"])
    reasoning = f"The agent should {plan} {because}."
    style = rng.choices(list(STYLES), list(STYLES.values()))[0]
    return style(observation, reasoning, decision)


def _with_article(name: str) -> str:
    return name if name[-1].isdigit() else f"a {name}"


def _with_the(option: str) -> str:
    """go to red key → go to the red key"""
    return re.sub(r"^(go to|navigate to|pick up|drop|open|use) (?=\D+$)", r"\1 the ", option)


def _sentence_case(words: str) -> str:
    return words[:1].upper() + words[1:]


def _plain(observation: str, reasoning: str, decision: Decision) -> str:
    return f"Observation: {observation}\nReasoning: {reasoning}\nDecision: {', '.join(decision)}"


def _markdown(observation: str, reasoning: str, decision: Decision) -> str:
    steps = ", then ".join(map(_with_the, decision))
    stages = {"Observation": observation, "Reasoning": reasoning, "Decision": _sentence_case(steps) + "."}
    return "\n\n".join(f"**{stage}:** {words}" for stage, words in stages.items())


def _numbered(observation: str, reasoning: str, decision: Decision) -> str:
    steps = "\n".join(f"   {i}. {_sentence_case(_with_the(step))}" for i, step in enumerate(decision, 1))
    return f"1. {observation}\n2. {reasoning}\n3. Decision:\n{steps}"


def _brackets(observation: str, reasoning: str, decision: Decision) -> str:
    steps = ", ".join(f"<{step}>" for step in decision)
    return f"Observation: {observation}\nReasoning: {reasoning}\nDecision: {steps}"


def _thinking(observation: str, reasoning: str, decision: Decision) -> str:
    return f"<think>\n{observation} {reasoning}\n</think>\n\nDecision: {', '.join(decision)}"


def _json(observation: str, reasoning: str, decision: Decision) -> str:
    stages = {"observation": observation, "reasoning": reasoning, "decision": list(decision)}
    return f"```json\n{json.dumps(stages, indent=2)}\n```"


STYLES: dict[Callable[[str, str, Decision], str], int] = {
    _plain: 10,
    _markdown: 4,
    _numbered: 2,
    _brackets: 2,
    _thinking: 1,
    _json: 1,
}
