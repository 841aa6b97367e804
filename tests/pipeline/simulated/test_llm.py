from collections import Counter
from itertools import product
import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from askonce.cache.errors import AskonceError
from askonce.pipeline.parse import parse
from askonce.pipeline.prompt import messages
from askonce.pipeline.simulated import llm as simulated
from askonce.pipeline.simulated.llm import KINDS, SOUND, Errors, Facts, choices, decide, facts_of
from askonce.pipeline.tasks.task import Option, Prompt
from tests.pipeline.doorkey_prompt import OPTIONS, PROMPT

NO_ERRORS = Errors(0, 0, 0)


def said(text: str, sample: int = 0, errors: Errors = NO_ERRORS, seed: int = 0, prompt: Prompt = PROMPT):
    parsed = parse(simulated.complete(messages(prompt, text), sample, errors, seed), prompt.options)
    assert parsed.decision is not None, parsed.reason
    return parsed.decision


def test_reads_the_facts_of_a_text():
    assert facts_of("Agent sees nothing, holds nothing.") == Facts((), None)
    read = facts_of("Agent sees a red key, a blue door, holds nothing.")
    assert read == Facts(("red key", "blue door"), None)
    read = facts_of("Agent sees a key, door1, door2, holds a green key.")
    assert read == Facts(("key", "door1", "door2"), "green key")
    assert facts_of("whatever") == Facts((), None)


SOUND_DECISIONS = {
    "Agent sees nothing, holds nothing.": {"explore"},
    "Agent sees a door, holds nothing.": {"explore"},
    "Agent sees a key, holds nothing.": {"go to key, pick up key"},
    "Agent sees a key, a door, holds nothing.": {"go to key, pick up key"},
    "Agent sees nothing, holds a key.": {"explore"},
    "Agent sees a door, holds a key.": {"go to door, open door"},
    "Agent sees a red key, a blue key, holds nothing.": {"go to red key, pick up red key"},
    "Agent sees a red key, a blue key, a blue door, holds nothing.": {"go to blue key, pick up blue key"},
    "Agent sees a red key, a blue door, holds nothing.": {"explore"},
    "Agent sees a red key, a red door, holds a blue key.": {"drop blue key, go to red key, pick up red key"},
    "Agent sees a red door, holds a blue key.": {"drop blue key"},
    "Agent sees a red key, holds a blue key.": {"explore"},
    "Agent sees a red key, a blue door, holds a blue key.": {"go to blue door, open blue door"},
    "Agent sees door1, door2, holds a key.": {"go to door1, open door1", "go to door2, open door2"},
}


@pytest.mark.parametrize("text", SOUND_DECISIONS)
def test_without_errors_it_decides_soundly(text):
    assert {", ".join(said(text, sample)) for sample in range(30)} == SOUND_DECISIONS[text]


def situations() -> list[Facts]:
    """Every situation of up to two keys and two doors, by colour and by number."""
    colored = (
        [(), ("red key",), ("red key", "blue key")],
        [(), ("red door",), ("blue door",), ("green door",)],
        [None, "red key", "blue key"],
    )
    plain = [(), ("key",)], [(), ("door",), ("door1", "door2")], [None, "key"]
    return [
        Facts(keys + doors, held)
        for world in (colored, plain)
        for keys, doors, held in product(*world)
        if held not in keys
    ]


@pytest.mark.parametrize("facts", situations(), ids=str)
def test_each_decision_is_of_one_kind_and_every_text_has_a_sound_and_an_inconsistent_one(facts):
    possible = choices(facts)
    assert possible["sound"] and possible["inconsistent"]
    found = [decision for decisions in possible.values() for decision in decisions]
    assert len(found) == len(set(found))


@pytest.mark.parametrize("facts", situations(), ids=str)
def test_whatever_it_says_reads_back_as_what_it_decided(facts):
    listed = ", ".join(name if name[-1].isdigit() else f"a {name}" for name in facts.sees) or "nothing"
    text = f"Agent sees {listed}, holds {f'a {facts.holds}' if facts.holds else 'nothing'}."
    assert facts_of(text) == facts
    possible = {decision for decisions in choices(facts).values() for decision in decisions}
    told = {said(text, sample, Errors(0.25, 0.25, 0.25)) for sample in range(40)}
    assert told <= possible


def test_the_kind_it_tells_is_the_kind_of_its_decision():
    rng = random.Random(1)
    for facts in situations():
        decision, kind = decide(facts, rng, Errors(0.3, 0.3, 0.3))
        assert decision in choices(facts)[kind]


def many_texts(count: int) -> list[str]:
    """Texts in which every kind of error is possible."""
    return [f"Agent sees a tone{i} key, a hue{i} key, a hue{i} door, holds nothing." for i in range(count)]


def test_errors_come_at_the_given_rates_on_average():
    rates = dict(zip(KINDS, (0.6, 0.2, 0.15, 0.05)))
    errors = Errors(rates["incorrect"], rates["inefficient"], rates["inconsistent"])
    texts, samples, kinds = many_texts(400), 4, Counter()
    for text in texts:
        possible = choices(facts_of(text)).items()
        kind_of = {decision: kind for kind, decisions in possible for decision in decisions}
        kinds.update(kind_of[said(text, sample, errors)] for sample in range(samples))
    for kind, rate in rates.items():
        # Between texts a rate varies as a Dirichlet distribution does, within a text as a fair draw.
        variance = rate * (1 - rate) * (1 / (simulated.CONCENTRATION + 1) + 1 / samples)
        assert abs(kinds[kind] / (len(texts) * samples) - rate) < 4 * math.sqrt(variance / len(texts))


def test_some_texts_are_mostly_wrong_and_some_never():
    errors = Errors(0.15, 0.1, 0.05)
    wrong = [sum(vars(simulated.rates_of_text(text, errors, 0)).values()) for text in many_texts(200)]
    assert max(wrong) > 0.6 and min(wrong) < 0.02


def test_a_rate_of_zero_is_never_and_a_rate_of_one_always():
    text = many_texts(1)[0]
    wrong = set(choices(facts_of(text))["incorrect"])
    assert {said(text, sample, Errors(1, 0, 0)) for sample in range(20)} <= wrong
    assert {said(text, sample, NO_ERRORS) for sample in range(20)} <= set(choices(facts_of(text))[SOUND])


def test_an_answer_depends_on_seed_messages_and_sample_alone():
    text, errors = many_texts(1)[0], Errors(0.3, 0.3, 0.3)
    asked = messages(PROMPT, text)
    answers = [simulated.complete(asked, sample, errors, seed) for seed in (0, 1) for sample in range(8)]
    again = [simulated.complete(asked, sample, errors, seed) for seed in (0, 1) for sample in range(8)]
    assert answers == again
    assert len(set(answers)) > 4


def test_it_answers_in_several_styles():
    asked = messages(PROMPT, many_texts(1)[0])
    answers = [simulated.complete(asked, sample, NO_ERRORS, 0) for sample in range(200)]
    for mark in ("**Decision:**", "<think>", "```json", "3. Decision:", "<go to", "\nDecision: go to"):
        assert any(mark in answer for answer in answers)


def test_of_a_task_it_does_not_know_it_picks_a_listed_option():
    grasp = (
        Option("navigate to", "drive"),
        Option("grasp", "close the gripper"),
        Option("wait", "do nothing", takes_object=False),
    )
    kitchen = Prompt(
        "A robot in a kitchen.", grasp, "Agent sees a cup, holds nothing.", "A cup.", "Near it.", ("navigate to cup",)
    )
    seen = {said("Agent sees a cup, a table, holds nothing.", sample, prompt=kitchen) for sample in range(60)}
    on_things = {(f"{verb} {thing}",) for verb in ("navigate to", "grasp") for thing in ("cup", "table")}
    assert seen == on_things | {("wait",)}
    assert said("Agent sees nothing, holds nothing.", prompt=kitchen) == ("wait",)


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from(["Agent", "sees", "holds", ",", ".", "a", "key", "nothing", "door1", "\t"])).map(
            " ".join
        ),
    )
)
def test_it_answers_any_text(text):
    assert simulated.complete(messages(PROMPT, text), 0, Errors(0.2, 0.2, 0.2), 0)


def test_identity_holds_seed_and_rates():
    errors = Errors(0.2, 0.1, 0.0)
    assert simulated.from_identity(simulated.identity(errors, 7)) == (errors, 7)
    assert simulated.identity(errors, 7) != simulated.identity(errors, 8) != simulated.identity(Errors(), 8)
    with pytest.raises(ValueError):
        simulated.from_identity("simulated?seed=1")


@pytest.mark.parametrize("rates", [(-0.1, 0, 0), (0.5, 0.5, 0.1), (math.nan, 0, 0)])
def test_refuses_rates_that_are_no_probabilities(rates):
    with pytest.raises(AskonceError):
        Errors(*rates)


def test_the_options_of_the_test_prompt_are_those_it_understands():
    assert {option.name for option in OPTIONS} == simulated.DOORKEY_OPTIONS
