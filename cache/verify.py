"""Every byte of a cache against its checksum, every file against what belongs there, every row against what it can be.

What no checksum can tell: that a whole file is gone, or that a journal was cut exactly between two
records, which looks like a writer that was killed there. `build-cache` asks again for whatever is missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from askonce.cache import checked, durable, journal, layout, segment, sound, store
from askonce.cache.completion import SCHEMA

# Versions that are yet to come: their caches are not damaged, and not ours to repair.
NEWER = 1000

REQUIRED = {field.name for field in SCHEMA if not field.nullable}


Kind = Literal["damaged", "torn", "unfinished", "foreign"]


@dataclass(frozen=True)
class Finding:
    """Something about a file that is not as it should be; `path` is relative to the cache.

    damaged     its bytes are not those that were written, or rows of it cannot be a server's answers (`cache.sound`):
                `cache.repair` saves what is sound
    torn        a journal ends in a record that was not finished and never counted: harmless
    unfinished  a writer is writing it, or left it when it was killed: harmless, read by nobody
    foreign     it does not belong there: left alone, read by nobody
    """

    path: str
    kind: Kind
    detail: str


@dataclass(frozen=True)
class Verified:
    """What was checked, rows as they are stored in sound files, and what was found, by path."""

    segments: int
    journals: int
    rows: int
    bytes: int
    findings: tuple[Finding, ...]

    @property
    def damaged(self) -> tuple[Finding, ...]:
        """The findings that cost answers; none in a sound cache."""
        return tuple(finding for finding in self.findings if finding.kind == "damaged")


def verify(directory: str | Path) -> Verified:
    """Reads every file, whatever was read before. AskonceError where the directory is no cache at all.

    Writers and `compact` may go on meanwhile: a file that goes while it is read is passed over.
    """
    directory = Path(directory)
    findings, rows, size = [], 0, 0
    try:
        findings += check_marker(directory)
        segments = store.listing(directory / layout.SEGMENTS, layout.SEGMENT)
        journals = store.journals(directory)
        checks = dict.fromkeys(segments, check_segment) | dict.fromkeys(journals, check_journal)
        checks |= dict.fromkeys(store.listing(directory / layout.FOOTERS, layout.FOOTER), check_json)
        for folder in (layout.COVERAGE, layout.SERVERS):
            checks |= dict.fromkeys(store.listing(directory / folder, layout.ESTIMATE), check_json)
        for path, check in checks.items():
            try:
                count, found = check(path)
                size += path.stat().st_size
            except OSError as error:
                if durable.gone(error, path):
                    continue
                raise
            rows += count
            findings += [Finding(str(path.relative_to(directory)), *each) for each in found]
        findings += _others(directory)
    except OSError as error:
        raise store.unreadable(directory, error) from error
    findings.sort(key=lambda each: each.path)
    return Verified(len(segments), len(journals), rows, size, tuple(findings))


def check_marker(directory: Path) -> list[Finding]:
    """A finding where the marker is not to the byte what it was; AskonceError where there is no cache."""
    if not (directory / layout.SEGMENTS).is_dir():
        store.require(directory)
        return []
    path = directory / layout.MARKER
    found = path.read_bytes() if path.exists() else None
    # The first version knew no journals, the second no coverage: next to them their markers are wrong.
    oldest = 3 if (directory / layout.COVERAGE).is_dir() else 2 if (directory / layout.JOURNALS).is_dir() else 1
    if found in [store.marker(number) for number in range(oldest, store.VERSION + 1)]:
        return []
    if found in [store.marker(number) for number in range(store.VERSION + 1, NEWER)]:
        store.require(directory)
    return [Finding(layout.MARKER, "damaged", "is missing" if found is None else "is not what was written")]


def check_segment(path: Path) -> tuple[int, list[tuple[Kind, str]]]:
    """Rows, and (kind, detail) of what is wrong."""
    if segment.digest(path) != path.stem:
        return 0, [("damaged", "its bytes do not agree with its name")]
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowException as error:
        return 0, [("damaged", f"is no Parquet file: {error}")]
    missing = REQUIRED - set(file.schema_arrow.names)
    if missing:
        return 0, [("damaged", f"lacks the columns {', '.join(sorted(missing))}")]
    groups = (file.read_row_group(group) for group in range(file.num_row_groups))
    return file.metadata.num_rows, [fault for rows in groups for fault in _of_rows(rows)]


def check_journal(path: Path) -> tuple[int, list[tuple[Kind, str]]]:
    """Rows in sound records, and (kind, detail) of what is wrong."""
    records = journal.read(path)
    found: list[tuple[Kind, str]] = [("damaged", f"{len(piece):,} bytes are no record") for piece in records.damaged]
    if records.torn:
        found.append(("torn", f"the last {records.torn:,} bytes are a record that was not finished"))
    return records.table.num_rows, [*found, *_of_rows(records.table)]


def _of_rows(rows: pa.Table) -> list[tuple[Kind, str]]:
    wrong = sound.faults(rows)
    first = sound.named(rows, dict([*wrong.items()][:1]))
    more = f", and so are {len(wrong) - 1:,} more rows" if len(wrong) > 1 else ""
    return [("damaged", f"{line}{more}") for line in first]


def check_json(path: Path) -> tuple[int, list[tuple[Kind, str]]]:
    """No rows, and (kind, detail) of what is wrong with a file of `cache.checked`."""
    if checked.read(path) is None and path.exists():
        return 0, [("damaged", "its bytes do not agree with its checksum")]
    return 0, []


def _others(directory: Path) -> Iterator[Finding]:
    """What is neither marker, segment nor journal."""
    known = {directory / layout.MARKER, *(directory / name for name in layout.FOLDERS)}
    places = {
        directory: "",
        directory / layout.SEGMENTS: layout.SEGMENT,
        directory / layout.JOURNALS: layout.JOURNAL,
        directory / layout.FOOTERS: layout.FOOTER,
        directory / layout.COVERAGE: layout.ESTIMATE,
        directory / layout.SERVERS: layout.ESTIMATE,
    }
    for folder, suffix in places.items():
        for path in folder.iterdir() if folder.is_dir() else ():
            name = str(path.relative_to(directory))
            if path.suffix == layout.UNFINISHED:
                yield Finding(name, "unfinished", "is being written, or was when its writer was killed")
            elif path not in known and not (suffix and path.suffix == suffix):
                yield Finding(name, "foreign", "does not belong to a cache")
