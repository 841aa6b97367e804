"""Runs are made once, go on where they were broken off, and what is drawn of them is what they did."""

from dataclasses import replace
import json
import os
import signal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from askonce.cache import store
from askonce.cache.errors import AskonceError, Unfinished
from askonce.pipeline import tasks
from askonce.pipeline.recorded import read
from askonce.pipeline.statistics import over_seeds
from askonce.student.learning.anneal import COMPARED
from askonce.student.learning.presets import CONTROL
from askonce.student.reproducing import figures
from askonce.student.reproducing.carry_out import carry_out, finish
from askonce.student.reproducing.paper import NAVPICK, TABLE_3, TASKS
from askonce.student.reproducing.planned import METHODS, PlannedRun, Scale, Series, code, digest_of, runs_of, series_of

TASK = "DivergedDoorKey"
SMALL = Scale(seeds=1, iterations=3, episodes=5)


def line(sees: list[str], holds: str | None, *options: str) -> str:
    said = {"task": TASK, "sees": sees, "holds": holds, "decisions": [{"options": options, "probability": 1.0}]}
    return json.dumps(said) + "\n"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """What DivergedDoorKey's first texts are answered with."""
    directory = tmp_path_factory.mktemp("reproduce")
    (directory / "said.jsonl").write_text(line([], None, "explore") + line(["key"], None, "go to key", "pick up key"))
    store.append(directory / "cache", read(directory / "said.jsonl", "recorded"))
    return directory / "cache"


def weights(run: PlannedRun) -> dict[str, list]:
    about = json.loads((run.path / "run.json").read_text())
    return {name: values.tolist() for name, values in load_file(run.path / about["checkpoint"]).items()}


def when(run: PlannedRun) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in run.path.iterdir()}


def test_what_was_broken_off_ends_where_an_unbroken_run_does_and_what_failed_keeps_nothing_else_back(cache, tmp_path):
    scale = replace(SMALL, iterations=250)
    teaching = [one for one in series_of(cache, [TASK], True, ())["table-3"] if one.method == "llm4teach"]
    runs = list(runs_of(teaching, scale, cache, tmp_path / "broken"))

    def stop(done: int, total: int, words: str) -> None:
        if done:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        carry_out(runs, 1, stop)
    reached = json.loads((runs[0].path / "run.json").read_text())["iteration"]
    assert 0 < reached < scale.iterations and not runs[0].finished

    failing, told = replace(runs[0], cache=tmp_path / "none", seed=1), []
    # As many steps as it took.
    baseline = replace(runs[0], series=Series(TASK, "ppo", as_long_as=runs[0].series))
    waiting = replace(failing, series=baseline.series)
    with pytest.raises(Unfinished, match="build-cache") as raised:
        carry_out([waiting, baseline, failing, *runs], 1, lambda *news: told.append(news))
    assert set(raised.value.missing) == {failing.path.name, waiting.path.name} and not failing.finished
    assert told[-1][:2] == (1000, 1000) and runs[0].finished
    taken, wanted = (json.loads((run.path / "run.json").read_text())["progress"] for run in (baseline, runs[0]))
    assert 0 <= taken["env_steps"] - wanted["env_steps"] < 10 * 60
    unbroken = next(runs_of(teaching, scale, cache, tmp_path / "unbroken"))
    finish(unbroken)
    assert weights(unbroken) == weights(runs[0])
    assert json.loads(unbroken.evaluation.read_text()) == json.loads(runs[0].evaluation.read_text())
    assert pq.read_table(unbroken.curve).equals(pq.read_table(runs[0].curve))

    before = [when(run) for run in runs]
    told.clear()
    carry_out(runs, 2, lambda *news: told.append(news))
    assert before == [when(run) for run in runs] and not told


def test_a_runs_place_follows_from_all_it_depends_on(cache, tmp_path):
    one = next(runs_of(series_of(cache, [TASK], False, [7])["figure-7"], SMALL, cache, tmp_path))
    others = [
        replace(one, seed=1),
        replace(one, scale=replace(SMALL, iterations=4)),
        replace(one, scale=replace(SMALL, preset="paper")),
        replace(one, series=replace(one.series, answers="other")),
        replace(one, series=replace(one.series, schedule="linear-1000")),
        replace(one, series=replace(one.series, form="hard")),
    ]
    assert len({run.path for run in [one, *others]}) == 7
    # How often it is evaluated is no part of a run.
    assert replace(one, scale=replace(SMALL, episodes=9)).path == one.path


def test_a_runs_place_follows_from_the_code_that_makes_it_but_not_from_its_comments(cache, tmp_path, monkeypatch):
    source = 'def rate(done):\n    """What it is."""\n    return 1 - done  # falls\n'
    same = ["def rate(done): return 1 - done", '"""A module."""\n' + source, source.replace("# falls", "")]
    assert {digest_of({"ppo.py": one}) for one in same} == {digest_of({"ppo.py": source})}
    others = [{"ppo.py": source.replace("1", "2")}, {"anneal.py": source}, {"ppo.py": source, "anneal.py": source}]
    assert len({digest_of(sources) for sources in [{"ppo.py": source}, *others]}) == 4
    one = next(runs_of(series_of(cache, [TASK], False, [7])["figure-7"], SMALL, cache, tmp_path))
    before = one.path
    monkeypatch.setattr("askonce.student.reproducing.planned.code", lambda task: "other")
    assert one.path != before


def test_what_a_world_and_its_options_are_counts_for_that_world_alone(tmp_path):
    """The files that all share are looked for under a root; a world's own are those of the task."""
    shared, idle = "student/learning/ppo.py", "student/reproducing/figures.py"
    found = {}
    for changed in (None, shared, idle):
        for name in (shared, idle):
            path = tmp_path / str(changed) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("changed = 1" if name == changed else "first = 0")
        found[changed] = [code(task, tmp_path / str(changed)) for task in (NAVPICK, TASK)]
    assert found[None] == found[idle] and not set(found[None]) & set(found[shared])
    assert len({*found[None], *found[shared]}) == 4
    names = {path.name for path in tasks.find(NAVPICK).sources()}
    assert {"env.py", "pick.safetensors", "resnet.py"} <= names and "render.py" not in names
    assert "engine.py" in {path.name for path in tasks.find(TASK).sources()}


def test_answers_are_told_apart_by_what_they_say(cache, tmp_path):
    digest = lambda directory: series_of(directory, [TASK], False, [4])["figure-4"][0].answers
    (tmp_path / "said.jsonl").write_text(line([], None, "explore") + line(["key"], None, "explore"))
    store.append(tmp_path / "cache", read(tmp_path / "said.jsonl", "recorded"))
    assert digest(cache) == digest(cache) != digest(tmp_path / "cache")


def test_table_and_figures_are_what_the_runs_did(cache, tmp_path):
    scale = replace(SMALL, seeds=2, quick=True)
    made = series_of(cache, [TASK], True, [3, 4, 7])
    runs = {name: list(runs_of(series, scale, cache, tmp_path)) for name, series in made.items()}
    for run in dict.fromkeys(run for of_one in runs.values() for run in of_one):
        finish(run)
    rows, files = figures.write(runs, scale, tmp_path)
    assert [row.method for row in rows] == list(METHODS)
    for row in rows:
        own = [run for run in runs["table-3"] if run.series.method == row.method]
        returns = [json.loads(run.evaluation.read_text())["return_mean"] for run in own]
        mean, half = row.ours["returned"]
        assert mean == pytest.approx(np.mean(returns))
        assert half == pytest.approx(12.7062047 * np.std(returns, ddof=1) / 2**0.5)
        assert row.difference["returned"] == pytest.approx(mean - TABLE_3[TASK, row.method].returned)
    assert all(path.name.startswith("quick-") and path.stat().st_size for path in files) and len(files) == 2 + 3 * 6
    shown = (tmp_path / "quick-table-3.md").read_text()
    assert "QUICK" in shown and "recorded@" in shown and "−" in shown
    drawn = pq.read_table(tmp_path / "quick-figure-7.parquet").to_pylist()
    assert {point["name"] for point in drawn} == set(COMPARED)
    assert all(point["low"] <= point["mean"] <= point["high"] or point["mean"] == 0 for point in drawn)
    one = pq.read_table(runs["figure-7"][0].curve).to_pydict()
    assert one["iteration"] == [1, 2, 3] and one["env_steps"] == sorted(one["env_steps"])


def test_navpick_is_compared_where_it_is_on_one_scale(tmp_path):
    taught = Series(NAVPICK, "llm4teach", "soft", "stepwise", "simulated@0", "answers")
    series = [
        taught,
        *(Series(NAVPICK, method, as_long_as=taught) for method in ("hierarchical", "ppo")),
        replace(taught, method="teacher", schedule=None),
    ]
    scale = Scale(seeds=2)
    runs = list(runs_of(series, scale, tmp_path / "cache", tmp_path))
    assert {(run.scale.iterations, run.scale.episodes) for run in runs} == {(CONTROL["default"].iterations, 100)}
    assert [run.before and run.before.path for run in runs[:4]] == [None, None, runs[0].path, runs[1].path]
    for run in runs:
        run.path.mkdir(parents=True)
        run.evaluation.write_text(json.dumps({"length_mean": 120, "return_mean": 12 + run.seed, "success_rate": 0.8}))
        if run.series.method != "teacher":
            rising = np.arange(1, 301)
            learnt = {"return": rising / 20 - 2, "success": rising / 400}
            pq.write_table(pa.table({"iteration": rising, "env_steps": 2000 * rising} | learnt), run.curve)
    rows, files = figures.write({"table-3": runs, "figure-6": runs}, scale, tmp_path)
    assert [row.difference.keys() for row in rows] == [{"success"}] * 4
    assert rows[0].difference["success"] == pytest.approx(0.8 - 0.69) and rows[0].ours["returned"][0] == 12.5
    shown = (tmp_path / "table-3.md").read_text()
    assert shown.count("other scale") == 2 * 4 and "habitat-lab" in shown and "as many environment steps" in shown
    drawn = pq.read_table(tmp_path / "figure-6.parquet")
    assert b"its teacher acts a part" in drawn.schema.metadata[b"about"] and "acts a part" not in shown
    points = drawn.to_pylist()
    returns = [point["mean"] for point in points if point["measure"] == "return"]
    assert min(returns) < 0 and max(returns) > 10
    assert {point["name"] for point in points} == {"LLM4Teach", "hierarchical RL", "baseline RL (PPO)"}
    assert len(files) == 2 + 6 and all(path.stat().st_size for path in files)


def test_the_band_is_students_and_a_single_seed_has_none():
    mean, half = over_seeds(np.array([[1.0, 2.0], [2.0, 2.0], [3.0, 2.0]]))
    assert mean.tolist() == [2, 2] and half.tolist() == pytest.approx([4.3026527 / 3**0.5, 0])
    assert np.isnan(over_seeds(np.array([[1.0]]))[1]).all()


def test_the_papers_figures_are_all_there():
    assert set(TABLE_3) == {(task, method) for task in TASKS for method in METHODS}


@pytest.mark.parametrize("number, task", [(4, TASK), (6, NAVPICK)])
def test_a_figure_without_its_task_is_one_line(cache, number, task):
    with pytest.raises(AskonceError, match=task) as raised:
        series_of(cache, [], False, [number])
    assert raised.value.exit_code == 2
