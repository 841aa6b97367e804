"""How much of what an agent meets each teacher has answered, as the last build estimated it.

    DIR/coverage/<digest of task, model and prompt>.json     (`cache.checked`)

One small file for each teacher, replaced whole, so that builders need not know of each other: who is the
last to end has the last word. It is an estimate over visits that are not stored, so what is lost or damaged
comes back with the next build, and costs no answer.
"""

from dataclasses import astuple, dataclass
from pathlib import Path

from askonce.cache import checked, durable, layout, store

# Task, model and prompt.
Who = tuple[str, str, str]


@dataclass(frozen=True)
class Coverage:
    """`share` is the estimated share of visits whose text is answered; `visits`, over how many it was estimated."""

    share: float
    visits: int


def note(directory: str | Path, who: Who, coverage: Coverage) -> None:
    """Keeps what is estimated now, in place of what was. AskonceError where the cache cannot be written."""
    try:
        _write(Path(directory), who, coverage)
    except OSError as error:
        raise store.unwritable(directory, error) from error


def noted(directory: str | Path) -> dict[Who, Coverage]:
    """What is known, of a cache or of a dataset that was made of one; what is damaged is passed over."""
    found = {}
    for path in store.listing(Path(directory) / layout.COVERAGE, layout.ESTIMATE):
        # A dataset's may hold whatever its author likes.
        match checked.read(path):
            case [str(task), str(model), str(prompt), int() | float() as share, int(visits)]:
                found[task, model, prompt] = Coverage(share, visits)
    return found


def carry(source: str | Path, to: str | Path) -> None:
    """Gives `to` what `source` knows. Of two, the greater: the union of answers covers at least as much.

    OSError where it cannot be written.
    """
    held = noted(to)
    for who, coverage in noted(source).items():
        if who not in held or astuple(coverage) > astuple(held[who]):
            _write(Path(to), who, coverage)


def _write(directory: Path, who: Who, coverage: Coverage) -> None:
    durable.make_directory(directory / layout.COVERAGE)
    checked.write(directory / layout.COVERAGE / f"{layout.named(*who)}{layout.ESTIMATE}", [*who, *astuple(coverage)])
