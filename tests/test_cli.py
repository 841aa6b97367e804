"""The commands as people use them: those that a signal or another process is about through the console
script itself, the rest through its entry point in this process, which spares their start."""

from dataclasses import replace
from functools import partial
import json
from pathlib import Path
import shutil
import signal
import threading
import time

from PIL import Image
import pyarrow.parquet as pq
import pytest

from askonce.cache import query, store
from askonce.commands.show import live
from askonce.pipeline.asking import retry
from askonce.pipeline.audit import states
from askonce.pipeline.recorded import read
from askonce.pipeline.simulated.serve import Response, SimulatedServer, failure, running
from askonce.pipeline.simulated.serve import completion as completion_object
from askonce.student.reproducing import carry_out, planned
from tests.cache.example import completion
from tests.called import called
from tests.command import SECRET, Result, command, files_with_secret, finish, start
from tests.pipeline.servers import Server, closed_port

# From LLM4Teach (IJCAI 2024): decision frequencies that its authors recorded.
RECORDED = """\
{"task": "DivergedDoorKey", "sees": ["key"], "holds": null, "decisions": [\
{"options": ["go to key", "pick up key"], "probability": 1.0}]}
{"task": "DivergedDoorKey", "sees": ["door1", "door2"], "holds": "key", "decisions": [\
{"options": ["go to door1", "open door1"], "probability": 0.5}, \
{"options": ["go to door2", "open door2"], "probability": 0.5}]}
"""
NOTHING_SEEN = "Agent sees nothing, holds nothing."

TASK = ("--task", "DivergedDoorKey")
BUILD = ("build-cache", "--task", "SimpleDoorKey", "--episodes", 30, "--samples", 2, "--json")
TRAIN = ("train", *TASK, "--iterations", 2, "--json")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Result]:
    cache = tmp_path_factory.mktemp("built") / "cache"
    return cache, called(*BUILD, "--cache", cache)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    """A cache that answers two of DivergedDoorKey's texts and lacks the others."""
    directory = tmp_path_factory.mktemp("recorded")
    (directory / "decisions.jsonl").write_text(RECORDED)
    store.append(directory / "cache", read(directory / "decisions.jsonl", "recorded"))
    return directory / "cache"


@pytest.fixture(scope="module")
def trained(recorded, tmp_path_factory) -> tuple[Path, Result]:
    run = tmp_path_factory.mktemp("trained") / "run"
    return run, called(*TRAIN, "--cache", recorded, "--cache-only", "--run", run)


def texts(cache: Path) -> set[str]:
    with query.connect(cache) as connection:
        return {text for (text,) in connection.execute("SELECT DISTINCT text FROM completions").fetchall()}


def asked_texts(server: Server) -> set[str]:
    return {request["messages"][-1]["content"] for request in server.requests}


def is_one_line(result: Result) -> bool:
    return result.err.startswith("error: ") and result.err.count("\n") == 1


# ---- build-cache ---------------------------------------------------------------------------------


def test_build_cache_gives_its_figures_as_one_json_object(built):
    cache, result = built
    assert result.code == 0 and result.out.count("\n") == 1 and "\x1b" not in result.out + result.err
    found = result.figures
    assert set(found) >= {
        "states",
        "texts",
        "hits",
        "asked",
        "completions",
        "unparsable",
        "prompt_tokens",
        "completion_tokens",
        "coverage",
        "seconds",
    }
    assert found["hits"] == 0 and found["asked"] == found["texts"] == len(texts(cache))
    assert found["completions"] == 2 * found["asked"] and found["states"] > found["texts"]
    assert 0 < found["coverage"] <= 1 and found["prompt_tokens"] > 0 < found["completion_tokens"]


def test_a_second_run_asks_nothing(built, run):
    cache, first = built
    again = run(*BUILD, "--cache", cache).figures
    assert again["hits"] == again["texts"] == first.figures["texts"]
    assert [again[name] for name in ("asked", "completions", "prompt_tokens", "completion_tokens")] == [0] * 4


def test_more_samples_ask_only_for_those_that_are_missing(run, tmp_path):
    few = run(*BUILD, "--cache", tmp_path / "cache").figures
    more = run(*BUILD, "--cache", tmp_path / "cache", "--samples", 5).figures
    assert more["asked"] == few["texts"] and more["completions"] == 3 * few["texts"]


def test_without_json_people_get_a_table_without_codes(built, run):
    result = run(*BUILD[:-1], "--cache", built[0])
    assert "distinct texts" in result.out and "\x1b" not in result.out + result.err


def test_served_by_another_process(run, tmp_path):
    server = start("serve-teacher", "--port", 0, "--json")
    base_url = json.loads(server.stdout.readline())["base_url"]
    built = run(*BUILD, "--cache", tmp_path / "cache", "--base-url", base_url).figures
    server.send_signal(signal.SIGINT)
    ended = finish(server)
    assert built["asked"] == built["texts"] > 0
    assert ended.code == 130 and "Traceback" not in ended.err


def test_a_server_that_fails_midway_leaves_what_was_obtained_and_lists_the_rest(run, tmp_path):
    healthy = threading.Event()
    broken = failure(402, "the account is empty", "empty")
    server = Server(lambda request, number: None if number <= 3 or healthy.is_set() else broken)
    with running(server) as url:
        arguments = (*BUILD, "--cache", tmp_path / "cache", "--base-url", url)
        ended = run(*arguments)
        stored, answered = texts(tmp_path / "cache"), server.requests[:3]
        missing = set(ended.figures["missing"])
        healthy.set()
        server.requests.clear()
        again = run(*arguments)
    assert ended.code == 3 and "Traceback" not in ended.err
    assert stored == {request["messages"][-1]["content"] for request in answered}
    assert missing and not missing & stored
    assert all(f"missing: {text}" in ended.err for text in missing)
    assert again.code == 0 and again.figures["asked"] == len(asked_texts(server))
    assert not asked_texts(server) & stored and missing <= texts(tmp_path / "cache")


def test_ctrl_c_keeps_what_was_obtained_and_what_is_in_flight(run, tmp_path):
    released = threading.Event()

    def slow(request, number):
        if number > 2:
            released.wait()

    server = Server(slow)
    with running(server) as url:
        arguments = (
            "build-cache",
            "--task",
            "ColoredDoorKey",
            "--episodes",
            60,
            "--samples",
            2,
            "--json",
            "--cache",
            tmp_path / "cache",
            "--base-url",
            url,
            "--concurrency",
            4,
        )
        process = start(*arguments)
        while len(server.requests) < 6:  # two are answered, and four under way
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        time.sleep(1)  # a new request would be one that Ctrl-C came too late for
        released.set()
        ended = finish(process)
        asked = asked_texts(server)
        server.requests.clear()
        again = run(*arguments)
    assert ended.code == 130 and is_one_line(ended) and "run the same command again" in ended.figures["error"]
    assert again.figures["hits"] == len(asked) == 6
    assert again.code == 0 and not asked & asked_texts(server) and asked_texts(server)
    assert files_with_secret(tmp_path) == []


def test_a_prompt_that_is_refused_is_set_aside_with_its_reason_and_the_rest_is_answered(run, tmp_path):
    refused = failure(400, "not this one", "content_policy_violation")
    server = Server(lambda request, number: refused if NOTHING_SEEN in request["messages"][-1]["content"] else None)
    with running(server) as url:
        ended = run(*BUILD, "--cache", tmp_path / "cache", "--base-url", url)
    found = ended.figures
    assert ended.code == 3 and list(found["unanswered"]) == [NOTHING_SEEN] and found["errors"]["400"] > 0
    assert f"missing: {NOTHING_SEEN} (the server answered with status 400 (not this one))" in ended.err
    assert len(texts(tmp_path / "cache")) == found["texts"] - 1 and 0 < found["coverage"] < 1


def test_a_dry_run_asks_and_stores_nothing_and_is_what_the_build_then_takes(run, tmp_path):
    (tmp_path / "prices.json").write_text('{"simulated": {"input": 1, "output": 2}}')
    server = Server()
    with running(server) as url:
        arguments = (*BUILD, "--cache", tmp_path / "cache", "--base-url", url, "--prices", tmp_path / "prices.json")
        plan = run(*arguments, "--dry-run").figures
        assert server.requests == [] and not (tmp_path / "cache").exists()
        built = run(*arguments).figures
        again = run(*arguments, "--dry-run").figures
    assert (plan["hits"], plan["requests"]) == (0, plan["texts"]) and plan["requests"] <= built["requests"]
    assert plan["cost"] >= built["cost"] > 0
    assert built["cost"] == pytest.approx((built["prompt_tokens"] + 2 * built["completion_tokens"]) / 1e6)
    assert (again["hits"], again["requests"], again["cost"]) == (again["texts"], 0, 0)


@pytest.mark.parametrize("limit", [("--max-requests", 2), ("--max-cost", 0.005)])
def test_a_budget_ends_with_3_and_what_was_obtained(run, tmp_path, limit):
    (tmp_path / "prices.json").write_text('{"simulated": {"input": 1, "output": 2}}')
    server = Server()
    with running(server) as url:
        arguments = (*BUILD, "--cache", tmp_path / "cache", "--base-url", url, "--prices", tmp_path / "prices.json")
        ended = run(*arguments, *limit)
        asked = asked_texts(server)
        server.requests.clear()
        rest = run(*arguments)
    assert ended.code == 3 and limit[0] in ended.figures["error"] and ended.figures["missing"]
    assert 0 < len(asked) == len(texts(tmp_path / "cache")) - len(asked_texts(server))
    assert rest.code == 0 and not asked & asked_texts(server)


def test_by_batches_or_online_it_is_the_same_question(run, tmp_path):
    arguments = (*BUILD, "--cache", tmp_path / "cache")
    with running(Server()) as url:
        arguments = (*arguments, "--base-url", url)
        found = run(*arguments, "--transport", "batch").figures
        assert found["asked"] == found["texts"] > 0 and found["completions"] == 2 * found["texts"]
        assert run(*arguments).figures["asked"] == 0
    assert list((tmp_path / "cache" / "batches").iterdir()) == []


def test_samples_stop_once_the_distribution_is_known(run, tmp_path):
    arguments = (*BUILD, "--cache", tmp_path / "cache", "--samples", "auto", "--max-tv", 0.2)
    found, again = run(*arguments).figures, run(*arguments).figures
    assert found["completions"] > 2 * found["texts"] and found["saved"] > 0
    assert (again["asked"], again["hits"]) == (0, again["texts"])
    assert run(*arguments, "--max-tv", 0.1).figures["asked"] > 0


def test_letters_make_a_teacher_of_their_own(run, tmp_path):
    arguments = (*BUILD, "--cache", tmp_path / "cache")
    sampled, lettered = run(*arguments).figures, run(*arguments, "--estimator", "logprobs").figures
    entries = run("cache", "stats", "--cache", tmp_path / "cache", "--json").figures["teachers"]
    assert lettered["completions"] <= sampled["completions"] and lettered["unparsable"] == 0
    assert len({entry["prompt"] for entry in entries}) == 2
    assert run(*arguments, "--estimator", "logprobs").figures["asked"] == 0
    one = run(*arguments, "--estimator", "hard").figures
    assert one["completions"] == one["texts"]


def test_figure_4_compares_sampling_letters_and_the_hard_teacher(run, tmp_path):
    cache, to = tmp_path / "cache", tmp_path / "reproduced"
    said = []
    for estimator in "sampling", "logprobs":
        run("build-cache", *TASK, "--cache", cache, "--samples", 2, "--episodes", 5, "--estimator", estimator, "--json")
        held = run("cache", "stats", "--cache", cache, "--json").figures["teachers"]
        said += [name for entry in held if (name := f"{entry['model']}@{entry['prompt']}") not in said]
    # What is finished is not run again, and here needs no other process.
    scale = replace(planned.QUICK, seeds=1, iterations=2)
    series = planned.series_of(cache, ["DivergedDoorKey"], False, [4], *said)["figure-4"]
    for one in planned.runs_of(series, scale, cache, to):
        carry_out.finish(one)
    figures = run(
        "reproduce",
        "--figure",
        4,
        "--cache",
        cache,
        "--to",
        to,
        "--model",
        said[0],
        "--logprobs",
        said[1],
        "--quick",
        "--seeds",
        1,
        "--iterations",
        2,
        "--json",
    ).figures
    assert figures["teachers"] == {"DivergedDoorKey": sorted(said)} and len(figures["files"]) == 6
    drawn = {point["name"] for point in pq.read_table(to / "quick-figure-4.parquet").to_pylist()}
    assert drawn == {f"soft teacher, {said[0]}", f"hard teacher, {said[0]}", f"soft teacher, {said[1]}"}
    weights = [path.read_bytes() for path in (to / "runs").rglob("checkpoint-*")]
    assert len(set(weights)) == 3


def test_a_server_without_log_probabilities_is_named_before_much_is_asked(run, tmp_path):
    def forget(request, number):
        if request.get("logprobs"):
            return Response(200, completion_object("simulated", [("A", "stop")], 10))

    server = Server(forget)
    with running(server) as url:
        ended = run(*BUILD, "--cache", tmp_path / "cache", "--base-url", url, "--estimator", "logprobs")
    assert ended.code == 3 and "log-probabilities" in ended.err and "--estimator text" in ended.err


def test_one_model_under_two_addresses_is_one_teacher_by_its_name(run, tmp_path):
    for asked in (True, False):
        with running(Server()) as url:
            found = run(*BUILD, "--cache", tmp_path / "cache", "--base-url", url, "--model-id", "ours").figures
        assert (found["asked"] > 0) == asked


def test_further_fields_of_the_request_are_sent_and_are_part_of_the_question(run, tmp_path):
    server = Server()
    with running(server) as url:
        arguments = (*BUILD, "--cache", tmp_path / "cache", "--base-url", url)
        run(*arguments, "--extra", '{"top_p": 0.9}')
        assert all(request["top_p"] == 0.9 for request in server.requests)
        assert run(*arguments).figures["asked"] > 0


# ---- train and evaluate --------------------------------------------------------------------------


def test_training_from_the_cache_alone_counts_and_lists_what_it_lacks(trained):
    run, result = trained
    assert result.code == 0 and result.out.count("\n") == 1 and "\x1b" not in result.out + result.err
    found = result.figures
    assert set(found) >= {
        "iterations",
        "env_steps",
        "seconds",
        "steps_per_second",
        "success_rate",
        "return_mean",
        "cache_hits",
        "cache_misses",
        "llm_calls",
        "parameters",
    }
    assert found["iterations"] == 2 and found["llm_calls"] == 0 and 20_000 < found["parameters"] < 28_000
    assert found["cache_hits"] + found["cache_misses"] <= found["env_steps"]
    assert found["cache_misses"] == sum(found["missing"].values()) and NOTHING_SEEN in found["missing"]
    assert f"times: {NOTHING_SEEN}" in result.err
    assert files_with_secret(run) == []


def test_a_student_and_its_teacher_are_evaluated(trained, recorded, run):
    arguments = ("evaluate", "--task", "DivergedDoorKey", "--episodes", 20, "--json")
    for who in (("--run", trained[0]), ("--teacher", "--cache", recorded)):
        found = run(*arguments, *who).figures
        assert set(found) >= {"episodes", "return_mean", "return_ci95", "length_mean", "success_rate"}
        low, high = found["return_ci95"]
        assert found["episodes"] == 20 and low <= found["return_mean"] <= high
        assert 0 <= found["success_rate"] <= 1 <= found["length_mean"] <= 60


def test_a_run_of_one_of_minigrids_own_is_evaluated_and_its_student_exported(run, tmp_path):
    name, trained = "MiniGrid-DoorKey-5x5-v0", tmp_path / "run"
    assert run("train", "--task", name, "--method", "ppo", "--iterations", 1, "--run", trained).code == 0
    assert run("evaluate", "--task", name, "--run", trained, "--episodes", 2, "--json").figures["episodes"] == 2
    assert run("export", "--run", trained, "--to", tmp_path / "student.pt", "--json").figures["actions"]


@pytest.mark.parametrize(
    "name, code, words",
    [
        ("SimpleDoorKey", 1, "is a run of DivergedDoorKey, not of SimpleDoorKey"),
        ("Unheard", 2, "unknown task 'Unheard'"),
    ],
)
def test_a_run_is_not_evaluated_as_another_tasks(trained, run, name, code, words):
    result = run("evaluate", "--task", name, "--run", trained[0], "--episodes", 1)
    assert result.code == code and words in result.err and result.err.count("\n") == 1


def test_the_interval_of_a_single_episode_is_valid_json(recorded, run):
    result = run("evaluate", *TASK, "--teacher", "--cache", recorded, "--episodes", 1, "--json")
    assert json.loads(result.out, parse_constant=pytest.fail)["return_ci95"] == [None, None]


def test_a_missing_text_is_asked_once_and_stored(run, tmp_path):
    asking = (*TRAIN, "--cache", tmp_path / "cache", "--samples", 2)
    first = run(*asking, "--run", tmp_path / "first").figures
    stored = run("cache", "stats", "--cache", tmp_path / "cache", "--json").figures["teachers"]
    second = run(*asking, "--run", tmp_path / "second").figures
    assert first["llm_calls"] == len(texts(tmp_path / "cache")) > 0 == first["cache_misses"]
    assert [entry["completions"] for entry in stored] == [2 * first["llm_calls"]]
    assert second["llm_calls"] == 0
    assert run("cache", "stats", "--cache", tmp_path / "cache", "--json").figures["teachers"] == stored


def test_training_need_not_wait_for_answers(run, tmp_path):
    def late(request, number):
        """Not before the first training has come to its end, which writes a checkpoint; in a minute, had it failed."""
        for _ in range(6000):
            if list((tmp_path / "first").glob("checkpoint-*")):
                return
            time.sleep(0.01)

    with running(Server(late)) as url:
        asking = (*TRAIN, "--cache", tmp_path / "cache", "--samples", 2, "--base-url", url, "--on-miss", "defer")
        first = run(*asking, "--run", tmp_path / "first").figures
        open_to_the_end = ("--iterations", 400, "--i2", 400)
        later = run(*asking, "--run", tmp_path / "later", *open_to_the_end).figures
    # No answer came in time for the two iterations, yet what was in flight is stored, and is there at once.
    assert first["cache_misses"] > 0 == first["llm_calls"] and texts(tmp_path / "cache")
    assert later["llm_calls"] > 0 < later["cache_hits"]


def test_a_failure_in_the_background_ends_with_3_after_the_training(run, tmp_path):
    broken = failure(402, "the account is empty", "empty")
    with running(Server(lambda request, number: broken)) as url:
        ended = run(
            *TRAIN,
            "--cache",
            tmp_path / "cache",
            "--base-url",
            url,
            "--on-miss",
            "defer",
            "--run",
            tmp_path / "run",
            "--iterations",
            20,
        )
    assert ended.code == 3 and "402" in ended.err and (tmp_path / "run" / "run.json").exists()
    assert ended.figures["iterations"] == 20 and "402" in ended.figures["asking_failure"]


def test_a_missing_text_can_be_refused(recorded, run, tmp_path):
    ended = run(*TRAIN, "--cache", recorded, "--cache-only", "--on-miss", "error", "--run", tmp_path / "run")
    assert ended.code == 1 and is_one_line(ended) and "the cache has no answer for 'Agent sees" in ended.err


def test_a_run_is_named_after_its_task_and_seed(recorded, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*TRAIN[:-1], "--cache", recorded, "--cache-only", "--seed", 4, "--iterations", 1)
    assert result.code == 0 and "environment steps" in result.out and "\x1b" not in result.out + result.err
    assert (tmp_path / "runs" / "DivergedDoorKey-4" / "run.json").exists()


def test_ctrl_c_in_training_leaves_a_checkpoint_to_go_on_from(recorded, run, tmp_path):
    arguments = (
        "train",
        *TASK,
        "--cache",
        recorded,
        "--cache-only",
        "--iterations",
        10,
        "--json",
        "--run",
        tmp_path / "run",
    )
    process = start(*arguments)
    assert process.stderr.readline().startswith("iteration ")
    process.send_signal(signal.SIGINT)
    ended = finish(process)
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    kept = [path.name for path in (tmp_path / "run").glob("checkpoint-*")]
    resumed = run(*arguments, "--resume")
    assert ended.code == 130 and "Traceback" not in ended.err
    assert f"--resume --run {tmp_path / 'run'}" in ended.figures["error"]
    assert 0 < about["iteration"] < 10 and kept == [about["checkpoint"]]
    assert resumed.code == 0 and resumed.figures["iterations"] == 10


# ---- Looking at runs -----------------------------------------------------------------------------


def test_runs_are_listed_with_their_figures(trained, run, tmp_path):
    directory, trained_figures = trained[0], trained[1].figures
    shutil.copytree(directory, tmp_path / "runs" / "mine")
    result = run("runs", tmp_path / "runs", "--json")
    (listed,) = result.figures["runs"]
    assert result.code == 0 and result.figures["damaged"] == []
    assert all(
        listed[name] == trained_figures[name]
        for name in ("iterations", "env_steps", "success_rate", "return_mean", "steps_per_second")
    )
    assert (listed["run"], listed["task"]) == (str(tmp_path / "runs" / "mine"), "DivergedDoorKey")
    table = run("runs", tmp_path / "runs").out
    assert "mine" in table and "recorded@" in table and "\x1b" not in table
    assert max(map(len, table.splitlines())) <= 80


def test_a_damaged_run_is_named_beside_the_others(trained, run, tmp_path):
    for name in ("sound", "damaged"):
        shutil.copytree(trained[0], tmp_path / "runs" / name)
    (tmp_path / "runs" / "damaged" / "run.json").write_text("{")
    result = run("runs", tmp_path / "runs", "--json")
    assert result.code == 3 and len(result.figures["runs"]) == len(result.figures["damaged"]) == 1
    (line,) = result.err.splitlines()
    assert line.startswith("damaged: ") and "damaged/run.json" in line


def test_episodes_are_watched_frame_by_frame(trained, recorded, run):
    arguments = ("watch", "--run", trained[0], "--cache", recorded, "--episodes", 2, "--seed", 1)
    result, watched = run(*arguments), run(*arguments, "--json").figures
    assert result.code == 0 and "\x1b" not in result.out
    assert "teacher" in result.out and "In hand: " in result.out
    heads = [line for line in result.out.splitlines() if line.startswith("DivergedDoorKey  episode")]
    shown = [line.split()[2::2] for line in heads]
    played, answered = watched["episodes"], texts(recorded)
    assert [(int(episode), int(step)) for episode, step, _ in shown] == [
        (number, step) for number, episode in enumerate(played, 1) for step in range(episode["length"] + 1)
    ]
    for episode in played:
        assert episode["success"] == (episode["return"] > 0)
        assert len(episode["steps"]) == episode["length"] <= 60
        for step in episode["steps"]:
            assert sum(step["student"].values()) == pytest.approx(1, abs=1e-5)
            assert step["action"] in step["student"]
            # Two texts are answered, and DivergedDoorKey's others are not.
            assert sum(step["teacher"].values()) == pytest.approx(float(step["text"] in answered), abs=1e-5)
    alone = run("watch", "--run", trained[0], "--episodes", 1, "--json").figures["episodes"][0]
    assert alone["steps"][0]["teacher"] is None


def test_episodes_are_watched_in_a_gif(trained, run, tmp_path):
    found = run("watch", "--run", trained[0], "--to", tmp_path / "a.gif", "--episodes", 1, "--json").figures
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == found["episodes"][0]["length"] + 1
    assert found["to"] == str(tmp_path / "a.gif")


def test_a_student_is_exported_with_a_program_that_runs_it(trained, run, tmp_path):
    arguments = ("export", "--run", trained[0], "--to", tmp_path / "student.pt")
    found = run(*arguments, "--json").figures
    assert found["bytes"] == (tmp_path / "student.pt").stat().st_size and found["format"] == "torchscript"
    result = run(*arguments)
    assert result.code == 0 and result.out == found["example"] and "probabilities (N, 7)" in result.err
    assert run(*arguments[:-1], tmp_path / "student", "--format", "torchscript").code == 0
    assert (tmp_path / "student").exists()


def test_a_report_is_one_file_and_says_what_is_lacking(built, trained, run, tmp_path):
    cache, to = built[0], tmp_path / "report.html"
    found = run("report", "--cache", cache, "--to", to, "--episodes", 0, "--json").figures
    assert (found["to"], found["bytes"], found["verdicts"]) == (str(to), to.stat().st_size, {})
    (note,) = found["notes"]
    assert note["command"].startswith(f"cli audit --task SimpleDoorKey --cache {cache} --model simulated@")
    other = run("report", "--cache", cache, "--run", trained[0], "--to", to)
    assert other.code == 2 and "is a run of DivergedDoorKey" in other.err and other.err.count("\n") == 1
    nowhere = run("report", "--cache", cache, "--to", tmp_path / "none" / "report.html")
    assert nowhere.code == 1 and "make it first" in nowhere.err and nowhere.err.count("\n") == 1


# ---- Several models ------------------------------------------------------------------------------


@pytest.fixture
def two_models(run, tmp_path) -> Path:
    (tmp_path / "decisions.jsonl").write_text(RECORDED)
    for model in ("one", "two@home"):
        assert (
            run(
                "cache", "import", tmp_path / "decisions.jsonl", "--cache", tmp_path / "two", "--model", model, "--json"
            ).figures["completions"]
            == 3
        )
    return tmp_path / "two"


def test_several_models_in_a_cache_are_listed_and_chosen_from(run, two_models):
    task = ("--task", "DivergedDoorKey", "--cache", two_models, "--json")
    for words in (("train", "--cache-only"), ("train",), ("evaluate", "--teacher")):
        ended = run(*words, *task)
        assert ended.code == 2 and is_one_line(ended)
        assert "one@" in ended.err and "two@home@" in ended.err and "--model" in ended.err
    for model in ("one", "two@home"):
        assert run("evaluate", "--teacher", *task, "--model", model, "--episodes", 2).code == 0
    assert run("evaluate", "--teacher", *task, "--model", "two").code == 1


def test_training_does_not_mix_the_answers_of_two_teachers(recorded, run, tmp_path):
    ended = run(*TRAIN, "--cache", recorded, "--run", tmp_path / "run")
    assert ended.code == 2 and is_one_line(ended) and "recorded@" in ended.err and "--cache-only" in ended.err


# ---- cache ---------------------------------------------------------------------------------------


def test_stats_tell_who_answered_how_much(built, run):
    cache, first = built
    stats = run("cache", "stats", "--cache", cache, "--json").figures
    (entry,) = stats["teachers"]
    assert (entry["task"], entry["model"]) == ("SimpleDoorKey", "simulated")
    assert all(
        entry[name] == first.figures[name] for name in ("texts", "completions", "prompt_tokens", "completion_tokens")
    )
    shown = run("cache", "stats", "--cache", cache).out
    assert f"simulated@{entry['prompt']}" in shown and f"{entry['coverage']['share']:.2%}" in shown


def test_show_gives_completions_word_for_word(built, run):
    shown = run("cache", "show", NOTHING_SEEN, "--cache", built[0], "--json").figures
    assert shown["found"] == 2
    for completion in shown["completions"]:  # noqa: F402
        assert completion["content"] in run("cache", "show", completion["id"], "--cache", built[0]).out
    some = run("cache", "show", "Agent", "--cache", built[0], "--limit", 1, "--json").figures
    assert len(some["completions"]) == 1 < some["found"]


def test_show_obeys_nothing_that_an_llm_wrote(run, tmp_path):
    said = f"[red]Decision[/] :key: \x1b[2J {'go to key ' * 20}"
    store.append(tmp_path / "cache", [completion(content=said)])
    out = run("cache", "show", "Agent", "--cache", tmp_path / "cache").out
    assert said.replace("\x1b", "\\x1b") in out and "\x1b" not in out


def test_explain_tells_a_hit_from_a_miss_and_what_differs(built, run):
    arguments = ("cache", "explain", "--task", "SimpleDoorKey", "--text", NOTHING_SEEN, "--cache", built[0])
    hit, miss = run(*arguments, "--json").figures, run(*arguments, "--temperature", 0.5, "--json").figures
    assert (hit["hit"], hit["completions"], hit["differences"]) == (True, 2, [])
    assert not miss["hit"] and miss["differences"] == [{"field": "temperature", "asked": 0.5, "stored": 1}]
    assert "temperature: 0.5, stored 1" in run(*arguments, "--temperature", 0.5).out


def test_importing_twice_changes_nothing(run, tmp_path):
    (tmp_path / "decisions.jsonl").write_text(RECORDED)
    arguments = ("cache", "import", tmp_path / "decisions.jsonl", "--cache", tmp_path / "cache", "--json")
    first = run(*arguments).figures
    before = run("cache", "stats", "--cache", tmp_path / "cache", "--json").figures["teachers"]
    assert run(*arguments).figures == first == {"texts": 2, "completions": 3, "tasks": ["DivergedDoorKey"]}
    assert run("cache", "stats", "--cache", tmp_path / "cache", "--json").figures["teachers"] == before


def test_an_audit_is_a_table_for_people_one_for_queries_and_json(recorded, run, monkeypatch):
    monkeypatch.setattr(states, "EPISODES", 64)
    monkeypatch.setattr(states, "ROUNDS", 1)
    arguments = ("audit", *TASK, "--cache", recorded)
    found = run(*arguments, "--json").figures
    assert set(found["classes"]) >= {"inconsistent", "incorrect", "sound"} and Path(found["table"]).exists()
    assert all(query.show(recorded, row["completion"]) for row in found["rows"])
    shown = run(*arguments, "--limit", 1)
    assert "inconsistent" in shown.out and "\x1b" not in shown.out


# ---- Bad input -----------------------------------------------------------------------------------

OFFLINE = ("train", *TASK, "--cache", "{recorded}", "--cache-only")
BAD = {
    "an unknown task": (("build-cache", "--task", "Chess", "--cache", "{tmp}/c"), 2, "SimpleDoorKey"),
    "a task in no module": (("build-cache", "--task", "no.such:THING", "--cache", "{tmp}/c"), 2, "no.such"),
    "no cache": (("cache", "stats", "--cache", "{tmp}/none"), 1, "build-cache"),
    "no cache to train from": (("train", *TASK, "--cache", "{tmp}/none", "--cache-only"), 1, "build-cache"),
    "no cache to evaluate": (("evaluate", *TASK, "--cache", "{tmp}/none", "--teacher"), 1, "build-cache"),
    "a task not in the cache": (
        ("evaluate", "--task", "LavaDoorKey", "--cache", "{recorded}", "--teacher"),
        1,
        "only for Diverged",
    ),
    "a task to audit that is not in the cache": (
        ("audit", "--task", "LavaDoorKey", "--cache", "{recorded}"),
        1,
        "only for Diverged",
    ),
    "a model not in the cache": (
        ("evaluate", *TASK, "--cache", "{recorded}", "--teacher", "--model", "gpt"),
        1,
        "recorded@",
    ),
    "a foreign directory": (("build-cache", *TASK, "--cache", "{tmp}/foreign"), 1, "not a cache"),
    "a foreign directory to read": (("cache", "show", "key", "--cache", "{tmp}/foreign"), 1, "not a cache"),
    "a file for a cache": (("build-cache", *TASK, "--cache", "{tmp}/foreign/notes"), 1, "notes"),
    "nothing of that name": (("cache", "show", "dragon", "--cache", "{recorded}"), 1, "dragon"),
    "nothing to reparse": (("cache", "reparse", *TASK, "--cache", "{tmp}/none"), 1, "build-cache"),
    "an unknown task to reparse": (("cache", "reparse", "--task", "Chess", "--cache", "{recorded}"), 2, "Chess"),
    "a malformed line": (("cache", "import", "{tmp}/bad.jsonl", "--cache", "{tmp}/c"), 1, "line 3"),
    "no file": (("cache", "import", "{tmp}/none.jsonl", "--cache", "{tmp}/c"), 1, "none.jsonl"),
    "no address": (("build-cache", *TASK, "--cache", "{tmp}/c", "--base-url", "here"), 2, "base URL"),
    "a negative weight": ((*OFFLINE, "--lambda-0", "-1"), 2, "--lambda-0 -1"),
    "a teacher that leaves before it has faded": ((*OFFLINE, "--i1", "9", "--i2", "8"), 2, "i1 ≤ i2"),
    "no such schedule": ((*OFFLINE, "--anneal", "steep"), 2, "stepwise"),
    "a teacher for who has none": (("train", *TASK, "--method", "ppo", "--cache", "{recorded}"), 2, "--method ppo"),
    "no teacher for who has one": (("train", *TASK), 2, "--cache"),
    "nothing to reproduce": (("reproduce", "--cache", "{recorded}", "--to", "{tmp}/r"), 2, "--all"),
    "no such figure": (("reproduce", "--figure", "5", "--cache", "{recorded}", "--to", "{tmp}/r"), 2, "--figure 3, 4"),
    "a task that the paper lacks": (
        ("reproduce", "--all", "--tasks", "Chess", "--cache", "{recorded}", "--to", "{tmp}/r"),
        2,
        "Chess",
    ),
    "no cache to reproduce from": (
        ("reproduce", "--all", "--cache", "{tmp}/none", "--to", "{tmp}/r"),
        1,
        "build-cache",
    ),
    "two ways of missing": ((*OFFLINE, "--on-miss", "ask"), 2, "--on-miss"),
    "a variance of what has none": ((*OFFLINE, "--divergence", "mahalanobis"), 2, "--divergence kl"),
    "nobody to evaluate": (("evaluate", *TASK), 2, "--run"),
    "no run": (("evaluate", *TASK, "--run", "{tmp}/none"), 1, "no run"),
    "a run of another task": (("evaluate", "--task", "SimpleDoorKey", "--run", "{run}"), 1, "DivergedDoorKey"),
    "a run that is there already": ((*OFFLINE, "--run", "{run}"), 2, "--resume"),
    "a run with other settings": ((*OFFLINE, "--run", "{run}", "--resume", "--seed", "5"), 2, "seed 0, not 5"),
    "nowhere to look for runs": (("runs", "{tmp}/none"), 1, "no directory"),
    "no run to watch": (("watch", "--run", "{tmp}/none"), 1, "no run"),
    "a run to watch of another task": (("watch", "--run", "{run}", "--task", "LavaDoorKey"), 1, "DivergedDoorKey"),
    "a run of a task of one's own": (("watch", "--run", "{tmp}/mine"), 2, "--task package.module:NAME"),
    "no film but a GIF or an MP4": (("watch", "--run", "{run}", "--to", "{tmp}/a.webm"), 2, "*.gif"),
    "nobody to watch": (("watch", "--task", "DivergedDoorKey"), 2, "--run DIR"),
    "a GIF in no directory": (("watch", "--run", "{run}", "--to", "{tmp}/none/a.gif"), 1, "no directory"),
    "a directory for a GIF": (("watch", "--run", "{run}", "--to", "{tmp}/dir.gif"), 1, "is a directory"),
    "no cache to watch a teacher of": (("watch", "--run", "{run}", "--cache", "{tmp}/none"), 1, "build-cache"),
    "a damaged checkpoint to watch": (("watch", "--run", "{tmp}/cut"), 1, "checkpoint-"),
    "no run to export": (("export", "--run", "{tmp}/none", "--to", "{tmp}/a.pt"), 1, "no run"),
    "a run to export of another task": (
        ("export", "--run", "{run}", "--task", "LavaDoorKey", "--to", "{tmp}/a.pt"),
        1,
        "DivergedDoorKey",
    ),
    "no known format": (("export", "--run", "{run}", "--to", "{tmp}/a.tflite"), 2, "--format"),
    "an export to no directory": (("export", "--run", "{run}", "--to", "{tmp}/none/a.pt"), 1, "no directory"),
    "a directory for an export": (
        ("export", "--run", "{run}", "--to", "{tmp}/foreign", "--format", "onnx"),
        1,
        "is a directory",
    ),
    "a checkpoint of another shape": (("export", "--run", "{tmp}/wide", "--to", "{tmp}/a.pt"), 1, "checkpoint-"),
    "no run to resume": ((*OFFLINE, "--run", "{tmp}/none", "--resume"), 1, "no run"),
    "a file for a run": ((*OFFLINE, "--run", "{tmp}/foreign/notes"), 1, "notes"),
    "a damaged checkpoint": (("evaluate", *TASK, "--run", "{tmp}/cut"), 1, "checkpoint-"),
    "a damaged run.json": (("evaluate", *TASK, "--run", "{tmp}/garbled"), 1, "run.json"),
    "a damaged segment": (("cache", "stats", "--cache", "{tmp}/damaged"), 1, "damaged"),
    "no number of samples": ((*BUILD[:-1], "--cache", "{tmp}/none", "--samples", "many"), 2, "--samples"),
    "a distance above 1": ((*BUILD[:-1], "--cache", "{tmp}/none", "--samples", "auto", "--max-tv", "2"), 2, "--max-tv"),
    "fields that are no JSON": ((*BUILD[:-1], "--cache", "{tmp}/none", "--extra", "top_p=1"), 2, "--extra"),
    "a field that is askonce's": ((*BUILD[:-1], "--cache", "{tmp}/none", "--extra", '{{"n": 3}}'), 2, "cannot be n"),
    "a cost without a price": (
        (*BUILD[:-1], "--cache", "{tmp}/none", "--model", "mine", "--max-cost", "1"),
        2,
        "--prices",
    ),
    "no prices": ((*BUILD[:-1], "--cache", "{tmp}/none", "--prices", "{tmp}/bad.jsonl"), 2, "USD"),
    "a retry of what is none": ((*BUILD[:-1], "--cache", "{tmp}/none", "--retry", "all"), 2, "truncated"),
    "an address for a name": ((*BUILD[:-1], "--cache", "{tmp}/none", "--model-id", "http://x"), 2, "--model-id"),
    "rates above 1 together": (("serve-teacher", "--incorrect", "0.9", "--inefficient", "0.9"), 2, "rates"),
}


@pytest.fixture
def places(trained, recorded, tmp_path) -> dict[str, Path]:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes").write_text("mine")
    (tmp_path / "bad.jsonl").write_text(RECORDED + '{"task": "DivergedDoorKey", "sees"\n')
    (tmp_path / "dir.gif").mkdir()
    for name in ("cut", "garbled", "mine", "wide"):
        shutil.copytree(trained[0], tmp_path / name)
    # SimpleDoorKey's view has as many inputs, LavaDoorKey's more.
    for name, task in (("mine", "Mine"), ("wide", "LavaDoorKey")):
        described = json.loads((trained[0] / "run.json").read_text())
        (tmp_path / name / "run.json").write_text(json.dumps(described | {"task": task}))
    weights = next((tmp_path / "cut").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    (tmp_path / "garbled" / "run.json").write_text("{")
    shutil.copytree(recorded, tmp_path / "damaged")
    segment = next((tmp_path / "damaged" / "segments").iterdir())
    segment.rename(segment.with_stem("0" * 64))
    return {"tmp": tmp_path, "recorded": recorded, "run": trained[0]}


def contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_with_its_exit_code_and_loses_nothing(case, places, run):
    arguments, code, words = BAD[case]
    before = [contents(place) for place in places.values()]
    ended = run(*(str(argument).format(**places) for argument in arguments), "--json")
    assert (ended.code, is_one_line(ended)) == (code, True), ended
    assert words in ended.err and ended.figures["error"] == ended.err.removeprefix("error: ").rstrip("\n")
    kept = [contents(place) for place in places.values()]
    assert all(old.items() <= new.items() for old, new in zip(before, kept))


def test_through_the_script_it_is_one_line_as_well():
    ended = command("build-cache", "--task", "Chess", "--cache", "c")
    assert ended.code == 2 and is_one_line(ended) and ended.out == ""


def test_wrong_use_ends_with_2_and_nothing_on_stdout(run):
    wrong = ("build-cache",), (*BUILD[:-1], "--cache", "c", "--episodes", 0), ("fly",), ("train", "--seed", -1)
    for arguments in wrong:
        ended = run(*arguments)
        assert ended.code == 2 and ended.out == "" and "Traceback" not in ended.err
        for_a_script = run(*arguments, "--json")
        assert (
            for_a_script.code == 2 and is_one_line(for_a_script) and for_a_script.figures["error"] in for_a_script.err
        )


@pytest.mark.parametrize("method", ["ppo", "hierarchical"])
def test_a_baseline_needs_no_cache_and_says_what_it_is(method, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained = run("train", *TASK, "--method", method, "--preset", "paper", "--iterations", 2, "--json").figures
    assert (trained["cache_hits"], trained["cache_misses"]) == (0, 0)
    about = json.loads(Path(trained["run"], "run.json").read_text())
    assert about["method"] == method and about["settings"]["hyperparameters"]["final_learning_rate"] == 0.001
    assert method in run("runs", ".").out
    assert run("evaluate", *TASK, "--run", trained["run"], "--episodes", 2).code == 0


def test_names_that_look_like_markup_are_names(recorded, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("train", *TASK, "--cache", recorded, "--cache-only", "--iterations", 1, "--run", "[/red]")
    assert result.code == 0 and "[/red]" in result.out


def test_a_wrong_key_is_refused_and_written_nowhere(run, tmp_path):
    with running(SimulatedServer(api_key="another")) as url:
        refused = run(*BUILD, "--cache", tmp_path / "cache", "--base-url", url)
    assert refused.code == 1 and is_one_line(refused) and "OPENAI_API_KEY" in refused.err
    assert SECRET not in refused.out + refused.err


def test_the_right_key_is_written_nowhere_either(run, tmp_path):
    with running(SimulatedServer(api_key=SECRET)) as url:
        asking = (*TRAIN, "--cache", tmp_path / "cache", "--samples", 1, "--run", tmp_path / "run")
        assert run(*asking, "--base-url", url).figures["llm_calls"] > 0
    assert files_with_secret(tmp_path) == []


def test_an_unreachable_server_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "Patience", partial(retry.Patience, first_wait=0.01))
    unreachable = f"http://127.0.0.1:{closed_port()}/v1"
    ended = run(*BUILD, "--cache", tmp_path / "cache", "--base-url", unreachable)
    assert ended.code == 1 and is_one_line(ended)
    assert "http://127.0.0.1:" in ended.err and "--base-url" in ended.err


def test_a_cache_is_exported_imported_merged_compacted_and_verified(run, recorded, tmp_path):
    exported = run("cache", "export", "--cache", recorded, "--to", tmp_path / "dataset", "--json").figures
    assert run("cache", "import", tmp_path / "dataset", "--cache", tmp_path / "a", "--json").figures == {
        "added": exported["completions"],
        "held": 0,
        "refused": [],
    }
    merged = run("cache", "merge", recorded, "--cache", tmp_path / "a", "--json").figures
    assert (merged["added"], merged["held"], merged["disagreements"]) == (0, exported["completions"], [])
    assert run("cache", "compact", "--cache", tmp_path / "a", "--json").figures["after"] == 1
    sound = run("cache", "verify", "--cache", tmp_path / "a", "--json")
    assert sound.code == 0 and sound.figures["rows"] == exported["completions"]


def test_reparse_compares_with_the_index_that_is_there(run, recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "cache", ignore=shutil.ignore_patterns("index"))
    arguments = ("cache", "reparse", "--cache", tmp_path / "cache", *TASK)
    first = run(*arguments)
    assert first.code == 0 and "no earlier index of recorded@" in first.err
    row, *_ = read(recorded.parent / "decisions.jsonl", "recorded")
    store.append(tmp_path / "cache", [replace(row, content="Decision: explore", sample=1)])
    (found,) = run(*arguments, "--json").figures["teachers"]
    assert (found["compared"], found["texts"], found["changed"], found["newly_readable"]) == (True, 2, 1, 0)
    (change,) = found["largest"]
    assert change["before"] == {"go to key, pick up key": 1.0} and change["total_variation"] == 0.5
    table = run(*arguments)
    assert table.code == 0 and "recorded@" in table.out and table.err == ""


def test_reparse_leaves_out_a_task_of_ones_own_until_it_is_named(run, tmp_path):
    store.append(tmp_path / "cache", [completion(task="own"), completion()])
    ended = run("cache", "reparse", "--cache", tmp_path / "cache", "--json")
    assert ended.code == 3 and ended.figures["unknown_tasks"] == ["own"]
    assert "--task package.module" in ended.err
    assert [each["task"] for each in ended.figures["teachers"]] == ["SimpleDoorKey"]


def test_a_flipped_byte_is_named_and_repaired(run, recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "cache")
    segment = next((tmp_path / "cache" / "segments").glob("*.parquet"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    found = run("cache", "verify", "--cache", tmp_path / "cache", "--json")
    assert found.code == 1 and segment.name in found.err
    assert run("cache", "verify", "--cache", tmp_path / "cache", "--repair", "--json").figures["quarantined"]
    assert run("cache", "verify", "--cache", tmp_path / "cache", "--json").code == 0


def test_tasks_are_listed_with_what_was_measured_of_them(run):
    listed = run("tasks", "--json")
    found = {task["name"]: task for task in listed.figures["tasks"]}
    assert listed.code == 0 and len(found) >= 40 and found["SimpleDoorKey"]["measured"]
    measured = [task for task in found.values() if task["measured"]]
    assert len(measured) >= 14 and not found["MiniGrid-ObstructedMaze-Full-v1"]["measured"]
    for task in measured:
        assert task["texts"] > 0 and task["env_steps"] > 0 and task["commit"] and task["name"] in task["command"]
        assert 0 <= task["student"]["success_rate"] <= 1 and len(task["teacher"]["return_ci95"]) == 2
    shown = run("tasks")
    assert shown.code == 0 and all(name in shown.out for name in found)


def test_progress_in_a_log_says_how_much_is_left(capsys):
    with live("texts", every=0) as show:
        for done in (3, 4, 10):
            show(done, 10, "12 tokens/s")
    first, second, last = capsys.readouterr().err.splitlines()
    assert first == "3 of 10 texts: 12 tokens/s" and second == "4 of 10 texts: 12 tokens/s  about 1 min left"
    assert last == "10 of 10 texts: 12 tokens/s"
