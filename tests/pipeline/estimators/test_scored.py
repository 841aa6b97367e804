import json
import math

from hypothesis import given
from hypothesis import strategies as st
import pytest

from askonce.cache.query import Answer
from askonce.pipeline import tasks
from askonce.pipeline.adaptive import Precision
from askonce.pipeline.asking.client import Job
from askonce.pipeline.build import answered, build_cache
from askonce.pipeline.estimators import option_distributions
from askonce.pipeline.estimators.scored import (
    average,
    distribution,
    letter_messages,
    letter_request,
    letters,
    letters_in,
    of_letters,
    reasoning_of,
)
from askonce.pipeline.llm import LLM, request
from askonce.pipeline.prompt import messages
from askonce.pipeline.questions import Wanted, questions
from askonce.pipeline.simulated import llm as simulated
from askonce.pipeline.simulated.llm import Errors
from askonce.pipeline.simulated.response import Response
from askonce.pipeline.simulated.serve import completion, running
from tests.pipeline.doorkey_prompt import PROMPT
from tests.pipeline.servers import Server, ask_all

A, B, C = ("explore",), ("go to key", "pick up key"), ("open door",)
TEXT = "Agent sees a red key, a blue key, a red door, holds nothing."


def said(top: dict[str, float], token: str | None = None, probability: float = 0.0):
    """Log-probabilities in OpenAI's form: `top` are the tokens listed, `token` the one drawn."""
    entries = [{"token": name, "logprob": math.log(mass), "bytes": None} for name, mass in top.items()]
    drawn = {"token": token, "logprob": math.log(probability)} if token else entries[0]
    return {"content": [{**drawn, "top_logprobs": entries}], "refusal": None}


def test_each_decision_has_each_letter_once_in_a_whole_turn():
    turns = [letters([A, B, C], rotation) for rotation in range(3)]
    assert turns[0] == {"A": A, "B": B, "C": C}
    assert all({turn[letter] for turn in turns} == {A, B, C} for letter in "ABC")
    assert letters([A, B, C], 3) == turns[0]
    for wrong in ([], [A] * 27):
        with pytest.raises(ValueError):
            letters(wrong, 0)


def test_the_letter_question_goes_on_from_the_reasoning():
    chat = letter_messages(messages(PROMPT, TEXT), "It should explore.", [A, B], 1)
    assert [turn["role"] for turn in chat] == ["system", "user", "assistant", "user"]
    assert chat[-1]["content"].splitlines()[1:] == ["A) go to key, pick up key", "B) explore"]
    assert letters_in(chat) == letters([A, B], 1) and letters_in(messages(PROMPT, TEXT)) == {}
    body = letter_request(request(LLM(max_tokens=99), PROMPT, TEXT), "Why not.", [A, B], 0)
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 20)


@pytest.mark.parametrize(
    "completion, reasoning",
    [
        ("Observation: a key.\nReasoning: fetch.\nDecision: go to key", "Observation: a key.\nReasoning: fetch."),
        ("Go.\n\n**Decision:** explore", "Go."),
        ("1. A key.\n2. Fetch.\n3. Decision:\n   1. Go to key", "1. A key.\n2. Fetch."),
        ("I do not know", "I do not know"),
        ("Decision: explore", ""),
    ],
)
def test_the_reasoning_ends_before_the_decision(completion, reasoning):
    assert reasoning_of(completion) == reasoning


def test_spellings_of_a_letter_are_one_and_all_else_is_outside():
    estimate = of_letters(said({"A": 0.5, " A": 0.1, "B": 0.2, "(C": 0.1, "The": 0.1}), letters([A, B, C], 0))
    assert estimate.probabilities == pytest.approx({A: 0.6, B: 0.2, C: 0.1})
    assert estimate.upper == estimate.probabilities and estimate.outside == pytest.approx(0.1)


def test_an_unlisted_decision_is_bounded_by_the_least_of_those_listed_rather_than_zero():
    estimate = of_letters(said({"A": 0.9, "The": 0.03}), letters([A, B, C], 0))
    assert estimate.upper == pytest.approx({A: 0.9, B: 0.03, C: 0.03})
    assert 0 < estimate.probabilities[B] == estimate.probabilities[C] <= 0.03
    assert estimate.outside >= 0.03
    # Nor can it have more than what is left.
    assert of_letters(said({"A": 0.6, "B": 0.39}), letters([A, B, C], 0)).upper[C] == pytest.approx(0.01)
    # A drawn token that is rarer than those listed says nothing about the others.
    rare = of_letters(said({"A": 0.6, "x": 0.1}, "q", 0.001), letters([A, B], 0))
    assert rare.upper[B] == pytest.approx(0.1)


@given(
    st.dictionaries(st.sampled_from(["A", " B", "C", "c", "the", "(A)"]), st.floats(1e-6, 1), min_size=1),
    st.integers(0, 5),
)
def test_an_estimate_is_a_distribution_with_something_outside(top, rotation):
    estimate = of_letters(said(top), letters([A, B, C], rotation))
    assert math.fsum(estimate.probabilities.values()) + estimate.outside == pytest.approx(1)
    assert all(0 <= estimate.probabilities[k] <= estimate.upper[k] + 1e-12 <= 1 + 1e-9 for k in (A, B, C))


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {},
        [],
        "x",
        {"content": None},
        {"content": []},
        {"content": ["x"]},
        {"content": [{"token": "A"}]},
        {"content": [{"token": "A", "logprob": math.nan, "top_logprobs": [3]}]},
        {"content": [{"token": "A", "logprob": math.inf}]},
        {"content": [{"token": "A", "logprob": 1e308}]},
        {"content": [{"token": "A", "logprob": True}]},
    ],
)
def test_what_is_no_log_probability_gives_no_estimate(logprobs):
    assert of_letters(logprobs, letters([A, B], 0)) is None


THREE = st.lists(st.floats(0.1, 1), min_size=3, max_size=3)


@given(THREE, THREE)
def test_a_whole_turn_cancels_what_is_added_to_a_letter(true, bias):
    """An LLM that gives part of its mass to letters by their place alone."""
    decisions, weight = [A, B, C], 0.3
    true = {decision: mass / sum(true) for decision, mass in zip(decisions, true)}
    placed = [mass / sum(bias) for mass in bias]
    turns = []
    for rotation in range(3):
        lettered = letters(decisions, rotation)
        mixed = {
            letter: (1 - weight) * true[decision] + weight * place
            for (letter, decision), place in zip(lettered.items(), placed)
        }
        turns.append(of_letters(said(mixed), lettered))
    expected = {decision: (1 - weight) * true[decision] + weight / 3 for decision in decisions}
    assert distribution(average(turns)) == pytest.approx(expected)


def test_the_simulated_llm_s_letters_agree_with_what_it_decides():
    teacher = LLM(errors=Errors(0.3, 0.2, 0.1))
    body = request(teacher, PROMPT, TEXT)
    true = simulated.probabilities(body["messages"], teacher.errors, teacher.seed)
    decisions = sorted(true)[:-1]  # one is left out, so its mass is outside
    bodies = [letter_request(body, "Observation: keys.", decisions, turn) for turn in range(len(decisions))]
    jobs = [Job(turn, asked, 1) for turn, asked in enumerate(bodies)]
    estimates = [
        of_letters(answer.replies[0].logprobs, letters_in(answer.job.body["messages"]))
        for answer in ask_all(teacher, jobs)
    ]
    estimate = average(estimates)
    assert estimate.probabilities == pytest.approx({decision: true[decision] for decision in decisions})
    assert estimate.outside == pytest.approx(true[sorted(true)[-1]])


def test_a_server_without_logprobs_gives_none():
    body = request(LLM(), PROMPT, TEXT)
    (answer,) = ask_all(LLM(), [Job(0, body, 1)])
    assert answer.replies[0].logprobs is None


def answered_with(content: str, logprobs: str | None, asked: dict) -> Answer:
    return Answer(0, content, 1.0, "stop", logprobs, json.dumps(asked) if logprobs else None)


def test_log_probabilities_that_nobody_asked_for_make_no_letter_of_a_completion():
    asked = request(LLM(extra={"logprobs": True}), PROMPT, TEXT)
    unasked = json.dumps(said({"Decision": 0.9, "A": 0.1}))
    both = [answered_with("Decision: explore", logprobs, asked) for logprobs in (unasked, None)]
    assert option_distributions({TEXT: both}, PROMPT.options) == ({TEXT: {A: 1.0}}, [])


def test_a_letter_without_log_probabilities_beside_one_with_them_is_left_out():
    asked = letter_request(request(LLM(), PROMPT, TEXT), "Observation: keys.", [A, B], 0)
    both = [answered_with("A", logprobs, asked) for logprobs in (json.dumps(said({"A": 0.75, "B": 0.25})), None)]
    found, left_out = option_distributions({TEXT: both}, PROMPT.options)
    assert found[TEXT] == pytest.approx({A: 0.75, B: 0.25}) and len(left_out) == 1


@pytest.mark.parametrize("logprobs", ["{", "[" * 100_000, '"x"', "[1]"])
def test_stored_log_probabilities_that_are_none_are_left_out(logprobs):
    asked = letter_request(request(LLM(), PROMPT, TEXT), "", [A, B], 0)
    found, left_out = option_distributions({TEXT: [answered_with("A", logprobs, asked)]}, PROMPT.options)
    assert found == {TEXT: {}} and len(left_out) == 1


@pytest.mark.parametrize(
    "asked", ["{", "{}", '{"logprobs":true,"messages":[]}', '{"logprobs":true,"messages":[{}]}', "7"]
)
def test_a_stored_request_that_is_none_makes_no_letter(asked):
    row = Answer(0, "Decision: explore", 1.0, "stop", json.dumps(said({"A": 1.0})), asked)
    assert option_distributions({TEXT: [row]}, PROMPT.options)[0] == {TEXT: {A: 1.0}}


def test_a_server_that_adds_log_probabilities_to_everything_is_read_as_any_other(tmp_path):
    task = tasks.find("SimpleDoorKey")

    def talkative(asked, number):
        answer = completion("talkative", [("Decision: explore", "stop")] * asked.get("n", 1), 10)
        for choice in answer["choices"]:
            choice["logprobs"] = said({"Decision": 1.0})
        return Response(200, answer)

    with running(Server(talkative)) as url:
        report = build_cache(task, tmp_path, LLM("talkative", url), episodes=3, wanted=Wanted(2))
    assert report.unparsable == 0
    assert set(map(tuple, answered(task, tmp_path, LLM("talkative", url))[0].values())) == {(A,)}


def test_letters_follow_all_the_reasonings_that_made_a_text_known(tmp_path):
    task, llm = tasks.find("SimpleDoorKey"), LLM(estimator="logprobs")
    report = build_cache(task, tmp_path, llm, episodes=3, wanted=Wanted(Precision(0.3, 0.9)))
    reasonings = build_cache(task, tmp_path, LLM(), episodes=3, wanted=Wanted(Precision(0.3, 0.9)))
    assert (reasonings.asked, report.unparsable) == (0, 0) and report.completions > reasonings.texts
    assert all(sum(found.values()) == pytest.approx(1) for found in answered(task, tmp_path, llm)[0].values())


def test_without_reasoning_each_turn_of_the_letters_is_asked_once_after_the_text(tmp_path):
    task, llm = tasks.find("ColoredDoorKey"), LLM(estimator="scored", prompt="without-reasoning")
    report = build_cache(task, tmp_path, llm, episodes=30, wanted=Wanted(100))
    found = answered(task, tmp_path, llm)[0]
    # Nothing is sampled, and no more is asked than the letters can turn.
    assert report.completions == sum(len(task.candidates(text)) for text in found) and report.unparsable == 0
    plans = {decision for distribution in found.values() for decision in distribution if len(decision) > 1}
    assert ("go to red key", "pick up red key") in plans
    again = build_cache(task, tmp_path, llm, episodes=30, wanted=Wanted(100))
    assert (again.asked, again.hits) == (0, report.texts)


def test_questions_about_one_text_begin_alike_so_that_a_server_can_keep_what_it_has_read():
    task = tasks.find("ColoredDoorKey")
    text = task.describe(["red key"], None)
    bodies = questions(task, LLM(estimator="scored", prompt="without-reasoning"), text)
    asked = ["".join(turn["content"] for turn in body["messages"]) for body in bodies]
    assert len(set(asked)) == len(task.candidates(text)) > 1
    assert all(one.startswith(asked[0].partition("\nA) ")[0]) for one in asked)
    assert all(len(body["messages"]) == 2 for body in bodies)
