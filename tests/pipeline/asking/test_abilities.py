"""A server is got to know by the first real requests, once, and what it refuses it is asked in another dress."""

import time

import pytest

from askonce.cache import layout, query, verify
from askonce.cache.errors import AskonceError
from askonce.pipeline import tasks
from askonce.pipeline.asking import abilities, client
from askonce.pipeline.asking.abilities import LIMITS, Abilities, without_system
from askonce.pipeline.asking.retry import Patience
from askonce.pipeline.asking.terms import Terms
from askonce.pipeline.build import build_cache
from askonce.pipeline.llm import LLM, endpoint
from askonce.pipeline.questions import Wanted
from askonce.pipeline.simulated.serve import Response, completion, failure, running
from tests.called import called
from tests.pipeline.servers import Server

TASK = tasks.find("SimpleDoorKey")
# As llama.cpp's server with four slots says it.
SLOTS = "Field 'n': Value must be between 1 <= value <= 4, but got {n}"


def built(server: Server, cache, samples: int = 10, **settings):
    with running(server) as url:
        # The port is another one each time.
        llm = LLM("simulated", url, model_id="ours", **settings)
        return build_cache(TASK, cache, llm, 30, Wanted(samples)), llm


def few_choices(request, number):
    return failure(400, SLOTS.format(n=request["n"]), "invalid_request_error") if request["n"] > 4 else None


def one_choice(request, number):
    return failure(422, "this server gives one completion", "unsupported") if request["n"] > 1 else None


def no_system(request, number):
    if request["messages"][0]["role"] == "system":
        return failure(400, "Jinja Exception: System role not supported", "invalid_request_error")


def new_limit(request, number):
    if LIMITS[0] in request:
        return failure(
            400, f"Unsupported parameter: '{LIMITS[0]}'. Use '{LIMITS[1]}' instead.", "unsupported_parameter"
        )


def five_logprobs(request, number):
    if request.get("top_logprobs", 0) > 5:
        return failure(400, "top_logprobs must be at most 5", "invalid_value")


@pytest.mark.parametrize(
    "habit, settings, known, words",
    [
        (few_choices, {}, {"choices": 4}, "4 completions a request"),
        (one_choice, {}, {"choices": 1}, "one completion a request"),
        (no_system, {}, {"system": False}, "the system's words within the user's"),
        (new_limit, {}, {"limit": LIMITS[1]}, LIMITS[1]),
        (five_logprobs, {"estimator": "scored", "prompt": "without-reasoning"}, {"logprobs": 5}, "5 log-probabilities"),
        (None, {"estimator": "json"}, {"schema": True}, "JSON schema"),
    ],
)
def test_what_a_server_refuses_is_learnt_once_and_is_no_failure(tmp_path, habit, settings, known, words):
    server = Server(habit or (lambda request, number: None))
    report, llm = built(server, tmp_path, **settings)
    assert not report.errors and not report.unanswered and report.unparsable == 0 and words in report.server
    can = abilities.noted(tmp_path, endpoint(llm), llm.model)
    assert {name: getattr(can, name) for name in known} == known
    if habit:
        # Whoever asks the same server again does not meet the refusal anew.
        refused = sum(habit(request, 0) is not None for request in server.requests)
        server = Server(habit)
        again, _ = built(server, tmp_path, samples=12, **settings)
        assert refused and not any(habit(request, 0) for request in server.requests) and not again.errors
    assert not verify.verify(tmp_path).findings


def test_answers_in_another_dress_are_those_to_the_question(tmp_path):
    plain, _ = built(Server(), tmp_path / "plain", samples=1)
    refused, _ = built(Server(no_system), tmp_path / "refused", samples=1)
    asked = "SELECT key, request FROM completions ORDER BY ALL"
    keys = [query.connect(tmp_path / name).execute(asked).fetchall() for name in ("plain", "refused")]
    assert refused.completions == plain.completions > 0 and keys[0] == keys[1]
    held = built(Server(), tmp_path / "refused", samples=1)[0]
    assert held.asked == 0


def test_a_refusal_that_names_nothing_is_the_prompt_s_own(tmp_path):
    def filtered(request, number):
        if "sees a key" in request["messages"][-1]["content"] and request["messages"][0]["role"] == "system":
            return failure(400, "the content was filtered", "content_filter")

    report, llm = built(Server(filtered), tmp_path, samples=1)
    assert report.unanswered and abilities.noted(tmp_path, "ours", llm.model).system is True


def test_what_is_damaged_or_from_a_later_version_is_learnt_anew(tmp_path):
    _, llm = built(Server(few_choices), tmp_path)
    (path,) = (tmp_path / layout.SERVERS).iterdir()
    path.write_bytes(path.read_bytes()[:-4])
    assert abilities.noted(tmp_path, "ours", llm.model) == Abilities()
    assert [finding.path for finding in verify.verify(tmp_path).findings] == [f"{layout.SERVERS}/{path.name}"]


def test_the_system_s_words_go_into_the_first_message_of_the_user_s():
    chat = [{"role": "system", "content": "A"}, {"role": "user", "content": "B"}, {"role": "assistant", "content": "C"}]
    assert without_system(chat) == [{"role": "user", "content": "A\n\nB"}, {"role": "assistant", "content": "C"}]


# ---- auto ------------------------------------------------------------------------------------------------------------


def deaf(request, number):
    """Heeds neither a schema nor asks for log-probabilities."""
    return Response(200, completion("simulated", [("Decision: explore", "stop")] * request["n"], 10))


def refuses_schemas(request, number):
    if "response_format" in request:
        return failure(400, "response_format is not supported", "invalid_request_error")


@pytest.mark.parametrize(
    "habit, prompt, estimator",
    [
        (lambda request, number: None, "three-stages", "json"),
        (lambda request, number: None, "without-reasoning", "scored"),
        (deaf, "three-stages", "text"),
        (deaf, "without-reasoning", "text"),
        (refuses_schemas, "three-stages", "text"),
    ],
)
def test_auto_is_the_best_that_the_server_can(tmp_path, habit, prompt, estimator):
    report, _ = built(Server(habit), tmp_path, samples=2, estimator="auto", prompt=prompt)
    assert report.estimator == estimator and not report.unanswered
    # Its first answer was a real one.
    server = Server(habit)
    again, _ = built(server, tmp_path, samples=2, estimator="auto", prompt=prompt)
    assert again.estimator == estimator and not server.requests


def test_training_asks_in_the_way_that_auto_found(tmp_path):
    built(Server(), tmp_path / "cache", samples=1, estimator="auto")
    arguments = ("--cache", tmp_path / "cache", "--run", tmp_path / "run", "--iterations", 2, "--json")
    with running(Server()) as url:
        asked = ("--base-url", url, "--model-id", "ours", "--estimator", "auto", "--samples", 1)
        ended = called("train", "--task", TASK.name, *arguments, *asked)
    assert ended.code == 0 and ended.figures["iteration"] == 2


# ---- Slow servers ----------------------------------------------------------------------------------------------------


def test_a_slow_server_gets_the_time_that_it_needs_unless_a_time_out_is_set(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "FIRST_TIMEOUT", 0.2)

    def slow(request, number):
        time.sleep(0.7)

    report, _ = built(Server(slow), tmp_path / "patient", samples=1)
    # 0.2, 0.4 and 0.8 s.
    assert report.errors["timeout"] > 0 and not report.unanswered and report.completions == report.texts
    with running(Server(slow)) as url, pytest.raises(AskonceError, match="did not answer within 0.2 s"):
        terms = Terms(patience=Patience(attempts=2, first_wait=0.01, longest_wait=0.01, timeout=0.2))
        build_cache(TASK, tmp_path / "hurried", LLM("simulated", url), 30, Wanted(1), terms=terms)


LONG = "Observation: there is much to be seen here, and all of it is told. Reasoning: what is told is thought about. "


@pytest.mark.parametrize(
    "answer, alike", [(lambda n: LONG, True), (lambda n: f"{LONG} {n}", False), (lambda n: "", False)]
)
def test_a_server_that_draws_no_samples_is_told_from_one_that_does(tmp_path, answer, alike):
    """As `transformers serve` does with a model whose own settings say so, whatever the temperature."""

    def says(request, number):
        return Response(200, completion("simulated", [(f"{answer(number)}\nDecision: explore", "stop")], 10))

    report, _ = built(Server(says), tmp_path / "cache", samples=4)
    assert report.samples_alike is alike and report.unparsable == 0
    with running(Server(says)) as url:
        arguments = "build-cache", "--task", TASK.name, "--cache", tmp_path / "other", "--episodes", 30, "--samples", 4
        assert ("draws no samples" in called(*arguments, "--base-url", url).err) is alike


@pytest.mark.parametrize("said, heeds", [('{"observation": "a', True), ("The agent sees", None)])
def test_a_completion_that_was_cut_off_shows_that_a_schema_is_heeded_but_not_that_it_is_not(tmp_path, said, heeds):
    def cut_off(request, number):
        return Response(200, completion("simulated", [(said, "length")], 10))

    _, llm = built(Server(cut_off), tmp_path / "cache", samples=1, estimator="json")
    assert abilities.noted(tmp_path / "cache", endpoint(llm), llm.model).schema is heeds
