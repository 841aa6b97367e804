"""What asking itself costs: completions a second of one core, and memory against the number of texts.

Both of the whole way that build-cache goes, from texts to answers on disk. The server is a process of its own
that answers at once with the same bytes. The peer is the openai package's own client in a plain loop that
stores nothing, in this run. Memory is that of a process that asks about ever more texts; a million texts
have 1 GiB.
"""

import asyncio
import json
import os
from pathlib import Path
import resource
import subprocess
import sys
from tempfile import TemporaryDirectory
import time

import openai

from askonce.pipeline import tasks
from askonce.pipeline.build import builder
from askonce.pipeline.llm import LLM, request
from askonce.pipeline.questions import Wanted
from askonce.pipeline.simulated.serve import completion

ROOT = Path(__file__).parents[2]
REQUESTS = 2000
REPEATS = 3
FEW, MANY = 10_000, 40_000
TASK = tasks.find("SimpleDoorKey")


class AtOnce(asyncio.Protocol):
    """Answers every request with one completion, without reading more of it than its length."""

    def connection_made(self, transport) -> None:
        self.transport, self.read = transport, b""
        said = "Reasoning: a key is needed.\nDecision: go to key", "stop"
        body = json.dumps(completion("gpt", [said], 400)).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.answer = head.encode() + body

    def data_received(self, data: bytes) -> None:
        self.read += data
        head, end, rest = self.read.partition(b"\r\n\r\n")
        if end:
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            if len(rest) >= length:
                self.read = rest[length:]
                self.transport.write(self.answer)


async def serve_at_once() -> None:
    server = await asyncio.get_running_loop().create_server(AtOnce, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)


def texts(count: int) -> list[str]:
    return [f"Agent sees a tone{number} key, holds nothing." for number in range(count)]


def of_asking(url: str, count: int = REQUESTS) -> int:
    with TemporaryDirectory() as cache, builder(TASK, Path(cache), LLM("gpt", url), Wanted(1)) as build:
        build.teach(texts(count))
        return build.progress.completions


def of_a_plain_loop(url: str) -> int:
    asked = (request(LLM("gpt", url), TASK.prompt, text) for text in texts(REQUESTS))
    with openai.OpenAI(api_key="none", base_url=url, max_retries=0) as client:
        return sum(len(client.chat.completions.create(**body).choices) for body in asked)


def rate(ask, url: str) -> float:
    """Completions a second of processor time, by the repeat least disturbed by others on the machine."""
    rates = []
    for _ in range(REPEATS):
        started = time.process_time()
        rates.append(ask(url) / (time.process_time() - started))
    return max(rates)


def print_memory(url: str) -> None:
    """The most bytes that were resident, for few texts and for many, one a line."""
    for count in (FEW, MANY):
        of_asking(url, count)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)


def child(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def main() -> None:
    with child("serve") as server:
        url = server.stdout.readline().strip()
        found, peer = rate(of_asking, url), rate(of_a_plain_loop, url)
        print(
            json.dumps(
                {
                    "name": "asking",
                    "value": round(found),
                    "unit": "completions/s of one core",
                    "peers": {"openai_client_in_a_loop": round(peer)},
                    "ratio": round(found / peer, 2),
                }
            ),
            flush=True,
        )
        with child("memory", url) as asking:
            few, many = map(int, asking.stdout.read().split())
        slope, allowed = (many - few) / (MANY - FEW), 2**30 / 1e6
        print(
            json.dumps(
                {
                    "name": "asking_memory",
                    "value": round(slope, 1),
                    "unit": f"bytes a text from {FEW} to {MANY} texts",
                    "peers": {"one_GiB_for_a_million": round(allowed), "peak_MB_for_all": round(many / 1e6)},
                    "ratio": round(slope / allowed, 3),
                }
            ),
            flush=True,
        )
        server.stdin.close()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            asyncio.run(serve_at_once())
        case ["memory", address]:
            print_memory(address)
        case _:
            main()
