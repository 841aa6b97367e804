import json
import threading
import urllib.error
import urllib.request

import pytest

from askonce.cache.errors import AskonceError
from askonce.cache.key import answer_key
from askonce.pipeline import llm as teaching
from askonce.pipeline.asking.client import Job
from askonce.pipeline.asking.reply import Reply
from askonce.pipeline.asking.terms import Terms
from askonce.pipeline.llm import LLM, connect
from askonce.pipeline.parse import parse
from askonce.pipeline.simulated.llm import Errors
from askonce.pipeline.simulated.serve import Response, SimulatedServer, completion, running, serve
from tests.pipeline.doorkey_prompt import OPTIONS, PROMPT
from tests.pipeline.servers import Server, ask_all

TEXT = "Agent sees a red key, a blue key, a red door, holds nothing."
HERE = "http://127.0.0.1:1/v1"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-any")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def giving(answer) -> Server:
    return Server(lambda request, number: Response(200, answer))


def complete(teacher: LLM, n: int, first: int = 0, **settings) -> list[Reply]:
    """Samples `first` to `first + n - 1` about TEXT."""
    job = Job("text", body(**settings), n, first)
    return [reply for answer in ask_all(teacher, [job]) for reply in answer.replies]


def asked_of(server: SimulatedServer, n: int, first: int = 0, model: str = "simulated") -> list[Reply]:
    with running(server) as url:
        return complete(LLM(model, url), n, first)


def body(text: str = TEXT, **settings) -> dict:
    return teaching.request(LLM(**settings), PROMPT, text)


def key(teacher: LLM, text: str) -> str:
    return answer_key(teaching.request(teacher, PROMPT, text), teaching.endpoint(teacher))


def contents(replies) -> list[str]:
    return [reply.content for reply in replies]


# ---- What an answer depends on -------------------------------------------------------------------


def test_the_key_depends_on_text_model_settings_and_endpoint():
    known = LLM("gpt", "http://localhost:1/v1")
    others = [
        LLM("gpt2", "http://localhost:1/v1"),
        LLM("gpt", "http://localhost:2/v1"),
        LLM("gpt", "http://localhost:1/v1", temperature=0.5),
        LLM("gpt", "http://localhost:1/v1", max_tokens=9),
    ]
    keys = [key(teacher, TEXT) for teacher in (known, *others)]
    assert len({*keys, key(known, "Agent sees nothing, holds nothing.")}) == 6
    digests = {teaching.prompt_digest(teacher, PROMPT) for teacher in (known, *others)}
    assert len(digests) == 5 and all(len(digest) == 8 and int(digest, 16) >= 0 for digest in digests)


def test_the_errors_of_the_simulated_llm_in_this_process_are_part_of_its_key():
    plain = key(LLM(), TEXT)
    assert plain == key(LLM(), TEXT)
    assert plain != key(LLM(seed=1), TEXT)
    assert plain != key(LLM(errors=Errors(0.5, 0, 0)), TEXT)


def test_at_an_address_it_is_a_server_like_any_other():
    assert teaching.endpoint(LLM(base_url="http://127.0.0.1:4711/v1")) == "http://127.0.0.1:4711/v1"


def test_only_openai_itself_is_told_its_new_name_of_the_token_limit():
    assert "max_tokens" in teaching.request(LLM("gpt", "http://localhost:1/v1"), PROMPT, TEXT)
    at_openai = LLM("gpt", "https://api.openai.com/v1/")
    assert "max_completion_tokens" in teaching.request(at_openai, PROMPT, TEXT)


def test_the_base_url_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:9/v1/")
    assert teaching.endpoint(LLM("gpt")) == "http://localhost:9/v1"
    assert teaching.endpoint(LLM("gpt", "http://localhost:8/v1")) == "http://localhost:8/v1"
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert teaching.endpoint(LLM("gpt")) == teaching.OPENAI_URL


def test_a_name_of_one_s_own_stands_for_all_addresses_of_a_model():
    one, other = (LLM("gpt", f"http://localhost:{port}/v1", model_id="gpt at home") for port in (1, 2))
    assert key(one, TEXT) == key(other, TEXT)
    assert teaching.endpoint(one) == "gpt at home"
    unnamed = LLM("gpt", "http://localhost:1/v1")
    assert key(one, TEXT) != key(unnamed, TEXT)
    for name in ("", " ", "http://localhost:1/v1"):
        with pytest.raises(AskonceError, match="--model-id"):
            LLM("gpt", model_id=name)


def test_further_fields_are_sent_and_are_part_of_the_key():
    plain, more = LLM("gpt", HERE), LLM("gpt", HERE, extra={"top_p": 0.9})
    assert teaching.request(more, PROMPT, TEXT) == teaching.request(plain, PROMPT, TEXT) | {"top_p": 0.9}
    assert key(more, TEXT) != key(plain, TEXT)
    with pytest.raises(AskonceError, match="messages"):
        LLM("gpt", HERE, extra={"messages": []})


def test_a_key_with_a_line_break_is_refused_before_it_is_sent(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk\nx")
    with pytest.raises(AskonceError, match="OPENAI_API_KEY"), connect(LLM("gpt", HERE)):
        pass


def test_a_base_url_that_is_none_is_refused():
    with pytest.raises(AskonceError, match="base URL"), connect(LLM("gpt", "localhost:8000")):
        pass


# ---- Asking --------------------------------------------------------------------------------------


def test_n_samples_come_in_one_request():
    server = Server()
    replies = asked_of(server, 5)
    assert [request["n"] for request in server.requests] == [5]
    assert all(parse(reply.content, OPTIONS).decision for reply in replies)
    assert {(reply.finish_reason, reply.served_model) for reply in replies} == {("stop", "simulated")}
    assert replies[0].prompt_tokens > 0 and [reply.prompt_tokens for reply in replies[1:]] == [0] * 4
    assert all(reply.asked_at.tzinfo and reply.latency > 0 for reply in replies)


def test_a_sample_is_the_same_in_whatever_order_it_is_asked_for_and_wherever_the_server_runs():
    together = contents(complete(LLM(), 6))
    with serve() as url:
        apart = [complete(LLM(base_url=url), 1, first)[0].content for first in reversed(range(6))]
    assert together == apart[::-1]
    assert contents(complete(LLM(), 2, first=4)) == together[4:]


def test_a_server_answers_by_its_own_seed_and_errors():
    wrong = LLM(errors=Errors(1, 0, 0), seed=3)
    with serve(wrong.errors, wrong.seed) as url:
        there = complete(LLM(base_url=url), 4)
    assert contents(there) == contents(complete(wrong, 4))
    (decided,) = {parse(reply.content, OPTIONS).decision for reply in there}
    assert set(decided) == {"go to red key", "go to red door"}  # … and back, until the time is up


def test_at_temperature_zero_all_samples_are_the_same():
    assert len(set(contents(complete(LLM(), 5, temperature=0.0)))) == 1


def test_a_completion_is_cut_at_the_token_limit_and_says_so():
    reply = complete(LLM(), 1, max_tokens=7)[0]
    assert (reply.finish_reason, reply.completion_tokens) == ("length", 7)


def test_completion_tokens_are_shared_out_to_the_last():
    answered = completion("gpt", [("a", "stop")] * 3, 10)
    answered["usage"]["completion_tokens"] = 11
    replies = asked_of(giving(answered), 3, model="gpt")
    assert sorted(reply.completion_tokens for reply in replies) == [3, 4, 4]
    assert [reply.prompt_tokens for reply in replies] == [10, 0, 0]
    assert [reply.usage for reply in replies] == [answered["usage"], None, None]


def test_more_choices_than_asked_for_are_not_taken():
    replies = asked_of(giving(completion("gpt", [("a", "stop"), ("b", "stop")], 10)), 1, model="gpt")
    assert contents(replies) == ["a"]


def test_content_in_pieces_is_kept_as_json():
    answered = completion("gpt", [("", "stop")], 10)
    answered["choices"][0]["message"]["content"] = [{"type": "text", "text": "Decision: explore"}]
    (reply,) = asked_of(giving(answered), 1, model="gpt")
    assert json.loads(reply.content) == [{"type": "text", "text": "Decision: explore"}]


# ---- Many at once --------------------------------------------------------------------------------


def jobs(count: int, n: int = 2) -> list[Job]:
    return [Job(number, body(f"Agent sees a tone{number} key, holds nothing."), n) for number in range(count)]


def test_every_job_is_answered():
    answered = {answer.job.label: contents(answer.replies) for answer in ask_all(LLM(), jobs(30))}
    with connect(LLM(), Terms(concurrency=1)) as asker:
        alone = {event.job.label: contents(event.replies) for job in jobs(30) for [event] in asker.ask([job])}
    assert answered == alone


def test_a_connection_serves_several_threads_at_once():
    found = {}

    def ask(asker, part):
        found.update({event.job.label: len(event.replies) for batch in asker.ask(part) for event in batch})

    with connect(LLM()) as asker:
        threads = [threading.Thread(target=ask, args=(asker, jobs(20)[at::4])) for at in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {number: 2 for number in range(20)}


def test_jobs_are_read_only_as_far_as_needed():
    read = []
    answers = ask_all(LLM(), (read.append(job) or job for job in jobs(50)), Terms(concurrency=2))
    next(answers)
    assert len(read) <= 4
    answers.close()


def test_a_stop_finishes_what_is_in_flight_and_begins_nothing():
    stop, obtained = threading.Event(), []
    for answer in ask_all(LLM(), jobs(200), Terms(concurrency=2), stop):
        obtained.append(answer.job.label)
        stop.set()
    assert 1 <= len(obtained) < 100


# ---- Log-probabilities ---------------------------------------------------------------------------


def test_log_probabilities_are_kept_as_the_server_gave_them():
    answered = completion("gpt", [("A", "stop")], 10)
    entry = {"token": "A", "logprob": -0.1, "bytes": [65], "top_logprobs": []}
    answered["choices"][0]["logprobs"] = {"content": [entry], "refusal": None}
    (reply,) = asked_of(giving(answered), 1, model="gpt")
    assert reply.logprobs == {"content": [entry], "refusal": None}


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


@pytest.mark.parametrize(
    "path, data, status",
    [
        ("/chat/completions", "{", 400),
        ("/chat/completions", "[]", 400),
        ("/chat/completions", '{"model": "simulated"}', 400),
        ("/chat/completions", '{"model": "simulated", "messages": []}', 400),
        ("/chat/completions", f'{{"model": "simulated", {ONE_MESSAGE}, "n": 10000}}', 400),
        ("/chat/completions", f'{{"model": "gpt", {ONE_MESSAGE}}}', 404),
        ("/chat", "{}", 404),
    ],
)
def test_the_server_refuses_in_the_openai_form(path, data, status):
    with serve() as url:
        answered, answer = ask_raw(url + path, data.encode())
    assert answered == status and set(answer["error"]) == {"message", "type", "param", "code"}


def test_a_port_in_use_is_one_line():
    with serve() as url, pytest.raises(AskonceError, match="port"):
        SimulatedServer(port=int(url.split(":")[2].split("/")[0]))
