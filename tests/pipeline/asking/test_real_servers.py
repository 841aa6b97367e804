"""Real servers with a real small model, run by hand: `-m real`, and of these what the environment names

LLAMA_SERVER  llama.cpp's llama-server, with the model in GGUF
TRANSFORMERS  the program `transformers`, with the model in FOLDER
VLLM          the program `vllm`, with the model in FOLDER
"""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
import os
from pathlib import Path
import signal
import subprocess
import time
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from askonce.cache import query
from tests.command import command, finish, start
from tests.pipeline.servers import closed_port

pytestmark = pytest.mark.real
TASK = "SimpleDoorKey"
FEW = "--task", TASK, "--episodes", 3, "--max-tokens", 80


@dataclass(frozen=True)
class Kind:
    """One kind of server: how it is started on a port, the model's name there, and what it can."""

    program: str
    model: str
    arguments: Callable[[str, str, int], list[str]]
    path: str
    ready: str
    auto: str
    likelihood: bool = False


KINDS = {
    "llama.cpp": Kind(
        "LLAMA_SERVER",
        "GGUF",
        lambda program, model, port: [program, "-m", model, "--port", str(port), "-c", "4096", "-np", "2", "-t", "2"],
        "/v1",
        "/health",
        "json",
    ),
    "transformers": Kind(
        "TRANSFORMERS",
        "FOLDER",
        lambda program, model, port: [program, "serve", "--port", str(port)],
        "/v1",
        "/health",
        "text",
    ),
    "vllm": Kind(
        "VLLM",
        "FOLDER",
        lambda program, model, port: [program, "serve", model, "--port", str(port), "--max-model-len", "2048"],
        "/v1",
        "/health",
        "json",
        likelihood=True,
    ),
}


@contextmanager
def served(kind: Kind, port: int, *more: str):
    """The running server, once it answers; it ends with this."""
    given = kind.arguments(os.environ[kind.program], os.environ[kind.model], port)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    server = subprocess.Popen([*given, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        deadline = time.monotonic() + 300
        while True:
            try:
                with urlopen(f"http://127.0.0.1:{port}{kind.ready}", timeout=5) as answer:
                    if answer.status == 200:
                        break
            except (URLError, OSError):
                assert server.poll() is None and time.monotonic() < deadline, f"{given} does not answer"
            time.sleep(0.5)
        yield server
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    found = KINDS[request.param]
    if found.program not in os.environ or found.model not in os.environ:
        pytest.skip(f"{found.program} and {found.model} name no server and model")
    return found


@pytest.fixture(scope="module")
def server(kind):
    port = closed_port()
    with served(kind, port):
        yield f"http://127.0.0.1:{port}{kind.path}"


def asking(kind: Kind, url: str, cache: Path) -> tuple:
    return "build-cache", *FEW, "--cache", cache, "--model", os.environ[kind.model], "--base-url", url, "--json"


def completions(cache: Path) -> int:
    return sum(teacher.completions for teacher in query.stats(cache).teachers) if cache.exists() else 0


@pytest.mark.parametrize(
    "estimator, prompt",
    [
        ("text", "three-stages"),
        ("json", "three-stages"),
        ("scored", "without-reasoning"),
        ("likelihood", "without-reasoning"),
        ("scored", "three-stages"),
    ],
)
def test_every_way_of_asking_is_answered_or_refused_in_one_line(kind, server, tmp_path, estimator, prompt):
    arguments = *asking(kind, server, tmp_path / "c"), "--samples", 2, "--estimator", estimator, "--prompt", prompt
    ended = command(*arguments)
    able = {"text": True, "json": kind.auto == "json", "scored": kind.auto == "json", "likelihood": kind.likelihood}
    if able[estimator]:
        assert ended.code == 0, ended.err
        assert ended.figures["completions"] >= ended.figures["texts"] > 0 and ended.figures["errors"] == {}
        again = command(*arguments)
        assert again.figures["requests"] == again.figures["asked"] == 0
    else:
        # transformers' server refuses what it does not know, by name.
        use = f"use --estimator {'scored or ' * (estimator == 'likelihood')}text"
        assert ended.code in (1, 3) and (use in ended.err or "prompt_logprobs" in ended.err)
        assert "Traceback" not in ended.err and ended.err.count("error: ") == 1


def test_auto_finds_the_best_way_without_a_failure(kind, server, tmp_path):
    found = command(*asking(kind, server, tmp_path / "c"), "--samples", 3, "--estimator", "auto")
    assert found.code == 0, found.err
    assert (found.figures["estimator"], found.figures["errors"]) == (kind.auto, {})
    assert found.figures["server"]


def test_what_was_cancelled_goes_on_where_it_stopped(kind, server, tmp_path):
    arguments = *asking(kind, server, tmp_path / "c"), "--samples", 4
    process = start(*arguments)
    while process.poll() is None and not completions(tmp_path / "c"):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stopped, before = finish(process), completions(tmp_path / "c")
    assert stopped.code == 130 and before > 0 and "Traceback" not in stopped.err
    ended = command(*arguments)
    assert ended.code == 0 and ended.figures["completions"] == 4 * ended.figures["texts"] - before


def test_a_server_that_is_killed_and_comes_back_is_asked_for_the_rest(kind, tmp_path):
    port, cache = closed_port(), tmp_path / "c"
    arguments = *asking(kind, f"http://127.0.0.1:{port}{kind.path}", cache), "--samples", 4
    with served(kind, port) as first:
        process = start(*arguments)
        while process.poll() is None and not completions(cache):
            time.sleep(0.05)
        first.kill()
        first.wait()
    with served(kind, port):
        ended = finish(process)
        assert ended.code in (0, 3) and "Traceback" not in ended.err
        rest = command(*arguments)
    assert rest.code == 0 and completions(cache) == 4 * rest.figures["texts"]
    assert (rest.figures["requests"] == 0) == (ended.code == 0)


def test_a_context_that_is_too_short_is_one_line(kind, tmp_path):
    if kind.program != "LLAMA_SERVER":
        pytest.skip("this server is not told how long a context is")
    port = closed_port()
    with served(kind, port, "-c", "256"):
        ended = command(*asking(kind, f"http://127.0.0.1:{port}{kind.path}", tmp_path / "c"), "--samples", 2)
    # So few are set aside one by one.
    assert ended.code == 3 and "Traceback" not in ended.err
    assert len(ended.figures["unanswered"]) == ended.figures["texts"]
    assert all("context size" in reason for reason in ended.figures["unanswered"].values())


def test_a_wrong_model_is_one_line_or_the_server_s_own(kind, server, tmp_path):
    arguments = [*asking(kind, server, tmp_path / "c"), "--samples", 1]
    arguments[arguments.index("--model") + 1] = "no-such-model"
    ended = command(*arguments, "--timeout", 60)
    if kind.program == "LLAMA_SERVER":
        # It has one model and says which has answered.
        assert ended.code == 0
        shown = query.show(tmp_path / "c", next(iter(ended.figures["unanswered"]), ""))
        assert all(row.served_model != "no-such-model" for row in shown)
    else:
        assert ended.code in (1, 3) and "Traceback" not in ended.err and "error: " in ended.err
