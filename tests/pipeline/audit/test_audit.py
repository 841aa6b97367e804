"""A teacher's whole audit, from the cache to the table."""

from datetime import UTC, datetime
import json

import duckdb
import numpy as np
import pytest

from askonce.cache import query, store
from askonce.cache.completion import Completion
from askonce.cache.errors import AskonceError
from askonce.cache.verify import verify
from askonce.pipeline import tasks
from askonce.pipeline.audit import states, summary
from askonce.pipeline.audit.audit import CHOICE, audit
from askonce.pipeline.audit.table import SCHEMA, place
from askonce.pipeline.recorded import read
from askonce.pipeline.tasks.minigrid.engine import LAVA
from tests.pipeline.test_recorded import line

# From LLM4Teach (IJCAI 2024): decision frequencies that its authors recorded.
RECORDED = [
    (
        "ColoredDoorKey",
        ["color1 key", "color2 door"],
        "color2 key",
        {"drop color2 key, go to color1 key, pick up color1 key": 0.71, "go to color2 door, open color2 door": 0.29},
    ),
    ("ColoredDoorKey", [], "color1 key", {"explore": 0.94, "go to east": 0.06}),
    ("ColoredDoorKey", ["color1 door"], "color2 key", {"explore": 0.98, "go to color2 key": 0.02}),
    ("LavaDoorKey", ["key"], None, {"go to key, pick up key": 0.98, "pick up key": 0.02}),
    ("LavaDoorKey", ["door"], None, {"explore": 1.0}),
    (
        "SimpleDoorKey",
        ["door"],
        "key",
        {"go to door, open door": 0.94, "go to key, pick up key, go to door, open door": 0.06},
    ),
]


@pytest.fixture(scope="module", autouse=True)
def few_episodes():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("EPISODES", 256), ("ROUNDS", 3), ("FEW_EPISODES", 1)):
            patch.setattr(states, name, value)
        yield


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    lines = [
        json.dumps(
            line(
                task=task,
                sees=sees,
                holds=holds,
                decisions=[
                    {"options": words.split(", "), "probability": probability}
                    for words, probability in decisions.items()
                ],
            )
        )
        for task, sees, holds, decisions in RECORDED
    ]
    (folder / "decisions.jsonl").write_text("\n".join(lines))
    return cache(folder, *read(folder / "decisions.jsonl", "recorded"))


@pytest.fixture(scope="module")
def simple(recorded):
    return audit(tasks.find("SimpleDoorKey"), recorded)


def cache(folder, *rows: Completion):
    store.create(folder / "cache")
    if rows:
        store.append(folder / "cache", rows)
    return folder / "cache"


def said(text: str, *contents: str, task: str = "SimpleDoorKey", model: str = "some/model") -> list[Completion]:
    return [
        Completion(
            key=f"v1-sha256:{abs(hash(text)):064x}"[:74],
            task=task,
            model=model,
            prompt="p",
            text=text,
            sample=sample,
            content=content,
            endpoint="none",
            request="{}",
            asked_at=datetime.fromtimestamp(sample, UTC),
        )
        for sample, content in enumerate(contents)
    ]


def by_decision(found, text: str) -> dict:
    return {row.decision: row for row in found.rows if row.text == text}


def test_the_recorded_answers_are_judged_as_one_would(recorded, simple):
    found = audit(tasks.find("ColoredDoorKey"), recorded)
    rows = by_decision(found, "Agent sees a red key, a blue door, holds a blue key.")
    dropped, unlocked = rows["drop blue key, go to red key, pick up red key"], rows["go to blue door, open blue door"]
    assert dropped.verdict == "inefficient" and dropped.steps_low > 5 and dropped.cost_low > 0.03
    assert dropped.best == unlocked.decision and unlocked.verdict == "sound" and unlocked.cost == 0
    assert dropped.path_end == dropped.best_path_end == "success" and len(dropped.path) > len(dropped.best_path)
    east = by_decision(found, "Agent sees nothing, holds a red key.")["go to east"]
    held = by_decision(found, "Agent sees a red door, holds a blue key.")["go to blue key"]
    assert (east.verdict, east.rule) == ("inconsistent", "not in the text") and '"go to east"' in east.reason
    assert (held.verdict, held.rule) == ("inconsistent", "already held")
    assert query.show(recorded, east.completion)[0].content == "Decision: go to east"
    rows = by_decision(simple, "Agent sees a door, holds a key.")
    assert rows["go to key, pick up key, go to door, open door"].rule == "already held"
    assert rows["go to door, open door"].verdict == "sound"


def test_walking_into_lava_is_incorrect_in_the_share_of_states_where_it_happens(recorded):
    task = tasks.find("LavaDoorKey")
    found = audit(task, recorded)
    fetch = by_decision(found, "Agent sees a key, holds nothing.")["go to key, pick up key"]
    explore = by_decision(found, "Agent sees a door, holds nothing.")["explore"]
    assert {fetch.verdict, explore.verdict} == {"incorrect"} and explore.path_end == "lava"
    for row in (fetch, explore):
        # Step by step through the batch, which knows nothing of the audit.
        met = found.visited[row.text]
        first = min(CHOICE, len(met.episodes) // 2)
        batch = task.playout().load(states.part(met.states, first, first + row.states))
        batch.state.steps[:] = 0
        burnt = walk(task, batch, tuple(row.decision.split(", ")))
        assert row.success_difference == pytest.approx(-burnt.mean(), abs=0.01) and burnt.any()


def walk(task, batch, decision) -> np.ndarray:
    """(N,) which agents the decision's options lead into lava, as a teacher that goes by the first text would act."""
    texts = batch.situations.copy()
    plans = task.plans({text: {decision: 1.0} for text in task.situations})
    for _ in range(40):
        actions = batch.advise(plans).actions[:, 0]
        done = (batch.situations != texts) if decision == ("explore",) else (batch.state.held[:, 0] == 5)
        batch.step(np.where(done, 6, actions))
    x, y = batch.state.agent[:, 0], batch.state.agent[:, 1]
    return batch.state.world[np.arange(batch.size), x, y, 0] == LAVA


def test_the_same_seed_writes_the_same_bytes_and_duckdb_joins_them_with_the_answers(recorded, simple):
    path = place(recorded, simple.teacher)
    before = path.read_bytes()
    audit(tasks.find("SimpleDoorKey"), recorded)
    assert path.read_bytes() == before and not verify(recorded).findings
    with query.connect(recorded) as connection:
        joined = connection.execute(f"""
            SELECT decision, verdict, weight FROM read_parquet('{path}') AS audit
            JOIN completions USING (task, model, prompt, text) WHERE content = 'Decision: ' || decision
            ORDER BY verdict
        """).fetchall()
    assert joined == [
        ("go to key, pick up key, go to door, open door", "inconsistent", 0.06),
        ("go to door, open door", "sound", 0.94),
    ]
    assert duckdb.read_parquet(str(path)).columns == SCHEMA.names


def test_what_could_not_be_read_has_a_row_for_each_reason_and_its_share(tmp_path):
    rows = said("Agent sees nothing, holds nothing.", "Decision: explore", "Decision: explore", "", "I cannot help.")
    found = audit(tasks.find("SimpleDoorKey"), cache(tmp_path, *rows))
    unread = [row for row in found.rows if row.verdict == "unparsable"]
    assert [(row.decision, row.probability, row.completions) for row in unread] == [(None, 0.25, 1)] * 2
    assert len({row.reason for row in unread}) == 2
    shares = summary.shares(found.rows)
    assert shares["unparsable"].probability == pytest.approx(0.5) and shares["sound"].visits == pytest.approx(0.5)
    assert "%2F" in place(tmp_path, found.teacher).name


def test_a_cache_that_cannot_be_audited_says_why_in_one_line(tmp_path, recorded):
    with pytest.raises(AskonceError, match="no answers for DivergedDoorKey, only for"):
        audit(tasks.find("DivergedDoorKey"), recorded)
    store.create(tmp_path / "empty")
    with pytest.raises(AskonceError, match="nor for any other task"):
        audit(tasks.find("SimpleDoorKey"), tmp_path / "empty")
    store.append(tmp_path / "empty", said("Agent sees an owl, holds nothing.", "Decision: explore"))
    with pytest.raises(AskonceError, match="an owl.*is no text of SimpleDoorKey"):
        audit(tasks.find("SimpleDoorKey"), tmp_path / "empty")


def test_a_text_that_is_never_met_is_judged_by_the_rules_alone(tmp_path):
    text = "Agent sees a key, a door, holds a key."
    found = audit(tasks.find("SimpleDoorKey"), cache(tmp_path, *said(text, "Decision: explore", "Decision: use key")))
    assert found.unmet == (text,)
    assert {row.decision: row.verdict for row in found.rows} == {"explore": "undecided", "use key": "inconsistent"}
    assert {row.states for row in found.rows} == {0}


def test_of_a_task_that_cannot_be_played_the_rules_tell_what_they_can(tmp_path):
    task = tasks.find("MiniGrid-Unlock-v0")
    text = "Agent sees a red key, holds nothing."
    rows = said(text, "Decision: go to red key", "Decision: pick up red key, use key", task=task.name)
    found = audit(task, cache(tmp_path, *rows))
    assert not found.playable
    assert {row.decision: (row.verdict, row.rule) for row in found.rows} == {
        "go to red key": ("undecided", None),
        "pick up red key, use key": ("inconsistent", "out of reach"),
    }
