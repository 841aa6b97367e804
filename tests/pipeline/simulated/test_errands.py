"""What the simulated LLM tells a robot, and that the audit calls it what it was meant as."""

import pytest

from askonce.pipeline import tasks
from askonce.pipeline.audit.rules import broken
from askonce.pipeline.parse import parse
from askonce.pipeline.prompt import messages
from askonce.pipeline.simulated import llm as simulated
from askonce.pipeline.simulated.errands import errand_of, facts_of
from askonce.pipeline.simulated.llm import Errors, Facts, choices

TASK = tasks.find("NavPick")
SOUND = {
    "Agent is to pick up a mug. It sees nothing. It holds nothing.": "navigate to mug, pick up mug",
    "Agent is to pick up a mug. It sees a can on a table. It holds nothing.": "navigate to mug, pick up mug",
    "Agent is to pick up a mug. It sees a mug on a table ahead, far; a can on a table. It holds nothing.": "navigate to mug, pick up mug",
    "Agent is to pick up a mug. It sees a mug on a table to the left, near; a ball on the floor. It holds nothing.": "navigate to mug, pick up mug",  # noqa: E501
    "Agent is to pick up a mug. It sees a mug on a table ahead, near. It holds nothing.": "pick up mug",
    "Agent is to pick up a mug. It sees a can on a table. It holds a mug.": "pick up mug",
    "Agent is to pick up an other bowl. It sees an other bowl on a table ahead, near; a bowl on a table. It holds nothing.": "pick up other bowl",  # noqa: E501
    "Agent is to pick up a tin. It sees a tin on a table ahead, far; a master chef can on the floor. It holds nothing.": "navigate to tin, pick up tin",  # noqa: E501
}


def said(text: str, sample: int, errors: Errors) -> tuple[str, ...]:
    return parse(simulated.complete(messages(TASK.prompt, text), sample, errors, 0), TASK.prompt.options).decision


def possible(text: str) -> dict[str, tuple]:
    return choices(Facts(*facts_of(text)), errand_of(text))


@pytest.mark.parametrize("text", SOUND)
def test_without_errors_it_gets_on_with_the_errand(text):
    assert {", ".join(said(text, sample, Errors(0, 0, 0))) for sample in range(10)} == {SOUND[text]}


@pytest.mark.parametrize("text", SOUND)
def test_whatever_it_says_reads_back_as_a_decision_of_one_kind(text):
    decisions = [decision for found in possible(text).values() for decision in found]
    assert len(decisions) == len(set(decisions))
    assert {said(text, sample, Errors(0.25, 0.25, 0.25)) for sample in range(60)} <= set(decisions)
    told = simulated.probabilities(messages(TASK.prompt, text), Errors(), 0)
    assert set(told) <= set(decisions) and sum(told.values()) == pytest.approx(1)


@pytest.mark.parametrize("text", SOUND)
def test_the_audit_finds_its_inconsistent_decisions_and_no_others(text):
    for kind, decisions in possible(text).items():
        for decision in decisions:
            found = broken(decision, TASK.prompt.options, TASK.scene(text))
            assert (found is not None) == (kind == "inconsistent"), (decision, found)
