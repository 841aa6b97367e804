"""What a teacher has answered: from a text to its distribution, at the same cost however large the cache is.

    DIR/index/<digest of task, model and prompt>.answers

One index (`cache.index`) for each teacher. It is built from the stored completions on first use, and again once
completions are read differently. What was added since is read anew at each opening, until it is a tenth of the whole:
then the index is built again. It is never the truth and may be removed at any time.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from askonce.cache import durable, index, layout, query, store
from askonce.cache.index import Entry, Index
from askonce.pipeline.estimators import option_distributions
from askonce.pipeline.parse import reading
from askonce.pipeline.tasks.task import Decision, Task

# So many times fewer texts than the index holds are read beside it.
BESIDE = 10


class Answered:
    """text → its distribution, {} where the answers hold no decision, None where there is no answer.

    What is added is seen in this process alone, on top of the index.
    """

    def __init__(self, built: Index):
        self._index = built
        self._added: dict[str, Entry] = {}

    def __call__(self, text: str) -> dict[Decision, float] | None:
        found = self.entry(text)
        return None if found is None else dict(found.distribution)

    def __len__(self) -> int:
        return len(self._index) + sum(self._index.get(text) is None for text in self._added)

    def entry(self, text: str) -> Entry | None:
        return self._added[text] if text in self._added else self._index.get(text)

    def add(self, text: str, distribution: Mapping[Decision, float]) -> None:
        """From now on `text` has this distribution, just as if it had been in the cache before."""
        self.put(text, Entry(distribution))

    def put(self, text: str, entry: Entry) -> None:
        self._added[text] = entry

    @property
    def source(self) -> Any:
        """What its index was built from; see `present`."""
        return self._index.source


def open_answered(directory: str | Path, task: Task, model: str, prompt: str) -> Answered:
    """What `model`, asked with `prompt` (a digest, as in `TeacherName`), has answered for `task` up to now.

    Reads of the cache only what was added since its index was built. Where the cache cannot be
    written a new index is temporary. AskonceError where the directory is no cache or is damaged.
    """
    which = directory, task, model, prompt
    path, source = place(*which), present(*which)
    earlier = older(path)
    if earlier is not None and (found := _extended(earlier, source, *which)) is not None:
        return found
    with _writable(path) as target:
        return build(target, entries(*which), source)


def _extended(
    earlier: Answered, source: dict[str, Any], directory: str | Path, task: Task, model: str, prompt: str
) -> Answered | None:
    """The same with what was added since; None where that is much, or anything else has changed."""
    before = earlier.source
    if not (isinstance(before, dict) and {**before, "parts": []} == {**source, "parts": []}):
        return None
    known, parts = set(before["parts"]), set(source["parts"])
    # Of a part that is gone, the rows are in others, or were lost: which, cannot be told from here.
    if not known <= parts:
        return None
    if known == parts:
        return earlier
    most, again = len(earlier) // BESIDE, []
    for number, (text, entry) in enumerate(entries(directory, task, model, prompt, besides=known)):
        if number >= most:
            return None
        if earlier.entry(text) is None:
            earlier.put(text, entry)
        else:
            again.append(text)
    for text, entry in entries(directory, task, model, prompt, wanted=again) if again else ():
        earlier.put(text, entry)
    return earlier


def place(directory: str | Path, task: Task, model: str, prompt: str) -> Path:
    """Where the teacher's index is; each new one replaces the one before, which its readers keep."""
    return Path(directory) / layout.INDEX / f"{layout.named(task.name, model, prompt)}{layout.ANSWERS}"


def present(directory: str | Path, task: Task, model: str, prompt: str) -> dict[str, Any]:
    """The source of an index that is built now: whose answers they are, how they are read, what is stored.

    To be taken before the answers are read.
    """
    return {
        "teacher": [task.name, model, prompt],
        "reading": reading(task.prompt.options),
        "parts": sorted(store.parts(directory)),
    }


def entries(
    directory: str | Path,
    task: Task,
    model: str,
    prompt: str,
    wanted: Iterable[str] | None = None,
    besides: Collection[str] = (),
) -> Iterator[tuple[str, Entry]]:
    """Every text with what the present parser reads in its completions, one after another; `wanted` and
    `besides` as for `query.texts`."""
    for text, answers in query.texts(directory, task.name, model, prompt, wanted, besides):
        distributions, unparsable = option_distributions({text: answers}, task.prompt.options)
        yield text, Entry(distributions[text], len(answers), tuple(row.sample for row in unparsable))


def total_variation(one: Entry, other: Entry) -> float:
    """½ Σ |p − q| over the decisions; to hold none is a decision of its own."""
    p, q = (entry.distribution or {(): 1.0} for entry in (one, other))
    return sum(abs(p.get(decision, 0.0) - q.get(decision, 0.0)) for decision in {*p, *q}) / 2


def build(path: Path, found: Iterable[tuple[str, Entry]], source: Any) -> Answered:
    """Writes the index of these texts in place of what is at `path`, and opens it."""
    return Answered(index.build(path, found, source))


def older(path: Path) -> Answered | None:
    """The index at `path`, of whatever state of the cache and whatever parser; None where there is none."""
    try:
        return Answered(index.open_index(path))
    except index.Unusable:
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
