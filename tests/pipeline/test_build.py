import json
import os
import signal
import threading

import pytest

from askonce.cache import query
from askonce.cache.coverage import Coverage
from askonce.cache.errors import AskonceError, Unfinished
from askonce.pipeline import questions, tasks
from askonce.pipeline.asking.retry import Patience
from askonce.pipeline.asking.terms import Terms
from askonce.pipeline.build import answer_of, answered, build_cache, builder
from askonce.pipeline.llm import LLM, prompt_digest
from askonce.pipeline.questions import Wanted
from askonce.pipeline.simulated.response import Response
from askonce.pipeline.simulated.serve import failure, running
from tests.pipeline.servers import Server, closed_port

HURRY = Terms(patience=Patience(attempts=2, first_wait=0.01, longest_wait=0.02, timeout=5))
SIMPLE, LAVA = tasks.find("SimpleDoorKey"), tasks.find("LavaDoorKey")
TEXTS = [SIMPLE.text(situation) for situation in (0, 1, 16, 17)]
BROKEN = failure(402, "the account is empty", "empty")


def teach(task, cache, teacher, texts, samples=10, terms=HURRY, show=lambda progress: None):
    with builder(task, cache, teacher, Wanted(samples), terms, show) as build:
        build.teach(texts)
    return build.progress


def held(cache, task=SIMPLE) -> int:
    return sum(entry.completions for entry in query.teachers(cache, task.name))


def test_two_tasks_that_ask_the_same_question_pay_once(tmp_path):
    simple = build_cache(SIMPLE, tmp_path, LLM(), episodes=60, wanted=Wanted(3))
    lava = teach(LAVA, tmp_path, LLM(), answered(SIMPLE, tmp_path, LLM())[0], samples=3)
    assert simple.asked == simple.texts > 0
    assert (lava.hits, lava.asked, lava.completions, lava.prompt_tokens) == (simple.texts, 0, 0, 0)
    assert answered(LAVA, tmp_path, LLM())[0] == answered(SIMPLE, tmp_path, LLM())[0]
    (entry,) = query.teachers(tmp_path, "LavaDoorKey")
    assert (entry.completions, entry.prompt_tokens, entry.completion_tokens) == (3 * simple.texts, 0, 0)


def test_the_report_agrees_with_the_cache(tmp_path):
    report = build_cache(SIMPLE, tmp_path, LLM(), episodes=30, wanted=Wanted(2), seed=5)
    (entry,) = query.teachers(tmp_path, "SimpleDoorKey")
    assert (report.texts, report.completions) == (entry.texts, entry.completions)
    assert (report.prompt_tokens, report.completion_tokens) == (entry.prompt_tokens, entry.completion_tokens)
    assert report.unparsable == len(answered(SIMPLE, tmp_path, LLM())[1])
    again = build_cache(SIMPLE, tmp_path, LLM(), episodes=30, wanted=Wanted(2), seed=5)
    assert (again.states, again.texts, again.coverage) == (report.states, report.texts, report.coverage)
    assert (again.asked, again.hits) == (0, report.texts)
    (held,) = query.stats(tmp_path).teachers
    assert held.coverage == Coverage(report.coverage, report.states)


def test_the_same_question_twice_in_one_call_is_asked_once(tmp_path):
    asked = teach(SIMPLE, tmp_path, LLM(), TEXTS[:1] * 3, samples=2)
    assert (asked.asked, asked.completions) == (1, 2)


def test_the_usage_is_kept_as_the_server_sent_it_once_for_each_request(tmp_path):
    said = {"prompt_tokens": 90, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 64}, "cost": 0.1}

    def answer(request, number):
        choice = {"message": {"content": "Decision: explore"}, "finish_reason": "stop"}
        return Response(200, {"choices": [choice] * request["n"], "usage": said})

    with running(Server(answer)) as url:
        teach(SIMPLE, tmp_path, LLM(base_url=url), TEXTS[:1], samples=2)
        teach(LAVA, tmp_path, LLM(base_url=url), TEXTS[:1], samples=2)
    rows = query.show(tmp_path, TEXTS[0])
    assert [(row.task, row.usage and json.loads(row.usage)) for row in rows] == [
        ("LavaDoorKey", None),
        ("LavaDoorKey", None),
        ("SimpleDoorKey", said),
        ("SimpleDoorKey", None),
    ]
    assert [row.prompt_tokens for row in rows] == [0, 0, 90, 0]


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": True, "completion_tokens": -4},
        {"prompt_tokens": 10**20, "completion_tokens": 1e400},
        [1],
        "much",
    ],
)
def test_a_usage_that_is_none_costs_no_answer(tmp_path, usage):
    choice = {"message": {"content": "Decision: explore"}, "finish_reason": "stop"}
    with running(Server(lambda request, number: Response(200, {"choices": [choice], "usage": usage}))) as url:
        teach(SIMPLE, tmp_path, LLM(base_url=url), TEXTS[:1], samples=1)
    (row,) = query.show(tmp_path, TEXTS[0])
    assert (json.loads(row.usage), row.prompt_tokens, row.completion_tokens) == (usage, 0, 0)


def test_other_settings_are_another_question(tmp_path):
    for teacher in (LLM(), LLM(temperature=0.5), LLM(seed=1)):
        assert teach(SIMPLE, tmp_path, teacher, TEXTS, samples=1).asked == len(TEXTS)
    assert len(query.teachers(tmp_path, "SimpleDoorKey")) == 3


def test_samples_are_numbered_on_from_those_that_are_stored(tmp_path):
    for samples in (2, 5):
        teach(SIMPLE, tmp_path, LLM(), TEXTS[:1], samples)
    teach(SIMPLE, tmp_path / "at once", LLM(), TEXTS[:1], 5)
    (entry,) = query.teachers(tmp_path, "SimpleDoorKey")
    found, at_once = (
        query.answers(cache, "SimpleDoorKey", "simulated", entry.prompt) for cache in (tmp_path, tmp_path / "at once")
    )
    assert found == at_once and [answer.sample for answer in found[TEXTS[0]]] == list(range(5))


def test_one_text_is_answered_for_a_student_that_met_it(tmp_path):
    with builder(SIMPLE, tmp_path, LLM(), Wanted(4)) as build:
        found = answer_of(build, TEXTS[0])
        assert sum(found.values()) == pytest.approx(1) and held(tmp_path) == 4
        assert answer_of(build, TEXTS[0]) == found and held(tmp_path) == 4


def test_a_failure_midway_names_the_texts_that_still_lack_answers(tmp_path):
    server = Server(lambda request, number: BROKEN if number > 2 else None)
    with running(server) as url, pytest.raises(Unfinished) as raised:
        teach(SIMPLE, tmp_path, LLM(base_url=url), TEXTS, samples=3)
    keys = [questions.key(SIMPLE, LLM(base_url=url), text) for text in TEXTS]
    stored = query.stored(tmp_path, "SimpleDoorKey", keys)
    assert raised.value.exit_code == 3 and len(raised.value.missing) == 2
    assert set(raised.value.missing) < set(TEXTS) and list(stored.values()) == [3, 3]
    assert "402" in str(raised.value) and "2 of 4" in str(raised.value)


def test_a_text_answered_in_part_is_asked_for_the_rest(tmp_path):
    one = failure(400, "n must be 1", "bad")
    server = Server(lambda request, number: one if request["n"] > 1 else BROKEN if number > 3 else None)
    with running(server) as url:
        teacher = LLM(base_url=url)
        with pytest.raises(Unfinished) as raised:
            teach(SIMPLE, tmp_path, teacher, TEXTS[:1], samples=5)
        assert raised.value.missing == (TEXTS[0],) and held(tmp_path) == 2
        server.instead = lambda request, number: None
        asked = teach(SIMPLE, tmp_path, teacher, TEXTS[:1], samples=5)
    assert (asked.asked, asked.completions, held(tmp_path)) == (1, 3, 5)


def test_a_failure_before_any_answer_is_a_plain_one(tmp_path):
    with running(Server(lambda request, number: BROKEN)) as url, pytest.raises(AskonceError) as raised:
        teach(SIMPLE, tmp_path, LLM(base_url=url), TEXTS)
    assert raised.value.exit_code == 1 and not isinstance(raised.value, Unfinished)
    assert held(tmp_path) == 0


def test_a_directory_that_is_no_cache_is_refused_before_anything_is_asked(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(AskonceError, match="not a cache"):
        teach(SIMPLE, tmp_path, LLM(base_url=f"http://127.0.0.1:{closed_port()}/v1"), TEXTS)


def test_an_interruption_stores_what_is_in_flight(tmp_path):
    texts = [f"Agent sees a tone{number} key, holds nothing." for number in range(20)]

    def interrupt(request, number):
        if number == 1:
            os.kill(os.getpid(), signal.SIGINT)

    previous = signal.getsignal(signal.SIGINT)
    server = Server(interrupt)
    with running(server) as url, pytest.raises(KeyboardInterrupt):
        teach(SIMPLE, tmp_path, LLM(base_url=url), texts, samples=1)
    assert 1 <= held(tmp_path) == len(server.requests) < len(texts)
    assert signal.getsignal(signal.SIGINT) is previous


def test_an_interruption_at_the_last_text_is_one_too(tmp_path):
    server = Server(lambda request, number: os.kill(os.getpid(), signal.SIGINT))
    with running(server) as url, pytest.raises(KeyboardInterrupt):
        teach(SIMPLE, tmp_path, LLM(base_url=url), TEXTS[:1], samples=2)
    assert held(tmp_path) == 2


def test_progress_is_shown_from_nothing_to_all(tmp_path):
    shown = []
    teach(SIMPLE, tmp_path, LLM(), TEXTS, 2, show=lambda progress: shown.append((progress.done, progress.total)))
    assert shown[0] == (0, 4) and shown[-1] == (4, 4) and shown == sorted(shown)


def test_many_may_ask_into_one_cache_at_once(tmp_path):
    parts = [TEXTS[:2], TEXTS[1:3], TEXTS[2:]]
    threads = [threading.Thread(target=teach, args=(SIMPLE, tmp_path, LLM(), part, 2)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A text that two asked about at the same moment may have twice the samples: nothing paid for is hidden.
    found = query.answers(tmp_path, SIMPLE.name, "simulated", prompt_digest(LLM(), SIMPLE.prompt))
    assert set(found) == set(TEXTS)
    for text, answers in found.items():
        shared = sum(text in part for part in parts) > 1
        assert [answer.sample for answer in answers] == list(range(len(answers)))
        assert len(answers) in ((2, 4) if shared else (2,))
