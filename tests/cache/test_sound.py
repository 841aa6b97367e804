"""Rows that no server can have answered: found, taken out, refused."""

from datetime import UTC, datetime, timedelta
import math

import pyarrow as pa
import pytest

from askonce.cache import layout, query, segment, store
from askonce.cache.completion import SCHEMA, to_table
from askonce.cache.dataset import import_dataset
from askonce.cache.errors import AskonceError
from askonce.cache.merge import merge
from askonce.cache.repair import repair
from askonce.cache.verify import verify
from tests.cache.example import completion

DAY = datetime(9999, 12, 31, tzinfo=UTC)
UNSOUND = {
    "weight nan": {"weight": math.nan},
    "weight 0": {"weight": 0.0},
    "weight -1": {"weight": -1.0},
    "weight inf": {"weight": math.inf},
    "sample": {"sample": -1},
    "tokens": {"completion_tokens": -5},
    "absurd tokens": {"prompt_tokens": 1 << 62},
    "latency": {"latency": math.nan},
    "a date to come": {"asked_at": DAY},
    "a date before": {"asked_at": datetime(1900, 1, 1, tzinfo=UTC)},
    "log-probabilities": {"logprobs": "{"},
    "another request's key": {"key": completion("other").key},
    "no request": {"request": "[" * 100_000},
    "a request that is a list": {"request": "[1]"},
}


def written(directory, *rows) -> None:
    """A cache from elsewhere: sound files, whatever is in them."""
    store.create(directory)
    segment.write(directory / layout.SEGMENTS, [segment.in_order(to_table(rows))])


@pytest.fixture(params=UNSOUND)
def foreign(request, tmp_path):
    written(tmp_path / "foreign", completion("good"), completion("bad", **UNSOUND[request.param]))
    return tmp_path / "foreign"


def texts(directory) -> list[str]:
    return [row.text for row in query.show(directory, "")]


def test_verify_names_it_and_repair_takes_it_out(foreign):
    (finding,) = verify(foreign).damaged
    assert "'bad'" in finding.detail and "good" not in finding.detail and "\n" not in finding.detail
    repaired = repair(foreign)
    assert repaired.saved == 1 and [lost.text for lost in repaired.ask_again] == ["bad"]
    assert not verify(foreign).damaged and texts(foreign) == ["good"]


def test_merge_refuses_it_and_takes_the_rest_or_nothing(foreign, tmp_path):
    with pytest.raises(AskonceError, match="nothing was added: .*'bad'"):
        merge(tmp_path / "mine", foreign, strict=True)
    assert texts(tmp_path / "mine") == []
    merged = merge(tmp_path / "mine", foreign)
    assert (merged.added, len(merged.refused)) == (1, 1) and "'bad'" in merged.refused[0]
    assert texts(tmp_path / "mine") == ["good"] and not verify(tmp_path / "mine").damaged


def test_so_does_an_import_of_a_dataset(foreign, tmp_path):
    imported = import_dataset(foreign, tmp_path / "mine")
    assert (imported.added, len(imported.refused)) == (1, 1) and texts(tmp_path / "mine") == ["good"]


def test_a_time_that_python_cannot_write_is_named_as_well(tmp_path):
    rows = to_table([completion("good"), completion("bad")])
    times = pa.array([0, 1 << 62], pa.int64()).cast(pa.timestamp("us"))
    rows = rows.set_column(SCHEMA.get_field_index("asked_at"), SCHEMA.field("asked_at"), times)
    store.create(tmp_path / "foreign")
    segment.write(tmp_path / "foreign" / layout.SEGMENTS, [segment.in_order(rows)])
    assert len(verify(tmp_path / "foreign").damaged) == 1
    assert merge(tmp_path / "mine", tmp_path / "foreign").added == 1


def test_what_was_written_here_is_sound(tmp_path):
    late = datetime.now(UTC) + timedelta(days=1)
    written(tmp_path, completion("a", weight=1e-9), completion("b", latency=None, asked_at=late), completion("c"))
    assert verify(tmp_path).findings == ()


def test_the_command_line_names_what_it_refuses_and_steers_no_terminal(run, tmp_path):
    written(tmp_path / "foreign", completion("good"), completion("\x1b[2Jbad", weight=-1.0))
    ended = run("cache", "merge", tmp_path / "foreign", "--cache", tmp_path / "mine")
    assert ended.code == 3 and "\x1b" not in ended.out + ended.err and "bad" in ended.err
    ended = run("cache", "merge", tmp_path / "foreign", "--cache", tmp_path / "other", "--strict")
    assert ended.code == 1 and ended.err.count("\n") == 1 and "\x1b" not in ended.err
    written(tmp_path / "named", completion("t", task="\x1b[31mred", model="\x1b]0;title\x07"))
    ended = run("cache", "stats", "--cache", tmp_path / "named")
    assert ended.code == 0 and "\x1b" not in ended.out + ended.err and "\x07" not in ended.out
