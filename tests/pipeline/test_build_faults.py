"""A server at its worst, in a process of its own, and builders that are killed: what was paid for is in the
cache, what is missing is listed, and nothing is asked that the cache could answer."""

from collections import Counter
from dataclasses import replace
import os
from pathlib import Path
import random
import signal
import time

import pytest

from askonce.cache import query
from askonce.cache.errors import AskonceError, Unfinished
from askonce.pipeline import tasks
from askonce.pipeline.asking.budget import Budget
from askonce.pipeline.asking.retry import Patience
from askonce.pipeline.asking.terms import Terms
from askonce.pipeline.build import builder
from askonce.pipeline.llm import LLM, prompt_digest
from askonce.pipeline.questions import Wanted
from tests.command import SECRET, files_with_secret
from tests.forked import CONTEXT
from tests.pipeline.asking.faulty_server import CUT, FAULTS, HUNG, RESET, TRICKLE

TASK = tasks.find("SimpleDoorKey")
CONCURRENCY = 16
HURRY = Patience(attempts=2, first_wait=0.01, longest_wait=0.02, timeout=5, in_all=0.6)


def texts(count: int) -> list[str]:
    return [f"Agent sees a tone{number} key, holds nothing." for number in range(count)]


def build(server, cache: Path, asked: list[str], samples: int = 2, patience: Patience = HURRY, **terms):
    """The texts told to be missing, and the error that ended it."""
    asking = Terms(concurrency=2, patience=patience, **terms)
    with builder(TASK, cache, LLM(base_url=server.url), Wanted(samples), asking) as opened:
        try:
            opened.teach(asked)
        except AskonceError as error:
            missing = error.missing if isinstance(error, Unfinished) else asked
            return set(missing), error
    return set(opened.progress.unanswered), None


def stored(server, cache: Path) -> Counter[str]:
    """text → how many completions the cache holds."""
    who = TASK.name, "simulated", prompt_digest(LLM(base_url=server.url), TASK.prompt)
    return Counter({text: len(answers) for text, answers in query.texts(cache, *who)})


# ---- Faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [*FAULTS, RESET, CUT, HUNG, TRICKLE])
def test_whatever_goes_wrong_what_was_obtained_is_kept_and_only_the_rest_is_asked_for(server, tmp_path, fault):
    asked = texts(5)
    server.set(plan=[None, None], always=fault)
    patience = replace(HURRY, timeout=0.3) if fault in (HUNG, TRICKLE) else HURRY
    missing, error = build(server, tmp_path, asked, patience=patience)
    kept = stored(server, tmp_path)
    complete = {text for text in asked if kept[text] == 2}
    assert len(complete) >= 2 and missing == set(asked) - complete
    assert error is None or error.exit_code == 3 and "\n" not in str(error)
    assert {entry["text"] for entry in server.answered() if not entry["fault"]} <= complete

    server.set()
    assert build(server, tmp_path, asked) == (set(), None)
    assert {entry["text"] for entry in server.requests()} == missing
    assert all(entry["first"] == kept[entry["text"]] for entry in server.requests())
    assert set(stored(server, tmp_path).values()) == {2}
    assert files_with_secret(tmp_path) == []


@pytest.mark.parametrize(
    "fault, reason", [("length", "length"), ("content_filter", "content_filter"), ("a refusal", "refusal")]
)
def test_an_answer_that_is_none_is_kept_marked_and_asked_for_again_alone(server, tmp_path, fault, reason):
    asked, name = texts(3), {"length": "truncated", "content_filter": "filtered", "refusal": "refused"}[reason]
    server.set(of_text={"tone1 ": fault})
    build(server, tmp_path, asked, samples=1)
    server.set()
    assert build(server, tmp_path, asked, samples=1) == (set(), None) and server.requests() == []
    with builder(TASK, tmp_path, LLM(base_url=server.url), Wanted(1, retry=(name,))) as opened:
        opened.teach(asked)
    (entry,) = server.requests()
    assert (entry["text"], entry["n"], entry["first"]) == (asked[1], 1, 1)
    shown = query.show(tmp_path, asked[1])
    assert [row.finish_reason for row in shown] == [reason, "stop"]


def test_the_budget_stops_with_what_was_obtained_and_the_next_run_goes_on(server, tmp_path):
    asked = texts(6)
    missing, error = build(server, tmp_path, asked, budget=Budget(max_requests=4))
    assert error.exit_code == 3 and "--max-requests 4" in str(error) and len(missing) == 2
    assert len(server.requests()) == 4
    assert build(server, tmp_path, asked, budget=Budget(max_requests=4)) == (set(), None)
    assert len(server.requests()) == 6


# ---- Kills ---------------------------------------------------------------------------------------


def _builder(url: str, cache: Path, asked: list[str], counted) -> None:
    os.environ["OPENAI_API_KEY"] = SECRET

    def show(progress) -> None:
        counted.value = progress.completions

    with builder(TASK, cache, LLM(base_url=url), Wanted(1), Terms(concurrency=CONCURRENCY), show) as opened:
        opened.teach(asked)


@pytest.mark.parametrize("times", [8, pytest.param(200, marks=pytest.mark.study)])
def test_kills_lose_nothing_that_was_counted_and_nothing_stored_is_asked_again(server, tmp_path, times):
    draw = random.Random(0)
    asked, kills, after = texts(max(3000, 200 * times)), 0, Counter()
    while kills < times:
        before, counted = after, CONTEXT.Value("i", 0)
        server.set(delay=0.01)
        child = CONTEXT.Process(target=_builder, args=(server.url, tmp_path, asked, counted))
        child.start()
        while not counted.value:
            assert child.is_alive()
            time.sleep(0.001)
        time.sleep(draw.random() * 0.3)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        if child.exitcode == -signal.SIGKILL:
            kills += 1
        requests = [entry["text"] for entry in server.requests()]
        after = stored(server, tmp_path)
        assert len(after) - len(before) >= counted.value > 0
        assert not set(requests) & set(before) and set(after) <= set(before) | set(requests)
        # What was in flight may be asked again, or had just arrived and was being stored; nothing else is.
        assert len(set(requests) - set(after)) <= 2 * CONCURRENCY
    assert max(after.values()) == 1
    assert files_with_secret(tmp_path) == []
