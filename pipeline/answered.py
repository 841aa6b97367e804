"""What a teacher has answered: from a text to its distribution, at the same cost however large the cache is.

    DIR/index/<digest of task, model and prompt>.answers

One index (`cache.lookup`) for each teacher, its keys being digests of texts. It is built from the stored
completions on first use, and again once answers were added or completions are read differently. It is
never the truth and may be removed at any time.

The names in an entry are JSON: a decision is a list of its options. Without weight come what a later parser
is compared with: of how many completions the entry is made, and which of them held no decision.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
import hashlib
from itertools import islice
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cache import durable, lookup, query, store
from cache.key import SCHEME
from cache.verify import INDEX
from pipeline.distribution import option_distributions
from pipeline.prompt import reading
from pipeline.tasks.task import Decision, Task

# Texts handed to the index at a time.
CHUNK = 10_000


@dataclass(frozen=True)
class Entry:
    """What the completions of one text say.

    distribution  decision → probability; empty where no completion holds a decision
    completions   of how many it is made
    unreadable    those that hold no decision, by sample
    """

    distribution: Mapping[Decision, float]
    completions: int = 0
    unreadable: tuple[int, ...] = ()


class Answered:
    """text → its distribution, {} where the answers hold no decision, None where there is no answer."""

    def __init__(self, index: lookup.Index):
        self._index = index

    def __call__(self, text: str) -> dict[Decision, float] | None:
        found = self.entry(text)
        return None if found is None else dict(found.distribution)

    def entry(self, text: str) -> Entry | None:
        names = self._index.get(_key(text))
        return None if names is None else _decoded(names)

    def add(self, text: str, distribution: Mapping[Decision, float]) -> None:
        """From now on `text` has this distribution, just as if it had been in the cache before."""
        self._index.add(_key(text), _encoded(Entry(distribution)))

    def __len__(self) -> int:
        return len(self._index)


def open_answered(directory: str | Path, task: Task, model: str, prompt: str) -> Answered:
    """What `model`, asked with `prompt` (a digest, as in `TeacherName`), has answered for `task` up to now.

    Reads the cache only where there is no index of its present state. Where the cache cannot be
    written the index is temporary. AskonceError where the directory is no cache or is damaged.
    """
    path, source = place(directory, task, model, prompt), present(directory, task, model, prompt)
    try:
        return Answered(lookup.open_index(path, source))
    except lookup.Unusable:
        with _writable(path) as target:
            return build(target, entries(directory, task, model, prompt), source)


def place(directory: str | Path, task: Task, model: str, prompt: str) -> Path:
    """Where the teacher's index is; each new one replaces the one before, which its readers keep."""
    name = hashlib.sha256(json.dumps([task.name, model, prompt]).encode()).hexdigest()[:32]
    return Path(directory) / INDEX / f"{name}.answers"


def present(directory: str | Path, task: Task, model: str, prompt: str) -> str:
    """The source of an index that is built now: what is stored, whose answers they are, how they are read.

    To be taken before the answers are read.
    """
    whose, how = json.dumps([task.name, model, prompt]), reading(task.prompt.options)
    return lookup.source_of([*store.parts(directory), f"answers of {whose}", f"read by {how}"])


def entries(directory: str | Path, task: Task, model: str, prompt: str) -> Iterator[tuple[str, Entry]]:
    """Every text with what the present parser reads in its completions, one after another."""
    for text, answers in query.texts(directory, task.name, model, prompt):
        distributions, unparsable = option_distributions({text: answers}, task.prompt.options)
        yield text, Entry(distributions[text], len(answers), tuple(row.sample for row in unparsable))


def build(path: Path, found: Iterable[tuple[str, Entry]], source: str) -> Answered:
    """Writes the index of these texts in place of what is at `path`, and opens it."""
    rows = ((_key(text), _encoded(entry)) for text, entry in found)
    chunks = iter(lambda: dict(islice(rows, CHUNK)), {})
    return Answered(lookup.build(path, map(lookup.entries, chunks), source))


def older(path: Path) -> Answered | None:
    """The index at `path`, of whatever state of the cache and whatever parser; None where there is none."""
    try:
        return Answered(lookup.open_index(path, None))
    except lookup.Unusable:
        return None


@contextmanager
def _writable(path: Path) -> Iterator[Path]:
    """`path`; where nothing can be written there, one that goes: what is mapped outlives its name."""
    try:
        durable.make_directory(path.parent)
        writable = os.access(path.parent, os.W_OK | os.X_OK)
    except OSError:
        writable = False
    if writable:
        yield path
    else:
        with TemporaryDirectory(prefix="askonce-") as folder:
            yield Path(folder) / path.name


def _key(text: str) -> str:
    return f"{SCHEME}:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _encoded(entry: Entry) -> dict[str, float]:
    names = {_name(decision): probability for decision, probability in entry.distribution.items()}
    # An index holds probabilities, which add up to 1: where there is no decision, this has it all.
    names[_name({"completions": entry.completions})] = 0.0 if entry.distribution else 1.0
    return names | {_name({"unreadable": sample}): 0.0 for sample in entry.unreadable}


def _decoded(names: Mapping[str, float]) -> Entry:
    distribution: dict[Decision, float] = {}
    completions, unreadable = 0, []
    for name, probability in names.items():
        match _read(name):
            case tuple(decision):
                distribution[decision] = probability
            case {"completions": count}:
                completions = count
            case {"unreadable": sample}:
                unreadable.append(sample)
    return Entry(distribution, completions, tuple(unreadable))


def _name(value: Decision | dict[str, int]) -> str:
    return json.dumps(value, ensure_ascii=False)


@lru_cache(maxsize=4096)
def _read(name: str) -> Any:
    value = json.loads(name)
    return tuple(value) if isinstance(value, list) else value
