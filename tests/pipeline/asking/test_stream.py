"""Answers that come token by token: asked for where whole ones take long, and the same as those."""

import json
import time

import pytest

from askonce.cache import query
from askonce.cache.errors import AskonceError
from askonce.pipeline import tasks
from askonce.pipeline.asking import abilities, client
from askonce.pipeline.asking.client import Job
from askonce.pipeline.asking.retry import Patience
from askonce.pipeline.asking.stream import CONTENT_TYPE
from askonce.pipeline.asking.terms import Terms
from askonce.pipeline.build import build_cache
from askonce.pipeline.llm import LLM, endpoint, request
from askonce.pipeline.questions import Wanted
from askonce.pipeline.simulated.serve import Response, completion, events, failure, running
from tests.pipeline.doorkey_prompt import PROMPT
from tests.pipeline.servers import Server, ask_all

TASK = tasks.find("SimpleDoorKey")
PATIENT = Terms(patience=Patience(first_wait=0.01, longest_wait=0.01))
IMPATIENT = Terms(patience=Patience(attempts=2, first_wait=0.01, longest_wait=0.01))
JOB = Job("a", request(LLM("simulated"), PROMPT, "Agent sees a key, holds nothing."), 2)
ANSWER = completion("simulated", [("Decision: go to key, pick up key", "stop"), ("Decision: explore", "stop")], 10)


@pytest.fixture
def shown_slow(monkeypatch):
    """A server that has shown itself slow, before anything is asked."""
    initial = client.Client.__init__

    def slow(self, *arguments):
        initial(self, *arguments)
        self.timeout = 2 * client.FIRST_TIMEOUT

    monkeypatch.setattr(client.Client, "__init__", slow)


def streamed(pieces):
    return lambda asked, number: Response(200, iter(pieces), {"Content-Type": CONTENT_TYPE})


@pytest.mark.parametrize("settings", [{}, {"estimator": "scored"}, {"estimator": "json"}])
def test_a_streamed_cache_is_the_same_as_another(tmp_path, settings, shown_slow, monkeypatch):
    server = Server()
    with running(server) as url:
        build_cache(TASK, tmp_path / "streamed", LLM("simulated", url, model_id="ours", **settings), 30, Wanted(3))
    assert server.requests and all(asked["stream"] for asked in server.requests)
    monkeypatch.undo()
    with running(Server()) as url:
        build_cache(TASK, tmp_path / "whole", LLM("simulated", url, model_id="ours", **settings), 30, Wanted(3))
    # When they were asked, and how long it took, differs.
    kept = "SELECT key, sample, content, logprobs, prompt_tokens, completion_tokens FROM completions ORDER BY ALL"
    rows = [query.connect(tmp_path / name).execute(kept).fetchall() for name in ("streamed", "whole")]
    assert rows[0] == rows[1] and rows[0]


def test_an_answer_that_moves_is_waited_for_and_one_that_does_not_is_not(monkeypatch):
    monkeypatch.setattr(client, "FIRST_TIMEOUT", 0.3)

    def slow(asked, number):
        """Takes 1.5 seconds for an answer; the third time-out of one that must come whole would be the first so long."""
        if not asked.get("stream"):
            time.sleep(1.5)
            return Response(200, ANSWER)

        def trickling():
            for event in (pieces := list(events(ANSWER))):
                time.sleep(1.5 / len(pieces))
                yield event

        return Response(200, trickling(), {"Content-Type": CONTENT_TYPE})

    server = Server(slow)
    with running(server) as url:
        (answer,) = ask_all(LLM("simulated", url), [JOB], PATIENT)
    assert [reply.content for reply in answer.replies] == [choice["message"]["content"] for choice in ANSWER["choices"]]
    assert ["stream" in asked for asked in server.requests] == [False, True]


def test_signs_of_life_without_a_token_are_no_answer(monkeypatch):
    monkeypatch.setattr(client, "FIRST_TIMEOUT", 0.2)

    def waiting():
        for _ in range(40):
            time.sleep(0.05)
            yield b": waiting\n\n"

    def queued(asked, number):
        return Response(200, waiting(), {"Content-Type": CONTENT_TYPE}) if number < 3 else None

    with running(Server(queued)) as url:
        began = time.monotonic()
        assert list(ask_all(LLM("simulated", url), [JOB], PATIENT))
    # Both ended by their time-out, long before the server had ended them.
    assert time.monotonic() - began < 3


def test_a_server_that_does_not_stream_is_asked_for_whole_answers(tmp_path, shown_slow):
    def whole_only(asked, number):
        return failure(400, "streaming is not supported", "unsupported") if "stream" in asked else None

    with running(Server(whole_only)) as url:
        llm = LLM("simulated", url, model_id="ours")
        report = build_cache(TASK, tmp_path, llm, 30, Wanted(1))
    assert not report.errors and not report.unanswered
    assert abilities.noted(tmp_path, endpoint(llm), llm.model).streams is False


PIECES = list(events(ANSWER))


@pytest.mark.parametrize(
    "pieces, contents",
    [
        # Cut anywhere, and with the line ends of Windows.
        ([bytes([byte]) for byte in b"".join(PIECES)], 2),
        ([piece.replace(b"\n", b"\r\n") for piece in PIECES], 2),
        # Broken off within the second choice: the first is kept.
        (PIECES[:-4], 1),
        (PIECES[:3], "broke off"),
        ([b"data: {\n\n"], "invalid JSON"),
        ([b'data: {"error": {"message": "out of memory"}}\n\n'], "out of memory"),
        (
            [b'data: {"choices": [{"index": -1, "delta": {}}, {"index": 0, "delta": 3}, 7]}\n\n', b"data: 3\n\n"],
            "broke off",
        ),
        ([b"data: [DONE]\n\n"], "broke off"),
    ],
)
def test_what_comes_in_pieces_is_one_answer_or_one_line(pieces, contents, shown_slow):
    def habit(asked, number):
        return streamed(pieces)(asked, number) if number == 1 or isinstance(contents, str) else None

    server = Server(habit)
    with running(server) as url:
        if isinstance(contents, str):
            with pytest.raises(AskonceError, match=contents) as error:
                list(ask_all(LLM("simulated", url), [JOB], IMPATIENT))
            assert "\n" not in str(error.value)
        else:
            answers = list(ask_all(LLM("simulated", url), [JOB], IMPATIENT))
            assert sum(len(answer.replies) for answer in answers) == 2
            assert len(server.requests) == 3 - contents
            assert json.dumps(answers[0].replies[0].usage) == json.dumps(ANSWER["usage"] if contents == 2 else None)


@pytest.mark.parametrize("refuses", [False, True])
def test_each_sample_has_a_seed_of_its_own_where_the_server_takes_one(tmp_path, refuses):
    def no_seed(asked, number):
        if asked["n"] > 1:
            return failure(400, "n must be 1", "invalid_value")
        if refuses and "seed" in asked:
            return failure(422, "seed: Extra inputs are not permitted", "invalid_request_error")

    server = Server(no_seed)
    with running(server) as url:
        llm = LLM("simulated", url, model_id="ours")
        report = build_cache(TASK, tmp_path, llm, 30, Wanted(4))
    assert not report.errors and not report.unanswered
    can = abilities.noted(tmp_path, endpoint(llm), llm.model)
    assert (can.choices, can.seed) == (1, not refuses)
    taken = [asked.get("seed") for asked in server.requests if not no_seed(asked, 0)]
    assert set(taken) == ({None} if refuses else {1, 2, 3, 4})
