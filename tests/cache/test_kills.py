"""Every command that writes to a cache, killed at any moment: nothing stored is lost, nothing is counted twice, and
the command, given again, ends where it would have ended undisturbed."""

import json
from pathlib import Path
import random
import shutil
import sys
import time

import pytest

from askonce.cache import layout, query, store
from askonce.cache.verify import verify
from tests.cache.example import completion
from tests.forked import CONTEXT

TEXTS = 400
KILLS = [3, pytest.param(200, marks=pytest.mark.study)]
TASK = "SimpleDoorKey"


def _command(*arguments: str) -> None:
    from askonce import cli

    sys.argv = ["cli", *arguments]
    sys.stdout = sys.stderr = open("/dev/null", "w")  # noqa: SIM115
    cli.main()


def start(arguments: tuple[str, ...]):
    process = CONTEXT.Process(target=_command, args=arguments)
    process.start()
    return process


def rows(cache: Path) -> dict[tuple[str, int], int]:
    """(key, number of the answer) → how often it is there."""
    with query.connect(cache) as connection:
        found = connection.execute("SELECT key, sample, count(*) FROM completions GROUP BY ALL").fetchall()
    assert sum(entry.completions for entry in query.stats(cache).teachers) == sum(count for *_, count in found)
    return {(key, sample): count for key, sample, count in found}


def answers(first: int, last: int) -> list:
    texts = [f"Agent sees a tone{number} key, holds nothing." for number in range(first, last)]
    return [completion(text, sample=sample) for text in texts for sample in (0, 1)]


def in_many_segments(cache: Path) -> None:
    for first in range(0, TEXTS, 40):
        store.append(cache, answers(first, first + 40))


def to_import(folder: Path) -> tuple[str, ...]:
    store.append(folder / "cache", answers(0, 20))
    lines = [
        {
            "task": TASK,
            "sees": [f"tone{number} key"],
            "holds": None,
            "decisions": [{"options": ["explore"], "probability": 1}],
        }
        for number in range(TEXTS)
    ]
    (folder / "said.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "import", str(folder / "said.jsonl")


def to_merge(folder: Path) -> tuple[str, ...]:
    store.append(folder / "cache", answers(0, 100))
    store.append(folder / "other", answers(50, TEXTS))
    return "merge", str(folder / "other")


def to_compact(folder: Path) -> tuple[str, ...]:
    in_many_segments(folder / "cache")
    return ("compact",)


def to_reparse(folder: Path) -> tuple[str, ...]:
    in_many_segments(folder / "cache")
    return ("reparse",)


def to_repair(folder: Path) -> tuple[str, ...]:
    in_many_segments(folder / "cache")
    path = sorted((folder / "cache").rglob(f"*{layout.SEGMENT}"))[3]
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    return "verify", "--repair"


@pytest.mark.parametrize("times", KILLS)
@pytest.mark.parametrize("prepare", [to_import, to_merge, to_compact, to_reparse, to_repair])
def test_a_killed_command_loses_nothing_and_given_again_ends_where_it_would_have(tmp_path, prepare, times):
    command = prepare(tmp_path)
    before = {} if prepare is to_repair else rows(tmp_path / "cache")

    def given(cache: Path) -> tuple[str, ...]:
        return "cache", *command, "--cache", str(cache)

    shutil.copytree(tmp_path / "cache", tmp_path / "undisturbed")
    # The first process of all is the one that loads what the others begin with.
    start(("cache", "--help")).join()
    began = time.monotonic()
    start(given(tmp_path / "undisturbed")).join()
    took, wanted = time.monotonic() - began, rows(tmp_path / "undisturbed")
    assert before.items() <= wanted.items() and set(wanted.values()) == {1}

    draw, kills = random.Random(times), 0
    while kills < times:
        cache = tmp_path / "killed"
        shutil.copytree(tmp_path / "cache", cache)
        # What was killed is given again and killed again, until it is through.
        while kills < times:
            process = start(given(cache))
            process.join(draw.uniform(0, took))
            process.kill()
            process.join()
            if process.exitcode == 0:
                break
            kills += 1
            if prepare is not to_repair:
                found = rows(cache)
                assert before.items() <= found.items() <= wanted.items()
        last = start(given(cache))
        last.join()
        assert last.exitcode == 0 or prepare is to_repair and last.exitcode == 3
        assert rows(cache) == wanted and not verify(cache).damaged
        shutil.rmtree(cache)
