"""A cache of 0.1.0, with footers, coverage, an audit and indexes of the old format: read, verified, asked nothing anew."""

from pathlib import Path
import zipfile

import pytest

import askonce
from askonce.cache import query
from askonce.cache.compact import compact
from askonce.cache.index import Unusable, open_index
from askonce.cache.merge import merge
from askonce.cache.verify import verify

TASKS = "SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey"


@pytest.fixture
def cache(tmp_path) -> Path:
    with zipfile.ZipFile(Path(__file__).with_name("cache_0_1_0.zip")) as file:
        file.extractall(tmp_path)
    return tmp_path / "cache"


def test_it_is_sound_and_stays_so_when_compacted(cache):
    before = verify(cache)
    assert before.findings == () and before.rows > 0
    compact(cache)
    after = verify(cache)
    assert after.findings == () and after.rows == before.rows


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_asked_again(cache, task):
    report = askonce.build_cache(task, cache)
    assert report.texts > 0 and (report.asked, report.completions) == (0, 0)


def test_its_indexes_are_of_another_format_and_are_replaced(cache):
    indexes = sorted((cache / "index").glob("*.answers"))
    for path in indexes:
        with pytest.raises(Unusable):
            open_index(path)
    answers = askonce.open_cache(cache, "ColoredDoorKey")
    assert sum(answers("Agent sees nothing, holds nothing.").values()) == pytest.approx(1)
    assert sorted((cache / "index").glob("*.answers")) == indexes
    replaced = [path for path in indexes if path.read_bytes().startswith(b"ARROW1")]
    assert len(replaced) == 1 and len(open_index(replaced[0])) > 0


def test_merged_into_another_it_is_there_once(cache, tmp_path):
    rows = verify(cache).rows
    assert merge(tmp_path / "other", cache).added == rows and merge(tmp_path / "other", cache).added == 0
    assert query.stats(tmp_path / "other").teachers == query.stats(cache).teachers


def test_a_student_learns_from_it(cache):
    progress = askonce.train("ColoredDoorKey", cache.parent / "run", cache=cache, iterations=2)
    assert progress.cache_misses == 0
