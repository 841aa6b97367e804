"""Verdicts beside what is known to be true: planted mistakes, and exact values in small rooms."""

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest

from askonce.cache import store
from askonce.cache.completion import Completion
from askonce.pipeline import tasks
from askonce.pipeline.audit import states
from askonce.pipeline.audit.alternatives import alternatives
from askonce.pipeline.audit.audit import Judge, Said, audit
from askonce.pipeline.audit.states import Visited
from askonce.pipeline.audit.verdict import STEPS
from askonce.pipeline.prompt import messages
from askonce.pipeline.simulated import llm
from askonce.pipeline.simulated.llm import Errors, choices, facts_of
from askonce.pipeline.tasks.minigrid import engine
from askonce.pipeline.tasks.minigrid.envs import GRID
from tests.pipeline.audit.exhaustive import Now, Room, after, values
from tests.pipeline.tasks.minigrid.test_options import look_around

PLANTED = Errors(incorrect=0.2, inefficient=0.2, inconsistent=0.2)
SAMPLES = 40
BLUE, RED = 2, 0


def met(task) -> set[str]:
    """The texts that random layouts begin with and option-driven rollouts come to."""
    from askonce.pipeline.collect import random_options
    from askonce.pipeline.deduplicate import distinct_texts

    return set(distinct_texts(task, random_options(task, 300, seed=1)).counts)


def ask(task, cache) -> None:
    """Stores what the simulated LLM says, 40 times of each text."""
    rows = [
        Completion(
            key=f"v1-sha256:{number:064x}",
            task=task.name,
            model="simulated",
            prompt="planted",
            text=text,
            sample=sample,
            content=llm.complete(messages(task.prompt, text), sample, PLANTED, seed=3),
            endpoint="none",
            request="{}",
            asked_at=datetime.fromtimestamp(sample, UTC),
        )
        for number, text in enumerate(sorted(met(task)))
        for sample in range(SAMPLES)
    ]
    store.create(cache)
    store.append(cache, rows)


def test_planted_mistakes_of_every_kind_are_found_for_what_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(states, "EPISODES", 512)
    monkeypatch.setattr(states, "ROUNDS", 3)
    task, confusion = tasks.find("ColoredDoorKey"), Counter()
    ask(task, tmp_path / "cache")
    for row in audit(task, tmp_path / "cache").rows:
        planted = next(
            kind for kind, decisions in choices(facts_of(row.text)).items() if row.decision in map(", ".join, decisions)
        )
        confusion[planted, row.verdict] += row.completions
    assert confusion.total() >= 500
    assert {planted for planted, _ in confusion} == set(llm.KINDS)
    right = sum(count for (planted, verdict), count in confusion.items() if planted == verdict)
    assert right / confusion.total() >= 0.98, confusion
    assert not confusion["inconsistent", "sound"]


ROOMS = {
    # task, what the text says, decisions beside the alternatives
    "SimpleDoorKey": {
        "Agent sees a key, a door, holds nothing.": ["go to key, pick up key", "go to door, go to key, pick up key"],
        "Agent sees a door, holds a key.": [
            "go to door, open door",
            "drop key, go to key, pick up key",
            "drop key, go to door",
        ],
    },
    "ColoredDoorKey": {
        "Agent sees a red key, a blue key, a blue door, holds nothing.": [
            "go to blue key, pick up blue key",
            "go to red key, pick up red key",
            "go to blue key, go to red key",
        ],
        "Agent sees a red key, a blue door, holds a blue key.": [
            "go to blue door, open blue door",
            "drop blue key, go to red key, pick up red key",
        ],
        "Agent sees a red key, a red door, holds a blue key.": [
            "drop blue key, go to red key, pick up red key",
            "go to red door, drop blue key",
        ],
    },
}


def rooms(name: str, count: int):
    """Known rooms of 3 × 3 cells inside the walls, with everything somewhere: a batch, and each as `exhaustive` has it."""
    task, rng = tasks.find(name), np.random.default_rng(0)
    batch, accounts = task.batch(count), []
    cells = [(x, y) for x in range(1, 4) for y in range(1, 4)]
    doors = [(0, 2), (4, 1), (2, 0), (3, 4)]
    colors = [BLUE, RED] if name == "ColoredDoorKey" else [BLUE]
    worlds, agents = np.zeros((count, GRID, GRID, 3), np.uint8), np.zeros((count, 3), np.int64)
    worlds[..., 0] = engine.EMPTY
    worlds[:, :5, :5] = (engine.WALL, 5, 0)
    worlds[:, 1:4, 1:4] = (engine.EMPTY, 0, 0)
    for n in range(count):
        door = doors[rng.integers(len(doors))]
        agent, *places = (cells[i] for i in rng.choice(len(cells), 1 + len(colors), replace=False))
        held = BLUE if rng.integers(2) else None
        keys = {color: cell for color, cell in zip(colors, places) if color != held}
        worlds[(n, *door)] = (engine.DOOR, BLUE if rng.integers(2) or len(colors) == 1 else RED, engine.LOCKED)
        for color, cell in keys.items():
            worlds[(n, *cell)] = (engine.KEY, color, 0)
        agents[n] = (*agent, rng.integers(4))
        accounts.append(
            (
                Room(frozenset(cells), door, int(worlds[(n, *door, 1)])),
                Now(*agents[n].tolist(), held, frozenset(keys.items())),
            )
        )
    engine.reset(batch.state, np.arange(count), worlds, agents, task.colored)
    for n, (_, now) in enumerate(accounts):
        if now.held is not None:
            batch.state.held[n] = (engine.KEY, now.held, 0)
        look_around(batch, n)
    return task, batch, accounts


@pytest.mark.parametrize("name", ROOMS)
def test_in_small_rooms_verdicts_are_those_of_exact_values(name):
    task, batch, accounts = rooms(name, 4200 if name == "ColoredDoorKey" else 2000)
    playout = task.playout()
    by_room: dict = {}
    for room, now in accounts:
        by_room.setdefault(room, []).append(now)
    exact = {room: values(room, starts) for room, starts in by_room.items()}
    verdicts = Counter()
    for text, said in ROOMS[name].items():
        index = np.flatnonzero([task.text(situation) == text for situation in batch.situations.tolist()])
        copies = playout.copy(batch, index)
        decisions = [tuple(words.split(", ")) for words in said]
        judge = Judge(
            task,
            playout,
            text,
            task.scene(text),
            Said({one: (1.0, 1, "") for one in decisions}, {}),
            Visited(1.0, copies, np.arange(len(index))),
        )

        def needed(decision) -> float:
            """The mean number of steps when the decision is followed by the best there is."""
            lengths = []
            for n in index:
                room, now = accounts[n]
                trace = playout.trace(playout.copy(batch, np.array([n])), decision)
                for action in trace.poses[: trace.decided, 3].tolist():
                    now = after(room, now, action)
                lengths.append(trace.decided + (0 if now is None else exact[room][now]))
            return float(np.mean(lengths))

        best = min(map(needed, alternatives(task, text, task.scene(text), decisions)))
        for decision in decisions:
            true = "inefficient" if needed(decision) - best > STEPS else "sound"
            assert judge(decision, None)["verdict"] == true, (text, decision, needed(decision) - best)
            verdicts[true] += 1
    assert min(verdicts["sound"], verdicts["inefficient"]) >= 2
