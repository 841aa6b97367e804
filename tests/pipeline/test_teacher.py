from contextlib import contextmanager
import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest

from cache.errors import AskonceError
from pipeline import teacher as teaching
from pipeline.prompt import parse
from pipeline.serve import Response, SimulatedServer, completion, failure, running, serve
from pipeline.simulated import Errors
from pipeline.teacher import Job, Patience, Teacher, ask_all, connect
from tests.pipeline.doorkey_prompt import OPTIONS, PROMPT

TEXT = "Agent sees a red key, a blue key, a red door, holds nothing."
SECRET = "sk-a-key-that-nobody-may-read"
HURRY = Patience(attempts=3, first_wait=0.01, longest_wait=0.02, timeout=5)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


class Server(SimulatedServer):
    """The simulated LLM, behind a function that sees each request first and may answer in its place."""

    def __init__(self, instead=lambda request, number: None, **settings):
        super().__init__(**settings)
        self.instead, self.requests, self.lock = instead, [], threading.Lock()

    def respond(self, method, path, headers, body):
        with self.lock:
            self.requests.append(json.loads(body))
            number = len(self.requests)
        return self.instead(self.requests[number - 1], number) or super().respond(method, path, headers, body)


@contextmanager
def asker(server: SimulatedServer, model: str = "simulated", patience: Patience = HURRY):
    with running(server) as url, connect(Teacher(model, url), patience) as connected:
        yield connected


def body(text: str = TEXT, **settings) -> dict:
    return teaching.request(Teacher(**settings), PROMPT, text)


def contents(replies) -> list[str]:
    return [reply.content for reply in replies]


def in_process(n: int, first: int = 0) -> list[str]:
    with connect(Teacher()) as connected:
        return contents(connected.complete(body(), n, first))


# ---- What an answer depends on -------------------------------------------------------------------

def test_the_key_depends_on_text_model_settings_and_endpoint():
    known = Teacher("gpt", "http://localhost:1/v1")
    others = [Teacher("gpt2", "http://localhost:1/v1"), Teacher("gpt", "http://localhost:2/v1"),
              Teacher("gpt", "http://localhost:1/v1", temperature=0.5),
              Teacher("gpt", "http://localhost:1/v1", max_tokens=9)]
    keys = [teaching.key(teacher, PROMPT, TEXT) for teacher in (known, *others)]
    assert len({*keys, teaching.key(known, PROMPT, "Agent sees nothing, holds nothing.")}) == 6
    digests = {teaching.prompt_digest(teacher, PROMPT) for teacher in (known, *others)}
    assert len(digests) == 5 and all(len(digest) == 8 and int(digest, 16) >= 0 for digest in digests)


def test_the_errors_of_the_simulated_llm_in_this_process_are_part_of_its_key():
    key = teaching.key(Teacher(), PROMPT, TEXT)
    assert key == teaching.key(Teacher(), PROMPT, TEXT)
    assert key != teaching.key(Teacher(seed=1), PROMPT, TEXT)
    assert key != teaching.key(Teacher(errors=Errors(0.5, 0, 0)), PROMPT, TEXT)


def test_at_an_address_it_is_a_server_like_any_other():
    assert teaching.endpoint(Teacher(base_url="http://127.0.0.1:4711/v1")) == "http://127.0.0.1:4711/v1"


def test_only_openai_itself_is_told_its_new_name_of_the_token_limit():
    assert "max_tokens" in teaching.request(Teacher("gpt", "http://localhost:1/v1"), PROMPT, TEXT)
    assert "max_completion_tokens" in teaching.request(Teacher("gpt", "https://api.openai.com/v1/"), PROMPT, TEXT)


def test_the_base_url_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:9/v1/")
    assert teaching.endpoint(Teacher("gpt")) == "http://localhost:9/v1"
    assert teaching.endpoint(Teacher("gpt", "http://localhost:8/v1")) == "http://localhost:8/v1"
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert teaching.endpoint(Teacher("gpt")) == teaching.OPENAI_URL


# ---- Asking --------------------------------------------------------------------------------------

def test_n_samples_come_in_one_request():
    server = Server()
    with asker(server) as connected:
        replies = connected.complete(body(), 5)
    assert [request["n"] for request in server.requests] == [5]
    assert all(parse(reply.content, OPTIONS).decision for reply in replies)
    assert {(reply.finish_reason, reply.served_model) for reply in replies} == {("stop", "simulated")}
    assert replies[0].prompt_tokens > 0 and [reply.prompt_tokens for reply in replies[1:]] == [0] * 4


def test_a_sample_is_the_same_in_whatever_order_it_is_asked_for_and_wherever_the_server_runs():
    with asker(SimulatedServer()) as connected:
        together = contents(connected.complete(body(), 6))
        apart = [connected.complete(body(), 1, first)[0].content for first in reversed(range(6))]
    assert together == apart[::-1] == in_process(6)
    assert in_process(2, first=4) == together[4:]


def test_a_server_answers_by_its_own_seed_and_errors():
    wrong = Teacher(errors=Errors(1, 0, 0), seed=3)
    with (
        serve(wrong.errors, wrong.seed) as url,
        connect(Teacher(base_url=url)) as there,
        connect(wrong) as here,
    ):
        assert contents(there.complete(body(), 4)) == contents(here.complete(body(), 4))
        decided = {parse(reply.content, OPTIONS).decision for reply in there.complete(body(), 4)}
    assert decided == {("go to blue key", "pick up blue key")}


def test_at_temperature_zero_all_samples_are_the_same():
    with connect(Teacher()) as connected:
        assert len(set(contents(connected.complete(body(temperature=0.0), 5)))) == 1


def test_a_completion_is_cut_at_the_token_limit_and_says_so():
    with connect(Teacher()) as connected:
        reply = connected.complete(body(max_tokens=7), 1)[0]
    assert (reply.finish_reason, reply.completion_tokens) == ("length", 7)


@pytest.mark.parametrize("most", [1, 3])
def test_a_server_that_gives_fewer_choices_is_asked_for_the_rest_and_remembered(most):
    class Stingy(Server):
        def respond(self, method, path, headers, body):
            asked = json.loads(body)
            self.requests.append(asked)
            given = json.dumps(asked | {"n": min(most, asked["n"])}).encode()
            return SimulatedServer.respond(self, method, path, headers, given)

    server = Stingy()
    with asker(server) as connected:
        replies = connected.complete(body(), 5)
        first_time = len(server.requests)
        connected.complete(body(), 5)
    assert contents(replies) == in_process(5)
    assert server.requests[0]["n"] == 5
    assert all(request["n"] <= most for request in server.requests[1:])
    assert len(server.requests) == 2 * first_time


def test_a_server_that_refuses_n_is_asked_for_one_at_a_time():
    server = Server(lambda request, number: failure(400, "n must be 1", "bad") if request["n"] > 1 else None)
    with asker(server) as connected:
        assert contents(connected.complete(body(), 3)) == in_process(3)
    assert [request["n"] for request in server.requests] == [3, 1, 1, 1]


def test_completion_tokens_are_shared_out_to_the_last():
    answered = completion("gpt", [("a", "stop")] * 3, 10)
    answered["usage"]["completion_tokens"] = 11
    with asker(Server(lambda request, number: Response(200, answered)), "gpt") as connected:
        replies = connected.complete(body(), 3)
    assert sorted(reply.completion_tokens for reply in replies) == [3, 4, 4]
    assert [reply.prompt_tokens for reply in replies] == [10, 0, 0]


def test_null_content_missing_usage_and_refusals_are_kept():
    answered = completion("gpt", [("", "content_filter"), ("", "stop")], 0)
    answered["choices"][0]["message"]["content"] = None
    answered["choices"][1]["message"] = {"role": "assistant", "content": None, "refusal": "I'm sorry."}
    del answered["usage"]
    with asker(Server(lambda request, number: Response(200, answered)), "gpt") as connected:
        replies = connected.complete(body(), 2)
    given = [(reply.content, reply.finish_reason) for reply in replies]
    assert given == [("", "content_filter"), ("I'm sorry.", "stop")]
    assert sum(reply.prompt_tokens + reply.completion_tokens for reply in replies) == 0


# ---- Faults --------------------------------------------------------------------------------------

PASSING = {
    "429": failure(429, "slow down", "rate_limit"),
    "429 at once": Response(429, {"error": {"message": "slow down"}}, {"Retry-After": "0"}),
    "429 with a date": Response(
        429, {"error": {"message": "slow down"}}, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    "500": failure(500, "oh", "oh"),
    "503": failure(503, "oh", "oh"),
    "no choices": Response(200, {"choices": []}),
    "choices of null": Response(200, {"choices": None}),
    "no completion": Response(200, ["what"]),
    "broken JSON": Response(200, b'{"choices": [{"ind'),
    "no JSON": Response(200, b"<html>welcome</html>", {"Content-Type": "text/html"}),
    "a bad gateway": Response(502, b"<html>oh</html>", {"Content-Type": "text/html"}),
}


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_asked_again(fault):
    server = Server(lambda request, number: PASSING[fault] if number == 1 else None)
    with asker(server) as connected:
        assert contents(connected.complete(body(), 2)) == in_process(2)
    assert len(server.requests) == 2


def test_retry_after_is_waited_for():
    opens = []

    def closed(request, number):
        opens.append(time.monotonic() + 0.3)
        return Response(429, {"error": {}}, {"Retry-After": "0.3"}) if time.monotonic() < opens[0] else None

    impatient = Patience(attempts=2, first_wait=0.001, longest_wait=0.001)
    with asker(Server(closed), patience=impatient) as connected:
        assert len(connected.complete(body(), 1)) == 1


@pytest.mark.parametrize("fault", ["500", "429", "no choices", "no completion", "broken JSON"])
def test_what_does_not_pass_ends_in_one_line_that_names_the_server(fault):
    server = Server(lambda request, number: PASSING[fault])
    with asker(server) as connected, pytest.raises(AskonceError) as raised:
        connected.complete(body(), 2)
    assert server.base_url in str(raised.value) and "\n" not in str(raised.value)
    assert "stored" in str(raised.value)
    assert len(server.requests) == HURRY.attempts


@pytest.mark.parametrize(
    "status, code", [(400, "bad"), (404, "model_not_found"), (429, "insufficient_quota")]
)
def test_what_cannot_pass_is_not_asked_again(status, code):
    server = Server(lambda request, number: failure(status, f"no,\n not with {SECRET}", code))
    with asker(server) as connected, pytest.raises(AskonceError) as raised:
        connected.complete(body(), 1)
    assert len(server.requests) == 1
    assert str(status) in str(raised.value) and "no, not with ***" in str(raised.value)


def test_a_wrong_key_ends_at_once_in_a_line_without_the_key():
    server = Server(api_key="another")
    with asker(server) as connected, pytest.raises(AskonceError) as raised:
        connected.complete(body(), 2)
    assert str(raised.value) == "the server refused the API key (401): set OPENAI_API_KEY"
    assert len(server.requests) == 1


def test_the_right_key_is_let_in():
    with asker(Server(api_key=SECRET)) as connected:
        assert len(connected.complete(body(), 1)) == 1


def test_a_key_with_a_line_break_is_refused_before_it_is_sent(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk\nx")
    unused = Teacher("gpt", "http://127.0.0.1:1/v1")
    with pytest.raises(AskonceError, match="OPENAI_API_KEY"), connect(unused):
        pass


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_an_unreachable_server_is_named_without_its_password():
    port = closed_port()
    with connect(Teacher("gpt", f"http://me:{SECRET}@127.0.0.1:{port}/v1"), HURRY) as connected:
        with pytest.raises(AskonceError) as raised:
            connected.complete(body(), 1)
    assert f"http://127.0.0.1:{port}/v1" in str(raised.value) and SECRET not in str(raised.value)


def test_a_base_url_that_is_none_is_refused():
    with pytest.raises(AskonceError, match="base URL"), connect(Teacher("gpt", "localhost:8000")):
        pass


def test_a_server_that_hangs_or_hangs_up_is_asked_again():
    def silent(request, number):
        if number == 1:
            time.sleep(0.4)
        if number == 2:
            raise ConnectionAbortedError

    server = Server(silent)
    quick = Patience(attempts=3, first_wait=0.01, longest_wait=0.01, timeout=0.2)
    with asker(server, patience=quick) as connected:
        assert len(connected.complete(body(), 1)) == 1
    assert len(server.requests) == 3


# ---- Many at once --------------------------------------------------------------------------------

def jobs(count: int, n: int = 2) -> list[Job]:
    return [Job(number, body(f"Agent sees a tone{number} key, holds nothing."), n) for number in range(count)]


def test_ask_all_answers_every_job():
    answered = {job.label: contents(replies) for job, replies in ask_all(Teacher(), jobs(30), workers=4)}
    with connect(Teacher()) as connected:
        assert answered == {job.label: contents(connected.complete(job.body, job.n)) for job in jobs(30)}


def test_ask_all_tells_of_each_part_which_samples_it_holds():
    one = Server(lambda request, number: failure(400, "n must be 1", "bad") if request["n"] > 1 else None)
    with running(one) as url:
        parts = list(ask_all(Teacher(base_url=url), [Job("text", body(), 3, first=4)], patience=HURRY))
    assert [(job.first, job.n) for job, _ in parts] == [(4, 1), (5, 1), (6, 1)]
    assert [content for _, replies in parts for content in contents(replies)] == in_process(3, first=4)


def test_ask_all_reads_jobs_only_as_far_as_needed():
    read = []
    answers = ask_all(Teacher(), (read.append(job) or job for job in jobs(50)), workers=2)
    next(answers)
    assert len(read) <= 4
    answers.close()


def test_what_was_answered_before_an_error_is_yielded_before_it_is_raised():
    server = Server(lambda request, number: failure(500, "broken", "x") if number > 5 else None)
    obtained = []
    with running(server) as url, pytest.raises(AskonceError, match="500"):
        for job, replies in ask_all(Teacher(base_url=url), jobs(40), 3, HURRY):
            obtained.append(job.label)
    assert len(obtained) == len(set(obtained)) == 5
    assert len({request["messages"][1]["content"] for request in server.requests}) < 40


def test_parts_of_a_job_that_fails_later_are_yielded_too():
    server = Server(lambda request, number: failure(400, "no", "x") if number == 1 or number > 3 else None)
    with running(server) as url:
        answers = ask_all(Teacher(base_url=url), [Job("text", body(), 5)], patience=HURRY)
        assert [next(answers)[0].first, next(answers)[0].first] == [0, 1]
        with pytest.raises(AskonceError):
            next(answers)


def test_an_interruption_while_it_waits_loses_nothing_in_flight():
    all_in_flight = threading.Barrier(3)

    def interrupting(request, number):
        if all_in_flight.wait(10) == 0:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)  # the main thread is interrupted before there is anything to hand over

    obtained = []
    with running(Server(interrupting)) as url, pytest.raises(KeyboardInterrupt):
        for job, replies in ask_all(Teacher(base_url=url), jobs(9), workers=3):
            obtained.append(job.label)
    assert sorted(obtained) == [0, 1, 2]


def test_a_stop_finishes_what_is_in_flight_and_begins_nothing():
    stop, obtained = threading.Event(), []
    for job, replies in ask_all(Teacher(), jobs(50), workers=2, stop=stop):
        obtained.append(job.label)
        stop.set()
    assert 1 <= len(obtained) <= 3


# ---- The server itself ---------------------------------------------------------------------------

def ask_raw(url: str, data: bytes | None = None, **headers) -> tuple[int, dict]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, data, headers)) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_server_lists_its_model():
    with serve() as url:
        status, answer = ask_raw(f"{url}/models")
    assert status == 200 and [model["id"] for model in answer["data"]] == ["simulated"]


ONE_MESSAGE = '"messages": [{"role": "user", "content": "x"}]'


@pytest.mark.parametrize("path, data, status", [
    ("/chat/completions", "{", 400),
    ("/chat/completions", "[]", 400),
    ("/chat/completions", '{"model": "simulated"}', 400),
    ("/chat/completions", '{"model": "simulated", "messages": []}', 400),
    ("/chat/completions", f'{{"model": "simulated", {ONE_MESSAGE}, "n": 10000}}', 400),
    ("/chat/completions", f'{{"model": "gpt", {ONE_MESSAGE}}}', 404),
    ("/chat", "{}", 404),
])
def test_the_server_refuses_in_the_openai_form(path, data, status):
    with serve() as url:
        answered, answer = ask_raw(url + path, data.encode())
    assert answered == status and set(answer["error"]) == {"message", "type", "param", "code"}


def test_a_port_in_use_is_one_line():
    with serve() as url, pytest.raises(AskonceError, match="port"):
        SimulatedServer(port=int(url.split(":")[2].split("/")[0]))
