"""What a million texts in the cache cost: opening their index, one text of it, and a training run that meets six.

The index alone: opening it, and one text at random, each beside lmdb and diskcache with the same entries as JSON.
Two caches hold one teacher's answers to ten texts; the second one also holds its answers to a million that
training never meets. Measured from each: the start (choosing the teacher and opening its answers, in a
fresh process that has done its imports), environment steps a second of training, and what a missing text
costs besides the asking (whether there are answers, and reading them). The large cache's peer is the small
one, and for the start one that reads and parses every answer.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
import json
from pathlib import Path
import subprocess
import sys
import tempfile
import time

import diskcache
import lmdb
import numpy as np

from askonce.cache import query, store
from askonce.cache.completion import Completion
from askonce.cache.index import Entry, build, open_index
from askonce.cache.key import answer_key
from askonce.cache.teachers import choose_teacher
from askonce.pipeline import tasks
from askonce.pipeline.answered import open_answered
from askonce.pipeline.estimators import option_distributions
from askonce.student.learning.anneal import Schedule
from askonce.student.learning.distill import Teacher
from askonce.student.learning.train import Settings, train

FEW, MANY = 10, 1_000_000
TASK = "SimpleDoorKey"
ITERATIONS, ROUNDS = 60, 6
# All that SimpleDoorKey can say; its teacher answers them without fault.
ANSWERS = {
    "Agent sees nothing, holds nothing.": "explore",
    "Agent sees a door, holds nothing.": "explore",
    "Agent sees a key, holds nothing.": "go to key, pick up key",
    "Agent sees a key, a door, holds nothing.": "go to key, pick up key",
    "Agent sees nothing, holds a key.": "explore",
    "Agent sees a door, holds a key.": "go to door, open door",
}


def completions(count: int) -> Iterator[Completion]:
    others = (f"Agent sees room {number}, holds nothing." for number in range(count))
    yield from map(completion, islice((*ANSWERS, *others), count))


def completion(text: str) -> Completion:
    return Completion(
        key=key(text),
        task=TASK,
        model="benchmark",
        prompt="00000000",
        text=text,
        sample=0,
        content=f"Decision: {ANSWERS.get(text, 'explore')}",
        endpoint="benchmark",
        request="{}",
        asked_at=datetime(2025, 1, 1, tzinfo=UTC),
    )


def key(text: str) -> str:
    return answer_key({"text": text}, "benchmark")


def fill(directory: Path, count: int) -> None:
    rows = completions(count)
    with store.writer(directory) as writer:
        while chunk := list(islice(rows, 50_000)):
            writer.add(chunk)


def opened(directory: Path, task=tasks.find(TASK)):
    chosen = choose_teacher(directory, TASK, None)
    return open_answered(directory, task, chosen.model, chosen.prompt)


def start_seconds(directory: Path) -> float:
    """In a fresh process; the best of five."""
    command = [sys.executable, __file__, str(directory)]
    return min(float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) for _ in range(5))


def seconds(action) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def read_everything(directory: Path) -> None:
    task = tasks.find(TASK)
    option_distributions(query.answers(directory, TASK, "benchmark", "00000000"), task.prompt.options)


def missing_text(directory: Path) -> None:
    texts = ["Agent sees a tone, holds nothing."]
    asked = [key(text) for text in texts]
    list(query.elsewhere(directory, TASK, "benchmark", "00000000", texts, asked))
    query.counted(directory, TASK, "benchmark", "00000000", texts, (), asked)
    query.of_keys(directory, TASK, asked)


def training_rate(directory: Path) -> float:
    task, whole = tasks.find(TASK), Schedule(final_from=ITERATIONS, zero_from=ITERATIONS)
    settings = Settings(iterations=ITERATIONS, distill_coef=whole)
    _, progress = train(task, Teacher(task, opened(directory)), settings)
    return progress.steps_per_second


def report(name: str, value: float, unit: str, peers: dict[str, float], more_is_better: bool = False) -> None:
    best = (max if more_is_better else min)(peers.values(), default=None)
    ratio = best and (value / best if more_is_better else best / value)
    print(
        json.dumps(
            {
                "name": name,
                "value": float(f"{value:.4g}"),
                "unit": unit,
                "peers": {peer: float(f"{found:.4g}") for peer, found in peers.items()},
                "ratio": ratio and float(f"{ratio:.3g}"),
            }
        ),
        flush=True,
    )


# What is opened in a process of its own, and where it lies.
PLACES = {"index": "index", "lmdb": "lmdb", "diskcache, a twentieth of the texts": "diskcache"}


def open_and_time(name: str, place: str) -> float:
    opens = {
        "index": lambda: open_index(place),
        "lmdb": lambda: lmdb.open(place, readonly=True),
        "diskcache, a twentieth of the texts": lambda: diskcache.Cache(place),
    }
    return seconds(opens[name])


def fresh_seconds(name: str, place: Path) -> float:
    """In a fresh process that has done its imports, as a run has; the best of five."""
    command = [sys.executable, __file__, name, str(place)]
    return min(float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) for _ in range(5))


def index_alone(directory: Path) -> None:
    texts = [f"Agent sees room {number}, holds nothing." for number in range(MANY)]
    entry = Entry({("explore",): 0.7, ("go to key", "pick up key"): 0.3}, 10)
    build(directory / "index", ((text, entry) for text in texts), None)
    said = json.dumps([[list(decision), share] for decision, share in entry.distribution.items()]).encode()
    with lmdb.open(str(directory / "lmdb"), map_size=2**31) as made, made.begin(write=True) as rows:
        for text in texts:
            rows.put(text.encode(), said)
    with diskcache.Cache(str(directory / "diskcache")) as made, made.transact():
        for text in texts[: MANY // 20]:
            made[text] = said
    wanted = [texts[n] for n in np.random.default_rng(0).integers(MANY // 20, size=20_000)]
    opening = {name: 1e3 * fresh_seconds(name, directory / place) for name, place in PLACES.items()}
    found = open_index(directory / "index")
    reads = {"index": found.get}
    environment = lmdb.open(str(directory / "lmdb"), readonly=True)
    transaction = environment.begin()
    reads["lmdb"] = lambda text: json.loads(transaction.get(text.encode()))
    disk = diskcache.Cache(str(directory / "diskcache"))
    reads["diskcache, a twentieth of the texts"] = lambda text: json.loads(disk[text])
    reading = {
        name: 1e6 * min(seconds(lambda get=get: [get(text) for text in wanted]) for _ in range(3)) / len(wanted)
        for name, get in reads.items()
    }
    report("index_open_one_million_texts", opening.pop("index"), "ms", opening)
    report("index_one_text_of_a_million", reading.pop("index"), "µs", reading)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        index_alone(Path(directory))
    with tempfile.TemporaryDirectory() as directory:
        few, many = Path(directory, "few"), Path(directory, "many")
        fill(few, FEW)
        fill(many, MANY)
        opened(few)
        report("answers_first_open_one_million", seconds(lambda: opened(many)), "s", {})
        report("train_start_ten_texts", 1e3 * start_seconds(few), "ms", {})
        report(
            "train_start_one_million_texts",
            1e3 * start_seconds(many),
            "ms",
            {"every answer read": 1e3 * seconds(lambda: read_everything(many))},
        )
        with store.writer(many) as writer:
            writer.add([completion("Agent sees one thing more, holds nothing.")])
        report("train_start_one_million_texts_and_one_added", 1e3 * start_seconds(many), "ms", {})
        missing = {cache: min(seconds(lambda: missing_text(cache)) for _ in range(6)) for cache in (many, few)}
        report("missing_text_one_million_texts", 1e3 * missing[many], "ms", {"ten texts": 1e3 * missing[few]})
        training_rate(few)
        rates = dict.fromkeys((few, many), 0.0)
        for round_number in range(ROUNDS):
            for cache in (few, many) if round_number % 2 else (many, few):
                rates[cache] = max(rates[cache], training_rate(cache))
        report("train_one_million_texts", rates[many], "environment steps/s", {"ten texts": rates[few]}, True)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        print(open_and_time(*sys.argv[1:]))
    elif len(sys.argv) > 1:
        print(seconds(lambda: opened(Path(sys.argv[1]))("Agent sees nothing, holds nothing.")))
    else:
        main()
