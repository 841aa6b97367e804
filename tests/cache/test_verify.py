import os
import shutil

import pytest

from askonce.cache import coverage, layout, query, segment, store
from askonce.cache.coverage import Coverage
from askonce.cache.errors import AskonceError
from askonce.cache.repair import repair
from askonce.cache.verify import verify
from tests.cache.example import completion
from tests.cache.test_journal import answers, left_behind

GROUP = 4


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A segment of five row groups, one of a single row, the journal of a writer that is gone, a coverage."""
    monkeypatch.setattr(segment, "GROUP_ROWS", GROUP)
    store.append(tmp_path / "cache", [completion(f"{number:02}") for number in range(5 * GROUP)])
    store.append(tmp_path / "cache", [completion("single")])
    left_behind(tmp_path / "cache", ["first"], ["second", "third"])
    coverage.note(tmp_path / "cache", ("SimpleDoorKey", "small-model", "b07c91d2"), Coverage(0.9876, 12_345))
    return tmp_path / "cache"


def files(directory):
    return sorted(path for path in directory.rglob("*") if path.is_file())


def damage(path, place, mask=1):
    data = bytearray(path.read_bytes())
    data[place] ^= mask
    path.write_bytes(data)


def damaged(directory):
    return [finding.path for finding in verify(directory).damaged]


def big(directory):
    return max(store.listing(directory / "segments", ".parquet"), key=lambda path: path.stat().st_size)


def rows_of(directory):
    return query.show(directory, "")


def test_a_sound_cache(cache):
    found = verify(cache)
    assert (found.segments, found.journals, found.rows, found.findings) == (2, 1, 5 * GROUP + 4, ())
    assert found.bytes > sum(path.stat().st_size for path in store.segments(cache))
    before = {path: path.read_bytes() for path in files(cache)}
    repaired = repair(cache)
    assert (repaired.quarantined, repaired.saved, repaired.ask_again, repaired.unknown) == ([], 0, [], [])
    assert {path: path.read_bytes() for path in files(cache)} == before


def test_every_flipped_byte_is_found_and_named(cache):
    for path in files(cache):
        data = path.read_bytes()
        for place in range(0, len(data), 1 if len(data) < 200 else 401):
            # One bit or all of them.
            damage(path, place, (1, 0xFF)[place % 2])
            assert damaged(cache) == [str(path.relative_to(cache))]
            path.write_bytes(data)
    assert verify(cache).findings == ()


def test_every_cut_file_is_found_and_named(cache):
    [journal] = store.journals(cache)
    # A journal that ends with a whole record is one whose writer was killed there.
    whole = {0, left_behind(cache.parent / "other", ["first"]).stat().st_size}
    for path in files(cache):
        data = path.read_bytes()
        for size in {0, 1, *range(0, len(data), 151), len(data) - 1} - (whole if path == journal else set()):
            path.write_bytes(data[:size])
            assert [finding.path for finding in verify(cache).findings] == [str(path.relative_to(cache))]
        path.write_bytes(data)


def test_everything_is_read_though_it_was_found_sound_before(cache):
    path = big(cache)
    before = path.stat()
    store.snapshot(cache)
    damage(path, 500)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert damaged(cache) == [f"segments/{path.name}"]


def test_files_that_do_not_belong_are_named_and_left_alone(cache):
    strangers = ("notes.txt", "segments/notes.txt", "journals/a.parquet", "segments/half.tmp", "half.tmp")
    for name in strangers:
        (cache / name).write_text("mine")
    kinds = {finding.path: finding.kind for finding in verify(cache).findings}
    assert kinds == {name: "unfinished" if name.endswith(".tmp") else "foreign" for name in strangers}
    repair(cache)
    assert all((cache / name).read_text() == "mine" for name in strangers)


def test_a_file_that_passes_for_a_segment_is_moved_away(cache):
    for name in ("copy.parquet", f"{'0' * 64}.parquet"):
        (cache / "segments" / name).write_bytes(big(cache).read_bytes())
        assert damaged(cache) == [f"segments/{name}"]
        repair(cache)
        assert verify(cache).findings == ()


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"format": "other"}'])
def test_a_marker_is_written_again(cache, content):
    marker = cache / layout.MARKER
    before, rows = marker.read_bytes(), rows_of(cache)
    marker.unlink() if content is None else marker.write_bytes(content)
    assert damaged(cache) == [layout.MARKER]
    repair(cache)
    assert marker.read_bytes() == before and rows_of(cache) == rows


def test_a_cache_of_a_newer_version_is_not_repaired(cache):
    marker = cache / layout.MARKER
    marker.write_bytes(store.marker(store.VERSION + 1))
    for use in (verify, repair):
        with pytest.raises(AskonceError, match="upgrade askonce"):
            use(cache)
    assert marker.read_bytes() == store.marker(store.VERSION + 1)


def test_where_no_cache_is_nothing_is_verified_or_repaired(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for directory in (tmp_path, tmp_path / "absent"):
        for use in (verify, repair):
            with pytest.raises(AskonceError, match="no cache|not a cache"):
                use(directory)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_of_a_damaged_segment_all_but_the_damaged_row_group_is_saved(cache):
    rows, path = rows_of(cache), big(cache)
    data = path.read_bytes()
    damage(path, len(data) // 3)
    with pytest.raises(AskonceError, match=path.name):
        rows_of(cache)
    repaired = repair(cache)
    assert repaired.quarantined == [f"segments/{path.name}"] and repaired.unknown == []
    [kept] = (cache / "quarantine").iterdir()
    assert kept.name.startswith(path.name) and len(kept.read_bytes()) == len(data)
    assert verify(cache).findings == ()
    left = rows_of(cache)
    assert set(left) < set(rows) and len(left) == len(rows) - GROUP and repaired.saved == 4 * GROUP
    lost = {(row.key, row.answers) for row in repaired.ask_again}
    assert lost == {(row.key, 1) for row in set(rows) - set(left)}
    store.append(cache, set(rows) - set(left))
    assert rows_of(cache) == rows


def test_wherever_a_segment_is_hit_what_is_read_afterwards_was_there_before(cache, tmp_path):
    rows, path = rows_of(cache), big(cache)
    data = path.read_bytes()
    for place in range(0, len(data), len(data) // 8):
        for harm in (lambda path: damage(path, place, 0x5A), lambda path: path.write_bytes(data[:place])):
            shutil.copytree(cache, tmp_path / "copy")
            harm(tmp_path / "copy" / "segments" / path.name)
            repaired = repair(tmp_path / "copy")
            assert verify(tmp_path / "copy").damaged == ()
            left = rows_of(tmp_path / "copy")
            assert set(left) <= set(rows) and len(left) == repaired.saved + 4
            lost, gone = {row.key for row in repaired.ask_again}, {row.key for row in set(rows) - set(left)}
            assert lost <= gone and (lost == gone or repaired.unknown)
            shutil.rmtree(tmp_path / "copy")


def test_a_segment_whose_footer_alone_is_hit_is_saved_whole(cache):
    rows, path = rows_of(cache), big(cache)
    damage(path, -40)
    repaired = repair(cache)
    assert repaired.saved == 5 * GROUP and repaired.ask_again == [] and repaired.unknown == []
    assert path in store.segments(cache) and rows_of(cache) == rows


def test_a_damaged_copy_of_a_footer_costs_nothing(cache):
    rows = rows_of(cache)
    [path, *_] = store.listing(cache / "footers", ".json")
    before = path.read_bytes()
    damage(path, 100)
    assert damaged(cache) == [f"footers/{path.name}"]
    assert rows_of(cache) == rows
    repair(cache)
    assert path.read_bytes() == before and verify(cache).findings == ()


def test_a_damaged_coverage_costs_no_answer_and_comes_back_with_the_next_build(cache):
    rows, before = rows_of(cache), coverage.noted(cache)
    [path] = (cache / "coverage").iterdir()
    damage(path, 70)
    assert rows_of(cache) == rows and coverage.noted(cache) == {}
    repaired = repair(cache)
    assert (repaired.ask_again, repaired.unknown) == ([], []) and verify(cache).findings == ()
    [(who, estimated)] = before.items()
    coverage.note(cache, who, estimated)
    assert coverage.noted(cache) == before


def test_without_its_footer_a_damaged_segment_is_not_trusted_and_that_is_said(cache):
    path = big(cache)
    damage(path, 500)
    for copy in store.listing(cache / "footers", ".json"):
        copy.unlink()
    repaired = repair(cache)
    assert repaired.unknown == [f"segments/{path.name}"] and repaired.saved == 0
    assert sorted(answers(cache)) == ["first", "second", "single", "third"]


def test_of_a_damaged_journal_the_sound_records_are_saved(cache):
    [path] = store.journals(cache)
    damage(path, 900)
    repaired = repair(cache)
    assert verify(cache).findings == ()
    assert {"second", "third"} <= answers(cache).keys() and "first" not in answers(cache)
    assert [lost.key for lost in repaired.ask_again] == [completion("first").key]
    assert repaired.unknown == [f"journals/{path.name}"]


def test_a_writer_goes_on_after_its_journal_was_repaired(tmp_path):
    with store.writer(tmp_path) as writer:
        writer.add([completion("a")])
        [path] = store.journals(tmp_path)
        damage(path, 900)
        repair(tmp_path)
        writer.add([completion("b")])
        assert answers(tmp_path) == {"b": 1}
