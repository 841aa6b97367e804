"""Whatever writers, readers, compaction, takeovers, kills and merge do, nothing is lost or doubled."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
import os
from pathlib import Path
import shutil
import tempfile

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from askonce.cache import compact as compaction
from askonce.cache import journal, query, segment, store
from askonce.cache.compact import compact
from askonce.cache.merge import merge
from askonce.cache.verify import verify
from tests.cache.example import completion

# Few of each, so that the same rows are often written again, and others that differ in one thing only.
answers = st.builds(
    lambda text, second, **fields: completion(
        text, asked_at=completion().asked_at + timedelta(seconds=second), **fields
    ),
    text=st.sampled_from("ab"),
    second=st.integers(0, 2),
    task=st.sampled_from("ST"),
    sample=st.integers(0, 1),
    content=st.sampled_from("xy"),
)
places = st.sampled_from(["one", "two"])


class Caches(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.counted = {name: set() for name in ("one", "two")}
        # What readers saw last of each, and where anything was done since.
        self.seen, self.touched = {}, {"one", "two"}
        self.writers = []
        for name in self.counted:
            store.create(self.root / name)

    def teardown(self):
        for _, writer in self.writers:
            writer.close()
        self.touched = {"one", "two"}
        self.nothing_is_lost_or_doubled()
        for place in self.counted:
            assert verify(self.root / place).damaged == ()
        shutil.rmtree(self.root)

    @precondition(lambda self: len(self.writers) < 4)
    @rule(place=places)
    def open(self, place):
        self.writers.append((place, store.Writer(self.root / place)))

    @precondition(lambda self: self.writers)
    @rule(data=st.data(), rows=st.lists(answers, min_size=1, max_size=3))
    def add(self, data, rows):
        place, writer = data.draw(st.sampled_from(self.writers))
        self.touched.add(place)
        writer.add(rows)
        self.counted[place].update(rows)

    @precondition(lambda self: self.writers)
    @rule(data=st.data(), killed=st.booleans(), torn=st.integers(0, 400))
    def end(self, data, killed, torn):
        place, writer = data.draw(st.sampled_from(self.writers))
        self.touched.add(place)
        self.writers.remove((place, writer))
        before = writer._journal and writer._journal.path
        if not killed:
            writer.seal()
        writer.close()
        if killed and before and before.exists():
            # It was killed while it added one more.
            with open(before, "ab") as file:
                file.write(journal._record(os.urandom(400))[:torn])

    @rule(place=places, rows=st.lists(answers, max_size=3))
    def append(self, place, rows):
        self.touched.add(place)
        store.append(self.root / place, rows)
        self.counted[place].update(rows)

    @rule(place=places)
    def take_over(self, place):
        """As from another host, where no lock is seen."""
        self.touched.add(place)
        for path in store.journals(self.root / place):
            assert store.seal(self.root / place, path)

    @rule(place=places)
    def half_taken_over(self, place):
        """Killed with the segment written and the journal still there."""
        self.touched.add(place)
        for path in store.journals(self.root / place):
            journal.finish(path)
            rows = segment.in_order(journal.read(path).table)
            segment.write(self.root / place / "segments", [rows])

    @rule(place=places)
    def compact(self, place):
        self.touched.add(place)
        compact(self.root / place)

    @rule(place=places)
    def half_compacted(self, place):
        """Killed with the new segment written and the old ones still there."""
        self.touched.add(place)
        kept = {path: path.read_bytes() for path in store.segments(self.root / place)}
        compact(self.root / place)
        for path, data in kept.items():
            path.write_bytes(data)

    @rule(place=places)
    def merge(self, place):
        self.touched.add(place)
        [other] = {"one", "two"} - {place}
        merge(self.root / place, self.root / other)
        self.counted[place] |= self.counted[other]

    @invariant()
    def nothing_is_lost_or_doubled(self):
        for place in self.touched:
            found = self.seen[place] = query.show(self.root / place, "")
            unnumbered = lambda rows: Counter(replace(row, sample=0) for row in rows)
            assert unnumbered(found) == unnumbered(self.counted[place])
            numbers = {}
            for row in sorted(found, key=lambda row: row.sample):
                numbers.setdefault((row.task, row.key), []).append((row.sample, row.asked_at))
            for rows in numbers.values():
                assert [number for number, _ in rows] == list(range(len(rows)))
                assert [asked for _, asked in rows] == sorted(asked for _, asked in rows)
        self.touched.clear()
        if self.counted["one"] == self.counted["two"]:
            assert self.seen["one"] == self.seen["two"]


def test_interleaved(monkeypatch):
    monkeypatch.setattr(compaction, "GRACE", 0)
    run_state_machine_as_test(
        Caches,
        settings=settings(
            max_examples=6, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
