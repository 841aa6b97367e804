"""What older versions wrote stays readable, and becomes a cache of this version when it is written to."""

from dataclasses import replace
from datetime import timedelta
import json
from pathlib import Path
import shutil

import pyarrow.parquet as pq
import pytest

from askonce.cache import layout, query, segment, store
from askonce.cache.compact import compact
from askonce.cache.completion import to_table
from askonce.cache.dataset import export, import_dataset
from askonce.cache.merge import merge
from askonce.cache.repair import repair
from askonce.cache.verify import verify
from tests.cache.example import completion

# Written by version 2 of the format: a segment, and a journal whose writer was killed.
VERSION_2 = Path(__file__).with_name("version_2.zip")
AGAIN = completion().asked_at + timedelta(seconds=1)
IN_VERSION_2 = [
    completion("b", task="LavaDoorKey", prompt_tokens=0, completion_tokens=0, logprobs="[]"),
    completion("a"),
    completion("a", sample=1, asked_at=AGAIN),
    completion("b", logprobs="[]"),
    completion("c"),
    completion("d", latency=None),
]
USAGE = '{"prompt_tokens": 300, "completion_tokens": 40, "prompt_tokens_details": {"cached_tokens": 256}}'


@pytest.fixture
def old(tmp_path):
    shutil.unpack_archive(VERSION_2, tmp_path / "old")
    return tmp_path / "old"


def rows_of(directory):
    return query.show(directory, "")


def version(directory):
    return json.loads((directory / layout.MARKER).read_text())["version"]


def test_version_2_is_read_and_written(old):
    assert rows_of(old) == IN_VERSION_2 and version(old) == 2
    assert verify(old).findings == ()
    with store.writer(old) as writer:
        writer.add([completion("e", usage=USAGE)])
        assert rows_of(old) == [*IN_VERSION_2, completion("e", usage=USAGE)]
        # The old journal, with what this version adds to it, is still one.
        for path in store.journals(old):
            assert store.seal(old, path)
    assert rows_of(old) == [*IN_VERSION_2, completion("e", usage=USAGE)] and version(old) == 3
    compact(old)
    assert rows_of(old) == [*IN_VERSION_2, completion("e", usage=USAGE)]
    assert verify(old).findings == () and len(store.segments(old)) == 1


def test_version_2_is_merged_exported_and_imported(old, tmp_path):
    assert merge(tmp_path / "new", old).added == len(IN_VERSION_2)
    assert merge(tmp_path / "new", old).added == 0 == merge(old, tmp_path / "new").added
    export(old, tmp_path / "dataset")
    assert import_dataset(tmp_path / "dataset", tmp_path / "new").added == 0
    assert rows_of(tmp_path / "new") == rows_of(old) == IN_VERSION_2


def test_of_one_answer_the_copy_with_its_usage_is_seen_wherever_it_came_from(old, tmp_path):
    full = [replace(row, usage=USAGE) for row in IN_VERSION_2]
    store.append(tmp_path / "full", full)
    shutil.copytree(old, tmp_path / "other")
    assert merge(tmp_path / "full", old).added == 0
    assert merge(tmp_path / "other", tmp_path / "full").added == len(full)
    assert merge(tmp_path / "other", tmp_path / "full").added == 0
    for directory in (tmp_path / "full", tmp_path / "other"):
        assert rows_of(directory) == full
        compact(directory)
        assert rows_of(directory) == full
    assert rows_of(old) == IN_VERSION_2


def test_version_2_is_repaired(old):
    [path] = store.listing(old / "segments", ".parquet")
    data = path.read_bytes()
    path.write_bytes(data[:-30] + b"?" + data[-29:])
    assert repair(old).saved == 3
    assert rows_of(old) == IN_VERSION_2 and version(old) == 3 and verify(old).findings == ()


def test_a_cache_of_the_first_version_is_read_and_written(tmp_path):
    rows = [completion("a"), completion("b")]
    (tmp_path / "segments").mkdir()
    table = segment.in_order(to_table(rows)).drop_columns(["logprobs", "usage"])
    temporary = tmp_path / "old"
    pq.write_table(table, temporary, compression="zstd")
    temporary.rename(tmp_path / "segments" / f"{segment.digest(temporary)}.parquet")
    (tmp_path / layout.MARKER).write_text(json.dumps({"format": "askonce-cache", "version": 1}) + "\n")
    assert verify(tmp_path).findings == ()
    assert rows_of(tmp_path) == rows
    store.append(tmp_path, [completion("c", logprobs="[]")])
    assert version(tmp_path) == 3
    compact(tmp_path)
    assert rows_of(tmp_path) == [*rows, completion("c", logprobs="[]")]
    assert verify(tmp_path).findings == ()
