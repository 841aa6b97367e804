"""A cache as a Hugging Face dataset, and back.

The dataset's files are segments like the cache's own, so what is imported is what was exported, row
for row, and a damaged file is found by its name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
import shutil
import uuid

import duckdb
from huggingface_hub import DatasetCardData
import pyarrow as pa

from askonce.cache import coverage, durable, layout, query, segment, store
from askonce.cache.completion import SCHEMA
from askonce.cache.coverage import Coverage, Who
from askonce.cache.errors import AskonceError
from askonce.cache.merge import add_missing
from askonce.cache.query import TeacherEntry
from askonce.cache.store import Snapshot

SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))

CARD = """---
{front}
---
# {title}

{completions:,} raw answers of large language models to {texts:,} questions: each line is one completion, kept
word for word, with what was asked, by which model it was answered and what it cost. Made by askonce;
`cli cache import DIR --cache CACHE` makes a cache of it again.

| task | model | prompt | texts | completions | tokens in | tokens out | first asked | last asked | coverage |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

- `prompt` is the digest of prompt, parameters and endpoint together; `request` holds the request in full.
- `sample` counts the answers to one request as they were written. Order by `asked_at` to number them anew.
- Coverage is the share of an agent's visits to states whose text is answered, as the last build estimated it.
- Licence: {license}.

```python
from datasets import load_dataset

answers = load_dataset("{name}", split="train")
```
"""


@dataclass(frozen=True)
class Exported:
    completions: int
    files: int
    bytes: int


@dataclass(frozen=True)
class Imported:
    """`added` completions were new, `held` were there before, `refused` as in `Merged`."""

    added: int
    held: int
    refused: list[str]


def export(directory: str | Path, to: str | Path, license: str = "unknown") -> Exported:
    """Writes the whole cache to `to` as a dataset: Parquet files under data/, README.md as its card, and
    the coverage as the cache keeps it.

    `license` is a licence's id as Hugging Face writes it ("mit", "cc-by-4.0"). `to` appears whole or not
    at all. AskonceError where it is there and not empty, where the cache is empty, is none or is damaged.
    """
    to = Path(to)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise AskonceError(f"{to} is there already; choose a directory that is new or empty", 2)
    store.require(Path(directory))
    unfinished = to.absolute().with_name(f"{to.absolute().name}.{uuid.uuid4().hex}{layout.UNFINISHED}")
    try:
        written = partial(_write, unfinished, to.absolute().name, license, coverage.noted(directory))
        exported = query.read(written, completions=directory)
        coverage.carry(directory, unfinished)
        unfinished.rename(to)
        durable.sync(to.absolute().parent)
    except OSError as error:
        raise AskonceError(f"cannot write to {to}: {error.strerror}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return exported


def import_dataset(path: str | Path, directory: str | Path, strict: bool = False) -> Imported:
    """Adds the answers of an exported dataset to a cache, which is created where it is absent.

    To import again adds nothing. Rows that cannot be a server's answers are treated as by `merge`. AskonceError
    where the files are not a cache's dataset, or one is damaged;
    what then was added already is sound.
    """
    files = _files(Path(path))
    store.create(directory)
    imported = query.read(partial(_add, files, Path(directory) / layout.SEGMENTS, strict), mine=directory)
    try:
        coverage.carry(path, directory)
    except OSError as error:
        raise store.unwritable(directory, error) from error
    return imported


def _write(
    folder: Path, name: str, license: str, held: Mapping[Who, Coverage], connection: duckdb.DuckDBPyConnection
) -> Exported:
    # Empty again where the rows are read for a second time.
    shutil.rmtree(folder, ignore_errors=True)
    durable.make_directory(folder / "data")
    teachers = query.entries(connection)
    if not teachers:
        raise AskonceError("the cache holds no answers to export; `cli build-cache` asks for them")
    rows = connection.sql(f"FROM completions_rows ORDER BY {query.IN_ORDER}")
    files = segment.write(folder / "data", rows.to_arrow_reader(segment.GROUP_ROWS))
    # What a damaged copy cannot be read without is of no use to whoever can fetch it again.
    shutil.rmtree(folder / layout.FOOTERS)
    durable.write(folder / "README.md", _card(teachers, name, license, held).encode())
    size = sum(path.stat().st_size for path in files)
    return Exported(sum(entry.completions for entry in teachers), len(files), size)


def _card(teachers: list[TeacherEntry], name: str, license: str, held: Mapping[Who, Coverage]) -> str:
    completions = sum(entry.completions for entry in teachers)
    title = f"Answers for {', '.join(dict.fromkeys(entry.task for entry in teachers))}"
    front = DatasetCardData(
        license=license,
        pretty_name=title,
        task_categories=["text-generation", "reinforcement-learning"],
        size_categories=[next((words for limit, words in SIZES if completions < limit), "n>10M")],
        tags=["askonce", *dict.fromkeys(entry.model for entry in teachers)],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}],
    )
    rows = "\n".join(_row(entry, held.get((entry.task, entry.model, entry.prompt))) for entry in teachers)
    texts = sum(entry.texts for entry in teachers)
    return CARD.format(
        front=front.to_yaml(), title=title, completions=completions, texts=texts, rows=rows, license=license, name=name
    )


def _row(entry: TeacherEntry, covers: Coverage | None) -> str:
    cells = (
        entry.task,
        entry.model,
        entry.prompt,
        f"{entry.texts:,}",
        f"{entry.completions:,}",
        f"{entry.prompt_tokens:,}",
        f"{entry.completion_tokens:,}",
        f"{entry.first_asked:%Y-%m-%d}",
        f"{entry.last_asked:%Y-%m-%d}",
        f"{covers.share:.2%} of {covers.visits:,} visits" if covers else "",
    )
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _files(path: Path) -> list[Path]:
    try:
        files = sorted(path.rglob(f"*{layout.SEGMENT}"))
        for file in files:
            # Files that others have written again have other names, and no checksum in them.
            if segment.NAME.fullmatch(file.name):
                segment.check(file)
    except segment.Damaged as damaged:
        raise AskonceError(f"{damaged} is damaged: its bytes do not agree with its name; fetch it again") from None
    except OSError as error:
        raise store.unreadable(path, error) from error
    if not files:
        raise AskonceError(f"{path} holds no Parquet files; name the directory that `cli cache export` wrote")
    return files


def _add(files: list[Path], folder: Path, strict: bool, connection: duckdb.DuckDBPyConnection) -> Imported:
    try:
        query.define(connection, "theirs", Snapshot(files, [], SCHEMA.empty_table()))
        return Imported(*add_missing(folder, connection, strict))
    except (duckdb.Error, pa.ArrowException, ValueError) as error:
        if isinstance(error, duckdb.IOException):
            raise
        reason = str(error).splitlines()[0]
        raise AskonceError(f"{files[0].parent} does not hold a cache's columns: {reason}") from error
