"""Models that think: told how much in each server's words, their thoughts kept, and no budget paid for thoughts alone."""

import json

import pytest

from askonce.cache import query
from askonce.cache.errors import AskonceError
from askonce.pipeline import tasks
from askonce.pipeline.asking import thinking
from askonce.pipeline.build import answered, build_cache
from askonce.pipeline.llm import LLM, request
from askonce.pipeline.questions import Wanted
from askonce.pipeline.simulated.serve import Response, completion, running
from tests.called import called
from tests.pipeline.servers import Server

TASK = tasks.find("SimpleDoorKey")


@pytest.mark.parametrize(
    "address, off, high",
    [
        ("https://api.openai.com/v1", {"reasoning_effort": "none"}, {"reasoning_effort": "high"}),
        ("https://api.deepseek.com", {"thinking": {"type": "disabled"}}, {"thinking": {"type": "enabled"}}),
        (
            "https://dashscope.aliyuncs.com/compatible-mode/v1",
            {"enable_thinking": False},
            {"enable_thinking": True, "thinking_budget": 4096},
        ),
        ("https://openrouter.ai/api/v1", {"reasoning": {"enabled": False}}, {"reasoning": {"effort": "high"}}),
        (
            "http://127.0.0.1:8000/v1",
            {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
            {
                "chat_template_kwargs": {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"},
                "reasoning_effort": "high",
            },
        ),
    ],
)
def test_each_server_is_told_in_its_own_words(address, off, high):
    asked = [
        request(LLM("m", address, max_tokens=9000, thinking=level), TASK.prompt, "Agent sees a key.")
        for level in (None, "off", "high")
    ]
    plain, *told = asked
    assert [{name: value for name, value in body.items() if name not in plain} for body in told] == [off, high]


def thoughtful(content: str | None, finish_reason: str = "stop"):
    def answer(asked, number):
        found = completion("m", [("", finish_reason)] * asked["n"], 10)
        for choice in found["choices"]:
            choice["message"] |= {"content": content, "reasoning_content": "A key, so\nDecision: drop key?"}
        found["usage"]["completion_tokens_details"] = {"reasoning_tokens": 7}
        return Response(200, found)

    return answer


@pytest.mark.parametrize(
    "estimator, content", [("text", "Decision: explore"), ("json", json.dumps({"decision": ["explore"]}))]
)
def test_thoughts_are_kept_and_counted_and_decide_nothing(tmp_path, estimator, content):
    with running(Server(thoughtful(content))) as url:
        llm = LLM("m", url, estimator=estimator, max_tokens=4096, thinking="low")
        report = build_cache(TASK, tmp_path, llm, 10, Wanted(2))
    assert set(map(str, answered(TASK, tmp_path, llm)[0].values())) == {"{('explore',): 1.0}"}
    assert report.reasoning_tokens == 7 * report.requests and "thinks" in report.server
    (row, *_) = query.show(tmp_path, "Agent sees nothing, holds nothing.")
    assert row.content.startswith("<think>\nA key, so") and row.content.endswith(content)


def test_a_budget_that_thoughts_use_up_is_said_after_the_first_answers(tmp_path):
    server = Server(thoughtful("", "length"))
    with running(server) as url, pytest.raises(AskonceError, match="raise --max-tokens"):
        build_cache(TASK, tmp_path, LLM("m", url), 30, Wanted(10))
    assert len(server.requests) <= 8


@pytest.mark.parametrize("level, tokens", thinking.ROOM.items())
def test_a_budget_too_small_for_what_is_asked_is_said_before(level, tokens):
    LLM(thinking=level, max_tokens=tokens)
    ended = called("build-cache", "--task", TASK.name, "--cache", "c", "--thinking", level, "--max-tokens", tokens - 1)
    assert ended.code == 2 and f"--max-tokens {tokens} or more" in ended.err
