"""A disk that fills up while answers are stored: what fits is kept, and what was cut off takes no room."""

from pathlib import Path
import re
import subprocess
import sys

from askonce.cache import query, store, verify

# A limit on a file's size stands for a full disk: the system stops writes in the middle of a record all the same.
PROGRAM = """
from pathlib import Path
import resource, sys
from askonce.cache import store
from askonce.cache.errors import AskonceError
from tests.cache.example import completion

directory, limit, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
writer = store.Writer(Path(directory))
for start in (first, first + 300):
    try:
        writer.add([completion(sample=sample) for sample in range(start, start + 300)])
    except AskonceError as error:
        print(error)
"""


def stored(cache: Path) -> int:
    return query.stats(cache).teachers[0].completions


def write(cache: Path, limit: int, first: int = 0) -> str:
    command = [sys.executable, "-c", PROGRAM, str(cache), str(limit), str(first)]
    return subprocess.run(command, cwd=Path(__file__).parents[2], text=True, capture_output=True, check=True).stdout


def test_what_fits_is_kept_and_what_does_not_is_counted_and_leaves_no_rest(tmp_path):
    cache = tmp_path / "cache"
    store.create(cache)
    said = write(cache, 60_000)
    kept = [int(number) for number in re.findall(r"(\d+) of the last 300 answers found room", said)]
    assert len(said.splitlines()) == len(kept) == 2 and "make room" in said
    # The first flush filled the room but for less than one row.
    assert kept[0] > 0 == kept[1] and stored(cache) == sum(kept)
    found = verify.verify(cache)
    assert not found.findings and found.rows == sum(kept)


def test_with_room_again_all_is_stored_once(tmp_path):
    cache = tmp_path / "cache"
    store.create(cache)
    write(cache, 60_000)
    before = stored(cache)
    assert 0 < before < 600 and write(cache, 10_000_000) == "" and stored(cache) == 600
    with store.writer(cache):
        pass
    assert not verify.verify(cache).findings and stored(cache) == 600
