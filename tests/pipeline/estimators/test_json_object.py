"""Decisions as JSON over a text's own options: what is asked, what is read, whole builds, and servers that do not heed it."""

import json

import pytest

from askonce.cache.errors import Unfinished
from askonce.cache.query import Answer
from askonce.pipeline import tasks
from askonce.pipeline.build import answered, build_cache
from askonce.pipeline.estimators import JSON, json_object, of, option_distributions
from askonce.pipeline.llm import LLM
from askonce.pipeline.questions import Wanted, questions
from askonce.pipeline.simulated.serve import Response, completion, running
from tests.pipeline.servers import Server

TASK = tasks.find("ColoredDoorKey")
TEXT = TASK.describe(["red key", "blue key"], "green key")


def asked(text: str = TEXT, **settings) -> dict:
    (body,) = questions(TASK, LLM(estimator=JSON, **settings), text)
    return body


def answer(content: str, finish_reason: str = "stop", **settings) -> Answer:
    return Answer(0, content, 1.0, finish_reason, None, json.dumps(asked(**settings)))


def test_the_schema_reasons_first_and_allows_the_options_of_this_text_alone():
    form = asked()["response_format"]
    schema = form["json_schema"]["schema"]
    assert form["type"] == "json_schema" and list(schema["properties"]) == ["observation", "reasoning", "decision"]
    listed = schema["properties"]["decision"]["items"]["enum"]
    assert listed == [option for decision in TASK.decisions(TEXT) for option in decision]
    assert {"explore", "drop green key"} <= set(listed)
    at_once = asked(prompt="without-reasoning")["response_format"]["json_schema"]["schema"]
    assert list(at_once["properties"]) == at_once["required"] == ["decision"]


@pytest.mark.parametrize(
    "content, decision",
    [
        ('{"observation": "", "reasoning": "Decision: explore", "decision": ["go to red key"]}', ("go to red key",)),
        ('<think>{"decision": ["explore"]}</think>{"decision": ["a", "b"]}', ("a", "b")),
        ("Decision: go to the red key.", ("go to red key",)),
    ],
)
def test_a_decision_is_read_as_it_stands_and_anything_else_as_text(content, decision):
    assert option_distributions({TEXT: [answer(content)]}, TASK.prompt.options) == ({TEXT: {decision: 1.0}}, [])


@pytest.mark.parametrize(
    "content", ['{"decision": []}', '{"decision": [7]}', '{"decision": [""]}', '{"dec', "[" * 10**5]
)
def test_what_is_no_decision_is_left_out(content):
    found, left_out = option_distributions({TEXT: [answer(content)]}, TASK.prompt.options)
    assert found == {TEXT: {}} and len(left_out) == 1


def test_an_object_that_was_not_asked_for_is_read_as_text():
    unasked = Answer(0, '{"decision": ["go to red key"]}', 1.0, "stop")
    assert of([answer("{}")]) is json_object and of([unasked]) is not json_object


def test_every_completion_keeps_to_what_its_text_allows(tmp_path):
    llm = LLM(estimator=JSON)
    report = build_cache(TASK, tmp_path, llm, 30, Wanted(5))
    assert report.unparsable == 0 and report.completions == 5 * report.texts > 0
    for text, distribution in answered(TASK, tmp_path, llm)[0].items():
        allowed = {option for decision in TASK.decisions(text) for option in decision}
        assert distribution and all(set(decision) <= allowed for decision in distribution)
    assert build_cache(TASK, tmp_path, llm, 30, Wanted(5)).asked == 0
    # Another way of asking is another teacher.
    assert build_cache(TASK, tmp_path, LLM(), 30, Wanted(1)).asked == report.texts


def test_a_server_that_heeds_no_schema_is_named_before_much_is_asked(tmp_path):
    def deaf(request, number):
        return Response(200, completion("simulated", [("Decision: explore", "stop")] * request["n"], 10))

    with running(Server(deaf)) as url, pytest.raises(Unfinished, match="--estimator text"):
        build_cache(TASK, tmp_path, LLM("simulated", url, estimator=JSON), 30, Wanted(5))
