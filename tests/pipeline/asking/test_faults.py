"""Every fault of a server: what was obtained is yielded, what is missing is told, nothing is asked twice."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from askonce.cache.errors import AskonceError
from askonce.pipeline.asking.asker import Replies
from askonce.pipeline.asking.budget import Budget, Stopped, Tally
from askonce.pipeline.asking.client import Job
from askonce.pipeline.asking.limits import FIRST_LIMIT
from askonce.pipeline.asking.prices import Price
from askonce.pipeline.asking.retry import Patience
from askonce.pipeline.asking.terms import Terms
from askonce.pipeline.llm import LLM, connect, request
from tests.command import SECRET
from tests.pipeline.asking.faulty_process import ROOT, FaultyServer
from tests.pipeline.asking.faulty_server import CUT, ECHO, HUNG, RESET, TRICKLE
from tests.pipeline.doorkey_prompt import PROMPT
from tests.pipeline.servers import ask_all

HURRY = Patience(attempts=3, first_wait=0.01, longest_wait=0.02, timeout=5, in_all=20)
POISON = "Agent sees a poisoned key, holds nothing."


def job(text: str, n: int = 1, **settings) -> Job:
    return Job(text, request(LLM(**settings), PROMPT, text), n)


def jobs(count: int, n: int = 1) -> list[Job]:
    return [job(f"Agent sees a tone{number} key, holds nothing.", n) for number in range(count)]


def terms(patience: Patience = HURRY, **settings) -> Terms:
    return Terms(patience=patience, **settings)


def run(server, asked, patience: Patience = HURRY, tally: Tally | None = None, stop=None, **settings):
    """Samples obtained, those told to be unanswered (each as label and index), and the error at the end."""
    obtained, missing, error = Counter(), Counter(), None
    replies, reasons = [], []
    try:
        for event in ask_all(LLM(base_url=server.url), asked, terms(patience, **settings), stop, tally):
            samples = [(event.job.label, event.job.first + i) for i in range(event.job.n)]
            if isinstance(event, Replies):
                assert len(event.replies) == event.job.n
                obtained.update(samples)
                replies += event.replies
            else:
                missing.update(samples)
                reasons.append(event.reason)
    except AskonceError as raised:
        error = raised
    texts = [*reasons, str(error), *(reply.content for reply in replies)]
    assert not any(SECRET in text for text in texts) and "\n" not in str(error)
    assert set(obtained.values()) <= {1} and not obtained & missing
    return replies, obtained, missing, reasons, error


def nothing_asked_twice(server, given=lambda entry: entry["n"]) -> bool:
    """Whether no sample was asked for again once its answer had been sent."""
    had = Counter(
        (entry["text"], entry["first"] + i)
        for entry in server.answered()
        if not entry["fault"]
        for i in range(given(entry))
    )
    return set(had.values()) <= {1}


# ---- Faults that pass ----------------------------------------------------------------------------

PASSING = [
    "429",
    "429 for 0.2 s",
    "429 until a date",
    "503 for 0.2 s",
    "500",
    "500 with usage",
    "502",
    "503",
    "no JSON",
    "invalid JSON",
    "no completion",
    "an error inside",
    "empty choices",
    "null choices",
    RESET,
    CUT,
    HUNG,
    TRICKLE,
]


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_asked_again_and_nothing_else_is(server, fault):
    server.set(plan=[None, fault, None, fault])
    tally = Tally()
    quick = replace(HURRY, timeout=0.4 if fault in (HUNG, TRICKLE) else 5)
    _, obtained, missing, _, error = run(server, jobs(6, n=2), quick, tally, concurrency=2)
    assert error is None and not missing and len(obtained) == 12
    assert len(server.requests()) == 8 == tally.requests
    assert nothing_asked_twice(server)
    assert sum(tally.errors.values()) == 2 and tally.completions == 12


@pytest.mark.parametrize("fault", ["429 for 0.2 s", "503 for 0.2 s", "429 until a date"])
def test_a_server_that_asks_to_wait_is_obeyed_by_every_request(server, fault):
    server.set(plan=[fault])
    run(server, jobs(4), concurrency=1)
    refused, *others = server.requests()
    until = int(refused["time"]) + 1 if fault == "429 until a date" else refused["time"] + 0.2
    assert len(others) == 4 and all(other["time"] >= until for other in others)


def test_what_the_server_says_is_left_is_obeyed(server):
    server.set(plan=["few left"])
    _, obtained, *_ = run(server, jobs(3), concurrency=1)
    first, *others = server.requests()
    assert len(obtained) == 3 and all(other["time"] >= first["time"] + 0.3 for other in others)


def test_a_busy_server_gets_time_rather_than_attempts(server):
    server.set(plan=["429"] * 6)
    _, obtained, _, _, error = run(server, jobs(1))
    assert error is None and len(obtained) == 1 and len(server.requests()) == 7


def test_but_not_for_ever(server):
    server.set(always="429")
    error = run(server, jobs(1), Patience(first_wait=0.05, longest_wait=0.05, in_all=0.3))[-1]
    assert "429" in str(error) and "slow down" in str(error) and server.url in str(error)


def test_failures_lower_the_concurrency_and_answers_raise_it(server):
    tally = Tally()
    # More are tried once; whether that brought anything is not known before the last of these.
    server.set(delay=0.05)
    run(server, jobs(30), tally=tally)
    grown = tally.concurrency
    server.set(plan=[None] * 12 + ["503"])
    run(server, jobs(20), tally=tally)
    assert grown > FIRST_LIMIT and tally.concurrency < grown


# ---- Faults that do not pass ---------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["500", "502", "invalid JSON", "empty choices", RESET, HUNG])
def test_a_server_that_is_down_ends_the_run_after_what_was_obtained(server, fault):
    server.set(plan=[None, None], always=fault)
    quick = replace(HURRY, timeout=0.3 if fault == HUNG else 5)
    _, obtained, _, _, error = run(server, jobs(30), quick, concurrency=1)
    assert len(obtained) == 2 and error.exit_code == 1
    assert server.url in str(error) and "everything obtained so far is stored" in str(error)
    assert len(server.requests()) == 2 + 3 and nothing_asked_twice(server)


def test_an_unreachable_server_is_named_without_its_password(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    tally = Tally()
    teacher = LLM("gpt", f"http://me:{SECRET}@127.0.0.1:{port}/v1")
    with pytest.raises(AskonceError, match="cannot be reached") as raised:
        list(ask_all(teacher, jobs(3), terms(price=Price(1, 1)), tally=tally))
    assert f"http://127.0.0.1:{port}/v1" in str(raised.value) and SECRET not in str(raised.value)
    assert tally.lost == 0 and tally.errors["connection"] >= 3


@pytest.mark.parametrize("fault", ["401", "403", "404", "429 quota"])
def test_what_concerns_every_request_stops_at_once(server, fault):
    server.set(plan=[None], always=fault)
    _, obtained, missing, _, error = run(server, jobs(30), concurrency=1)
    assert len(obtained) == 1 and not missing and len(server.requests()) == 2
    assert error.exit_code == 1 and fault[:3] in str(error)


def test_a_wrong_key_is_told_in_a_line_without_the_key(server):
    server.set(api_key="another")
    error = run(server, jobs(1))[-1]
    assert str(error) == "the server refused the API key (401): set OPENAI_API_KEY"


def test_the_key_is_struck_out_of_the_server_s_words(server):
    server.set(plan=[ECHO])
    _, _, missing, reasons, _ = run(server, jobs(2), concurrency=1)
    assert reasons == ["the server answered with status 400 (what is this? Bearer ***)"] and len(missing) == 1


# ---- One prompt alone ----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("fault", ["400", "500", "empty choices"])
def test_a_prompt_that_alone_fails_is_set_aside_with_its_reason(server, fault, n):
    server.set(of_text={"poisoned": fault}, delay=0.02)
    asked = [*jobs(6, n), job(POISON, n), *jobs(12, n)[6:]]
    _, obtained, missing, reasons, error = run(server, asked, concurrency=4)
    assert error is None and len(obtained) == 12 * n
    assert missing == Counter({(POISON, i): 1 for i in range(n)})
    assert len(reasons) == 1 and (fault in reasons[0] or "without any choice" in reasons[0])
    assert nothing_asked_twice(server)


def test_when_every_prompt_is_refused_it_is_not_the_prompts(server):
    server.set(always="400")
    _, obtained, missing, _, error = run(server, jobs(200), concurrency=2)
    assert not obtained and 0 < len(missing) < 20 and len(server.requests()) < 20
    assert error.exit_code == 1 and "this prompt is not allowed" in str(error)


# ---- Fewer than asked for ------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 3])
def test_a_server_that_gives_fewer_choices_is_asked_for_the_rest(server, most):
    server.set(most=most)
    _, obtained, _, _, error = run(server, jobs(4, n=5))
    assert error is None and len(obtained) == 20
    assert nothing_asked_twice(server, lambda entry: min(entry["n"], most))


def test_a_server_that_refuses_n_is_asked_for_one_at_a_time_and_remembered(server):
    server.set(always="n refused")
    _, obtained, _, _, error = run(server, jobs(4, n=3), concurrency=1)
    assert error is None and len(obtained) == 12
    assert Counter(entry["n"] for entry in server.requests()) == {3: 1, 1: 12}


def test_a_broken_choice_is_asked_for_again_and_the_sound_one_kept(server):
    server.set(plan=["a broken choice"])
    replies, obtained, *_ = run(server, jobs(1, n=2))
    assert replies[0].content == "Decision: explore" and len(obtained) == 2
    assert [(entry["first"], entry["n"]) for entry in server.requests()] == [(0, 2), (1, 1)]


# ---- Answers that are none, kept and marked ------------------------------------------------------


@pytest.mark.parametrize(
    "fault, content, reason",
    [
        ("null content", "", "stop"),
        ("a refusal", "I'm sorry.", "refusal"),
        ("content_filter", "", "content_filter"),
        ("length", "Decision: explore", "length"),
        ("missing usage", "Decision: explore", "stop"),
        ("missing model", "Decision: explore", "stop"),
        ("missing logprobs", "Decision: explore", "stop"),
    ],
)
def test_what_is_an_answer_is_kept_as_it_is_and_never_asked_again(server, fault, content, reason):
    server.set(plan=[fault])
    (reply,), *_ = run(server, [job("Agent sees nothing, holds nothing.")])
    assert (reply.content, reply.finish_reason) == (content, reason) and len(server.requests()) == 1
    assert (reply.prompt_tokens == 0) == (fault == "missing usage") == (reply.usage is None)
    assert (reply.served_model == "") == (fault == "missing model") and reply.logprobs is None


# ---- Money ---------------------------------------------------------------------------------------


def test_requests_are_limited(server):
    server.set(plan=["500", "429"])
    _, obtained, missing, _, error = run(server, jobs(30), concurrency=2, budget=Budget(max_requests=7))
    assert isinstance(error, Stopped) and error.exit_code == 3 and "--max-requests 7" in str(error)
    assert len(server.requests()) == 7 and len(obtained) == 5 and not missing


def test_the_cost_stays_below_the_limit_and_comes_near_it(server):
    price, limit, tally = Price(100, 1000), 1.0, Tally()
    settings = dict(concurrency=8, price=price, budget=Budget(max_cost=limit))
    _, obtained, _, _, error = run(server, jobs(200), tally=tally, **settings)
    assert isinstance(error, Stopped) and "--max-cost 1" in str(error)
    most_of_one = price.of(200, 512)
    assert limit - most_of_one < tally.cost <= limit and len(server.requests()) == len(obtained)
    spent_before = tally.requests
    *_, error = run(server, jobs(200), tally=tally, **settings)
    assert isinstance(error, Stopped) and tally.requests == spent_before


def test_tokens_of_failed_calls_count(server):
    server.set(plan=["500 with usage", "empty choices"])
    tally = Tally()
    replies, *_ = run(server, jobs(1), tally=tally, price=Price(1, 1))
    assert tally.prompt_tokens == replies[0].prompt_tokens + 7 + 3
    assert tally.completion_tokens == replies[0].completion_tokens + 5
    assert tally.cost == pytest.approx((tally.prompt_tokens + tally.completion_tokens) / 1e6)
    assert tally.errors == {"500": 1, "no answer": 1}


def test_an_answer_lost_on_the_way_counts_as_if_it_had_been_paid(server):
    server.set(plan=[RESET])
    tally = Tally()
    run(server, jobs(1), tally=tally, price=Price(1, 1))
    assert tally.lost > 512e-6 and tally.cost > 0


# ---- Speed limits --------------------------------------------------------------------------------


def test_requests_a_minute_are_spread(server):
    run(server, jobs(5), rpm=600)
    times = [entry["time"] for entry in server.requests()]
    # The first may be held up between sending and logging; at once they would come within milliseconds.
    assert times[-1] - times[0] > 4 * 0.1 / 2


def test_tokens_a_minute_are_corrected_by_what_was_used(server):
    # By its limit each may take 30,000 tokens, half a minute's worth. It takes about 200.
    asked = [job(f"Agent sees a hue{i} key, holds nothing.", max_tokens=30_000) for i in range(4)]
    _, obtained, *_ = run(server, asked, tpm=60_000)
    times = [entry["time"] for entry in server.requests()]
    assert len(obtained) == 4 and times[-1] - times[0] < 60


# ---- Coming to an end ----------------------------------------------------------------------------


def once_asked(server: FaultyServer, requests: int, act: Callable[[], object]) -> None:
    def wait() -> None:
        # Ten seconds, lest it act in another test.
        for _ in range(1000):
            if len(server.requests()) >= requests:
                act()
                return
            time.sleep(0.01)

    threading.Thread(target=wait, daemon=True).start()


def test_a_stop_finishes_what_is_in_flight_and_gives_up_what_waits(server):
    server.set(delay=1, of_text={"poisoned": "429"})
    stop = threading.Event()
    once_asked(server, 3, stop.set)
    patience = Patience(first_wait=30, longest_wait=60)
    _, obtained, missing, _, error = run(server, [job(POISON), *jobs(50)], patience, stop=stop, concurrency=3)
    assert error is None and not missing and len(obtained) == 2 and len(server.requests()) == 3


def test_an_interruption_while_it_waits_loses_nothing_in_flight(server):
    server.set(delay=1)
    once_asked(server, 3, lambda: os.kill(os.getpid(), signal.SIGINT))
    obtained = []
    with pytest.raises(KeyboardInterrupt):
        for answer in ask_all(LLM(base_url=server.url), jobs(9), terms(concurrency=3)):
            obtained.append(answer.job.label)
    assert len(obtained) == 3 == len(server.requests())


def test_an_error_in_the_jobs_is_raised_after_what_is_in_flight(server):
    def failing():
        yield from jobs(3)
        time.sleep(0.2)  # all three are in flight by then
        raise RuntimeError("no more")

    server.set(delay=0.5)
    obtained = []
    with pytest.raises(RuntimeError, match="no more"):
        for answer in ask_all(LLM(base_url=server.url), failing(), terms()):
            obtained.append(answer.job.label)
    assert len(obtained) == 3


def test_the_server_ends_with_its_parent(tmp_path):
    script = (
        "import os, pathlib, sys\nfrom tests.pipeline.asking.faulty_process import started\n"
        "with started('faulty_server', pathlib.Path(sys.argv[1])) as server:\n"
        "    print(server.url, flush=True)\n    os._exit(1)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "log")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    host, port = ended.stdout.strip().removeprefix("http://").removesuffix("/v1").split(":")
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            return
        time.sleep(0.05)
    raise AssertionError("the server outlived its parent")


# ---- Together ------------------------------------------------------------------------------------


def test_identical_prompts_in_flight_are_asked_once(server):
    server.set(delay=0.1, most=1)
    same = job("Agent sees a key, holds nothing.", 2)
    asked = [same._replace(label=label) for label in "abc"]
    with connect(LLM(base_url=server.url), terms()) as asker:
        asked.append(same._replace(label="d", first=2))
        events = [event for batch in asker.ask(asked) for event in batch]
    by_label = {label: [e.replies[0] for e in events if e.job.label == label] for label in "abcd"}
    assert len(server.requests()) == 4  # samples 0 and 1 once, and 2 and 3 for "d"
    said = {label: [reply.content for reply in replies] for label, replies in by_label.items()}
    assert said["a"] == said["b"] == said["c"] != said["d"]
    assert sum(reply.prompt_tokens > 0 for label in "abc" for reply in by_label[label]) == 2


def test_a_mixture_of_all_that_passes_loses_nothing(server):
    plan = [None, "500", None, RESET, "invalid JSON", None, None, "429", "502", None, CUT, "empty choices"]
    server.set(plan=plan, of_text={"poisoned": "400"})
    asked = [*jobs(40, n=2), job(POISON, 2)]
    _, obtained, missing, _, error = run(server, asked, Patience(first_wait=0.01, longest_wait=0.05))
    assert error is None and len(obtained) == 80 and len(missing) == 2 and nothing_asked_twice(server)
