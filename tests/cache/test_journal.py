from contextlib import ExitStack
from itertools import pairwise
import os
import random
import time

import pytest

from askonce.cache import journal, query, store
from askonce.cache.errors import AskonceError
from askonce.cache.verify import verify
from tests.cache import processes
from tests.cache.example import completion

TASK, MODEL, PROMPT = "SimpleDoorKey", "small-model", "b07c91d2"


def answers(directory):
    return {text: len(rows) for text, rows in query.answers(directory, TASK, MODEL, PROMPT).items()}


def left_behind(directory, *additions):
    """The journal of a writer that was gone before it could seal it, with a record for each addition."""
    store.create(directory)
    before = store.journals(directory)
    writer = store.Writer(directory)
    for texts in additions:
        writer.add([completion(text) for text in texts])
    writer.close()
    [path] = set(store.journals(directory)) - set(before)
    return path


def test_what_was_added_is_read_before_and_after_it_is_sealed(tmp_path):
    with store.writer(tmp_path) as writer:
        writer.add([completion("a"), completion("b")])
        assert answers(tmp_path) == {"a": 1, "b": 1}
        assert store.segments(tmp_path) == []
        writer.add([completion("c")])
        writer.seal()
        assert store.journals(tmp_path) == []
        writer.add([completion("d")])
        assert answers(tmp_path) == dict.fromkeys("abcd", 1)
    assert store.journals(tmp_path) == []
    assert len(store.segments(tmp_path)) == 2
    assert answers(tmp_path) == dict.fromkeys("abcd", 1)


def test_a_writer_that_adds_nothing_leaves_nothing(tmp_path):
    with store.writer(tmp_path) as writer:
        writer.add([])
    assert (store.journals(tmp_path), store.segments(tmp_path)) == ([], [])


def test_a_journal_becomes_a_segment_when_it_is_big(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SEAL_SIZE", 10_000)
    with store.writer(tmp_path) as writer:
        for number in range(24):
            writer.add([completion(f"{number:02}")])
            assert sum(path.stat().st_size for path in store.journals(tmp_path)) <= 10_000
            assert len(answers(tmp_path)) == number + 1
        assert len(store.segments(tmp_path)) > 2


def test_the_bytes_and_the_name_are_on_disk_when_add_returns(tmp_path, monkeypatch):
    store.create(tmp_path)
    synced, fsync = [], os.fsync

    def recorded(descriptor):
        fsync(descriptor)
        status = os.fstat(descriptor)
        synced.append((status.st_ino, status.st_size))

    monkeypatch.setattr(os, "fsync", recorded)
    folder = (tmp_path / "journals").stat().st_ino
    with store.writer(tmp_path) as writer:
        writer.add([completion("a")])
        [path] = store.journals(tmp_path)
        assert (path.stat().st_ino, path.stat().st_size) in synced
        assert folder in [inode for inode, _ in synced]
        writer.add([completion("b")])
        assert (path.stat().st_ino, path.stat().st_size) in synced


def test_a_segment_is_on_disk_before_it_has_its_name_and_its_journal_goes_last(tmp_path, monkeypatch):
    store.create(tmp_path)
    events, fsync, replace, unlink = [], os.fsync, os.replace, os.unlink

    def recorded_fsync(descriptor):
        fsync(descriptor)
        events.append(("synced", os.fstat(descriptor).st_ino))

    def recorded_replace(source, target):
        replace(source, target)
        events.append(("named", os.stat(target).st_ino))

    def recorded_unlink(path, **arguments):
        unlink(path, **arguments)
        events.append(("removed", str(path)))

    with store.writer(tmp_path) as writer:
        writer.add([completion()])
        [path] = store.journals(tmp_path)
        monkeypatch.setattr(os, "fsync", recorded_fsync)
        monkeypatch.setattr(os, "replace", recorded_replace)
        monkeypatch.setattr(os, "unlink", recorded_unlink)
    [segment] = store.segments(tmp_path)
    file, folder = segment.stat().st_ino, segment.parent.stat().st_ino
    order = [("synced", file), ("named", file), ("synced", folder), ("removed", str(path))]
    assert all(events.index(first) < events.index(second) for first, second in pairwise(order))


def test_the_journal_of_a_writer_that_is_gone_is_read_and_sealed_by_the_next(tmp_path):
    path = left_behind(tmp_path, ["a"], ["b", "c"])
    assert answers(tmp_path) == dict.fromkeys("abc", 1)
    store.append(tmp_path, [completion("d")])
    assert not path.exists()
    assert answers(tmp_path) == dict.fromkeys("abcd", 1)


def test_the_journal_of_a_living_writer_is_left_alone(tmp_path):
    with store.writer(tmp_path) as living:
        living.add([completion("a")])
        [path] = store.journals(tmp_path)
        store.append(tmp_path, [completion("b")])
        assert store.journals(tmp_path) == [path]
        living.add([completion("c")])
        assert store.journals(tmp_path) == [path]
    assert answers(tmp_path) == dict.fromkeys("abc", 1)


def test_the_journal_of_another_machine_is_left_alone_until_it_has_rested(tmp_path):
    path = left_behind(tmp_path, ["a"])
    theirs = path.rename(path.with_name(f"{'0' * 12}-1.journal"))
    store.append(tmp_path, [completion("b")])
    assert theirs.exists() and answers(tmp_path) == {"a": 1, "b": 1}
    long_ago = time.time() - 2 * journal.PATIENCE
    os.utime(theirs, (long_ago, long_ago))
    store.append(tmp_path, [completion("c")])
    assert not theirs.exists() and answers(tmp_path) == dict.fromkeys("abc", 1)


def test_a_writer_whose_journal_is_taken_over_while_it_lives_loses_and_doubles_nothing(tmp_path):
    with store.writer(tmp_path) as writer:
        for number in range(5):
            writer.add([completion(f"{number}")])
            for path in store.journals(tmp_path):
                assert store.seal(tmp_path, path)
            assert answers(tmp_path) == {f"{n}": 1 for n in range(number + 1)}


def test_a_row_written_while_the_journal_is_taken_over_counts_only_in_the_next(tmp_path):
    with store.writer(tmp_path) as writer:
        writer.add([completion("a")])
        [path] = store.journals(tmp_path)
        # As far as another host gets that was not told by the lock, and reads the journal now.
        journal.finish(path)
        writer.add([completion("b")])
        assert len(store.journals(tmp_path)) == 2
        path.unlink()
        assert answers(tmp_path) == {"b": 1}


def test_a_journal_is_closed_even_where_its_writer_writes_over_the_closing_record(tmp_path):
    with store.writer(tmp_path) as writer:
        writer.add([completion("a")])
        [path] = store.journals(tmp_path)
        size = path.stat().st_size
        journal.finish(path)
        # So it is on NFS for a writer that does not yet know of the record.
        os.truncate(path, size)
        writer.add([completion("b")])
        assert len(store.journals(tmp_path)) == 2
        path.unlink()
        assert answers(tmp_path) == {"b": 1}


def test_a_directory_that_vanishes_under_a_writer_is_an_error_not_a_count(tmp_path):
    with pytest.raises(AskonceError, match="cannot write"), store.writer(tmp_path / "cache") as writer:
        writer.add([completion("a")])
        (tmp_path / "cache" / "journals").rename(tmp_path / "elsewhere")
        for path in (tmp_path / "elsewhere").iterdir():
            path.unlink()
        writer.add([completion("b")])


def test_after_an_exception_the_rows_are_there(tmp_path):
    with pytest.raises(KeyboardInterrupt), store.writer(tmp_path) as writer:
        writer.add([completion("a")])
        raise KeyboardInterrupt
    assert answers(tmp_path) == {"a": 1}
    store.append(tmp_path, [])
    assert store.journals(tmp_path) == [] and answers(tmp_path) == {"a": 1}


def test_a_full_disk_stores_nothing_by_half_and_the_writer_goes_on(tmp_path, monkeypatch):
    written = os.write

    def full(descriptor, data):
        if len(data) < 500:
            raise OSError(28, "No space left on device")
        return written(descriptor, data[: len(data) // 2])

    with store.writer(tmp_path) as writer:
        writer.add([completion("a")])
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(AskonceError, match="No space left"):
            writer.add([completion("b")])
        monkeypatch.setattr(os, "write", written)
        assert answers(tmp_path) == {"a": 1}
        writer.add([completion("b")])
        assert answers(tmp_path) == {"a": 1, "b": 1}
    assert verify(tmp_path).damaged == ()


def test_a_torn_tail_of_any_length_costs_only_itself(tmp_path):
    path = left_behind(tmp_path / "cache", ["a"], ["b"], ["c"])
    data, ends = path.read_bytes(), []
    for count in (1, 2):
        ends.append(left_behind(tmp_path / f"{count}", *"ab"[:count]).stat().st_size)
    for size in [*range(0, len(data), 229), *(end + more for end in ends for more in (-1, 0, 1, 27, 28, 29))]:
        path.write_bytes(data[:size])
        whole = "abc"[: sum(size >= end for end in ends)]
        assert answers(tmp_path / "cache") == dict.fromkeys(whole, 1)
        findings = [finding.kind for finding in verify(tmp_path / "cache").findings]
        assert findings == ([] if size in (0, *ends) else ["torn"])
    path.write_bytes(data[: ends[1]] + bytes(5000))
    assert answers(tmp_path / "cache") == {"a": 1, "b": 1}


def test_a_torn_journal_is_sealed_even_after_a_kill_while_it_was(tmp_path):
    for cut in (1, 20, 40, 1000):
        path = left_behind(tmp_path, [f"a{cut}"], [f"b{cut}"])
        path.write_bytes(path.read_bytes()[:-cut])
        journal.finish(path)
        assert f"a{cut}" in answers(tmp_path) and f"b{cut}" not in answers(tmp_path)
        store.append(tmp_path, [])
        assert store.journals(tmp_path) == []
        assert f"a{cut}" in answers(tmp_path)


@pytest.mark.parametrize("place", ["first record", "last record"])
def test_damage_in_a_journal_is_named_never_passed_over(tmp_path, place):
    path = left_behind(tmp_path, ["a"], ["b"])
    data = bytearray(path.read_bytes())
    data[200 if place == "first record" else -200] ^= 4
    path.write_bytes(data)
    with pytest.raises(AskonceError, match=f"{path.name} is damaged.*cli cache verify --repair"):
        query.connect(tmp_path)
    # A writer neither minds it nor hides it.
    store.append(tmp_path, [completion("c")])
    assert path.read_bytes() == data


def test_kills_at_random_moments_lose_and_double_nothing(tmp_path):
    moments = random.Random(0)
    counted: dict[str, int] = {}
    for turn in range(5):
        with ExitStack() as stack:
            names = [f"{turn} {name}" for name in "abc"]
            writers = {
                name: stack.enter_context(processes.running(processes.write, tmp_path, name, seal_size, 3))
                for name, seal_size in zip(names, (8_000, 30_000, 2**30), strict=True)
            }
            compactor = stack.enter_context(processes.running(processes.compact_again_and_again, tmp_path, 0.01))
            [receive.poll(10) for _, receive in writers.values()]
            for process, _ in moments.sample([*writers.values(), compactor], 4):
                time.sleep(moments.uniform(0, 0.04))
                process.kill()
            for name, (_, receive) in writers.items():
                counted |= {f"{name} {number}": 3 for number in processes.reported(receive)}
        found = answers(tmp_path)
        assert counted.items() <= found.items()
        assert set(found.values()) <= {1, 2, 3}
        # A record is one `add`: it is there as a whole or not at all.
        assert set(found.values()) == {3}
        assert verify(tmp_path).damaged == ()
    assert len(counted) > 50


def test_readers_writers_compaction_and_merge_at_once(tmp_path):
    """Whatever was counted before a reader begins, it sees, once."""
    cache, other = tmp_path / "cache", tmp_path / "other"
    store.append(cache, [completion("there before")])
    store.append(other, [completion("merged")])
    with ExitStack() as stack:
        start = lambda job, *arguments: stack.enter_context(processes.running(job, *arguments))[1]
        writers = {
            "a": start(processes.write, cache, "a", 10_000, 1),
            "b": start(processes.write, cache, "b", 300_000, 1),
            "c": start(processes.append, cache, "c", 1_000_000),
        }
        others = [start(processes.compact_again_and_again, cache, grace) for grace in (0.2, 0.3)]
        others.append(start(processes.merge_again_and_again, cache, other))
        assert all(receive.poll(20) for receive in others)
        counted = {"there before", "merged"}
        for _ in range(6):
            for name, receive in writers.items():
                while receive.poll():
                    counted.add(f"{name} {receive.recv()}")
            found = answers(cache)
            assert counted <= found.keys()
            assert set(found.values()) == {1}
        assert {text[0] for text in counted} == set("tmabc")
