"""Decisions by the log-probabilities of their own words."""

import json
import math

import pytest

from askonce.cache.query import Answer
from askonce.pipeline import tasks
from askonce.pipeline.asking.reply import of_last_line
from askonce.pipeline.build import answered, build_cache
from askonce.pipeline.estimators import of, option_distributions
from askonce.pipeline.estimators.likelihood import answered_so, normalised, of_prompt
from askonce.pipeline.llm import LLM, request
from askonce.pipeline.prompt import messages
from askonce.pipeline.questions import Wanted, questions
from askonce.pipeline.simulated import llm as simulated
from askonce.pipeline.simulated.llm import Errors
from askonce.pipeline.simulated.response import Response
from askonce.pipeline.simulated.serve import SimulatedServer, completion, running
from tests.called import called
from tests.pipeline.servers import Server

TASK = tasks.find("ColoredDoorKey")
TEXT = TASK.describe(["red key", "blue key", "red door"], None)
A, B = ("explore",), ("go to red key", "pick up red key")


def test_a_question_says_the_decision_in_the_llm_s_place():
    body = request(LLM(estimator="likelihood"), TASK.prompt, TEXT)
    asked = answered_so(body, "Observation: two keys.", B)
    assert asked["messages"][-1] == {
        "role": "assistant",
        "content": "Observation: two keys.\nDecision: go to red key, pick up red key",
    }
    assert (asked["max_tokens"], asked["prompt_logprobs"], asked["add_generation_prompt"]) == (1, 0, False)


def test_plans_are_among_what_is_listed_without_reasoning_and_the_llm_s_own_after_it():
    at_once = questions(TASK, LLM(estimator="likelihood", prompt="without-reasoning"), TEXT)
    assert any("pick up red key" in body["messages"][-1]["content"] for body in at_once)
    said = Answer(0, "Reasoning: fetch.\nDecision: drop red key, go to blue key", 1.0, "stop")
    after = questions(TASK, LLM(estimator="likelihood"), TEXT, [said])
    assert after[0]["messages"][-1]["content"] == "Reasoning: fetch.\nDecision: drop red key, go to blue key"
    assert len(after) == 1 + len(TASK.decisions(TEXT))


@pytest.mark.parametrize(
    "words", [["Dec", "ision", ":", " explore", "<end>"], ["Dec", "ision", ":", "explore", "<end>"]]
)
def test_of_a_prompt_s_tokens_those_of_its_last_line_count(words):
    chat = [{"role": "assistant", "content": "Decision: wait.\nDecision: explore"}]
    tokens = [(word, -float(at)) for at, word in enumerate(["<start>", "Decision", ":", "wait.", "\n", *words])]
    found = of_last_line(tokens, chat)
    assert [one["token"] for one in found["prompt"]] == words and of_prompt(found) == -sum(range(5, 10))
    assert of_last_line(tokens[:-2], chat) is None


@pytest.mark.parametrize("token", [{"token": "a", "logprob": 3.0}, {"logprob": True}, {"logprob": math.nan}, {}, None])
def test_what_is_no_log_probability_is_none(token):
    assert of_prompt({"prompt": [token]}) is None


def test_decisions_of_any_length_are_normalised_over_the_list():
    found = normalised({A: -800.0, B: -801.0})
    assert found[A] / found[B] == pytest.approx(math.e) and sum(found.values()) == pytest.approx(1)
    assert normalised({A: -math.inf}) == {}


def test_the_mean_is_over_reasonings():
    def answer(sample: int, reasoning: str, decision: tuple[str, ...], logprob: float) -> Answer:
        body = answered_so({"messages": [], "max_tokens": 9}, reasoning, decision)
        stored = json.dumps({"prompt": [{"token": "x", "logprob": logprob}]})
        return Answer(sample, "", 1.0, "length", logprobs=stored, request=json.dumps(body))

    said = [answer(0, "one", A, 0.0), answer(1, "one", B, -700.0), answer(2, "two", A, -1.0), answer(3, "two", B, -1.0)]
    found, unparsable = option_distributions({TEXT: said}, TASK.prompt.options)
    assert found[TEXT] == pytest.approx({A: 0.75, B: 0.25}) and not unparsable
    missing = Answer(4, "", 1.0, "length", request=said[0].request)
    assert of([missing]) is of(said)
    assert [one.sample for one in option_distributions({TEXT: [*said, missing]}, TASK.prompt.options)[1]] == [4]


@pytest.mark.parametrize("prompt", ["without-reasoning", "three-stages"])
def test_it_is_what_the_llm_thinks_of_each_decision(tmp_path, prompt):
    errors = Errors(0.2, 0.1, 0.0)
    with running(SimulatedServer(errors, seed=4)) as url:
        llm = LLM("simulated", base_url=url, estimator="likelihood", prompt=prompt)
        report = build_cache(TASK, tmp_path, llm, 40, Wanted(2))
        assert report.unparsable == 0 and report.asked == report.texts
        assert build_cache(TASK, tmp_path, llm, 40, Wanted(2)).asked == 0
        distributions, _ = answered(TASK, tmp_path, llm)
    for text, found in distributions.items():
        likely = simulated.probabilities(messages(TASK.prompt, text), errors, 4)
        if prompt == "without-reasoning":
            shares = {decision: likely.get(decision, 0.0) for decision in TASK.candidates(text)}
            total = sum(shares.values())
            # Of what is not listed nothing is known.
            assert not total or found == pytest.approx({one: share / total for one, share in shares.items()}, abs=1e-6)
        else:
            # After a reasoning what it decided is listed, and the single options beside it.
            assert set(found) >= set(TASK.decisions(text)) and max(found, key=found.get) in likely


def test_a_server_that_knows_no_likelihood_is_one_line_after_the_first_question(tmp_path):
    with running(Server(lambda *_: Response(200, completion(simulated.MODEL, [("A", "length")], 10)))) as url:
        ended = called(
            *("build-cache", "--task", TASK.name, "--cache", tmp_path, "--episodes", 20, "--base-url", url),
            *("--estimator", "likelihood", "--prompt", "without-reasoning"),
        )
    assert ended.code == 3 and "use --estimator scored or text" in ended.err
