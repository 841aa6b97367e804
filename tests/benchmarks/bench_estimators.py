"""Which way of asking a real LLM gives the better teacher, per second and per token; and what it saves that the letters'
questions about one text come one after the other.

Needs llama.cpp's server and a model: LLAMA_SERVER=…/llama-server GGUF=model.gguf. Without them it says nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
import json
import os
from pathlib import Path
import socket
import subprocess
import sys
from tempfile import TemporaryDirectory
import time
from urllib.error import URLError
from urllib.request import urlopen

import openai

import askonce
from askonce.pipeline import tasks
from askonce.pipeline.asking.terms import Terms
from askonce.pipeline.build import build_cache, first_visits
from askonce.pipeline.llm import LLM
from askonce.pipeline.questions import Wanted, questions

TASK = tasks.find("SimpleDoorKey")
WAYS = {
    "text": LLM(estimator="text"),
    "json": LLM(estimator="json"),
    "scored": LLM(estimator="scored"),
    "scored without reasoning": LLM(estimator="scored", prompt="without-reasoning"),
}
SAMPLES = 5
TEXTS = 6


@contextmanager
def served(program: str, model: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    given = [
        program,
        "-m",
        model,
        "--port",
        str(port),
        "-c",
        "8192",
        "-np",
        "4",
        "-t",
        "2",
        "--alias",
        Path(model).stem,
    ]
    server = subprocess.Popen(given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                with urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except (URLError, OSError):
                if server.poll() is not None:
                    raise
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait()


def say(name: str, unit: str, found: dict[str, float], best: str) -> None:
    peers = {other: value for other, value in found.items() if other != best}
    ratio = found[best] / max(peers.values()) if max(peers.values()) else None
    print(json.dumps({"name": name, "value": found[best], "unit": unit, "peers": peers, "ratio": ratio}), flush=True)


def ways(url: str, model: str) -> None:
    success, seconds, tokens = {}, {}, {}
    for name, way in WAYS.items():
        llm = LLM(model, url, estimator=way.estimator, prompt=way.prompt, max_tokens=200)
        with TemporaryDirectory() as folder:
            report = build_cache(TASK, Path(folder), llm, 60, Wanted(SAMPLES), terms=Terms(concurrency=4))
            (teacher,) = [
                one
                for one in askonce.compare_teachers(TASK, folder, episodes=500, audited=False)
                # After a reasoning there are the answers with the reasoning, too.
                if one.estimator == way.estimator
            ]
        success[name] = round(teacher.success_rate, 3)
        seconds[name] = round(report.seconds / report.texts, 2)
        tokens[name] = round((report.prompt_tokens + report.completion_tokens) / report.texts)
    best = max(success, key=lambda name: success[name])
    say(f"success of {model} alone, {TASK.name}, asked for {best}", "success rate", success, best)
    say(f"seconds a text of {model}, asked for {best}", "s", seconds, best)
    say(f"tokens a text of {model}, asked for {best}", "tokens", tokens, best)


def order(url: str, model: str) -> None:
    """Tokens that the server has to read anew, by the order of the questions; one in flight."""
    llm = LLM(model, url, estimator="scored", prompt="without-reasoning")
    texts = list(first_visits(TASK, 60, 0).counts)[:TEXTS]
    by_text = [questions(TASK, llm, text) for text in texts]
    turns = max(map(len, by_text))
    orders = {
        "text by text": [body for bodies in by_text for body in bodies],
        "turn by turn": [bodies[turn] for turn in range(turns) for bodies in by_text if turn < len(bodies)],
    }
    client, read = openai.OpenAI(base_url=url, api_key="none"), {}
    for name, bodies in orders.items():
        usages = [client.chat.completions.create(**body).usage for body in bodies]
        read[name] = sum(one.prompt_tokens - one.prompt_tokens_details.cached_tokens for one in usages) / len(texts)
    say("tokens read anew a text, letters text by text", "tokens", read, "text by text")


if __name__ == "__main__":
    if not {"LLAMA_SERVER", "GGUF"} <= os.environ.keys():
        print("bench_estimators: LLAMA_SERVER and GGUF name no server and model", file=sys.stderr)
        sys.exit()
    model = Path(os.environ["GGUF"]).stem
    with served(os.environ["LLAMA_SERVER"], os.environ["GGUF"]) as url:
        order(url, model)
        ways(url, model)
