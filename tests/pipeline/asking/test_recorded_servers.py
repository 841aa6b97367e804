"""Servers that answer as real ones were seen to: statuses, bodies and headers of llama.cpp's server (0.3.36), of
`transformers serve` (5.19) and of `vllm serve` (0.32), word for word but for ids, times and what the model said."""

import json

import pytest

from askonce.pipeline import tasks
from askonce.pipeline.build import answered, build_cache
from askonce.pipeline.llm import LLM
from askonce.pipeline.questions import Wanted
from askonce.pipeline.simulated.response import Response
from askonce.pipeline.simulated.serve import running
from tests.called import called
from tests.pipeline.servers import Server

TASK = tasks.find("SimpleDoorKey")
SAID = "Observation: a door.\nReasoning: look around.\nDecision: explore"
AS_JSON = '{"observation": "a door", "reasoning": "look", "decision": ["explore"]}'


def llama_cpp(request: dict, number: int) -> Response:
    """With two slots and a context of 2048 tokens."""
    headers = {
        "Server": "llama.cpp",
        "Access-Control-Allow-Origin": "",
        "Content-Type": "application/json; charset=utf-8",
    }

    def refused(message: str, kind: str, **more: int) -> Response:
        return Response(400, {"error": {"code": 400, "message": message, "type": kind, **more}}, headers)

    if (n := request["n"]) > 2:
        return refused(f"Field 'n': Value must be between 1 <= value <= 2, but got {n}", "invalid_request_error")
    if (tokens := len(str(request["messages"])) // 4) > 2048:
        words = f"request ({tokens} tokens) exceeds the available context size (2048 tokens), try increasing it"
        return refused(words, "exceed_context_size_error", n_prompt_tokens=tokens, n_ctx=2048)
    said = AS_JSON if "response_format" in request else "A" if request.get("logprobs") else SAID
    choices = [
        {"finish_reason": "stop", "index": index, "message": {"role": "assistant", "content": said}}
        for index in range(n)
    ]
    if request.get("logprobs"):
        known = {"id": 57, "token": "A", "bytes": [65], "logprob": -1.8771988153457642}
        other = {"id": 58, "token": "B", "bytes": [66], "logprob": -1.9}
        choices[0]["logprobs"] = {"content": [{**known, "top_logprobs": [known, other]}]}
        choices[0]["finish_reason"] = "length"
    body = {
        "choices": choices,
        "created": 1795792138,
        "model": "smol",
        "system_fingerprint": "b1-0c1e570",
        "object": "chat.completion",
        "usage": {
            "completion_tokens": 8,
            "prompt_tokens": 20,
            "total_tokens": 28,
            "prompt_tokens_details": {"cached_tokens": 19},
        },
        "id": "chatcmpl-TIepjhrOqxsdJUznuOJNXuTOwICdp6iL",
        "timings": {"cache_n": 0, "prompt_n": 20, "prompt_ms": 48.036, "prompt_per_token_ms": 2.4018},
    }
    return Response(200, body, headers)


def transformers_serve(request: dict, number: int) -> Response:
    """It knows neither n nor log-probabilities nor schemas, and says nothing of it; what it does not know at all it refuses."""
    headers = {"server": "uvicorn", "x-request-id": "f6cf70df-c472-4ade-a3e6-001d0b2c2b58"}
    if unknown := {"prompt_logprobs", "add_generation_prompt"} & set(request):
        return Response(422, {"detail": f"Unexpected fields in the request: {unknown}"}, headers)
    if request["model"] != "simulated":
        return Response(500, b"Internal Server Error", {**headers, "content-type": "text/plain; charset=utf-8"})
    body = {
        "id": "f6cf70df-c472-4ade-a3e6-001d0b2c2b58",
        "choices": [
            {"finish_reason": "stop", "index": 0, "message": {"content": f"{number}. {SAID}", "role": "assistant"}}
        ],
        "created": 1795792139,
        "model": "smol@main",
        "object": "chat.completion",
        "usage": {"completion_tokens": 8, "prompt_tokens": 20, "total_tokens": 28},
    }
    return Response(200, body, headers)


def vllm(request: dict, number: int) -> Response:
    """What it says of a prompt's tokens."""
    words = request["messages"][-1]["content"]
    likely = -2.0 if "explore" in words else -4.0
    tokens = ["<|im_start|>", "assistant", "\n", *words.split(" "), "<|im_end|>", "\n"]
    message = {
        "role": "assistant",
        "content": "",
        "refusal": None,
        "annotations": None,
        "audio": None,
        "reasoning": None,
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop", "stop_reason": None}
    known = [{str(at): {"logprob": likely, "rank": 1, "decoded_token": token}} for at, token in enumerate(tokens)]
    body = {
        "id": "chatcmpl-84c997d24a763c3b",
        "object": "chat.completion",
        "created": 1795792905,
        "model": "smol",
        "choices": [{**choice, "token_ids": None}],
        "service_tier": None,
        "system_fingerprint": "vllm-0.32.0-549f660b",
        "usage": {"prompt_tokens": 39, "total_tokens": 40, "completion_tokens": 1, "prompt_tokens_details": None},
        "prompt_logprobs": [None, *known],
    }
    return Response(200, body)


def build(server, cache, *more: object):
    with running(Server(server)) as url:
        arguments = "build-cache", "--task", TASK.name, "--cache", cache, "--episodes", 30, "--base-url", url, "--json"
        return called(*arguments, *more)


@pytest.mark.parametrize(
    "server, auto, words",
    [
        (llama_cpp, "json", "2 completions a request; JSON schema"),
        (transformers_serve, "text", "one completion a request; no JSON schema"),
    ],
)
def test_each_is_got_to_know_without_a_failure(tmp_path, server, auto, words):
    found = build(server, tmp_path, "--samples", 4, "--estimator", "auto").figures
    assert (found["estimator"], found["server"], found["errors"]) == (auto, words, {})
    assert found["unparsable"] == 0 and found["completions"] >= 4 * found["texts"]


def test_letters_are_read_where_a_server_gives_them_and_refused_where_it_does_not(tmp_path):
    letters = "--estimator", "scored", "--prompt", "without-reasoning", "--samples", 1
    # The recorded answer lists two; the request that it took asks for twenty.
    assert build(llama_cpp, tmp_path / "one", *letters).figures["server"] == "20 log-probabilities"
    ended = build(transformers_serve, tmp_path / "other", *letters)
    assert ended.code == 3 and "use --estimator text" in ended.err


@pytest.mark.parametrize("server", [llama_cpp, transformers_serve])
def test_a_likelihood_that_a_server_does_not_know_is_one_line(tmp_path, server):
    ended = build(server, tmp_path, "--estimator", "likelihood", "--prompt", "without-reasoning")
    assert ended.code in (1, 3) and ("scored or text" in ended.err or "Unexpected fields" in ended.err)
    assert ended.err.count("error: ") == 1


def test_a_likelihood_counts_the_decision_and_its_end_alone(tmp_path):
    with running(Server(vllm)) as url:
        llm = LLM("simulated", url, estimator="likelihood", prompt="without-reasoning")
        build_cache(TASK, tmp_path, llm, 30, Wanted(1))
        found, unparsable = answered(TASK, tmp_path, llm)
    assert found and not unparsable
    # Two tokens of "Decision: explore", the end and the line break: -2 each.
    assert all(max(shares, key=shares.get) == ("explore",) for shares in found.values() if ("explore",) in shares)


def test_a_prompt_beyond_the_context_is_set_aside_with_the_server_s_words(tmp_path):
    template = tmp_path / "long.jinja"
    template.write_text("=== user\n" + "word " * 3000 + "{{ text }}\nDecision:\n")
    ended = build(llama_cpp, tmp_path / "cache", "--prompt", template)
    assert ended.code in (1, 3) and "exceeds the available context size" in ended.err and "Traceback" not in ended.err


def test_a_model_that_is_not_there_is_one_line(tmp_path):
    ended = build(transformers_serve, tmp_path, "--model", "other", "--timeout", 5, "--max-requests", 3)
    assert ended.code in (1, 3) and ended.err.count("error: ") == 1
    assert "500" in ended.err or "--max-requests" in ended.err
    assert json.loads(ended.out)["error"]
