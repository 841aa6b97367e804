import threading
import time

import pytest

from askonce.pipeline import tasks
from askonce.pipeline.asking.retry import Patience
from askonce.pipeline.asking.terms import Terms
from askonce.pipeline.build import builder
from askonce.pipeline.defer import deferred
from askonce.pipeline.llm import LLM
from askonce.pipeline.questions import Wanted
from askonce.pipeline.simulated.serve import failure, running
from tests.pipeline.servers import Server
from tests.pipeline.test_build import held

TASK = tasks.find("SimpleDoorKey")
TEXTS = [TASK.text(situation) for situation in (0, 1, 16, 17)]
HURRY = Terms(patience=Patience(attempts=2, first_wait=0.01, longest_wait=0.02, timeout=5))


@pytest.fixture
def opened(tmp_path):
    """A server that waits to be released, and a builder of it."""
    released = threading.Event()
    server = Server(lambda request, number: released.wait() and None)
    with running(server) as url, builder(TASK, tmp_path, LLM(base_url=url), Wanted(2), HURRY) as build:
        yield server, released, build
        released.set()


def wait_for(condition) -> None:
    while not condition():
        time.sleep(0.005)


def test_answers_arrive_while_whoever_asked_goes_on(opened, tmp_path):
    server, released, build = opened
    with deferred(build) as questions:
        for text in TEXTS[:2]:
            questions.ask(text)
        wait_for(lambda: server.requests)
        assert questions.arrived() == {}
        released.set()
        found = {}
        while len(found) < 2:
            found |= questions.arrived()
        questions.ask(TEXTS[2])
        while len(found) < 3:
            found |= questions.arrived()
        assert questions.arrived() == {} and questions.failure is None
    assert set(found) == set(TEXTS[:3]) and all(sum(each.values()) == pytest.approx(1) for each in found.values())
    assert held(tmp_path) == 6


def test_at_the_end_what_is_in_flight_is_stored_and_nothing_more_is_asked(opened, tmp_path):
    server, released, build = opened
    with deferred(build) as questions:
        questions.ask(TEXTS[0])
        wait_for(lambda: server.requests)
        for text in TEXTS[1:]:
            questions.ask(text)
        threading.Timer(0.1, released.set).start()
    assert len(server.requests) == 1 and held(tmp_path) == 2


def test_without_a_question_it_ends_at_once(opened):
    with deferred(opened[2]) as questions:
        assert questions.arrived() == {}
    assert opened[0].requests == []


def test_a_failure_is_kept_for_whoever_asks(opened, tmp_path):
    server, released, build = opened
    released.set()
    with deferred(build) as questions:
        questions.ask(TEXTS[0])
        found = {}
        while not found:
            found = questions.arrived()
        server.instead = lambda request, number: failure(402, "the account is empty", "empty")
        questions.ask(TEXTS[1])
        wait_for(lambda: questions.failure)
        assert "402" in str(questions.failure) and questions.arrived() == {}
    assert held(tmp_path) == 2
