"""Batches that end in every way, and runs that are killed at every moment: each answer is paid for once."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import cache
import json
import os
from pathlib import Path
import signal
import socket
import threading
import time

import openai
import pytest

from askonce.cache import store
from askonce.cache.errors import AskonceError
from askonce.cache.layout import BATCHES
from askonce.cache.verify import verify
from askonce.pipeline.asking import batch, batch_api
from askonce.pipeline.asking.asker import Unanswered
from askonce.pipeline.asking.batch import BatchAsker, Limits
from askonce.pipeline.asking.budget import Budget, Stopped, Tally
from askonce.pipeline.asking.client import Job
from askonce.pipeline.asking.endpoint import Endpoint
from askonce.pipeline.asking.prices import Price
from askonce.pipeline.asking.retry import Patience
from askonce.pipeline.asking.terms import Terms
from askonce.pipeline.llm import LLM, connect, request
from tests.command import SECRET
from tests.forked import CONTEXT
from tests.pipeline.asking import faulty_process
from tests.pipeline.asking.faulty_batches import CLIENT, CUT, KILLED, KILLED_BEFORE, LOST
from tests.pipeline.doorkey_prompt import PROMPT

HURRY = Patience(attempts=3, first_wait=0.01, longest_wait=0.05, timeout=5, in_all=20)
SMALL = Limits(requests=4)


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with faulty_process.started("faulty_batches", tmp_path_factory.mktemp("batches") / "log.jsonl") as server:
        yield server


@pytest.fixture
def server(process):
    process.set()
    return process


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    monkeypatch.setattr(batch, "TOGETHER", 2)
    monkeypatch.setattr(batch_api, "PAGE", 1)


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "batches"
    files = filter(Path.is_file, tmp_path.rglob("*"))
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def job(text: str, n: int = 2, first: int = 0) -> Job:
    text = f"Agent sees a {text} key, holds nothing."
    return Job(text, request(LLM(), PROMPT, text), n, first)


def jobs(count: int, n: int = 2, first: int = 0) -> list[Job]:
    return [job(f"tone{number}", n, first) for number in range(count)]


@cache
def client(url: str) -> openai.OpenAI:
    # Made once: to read all certificates takes longer than most of these tests.
    return batch_api.client(Endpoint(url, SECRET), HURRY)


class Run:
    """What one run has obtained, (label, sample) → content, what it was told is not answered, its error."""

    def __init__(self, server, folder, asked, tally=None, stop=None, limits=SMALL, **terms):
        self.obtained, self.reasons, self.events, self.error = {}, {}, 0, None
        endpoint, terms = Endpoint(server.url, SECRET), Terms(patience=HURRY, **terms)
        asker = BatchAsker(client(server.url), endpoint, terms, folder, tally or Tally(), limits)
        try:
            for events in asker.ask(asked, stop):
                assert events
                for event in events:
                    self._keep(event)
        except AskonceError as error:
            self.error = error
        assert SECRET not in f"{self.error}{self.reasons}" and "\n" not in str(self.error)

    def _keep(self, event) -> None:
        self.events += 1
        names = [(event.job.label, event.job.first + i) for i in range(event.job.n)]
        if isinstance(event, Unanswered):
            self.reasons |= dict.fromkeys(names, event.reason)
        else:
            contents = [reply.content for reply in event.replies]
            assert not set(names) & set(self.obtained)
            self.obtained |= dict(zip(names, contents, strict=True))


def samples(asked) -> set:
    return {(job.label, job.first + i) for job in asked for i in range(job.n)}


def lines(server) -> list[dict]:
    """The lines of all batches that the server has accepted."""
    return [entry for entry in server.entries() if "batch" in entry]


def calls(server) -> Counter:
    return Counter(entry["call"] for entry in server.entries() if "call" in entry)


def no_line_twice(server) -> bool:
    asked = Counter((line["text"], line["first"] + i) for line in lines(server) for i in range(line["n"]))
    return set(asked.values()) <= {1}


def wait_for_a_look(server, client: str | None = None) -> None:
    """Until a client has asked how its batch stands."""
    while not any(entry.get("call") == "look" and entry["client"] == client for entry in server.entries()):
        time.sleep(0.01)


def stopped_under_way(server, folder, asked, tally=None) -> Run:
    """A run that is stopped when it has seen that the server is busy with its batch; which remains so."""
    server.set(held=True)
    stop = threading.Event()
    stopping = threading.Thread(target=lambda: (wait_for_a_look(server), stop.set()))
    stopping.start()
    run = Run(server, folder, asked, tally, stop)
    stopping.join()
    return run


def is_empty(folder) -> bool:
    return not any(folder.iterdir())


# ---- Completion ----------------------------------------------------------------------------------


def test_all_is_answered_as_it_would_be_online(server, folder, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    tally, asked = Tally(), [*jobs(9, n=3), *jobs(2, n=2, first=3)]
    run = Run(server, folder, iter(asked), tally)
    assert run.error is None and set(run.obtained) == samples(asked) and is_empty(folder)
    assert (tally.requests, tally.completions, tally.in_flight) == (11, 31, 0)
    assert Counter(Counter(line["batch"] for line in lines(server)).values()) == {4: 2, 3: 1}
    with connect(LLM(base_url=server.url)) as asker:
        online = {
            (event.job.label, event.job.first + i): reply.content
            for events in asker.ask(asked)
            for event in events
            for i, reply in enumerate(event.replies)
        }
    assert run.obtained == online


def test_the_teacher_s_own_server_takes_batches_too(tmp_path):
    with connect(LLM(), Terms(patience=HURRY), batches=tmp_path / "batches") as asker:
        answers = [event for events in asker.ask(jobs(3)) for event in events]
    assert {answer.job.label for answer in answers} == {job.label for job in jobs(3)}
    assert not (tmp_path / "batches").exists()


def test_what_is_known_of_a_batch_is_in_its_replies(server, folder):
    before = datetime.now(UTC)
    with batch.connect(Endpoint(server.url, SECRET), Terms(patience=HURRY), folder) as asker:
        ((answer,),) = asker.ask(jobs(1))
    assert answer.job == jobs(1)[0] and before <= answer.replies[0].asked_at <= datetime.now(UTC)
    assert answer.replies[0].served_model == "simulated" and answer.replies[0].usage["prompt_tokens"] > 0
    assert answer.replies[1].usage is None and answer.replies[1].prompt_tokens == 0


def test_a_file_has_no_more_bytes_than_it_may(server, folder):
    line = 1500
    run = Run(server, folder, jobs(6), limits=Limits(bytes=3 * line))
    assert set(run.obtained) == samples(jobs(6)) and len({line["batch"] for line in lines(server)}) >= 2


def test_few_batches_are_under_way_at_once(server, folder):
    read = []

    def reading():
        for one in jobs(12):
            read.append((one.label, calls(server)["fetch"]))
            yield one

    Run(server, folder, reading(), limits=Limits(requests=2, batches=2))
    # The jobs of two files, and the one that shows that the second is full, before the first answer.
    assert sum(fetched == 0 for _, fetched in read) <= 6 and no_line_twice(server)


def test_the_same_question_is_asked_once(server, folder):
    tally = Tally()
    parts = {"a": (4, 0), "b": (2, 0), "c": (3, 2)}
    same = [job("red", *part)._replace(label=label) for label, part in parts.items()]
    run = Run(server, folder, same, tally)
    assert set(run.obtained) == samples(same)
    assert [(line["first"], line["n"]) for line in lines(server)] == [(0, 4), (4, 1)]
    assert run.obtained["a", 1] == run.obtained["b", 1] and run.obtained["a", 3] == run.obtained["c", 3]
    assert tally.completions == 5


def test_no_jobs_no_calls(server, folder):
    assert Run(server, folder, []).error is None and not calls(server)


# ---- Batches that end otherwise ------------------------------------------------------------------


def failed(*errors: dict) -> dict:
    """The end of a batch that the server has not begun with."""
    return {"status": "failed", "errors": errors}


@pytest.mark.parametrize("status", ["expired", "cancelled"])
def test_of_a_batch_that_ends_early_only_the_rest_is_submitted_again(server, folder, status):
    server.set(ends=[{"status": status, "after": 2}])
    tally = Tally()
    run = Run(server, folder, jobs(4), tally)
    assert run.error is None and set(run.obtained) == samples(jobs(4)) and is_empty(folder)
    asked = Counter(line["text"] for line in lines(server))
    assert sorted(asked.values()) == [1, 1, 2, 2] and tally.requests == 6 and tally.errors == {"no answer": 2}


def test_a_batch_that_never_comes_to_an_answer_ends_the_run(server, folder):
    server.set(ends=[{"status": "expired", "after": 0}] * 9)
    run = Run(server, folder, jobs(2))
    assert "batch_expired" in str(run.error) and not run.obtained and len(lines(server)) == 2 * HURRY.attempts


def test_lines_that_fail_are_asked_again_and_no_others(server, folder):
    turns = {
        "tone0": ["500"],
        "tone1": ["an error inside"],
        "tone2": ["empty choices"],
        "tone3": ["no line"],
        "tone4": ["unprocessed"],
        "tone5": ["429"],
        "tone6": ["null choices", "no completion"],
    }
    server.set(of_text=turns)
    tally = Tally()
    run = Run(server, folder, jobs(8), tally, limits=Limits(), price=Price(2, 2))
    assert run.error is None and set(run.obtained) == samples(jobs(8)) and is_empty(folder)
    asked = Counter(line["text"].partition("key")[0].split()[-1] for line in lines(server))
    assert asked == {"tone7": 1, **dict.fromkeys(turns, 2), "tone6": 3}
    assert tally.errors == {"500": 1, "429": 1, "no answer": 6} and tally.lost > 0


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("fault", ["400", "500"])
def test_a_prompt_that_alone_fails_is_set_aside_with_its_reason(server, folder, fault, n):
    server.set(of_text={"tone3": [fault] * 9})
    run = Run(server, folder, jobs(9, n))
    assert run.error is None and set(run.obtained) == samples(jobs(9, n)) - samples([job("tone3", n)])
    assert set(run.reasons) == samples([job("tone3", n)]) and is_empty(folder)
    assert all(f"status {fault}" in reason for reason in run.reasons.values())


def test_when_every_prompt_is_refused_it_is_not_the_prompts(server, folder):
    server.set(always="400")
    run = Run(server, folder, jobs(40, n=1), limits=Limits(requests=10, batches=1))
    assert len(lines(server)) == 10 == len(run.reasons) and "this prompt is not allowed" in str(run.error)


def test_what_concerns_every_request_ends_the_run_after_what_was_obtained(server, folder):
    server.set(of_text={"tone2": ["404"]})
    run = Run(server, folder, jobs(4))
    assert "404" in str(run.error) and set(run.obtained) == samples(jobs(4)) - samples([job("tone2")])
    assert set(Run(server, folder, [job("tone2")]).obtained) == samples([job("tone2")]) and is_empty(folder)


def test_lines_that_the_server_names_are_set_aside_and_the_others_submitted_again(server, folder):
    server.set(ends=[failed({"code": "odd", "message": "too odd", "line": 2})])
    tally = Tally()
    run = Run(server, folder, jobs(4), tally)
    assert set(run.reasons) == samples([job("tone1")]) and "too odd" in run.reasons[job("tone1").label, 0]
    assert run.error is None and len(run.obtained) == 6 and tally.requests == 3 and is_empty(folder)


def test_a_batch_that_is_refused_as_a_whole_ends_the_run(server, folder):
    server.set(ends=[failed({"code": "billing", "message": f"no money for {SECRET}"})])
    run = Run(server, folder, jobs(3))
    assert "refused a batch (billing: no money for ***)" in str(run.error) and is_empty(folder)


def test_an_account_with_little_room_gets_smaller_batches(server, folder):
    server.set(enqueued=2)
    tally = Tally()
    run = Run(server, folder, jobs(10), tally, limits=Limits(requests=8))
    assert run.error is None and set(run.obtained) == samples(jobs(10)) and tally.requests == 10
    assert no_line_twice(server) and is_empty(folder)
    some = Run(server, folder, jobs(10), limits=Limits(requests=8), budget=Budget(max_requests=5))
    assert isinstance(some.error, Stopped) and len(some.obtained) == 10
    server.set(ends=[failed({"code": "token_limit_exceeded", "message": "full"})] * 9)
    assert "try again later" in str(Run(server, folder, jobs(3)).error)


# ---- Fewer than asked for ------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 3])
def test_a_server_that_gives_fewer_choices_is_asked_for_the_rest(server, folder, most):
    server.set(most=most)
    run = Run(server, folder, jobs(2, n=5), limits=Limits())
    assert run.error is None and set(run.obtained) == samples(jobs(2, n=5))
    # One that gives a single choice is asked for all others at once.
    assert len({line["batch"] for line in lines(server)}) == 2
    assert Counter(line["n"] for line in lines(server)) == ({5: 2, 1: 8} if most == 1 else {5: 2, 2: 2})


def test_a_server_that_refuses_n_is_asked_for_one_at_a_time(server, folder):
    server.set(always="n refused")
    run = Run(server, folder, jobs(6, n=3), limits=Limits(requests=30))
    assert run.error is None and set(run.obtained) == samples(jobs(6, n=3))
    assert Counter(line["n"] for line in lines(server)) == {3: 6, 1: 18}


# ---- Calls that fail -----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["500", "429", "invalid JSON", LOST, CUT])
def test_calls_are_tried_again_and_no_batch_is_created_twice(server, folder, fault):
    # A file that is broken on the server cannot be told from one that is whole.
    failing = ("upload", "create", "list", "look") + (("fetch",) if fault != "invalid JSON" else ())
    server.set(calls={call: [fault] for call in failing})
    tally = Tally()
    run = Run(server, folder, jobs(3), tally)
    assert run.error is None and set(run.obtained) == samples(jobs(3)) and no_line_twice(server)
    assert sum(tally.errors.values()) >= 4 and tally.requests == 3 and is_empty(folder)


def test_a_wrong_key_is_told_at_once_in_a_line_without_the_key(server, folder):
    server.set(api_key="another")
    tally = Tally()
    run = Run(server, folder, jobs(9), tally)
    assert str(run.error) == "the server refused the API key (401): set OPENAI_API_KEY"
    assert calls(server).total() == 1 and tally.requests == 0 and is_empty(folder)


def test_a_server_without_batches_is_told_from_others(server, folder):
    server.set(calls={"upload": ["404"]})
    assert "has no batches (status 404)" in str(Run(server, folder, jobs(1)).error) and is_empty(folder)


def test_an_unreachable_server_is_told_and_nothing_is_left(folder):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        pytest.raises(AskonceError, match=f"http://127.0.0.1:{port}/v1 cannot be reached"),
        batch.connect(
            Endpoint(f"http://me:{SECRET}@127.0.0.1:{port}/v1", SECRET), Terms(patience=HURRY), folder
        ) as asker,
    ):
        list(asker.ask(jobs(1)))
    assert is_empty(folder)


# ---- Killed, and given again ---------------------------------------------------------------------


def build(url: str, folder: Path, stored: Path, asked: list[Job], killed_at: str = "") -> None:
    """What a caller does: asks for what is not stored, and stores each list of answers before the next."""
    batch.TOGETHER = 2
    server = Endpoint(url, SECRET, {CLIENT: str(os.getpid())})
    had = Counter(json.loads(line)[0] for line in stored.read_text().splitlines()) if stored.exists() else {}
    left = [one._replace(first=had.get(one.label, 0), n=one.n - had.get(one.label, 0)) for one in asked]
    opened = batch.connect(server, Terms(patience=HURRY), folder, limits=SMALL)
    with opened as asker, open(stored, "a") as file:
        for events in asker.ask(_read([one for one in left if one.n], killed_at)):
            if killed_at == "before it is stored":
                os.kill(os.getpid(), signal.SIGKILL)
            for event in events:
                for i, reply in enumerate(event.replies):
                    file.write(json.dumps([event.job.label, event.job.first + i, reply.content]) + "\n")
            file.flush()
            if killed_at == "once it is stored":
                os.kill(os.getpid(), signal.SIGKILL)


def _read(asked: list[Job], killed_at: str):
    yield from asked[:-1]
    if killed_at == "the last job is read":
        os.kill(os.getpid(), signal.SIGKILL)
    yield from asked[-1:]


@pytest.mark.parametrize(
    "call, fault, own",
    [
        ("", "", "the last job is read"),
        ("upload", [KILLED_BEFORE], ""),
        ("upload", [None, KILLED], ""),
        ("create", [KILLED_BEFORE], ""),
        ("create", [KILLED], ""),
        ("create", [None, KILLED], ""),
        ("look", [KILLED], ""),
        ("fetch", [KILLED_BEFORE], ""),
        ("fetch", [None, KILLED], ""),
        ("", "", "before it is stored"),
        ("", "", "once it is stored"),
    ],
)
def test_a_run_killed_at_any_moment_pays_for_nothing_twice(server, folder, tmp_path, call, fault, own):
    server.set(calls={call: fault})
    stored, asked = tmp_path / "stored.jsonl", jobs(7, n=2)
    process = CONTEXT.Process(target=build, args=(server.url, folder, stored, asked, own))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    submitted = len(lines(server))
    build(server.url, folder, stored, asked)
    rows = [json.loads(line)[:2] for line in stored.read_text().splitlines()]
    assert sorted(map(tuple, rows)) == sorted(samples(asked))
    assert no_line_twice(server) and len(lines(server)) == 7 >= submitted
    # Answers that were stored but not yet marked as taken are left, for nobody knows that they are stored.
    assert is_empty(folder) or own == "once it is stored"


def test_after_a_kill_other_numbers_of_samples_take_what_there_is(server, folder, tmp_path):
    server.set(calls={"look": [KILLED]})
    process = CONTEXT.Process(target=build, args=(server.url, folder, tmp_path / "stored", jobs(3, n=4)))
    process.start()
    process.join()
    more = Run(server, folder, [job("tone0", 6), job("tone1", 4), job("tone2", 2)])
    assert len(more.obtained) == 12 and no_line_twice(server) and not is_empty(folder)
    # The half that nobody has asked for yet is there for who will.
    asked_before = len(lines(server))
    rest = Run(server, folder, [job("tone2", 2, first=2)])
    assert len(rest.obtained) == 2 and len(lines(server)) == asked_before


def test_another_s_batches_are_left_alone(server, folder, tmp_path):
    stopped_under_way(server, folder, jobs(4))
    server.set()
    left = sorted(folder.iterdir())
    other = Run(server, folder, [job("green")])
    assert set(other.obtained) == samples([job("green")]) and sorted(folder.iterdir()) == left


def test_two_runs_at_once_store_the_same_rows(server, folder):
    server.set(held=True)
    found = []

    def ask(name):
        endpoint = Endpoint(server.url, SECRET, {CLIENT: name})
        with batch.connect(endpoint, Terms(patience=HURRY), folder) as asker:
            found.append([event for events in asker.ask(jobs(3)) for event in events])

    first, second = (threading.Thread(target=ask, args=[name]) for name in ("first", "second"))
    first.start()
    wait_for_a_look(server, "first")
    second.start()
    wait_for_a_look(server, "second")
    submitted = len(lines(server))
    server.set()
    first.join()
    second.join()
    assert found[0] == found[1] and len(found[0]) == 3 == submitted and not lines(server)
    assert not list(folder.glob("*.jsonl"))


# ---- Coming to an end ----------------------------------------------------------------------------


def test_a_stop_leaves_the_batch_on_the_server_for_the_next_run(server, folder):
    tally = Tally()
    run = stopped_under_way(server, folder, jobs(4), tally)
    assert run.error is None and not run.obtained and not is_empty(folder)
    server.set()
    again = Run(server, folder, jobs(4), tally)
    assert set(again.obtained) == samples(jobs(4)) and not lines(server) and is_empty(folder)
    assert tally.requests == 4 and tally.completions == 8


def test_what_was_not_submitted_at_a_stop_counts_for_nothing(server, folder):
    stop, tally = threading.Event(), Tally()

    def stopping():
        yield from jobs(2)
        stop.set()

    Run(server, folder, stopping(), tally, stop)
    assert tally.requests == 0 and not calls(server) and is_empty(folder)


def test_requests_are_limited(server, folder):
    tally = Tally()
    run = Run(server, folder, jobs(9), tally, budget=Budget(max_requests=6))
    assert isinstance(run.error, Stopped) and run.error.exit_code == 3 and "6 requests" in str(run.error)
    assert len(run.obtained) == 12 and len(lines(server)) == 6 == tally.requests
    rest = Run(server, folder, jobs(9)[6:], tally)
    assert len(rest.obtained) == 6 and no_line_twice(server)


def test_the_cost_stays_below_the_limit_at_half_the_price(server, folder):
    tally, price = Tally(), Price(100, 1000)
    run = Run(server, folder, jobs(40), tally, limits=Limits(), price=price, budget=Budget(max_cost=2.0))
    assert isinstance(run.error, Stopped) and 0 < tally.cost < 2.0 and not is_empty(folder.parent)
    assert tally.cost == pytest.approx(price.of(tally.prompt_tokens, tally.completion_tokens) / 2)
    # At its longest, and by an estimate on the high side, none of them would have cost more.
    asked = len(lines(server))
    assert asked * price.of(60, 2 * 512) / 2 < 2.0 < (asked + 1) * price.of(500, 2 * 512) / 2


def test_what_the_budget_does_not_allow_is_still_taken_from_an_earlier_run(server, folder):
    stopped_under_way(server, folder, jobs(4))
    server.set()
    run = Run(server, folder, [job("green"), job("blue"), *jobs(4)], budget=Budget(max_requests=1))
    assert isinstance(run.error, Stopped) and set(run.obtained) == samples([job("green"), *jobs(4)])
    assert len(lines(server)) == 1


# ---- The folder ----------------------------------------------------------------------------------


@pytest.fixture
def under_way(server, folder):
    """The files of a batch that the server is busy with."""
    stopped_under_way(server, folder, jobs(2))
    server.set()
    state, requests = sorted(folder.iterdir())
    return state, requests


def test_the_cache_knows_the_folder(under_way, tmp_path):
    store.create(directory := tmp_path / "cache")
    under_way[0].parent.rename(directory / BATCHES)
    assert not verify(directory).findings


@pytest.mark.parametrize("which", [0, 1])
def test_a_damaged_file_is_named(server, folder, under_way, which):
    under_way[which].write_bytes(under_way[which].read_bytes().replace(b"a", b"{", 1))
    assert f"{under_way[which]} is damaged" in str(Run(server, folder, jobs(2)).error)


def test_a_batch_that_the_server_does_not_know_is_not_asked_again_unseen(server, folder, under_way):
    server.set(calls={"look": ["404"]})
    run = Run(server, folder, jobs(2))
    assert "no longer knows batch" in str(run.error) and not lines(server)


def test_what_the_server_has_long_deleted_is_forgotten(server, folder, under_way):
    state = json.loads(under_way[0].read_bytes())
    state["written"] = (datetime.now(UTC) - timedelta(days=31)).isoformat()
    under_way[0].write_text(json.dumps(state))
    server.set()
    assert len(Run(server, folder, jobs(2)).obtained) == 4 and len(lines(server)) == 2 and is_empty(folder)


@pytest.mark.parametrize("which", [0, 1])
def test_half_of_what_is_removed_in_a_kill_is_removed(server, folder, under_way, which):
    under_way[which].unlink()
    server.set()
    assert len(Run(server, folder, jobs(2)).obtained) == 4 and is_empty(folder)
