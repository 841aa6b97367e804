"""Moves damaged files to quarantine/, saves the rows in them that are sound, and says what to ask again.

A damaged file is copied to quarantine/ and its sound rows are stored before it goes, so a kill in
between loses nothing and doubles nothing that a reader sees, and the next repair finishes.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq

from askonce.cache import durable, footer, journal, layout, segment, sound, store
from askonce.cache.completion import SCHEMA
from askonce.cache.verify import Verified, check_marker, verify

# Keys stand in a record as they are, so they can be found in one that cannot be decoded.
KEY = re.compile(rb"v\d+-[a-z0-9]+:[0-9a-f]{64}")


# A key, and the task and text that were asked about, where they can be read.
WHICH = "key", "task", "text"
Which = tuple[str, str | None, str | None]


@dataclass(frozen=True)
class Lost:
    """Answers of one key that were lost; task and text are None where only the key could be read."""

    key: str
    task: str | None
    text: str | None
    answers: int


@dataclass(frozen=True)
class Repaired:
    """What was found before, and what was done about it.

    found         as `verify` found it
    quarantined   the files of which quarantine/ now has a copy, by the paths they had
    saved         rows of theirs that were sound and are stored again
    ask_again     the keys whose answers were lost, as far as they can be read
    unknown       files of which not even the keys of all lost rows can be read
    """

    found: Verified
    quarantined: list[str]
    saved: int
    ask_again: list[Lost]
    unknown: list[str]


@dataclass
class _Salvage:
    """Sound rows; (key, task, text) → lost answers; whether `lost` names all that were lost."""

    tables: list[pa.Table]
    lost: Counter[Which]
    complete: bool


def repair(directory: str | Path) -> Repaired:
    """Leaves a sound cache; does nothing to one that is sound.

    Writers may go on meanwhile. AskonceError where the directory is no cache at all, or cannot be written.
    """
    directory = Path(directory)
    found = verify(directory)
    quarantined, unknown, saved = [], [], 0
    lost = Counter[Which]()
    try:
        if check_marker(directory):
            durable.write(directory / layout.MARKER, store.marker(store.VERSION))
        store.create(directory)
        for name in sorted({finding.path for finding in found.damaged} - {layout.MARKER}):
            path = directory / name
            if path.parent.name == layout.FOOTERS:
                _renew(directory, path)
                continue
            if path.parent.name in (layout.COVERAGE, layout.SERVERS):
                # The next build estimates it anew.
                path.unlink(missing_ok=True)
                continue
            salvage = _of_segment(path) if path.suffix == layout.SEGMENT else _of_journal(path)
            # A segment of an older version lacks some columns.
            rows = pa.concat_tables([SCHEMA.empty_table(), *salvage.tables], promote_options="default")
            wrong = sound.faults(rows)
            salvage.lost.update(tuple(rows[name][number].as_py() for name in WHICH) for number in wrong)
            rows = sound.without(rows, wrong)
            _quarantine(directory, path)
            # A segment that is saved whole gets the very name of the damaged one, which it replaces.
            if path not in segment.write(directory / layout.SEGMENTS, [segment.in_order(rows)]):
                path.unlink(missing_ok=True)
                footer.path_of(path).unlink(missing_ok=True)
            saved += rows.num_rows
            lost += salvage.lost
            quarantined.append(name)
            if not salvage.complete:
                unknown.append(name)
    except OSError as error:
        raise store.unwritable(directory, error) from error
    ask_again = [
        Lost(key, task, text, answers)
        for (key, task, text), answers in sorted(lost.items(), key=lambda item: item[0][0])
    ]
    return Repaired(found, quarantined, saved, ask_again, unknown)


def _of_segment(path: Path) -> _Salvage:
    """The row groups whose columns all agree with their checksums; of the others, the keys."""
    if segment.digest(path) == path.stem:
        return _Salvage([pq.read_table(path)], Counter(), complete=True)
    kept = footer.read(footer.path_of(path))
    if kept is None:
        # Nothing says where in the file a row begins, nor whether it is still what it was.
        return _Salvage([], Counter(), complete=False)
    salvage = _Salvage([], Counter(), complete=True)
    with durable.unfinished(path.parent) as restored:
        intact = footer.restore(kept, path, restored)
        with pq.ParquetFile(restored) as file:
            for group, columns in enumerate(intact):
                if columns == set(file.schema_arrow.names):
                    salvage.tables.append(file.read_row_group(group))
                elif "key" in columns:
                    salvage.lost += _lost(file, group, columns)
                else:
                    salvage.complete = False
    return salvage


def _lost(file: pq.ParquetFile, group: int, intact: set[str]) -> Counter[Which]:
    rows = file.read_row_group(group, columns=[name for name in WHICH if name in intact])
    missing = [None] * rows.num_rows
    columns = [rows[name].to_pylist() if name in intact else missing for name in WHICH]
    return Counter(zip(*columns, strict=True))


def _of_journal(path: Path) -> _Salvage:
    journal.finish(path)
    records = journal.read(path)
    lost: Counter[Which] = Counter(
        (key.decode(), None, None) for piece in records.damaged for key in KEY.findall(piece)
    )
    # A key that is itself damaged is not found, and how many there were is not known.
    return _Salvage([records.table], lost, complete=False)


def _renew(directory: Path, path: Path) -> None:
    described = directory / layout.SEGMENTS / f"{path.stem}{layout.SEGMENT}"
    path.unlink(missing_ok=True)
    if described.exists() and segment.digest(described) == described.stem:
        footer.write(path, described)


def _quarantine(directory: Path, path: Path) -> None:
    """Copies the file; under its digest too, for a file of this name may have been damaged before."""
    folder = directory / layout.QUARANTINE
    durable.make_directory(folder)
    with durable.unfinished(folder) as copy:
        shutil.copy2(path, copy)
        durable.rename(copy, folder / f"{path.name}.{segment.digest(path)[:12]}")
