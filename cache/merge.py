"""The union of two caches by content, and where their answers disagree.

Rows are added that are not there yet, as they are stored; numbers are given by readers. So to merge
again adds nothing, and whichever of two caches is merged into the other, readers see the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa

from askonce.cache import coverage, layout, query, segment, sound, store
from askonce.cache.completion import IDENTITY
from askonce.cache.errors import AskonceError

# White space is not a difference between answers. Keys whose rows are the same in both cannot disagree.
DISAGREEMENTS = r"""
    WITH counted AS (
        SELECT task, key, text, trim(regexp_replace(content, '\s+', ' ', 'g')) AS words, weight, place
        FROM (SELECT *, 0 AS place FROM mine UNION ALL BY NAME SELECT *, 1 AS place FROM theirs)
    ), shares AS (
        SELECT task, key, any_value(text) AS text,
               coalesce(sum(weight) FILTER (place = 0), 0) AS mine,
               coalesce(sum(weight) FILTER (place = 1), 0) AS theirs,
               count(*) FILTER (place = 0) AS mine_count, count(*) FILTER (place = 1) AS theirs_count
        FROM counted GROUP BY task, key, words
    ), totals AS (
        SELECT task, key, sum(mine) AS mine, sum(theirs) AS theirs FROM shares
        GROUP BY task, key HAVING sum(mine) > 0 AND sum(theirs) > 0
    )
    SELECT task, key, any_value(text), sum(mine_count)::BIGINT, sum(theirs_count)::BIGINT,
           sum(abs(shares.mine / totals.mine - shares.theirs / totals.theirs)) / 2 AS variation
    FROM shares JOIN totals USING (task, key) GROUP BY task, key
    HAVING variation > 1e-9 ORDER BY variation DESC, task, key
"""


@dataclass(frozen=True)
class Disagreement:
    """A key for which two caches hold answers in different shares.

    mine, theirs      how many answers each holds
    total_variation   ½ Σ |share in one − share in the other| over the answers, word for word but for
                      white space: 0 where the shares are equal, 1 where no answer is in both
    """

    task: str
    key: str
    text: str
    mine: int
    theirs: int
    total_variation: float


@dataclass(frozen=True)
class Merged:
    """`added` rows were new, `held` were there before; `disagreements` from the largest to the smallest.

    `refused` has a line for each row that cannot be a server's answer (`cache.sound`).
    """

    added: int
    held: int
    disagreements: list[Disagreement]
    refused: list[str] = field(default_factory=list)


def merge(into: str | Path, other: str | Path, strict: bool = False) -> Merged:
    """Adds the answers of `other`, which stays as it is, to `into`, which is created where it is absent.

    Rows that cannot be a server's answers are left out; `strict`: an AskonceError names the first, and nothing is added.

    AskonceError where `other` is no cache, either is damaged, or `into` cannot be written. Killed at any
    moment, it leaves a sound cache to merge into again.
    """
    into, other = Path(into), Path(other)
    store.require(other)
    store.create(into)
    if into.samefile(other):
        raise AskonceError(f"{into} and {other} are the same cache; name two", 2)
    merged = query.read(partial(_merge, into / layout.SEGMENTS, strict), mine=into, theirs=other)
    try:
        coverage.carry(other, into)
    except OSError as error:
        raise store.unwritable(into, error) from error
    return merged


def add_missing(folder: Path, connection: duckdb.DuckDBPyConnection, strict: bool) -> tuple[int, int, list[str]]:
    """Writes the rows of the view `theirs_rows` that `mine_rows` lacks: rows added, rows held before, rows refused.

    AskonceError where one has to be refused, and it is to be `strict`.
    """
    equal = " AND ".join(f"mine.{name} IS NOT DISTINCT FROM theirs.{name}" for name in IDENTITY)
    # Of a row that an older version wrote, the other may hold a copy that says more.
    equal += " AND (mine.usage IS NOT NULL OR theirs.usage IS NULL)"
    connection.execute(
        f"CREATE TEMP TABLE missing AS SELECT theirs.* FROM theirs_rows theirs ANTI JOIN mine_rows mine ON {equal}"
    )
    [(added, held)] = connection.execute(
        "SELECT count(*), (SELECT count(*) FROM theirs_rows) - count(*) FROM missing"
    ).fetchall()
    refused: list[str] = []

    def sound_rows() -> Iterator[pa.Table]:
        for batch in connection.sql(f"FROM missing ORDER BY {query.IN_ORDER}").to_arrow_reader(segment.GROUP_ROWS):
            rows = pa.Table.from_batches([batch])
            wrong = sound.faults(rows)
            refused.extend(sound.named(rows, wrong))
            if strict and refused:
                raise AskonceError(f"nothing was added: {refused[0]}; without --strict the other rows are taken")
            yield sound.without(rows, wrong)

    if strict:
        # Before the first of them is written.
        for _ in sound_rows():
            pass
    try:
        segment.write(folder, sound_rows())
    except OSError as error:
        raise store.unwritable(folder.parent, error) from error
    return added - len(refused), held, refused


def _merge(folder: Path, strict: bool, connection: duckdb.DuckDBPyConnection) -> Merged:
    disagreements = [Disagreement(*row) for row in connection.execute(DISAGREEMENTS).fetchall()]
    added, held, refused = add_missing(folder, connection, strict)
    return Merged(added, held, disagreements, refused)
