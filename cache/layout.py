"""Every folder and file name of a cache, once.

DIR/askonce-cache.json                   MARKER marks the directory as a cache; format and version
DIR/segments/<sha256>.parquet            immutable, rows sorted by key (`cache.segment`)
DIR/journals/<machine>-<writer>.journal  rows not yet in a segment, one journal a writer (`cache.journal`)
DIR/footers/<sha256>.json                a second copy of a segment's footer (`cache.footer`)
DIR/quarantine/                          damaged files that `cache.repair` has moved away
DIR/coverage/<digest>.json               how much of what an agent meets is answered (`cache.coverage`)
DIR/index/                               derived from the rest (`cache.teachers`, `cache.index`)
DIR/batches/                             what has been asked in batches under way (`pipeline.asking.submission`)
DIR/servers/<digest>.json                what a server was seen to take (`pipeline.asking.abilities`)
DIR/audit/                               what `cli audit` found (`pipeline.audit.table`)
DIR/…/*.tmp                              what a killed writer left; read by nobody
"""

import hashlib
import json

MARKER = "askonce-cache.json"

SEGMENTS, JOURNALS, FOOTERS, QUARANTINE = "segments", "journals", "footers", "quarantine"
COVERAGE, INDEX, BATCHES, AUDIT, SERVERS = "coverage", "index", "batches", "audit", "servers"
FOLDERS = SEGMENTS, JOURNALS, FOOTERS, COVERAGE, QUARANTINE, INDEX, BATCHES, AUDIT, SERVERS

SEGMENT, JOURNAL, FOOTER, ESTIMATE, ANSWERS, UNFINISHED = ".parquet", ".journal", ".json", ".json", ".answers", ".tmp"
TEACHERS = "teachers.json"


def named(*parts: str) -> str:
    """The digest of 32 hex digits by which a file is named that is about these: whatever they hold, it is a file's name."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
