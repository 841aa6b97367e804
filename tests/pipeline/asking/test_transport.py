"""What a hostile or careless server sends: replies that unpack to gigabytes, and redirects to others."""

import gzip
import json
import resource
import threading
import zlib

import pytest

from askonce.cache.errors import AskonceError
from askonce.pipeline import tasks
from askonce.pipeline.asking import transport
from askonce.pipeline.asking.client import Job
from askonce.pipeline.asking.endpoint import Endpoint
from askonce.pipeline.asking.retry import Patience
from askonce.pipeline.asking.terms import Terms
from askonce.pipeline.build import build_cache
from askonce.pipeline.llm import LLM, request
from askonce.pipeline.questions import Wanted
from askonce.pipeline.simulated.serve import Response, completion, running
from tests.pipeline.doorkey_prompt import PROMPT
from tests.pipeline.servers import Server, ask_all

JOB = Job("a", request(LLM("simulated"), PROMPT, "Agent sees a key, holds nothing."), 1)
IMPATIENT = Terms(patience=Patience(attempts=2, first_wait=0.01, longest_wait=0.01))
ANSWER = json.dumps(completion("simulated", [("Decision: explore", "stop")], 10)).encode()


def bomb(megabytes: int) -> bytes:
    """So many megabytes of blanks before an answer, packed a thousand times smaller."""
    packer, blanks = zlib.compressobj(1, wbits=31), b" " * (1 << 20)
    return b"".join([*(packer.compress(blanks) for _ in range(megabytes)), packer.compress(ANSWER), packer.flush()])


def packed(body: bytes):
    return lambda request, number: Response(200, body, {"Content-Encoding": "gzip"})


def test_a_reply_that_unpacks_to_gigabytes_is_let_go_before_it_fills_the_memory():
    with running(Server(packed(bomb(1000)))) as url:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(AskonceError, match="answered with more than 64 MiB"):
            list(ask_all(LLM("simulated", url), [JOB], IMPATIENT))
        # In KiB: some pieces of the largest reply, not gigabytes.
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4 * transport.LARGEST_REPLY >> 10


@pytest.mark.parametrize("body", [gzip.compress(ANSWER), bomb(3)])
def test_what_is_packed_and_no_larger_is_an_answer(body):
    with running(Server(packed(body))) as url:
        (answer,) = ask_all(LLM("simulated", url), [JOB], IMPATIENT)
    assert answer.replies[0].content == "Decision: explore"


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(ANSWER)[:-20]])
def test_what_cannot_be_unpacked_is_a_failure_of_one_line(body):
    with running(Server(packed(body))) as url, pytest.raises(AskonceError) as error:
        list(ask_all(LLM("simulated", url), [JOB], IMPATIENT))
    assert "\n" not in str(error.value)


def redirecting(status: int, to: str):
    return lambda request, number: Response(status, {}, {"Location": to})


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_to_another_origin_is_not_followed_and_named(tmp_path, status):
    other = Server()
    with (
        running(other) as there,
        running(Server(redirecting(status, f"{there}/chat/completions"))) as url,
        pytest.raises(AskonceError, match="redirects to http://127.0.0.1.*--base-url") as error,
    ):
        build_cache(tasks.find("SimpleDoorKey"), tmp_path, LLM("simulated", url), 3, Wanted(1))
    assert "\n" not in str(error.value) and not other.requests


def test_a_redirect_within_one_origin_is_followed():
    seen = threading.Event()

    class Moved(Server):
        def respond(self, method, path, headers, body):
            if path.startswith("/v1/old/"):
                seen.set()
                return Response(307, {}, {"Location": "/v1/chat/completions"})
            return super().respond(method, path, headers, body)

    with running(Moved()) as url:
        (answer,) = ask_all(LLM("simulated", f"{url}/old"), [JOB], IMPATIENT)
    assert seen.is_set() and answer.replies


def test_a_proxy_of_the_environment_is_used_for_others_servers_alone(monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    # Whether one is set shows in the pool behind the transport.
    pools = [
        type(transport.bounded(Endpoint(url, "k"))._pool).__name__
        for url in ("https://a.example/v1", "http://127.0.0.1:1/v1")
    ]
    assert "Proxy" in pools[0] and "Proxy" not in pools[1]
    monkeypatch.setenv("no_proxy", "a.example")
    assert "Proxy" not in type(transport.bounded(Endpoint("https://a.example/v1", "k"))._pool).__name__
