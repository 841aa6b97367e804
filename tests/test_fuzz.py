"""Whatever a stranger hands us is used or refused in one line: no traceback, no hang, exit codes as documented.

A file that is right is changed at random places, many more with `--hypothesis-profile study`.
"""

from copy import deepcopy
from datetime import UTC, datetime
import json
import math
from pathlib import Path
import shutil
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from askonce.cache import layout, segment, store
from askonce.cache.completion import to_table
from askonce.cache.query import Answer
from askonce.pipeline import tasks
from askonce.pipeline.asking.reply import NoAnswer, replies
from askonce.pipeline.estimators import option_distributions
from askonce.pipeline.estimators.scored import QUESTION
from tests.cache.example import completion
from tests.called import called

TASK = tasks.find("SimpleDoorKey")
TEXT = TASK.describe(["key"], None)
NOW = datetime(2026, 1, 1, tzinfo=UTC)

# Each of these starts a command.
some = settings(max_examples=settings().max_examples // 4)
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, -1, 1.7, 2**62, 2**70, 1e308, math.nan, math.inf])
WORDS = st.text(max_size=20) | st.sampled_from(["", "\x1b[31m", "\n", "\x00", "explore", "nan", "1e999"])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=8,
)


def places(value, path=()) -> list[tuple]:
    """The paths to all that is in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, one in inner for place in places(one, (*path, name)))]


@st.composite
def changed(draw, value):
    """`value` with some of what is in it replaced, or taken away."""
    value = deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(value)))
        if not path:
            return draw(VALUES)
        within = value
        for name in path[:-1]:
            within = within[name]
        if draw(st.booleans()) and isinstance(within, dict):
            del within[path[-1]]
        else:
            within[path[-1]] = draw(VALUES)
    return value


@st.composite
def damaged(draw, content: bytes):
    """Bytes changed, cut off, or doubled."""
    data = bytearray(content)
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    at = draw(st.integers(0, len(data)))
    return bytes(draw(st.sampled_from([data, data[:at], data + data[at:], data[:at] + b"[" * 100_000 + data[at:]])))


def refused_or_done(*arguments: object) -> None:
    ended = called(*arguments)
    assert ended.code in (0, 1, 2, 3) and "Traceback" not in ended.err
    assert ended.code == 0 or ended.err.strip(), "an exit code without a word"
    assert "\x1b[31m" not in ended.err + ended.out


# ---- What an LLM's server says -----------------------------------------------------------------------------------------

ANSWER = {
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": '{"decision": ["explore"]}', "reasoning_content": "so"},
            "logprobs": {
                "content": [{"token": "A", "logprob": -0.1, "top_logprobs": [{"token": "A", "logprob": -0.1}]}]
            },
        }
    ],
    "model": "m",
    "usage": {"prompt_tokens": 3, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 1}},
    "prompt_logprobs": [None, {"7": {"logprob": -1.0, "rank": 1, "decoded_token": "Decision: explore"}}],
}
CHAT = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "Decision: explore"}]
QUESTIONS = [
    {"messages": [{"role": "user", "content": f"?\n\n{QUESTION}\nA) explore\nB) open door"}], "logprobs": True},
    {"messages": CHAT, "prompt_logprobs": 0},
    {"messages": CHAT, "response_format": {"type": "json_schema", "json_schema": {"name": "decision"}}},
    {"messages": CHAT},
]  # fmt: skip


@given(answer=changed(ANSWER), chat=st.sampled_from([(), CHAT]))
def test_a_server_s_answer(answer, chat):
    try:
        found = replies(answer, 3, 0.1, NOW, chat)
    except NoAnswer as error:
        assert str(error)
    else:
        assert all(isinstance(one.content, str) and one.prompt_tokens >= 0 for one in found)


@given(
    content=st.text(max_size=300) | changed({"decision": ["explore"]}).map(json.dumps),
    logprobs=changed(ANSWER["choices"][0]["logprobs"]) | changed({"prompt": [{"token": "a", "logprob": -1.0}]}),
    request=st.sampled_from(QUESTIONS).flatmap(changed),
    reason=st.sampled_from(["stop", "length", None, "x"]),
)
def test_what_is_stored_of_an_answer(content, logprobs, request, reason):
    answer = Answer(0, content, 1.0, reason, json.dumps(logprobs), json.dumps(request))
    distributions, _ = option_distributions({TEXT: [answer]}, TASK.prompt.options)
    shares = list(distributions[TEXT].values())
    assert not shares or all(0 <= one <= 1 for one in shares) and math.isclose(sum(shares), 1, abs_tol=1e-6)


# ---- Files -------------------------------------------------------------------------------------------------------------

LINE = {
    "task": "SimpleDoorKey",
    "sees": ["key"],
    "holds": None,
    "decisions": [{"options": ["explore"], "probability": 1}],
}


@given(line=changed(LINE).map(lambda value: json.dumps(value).encode()) | damaged(json.dumps(LINE).encode()))
@some
def test_a_file_to_import(line):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "said.jsonl"
        path.write_bytes(line)
        refused_or_done("cache", "import", path, "--cache", Path(folder) / "cache")
        if (Path(folder) / "cache").exists():
            refused_or_done("cache", "verify", "--cache", Path(folder) / "cache", "--json")


CELLS = {
    "task": st.sampled_from(["SimpleDoorKey", "\x1b[31m", "no.such:TASK", ""]),
    "model": WORDS,
    "prompt": WORDS,
    "text": WORDS | st.just(TEXT),
    "sample": st.integers(-(2**31), 2**31 - 1),
    "content": st.text(max_size=60) | changed({"decision": ["explore"]}).map(json.dumps),
    "finish_reason": st.none() | WORDS,
    "prompt_tokens": st.integers(-(2**62), 2**62),
    "latency": st.none() | st.floats(),
    "weight": st.floats(),
    "logprobs": st.none() | WORDS | changed(ANSWER["choices"][0]["logprobs"]).map(json.dumps),
    "usage": st.none() | WORDS | changed(ANSWER["usage"]).map(json.dumps),
    "request": WORDS | st.sampled_from(QUESTIONS).flatmap(changed).map(json.dumps),
    "key": st.sampled_from(["", "v1-sha256:0", completion("x").key]),
    "asked_at": st.datetimes(timezones=st.just(UTC)),
}
READERS = [
    ("cache", "verify", "--json"), ("cache", "stats", "--json"), ("cache", "show", TEXT, "--limit=3"),
    ("cache", "reparse", "--json"), ("audit", "--task", "SimpleDoorKey", "--json"),
    ("evaluate", "--task", "SimpleDoorKey", "--teacher", "--episodes", "2", "--json"),
    ("compare", "--episodes", "2", "--no-audit", "--json"), ("cache", "compact", "--json"),
    ("cache", "verify", "--repair", "--json"),
]  # fmt: skip


@given(cells=st.fixed_dictionaries({}, optional=CELLS), command=st.sampled_from(READERS))
@some
def test_rows_of_a_cache_from_elsewhere(cells, command):
    with TemporaryDirectory() as folder:
        store.create(folder)
        rows = to_table([completion(TEXT), completion(**cells)])
        segment.write(Path(folder) / layout.SEGMENTS, [segment.in_order(rows)])
        refused_or_done(*command, "--cache", folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A cache of a segment and a journal's rest, and a run of it."""
    folder = tmp_path_factory.mktemp("made")
    assert called("build-cache", "--task", TASK.name, "--cache", folder / "cache", "--episodes", 20).code == 0
    training = "train", "--task", TASK.name, "--cache", folder / "cache", "--cache-only", "--iterations", 2
    assert called(*training, "--run", folder / "run").code == 0
    return folder


@given(data=st.data())
@some
def test_a_cache_s_files(made, data):
    with TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        shutil.copytree(made / "cache", cache)
        path = data.draw(st.sampled_from(sorted(path for path in cache.rglob("*") if path.is_file())))
        path.write_bytes(data.draw(damaged(path.read_bytes())))
        command = data.draw(st.sampled_from(READERS))
        refused_or_done(*command, "--cache", cache)


def is_small(about: object) -> bool:
    """Whether one who wants it so has it soon: a hundred thousand episodes are nobody's mistake."""
    match about:
        case {"settings": {"hyperparameters": {**given}}}:
            return not any(type(value) in (int, float) and 500 < value <= 1e6 for value in given.values())
    return True


@given(data=st.data())
@some
def test_a_run_s_files(made, data):
    with TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        shutil.copytree(made / "run", run, ignore=shutil.ignore_patterns("events*"))
        if data.draw(st.booleans()):
            about = data.draw(changed(json.loads((run / "run.json").read_text())).filter(is_small))
            (run / "run.json").write_text(json.dumps(about))
        else:
            path = data.draw(st.sampled_from(sorted(path for path in run.iterdir() if path.is_file())))
            path.write_bytes(data.draw(damaged(path.read_bytes())))
        cache = "--cache", made / "cache", "--cache-only", "--iterations", 2
        command = data.draw(
            st.sampled_from(
                [
                    ("runs", folder),
                    ("evaluate", "--task", TASK.name, "--run", run, "--episodes", 2),
                    ("train", "--task", TASK.name, *cache, "--run", run, "--resume"),
                    ("train", *cache, "--run", Path(folder) / "other", "--config", run / "run.json"),
                ]
            )
        )
        refused_or_done(*command, "--json")


CONFIG = b'task = "SimpleDoorKey"\niterations = 1\n[hyperparameters]\nlr = 0.001\nnum_envs = 4\n[distill_coef]\nstart = 1.0\n'


@given(content=damaged(CONFIG) | st.binary(max_size=50))
@some
def test_a_configuration(made, content):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.toml"
        path.write_bytes(content)
        taught = "--task", TASK.name, "--cache", made / "cache", "--cache-only", "--iterations", 1
        refused_or_done("train", *taught, "--run", Path(folder) / "run", "--config", path)


@given(content=changed({"simulated": {"input": 1, "output": 2}}).map(lambda value: json.dumps(value).encode()))
@some
def test_prices(made, content):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "prices.json"
        path.write_bytes(content)
        refused_or_done(
            "build-cache",
            "--task",
            TASK.name,
            "--cache",
            Path(folder) / "c",
            "--episodes",
            3,
            "--prices",
            path,
            "--dry-run",
        )


@given(
    template=damaged(
        b"=== system\n{% for o in options %}{{ o.name }}{% endfor %}\n=== user\n{{ text }}\n{{ decisions }}"
    )
)
@some
def test_a_prompt(template):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "own.jinja"
        path.write_bytes(template)
        refused_or_done("prompt", "show", "--task", TASK.name, "--text", TEXT, "--prompt", path)
