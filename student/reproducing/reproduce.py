"""The paper's Table 3 and Figures 3, 4, 6 and 7 from a cache: every run they need, once.

DIR/runs/                       the runs (see `planned`)
DIR/table-3.*, DIR/figure-N*    what was made of them (see `figures`); quick ones say so in their names
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from askonce.cache.errors import AskonceError
from askonce.student.reproducing import figures, planned
from askonce.student.reproducing.carry_out import carry_out
from askonce.student.reproducing.figures import TableRow
from askonce.student.reproducing.paper import GRID_TASKS, TASKS
from askonce.student.reproducing.planned import ABOUT, Scale


@dataclass(frozen=True)
class Reproduced:
    """`teachers` are those on whose answers a task's results stand, as NAME@PROMPT; `files` is all that was written."""

    scale: Scale
    teachers: dict[str, list[str]]
    rows: list[TableRow]
    files: list[Path]


def reproduce(
    cache: Path,
    to: Path,
    table: bool = False,
    numbers: Sequence[int] = (),
    names: Sequence[str] = (),
    scale: Scale = Scale(),
    model: str | None = None,
    logprobs: str | None = None,
    processes: int = 2,
    show: Callable[[int, int, str], None] = lambda done, total, line: None,
) -> Reproduced:
    """Table 3 and the figures with these numbers, of the tasks `names`; what was run is not run again.

    Without names those tasks that the table and the figures are about. `logprobs` names a teacher made of
    log-probabilities, for figure 4. AskonceError where the paper has no such figure or task; Unfinished where runs
    failed.
    """
    if unknown := set(numbers) - set(ABOUT):
        raise AskonceError(f"there is no {min(unknown)} to reproduce: --table 3, --figure 3, 4, 6 or 7, or --all", 2)
    if unknown := [name for name in names if name not in TASKS]:
        raise AskonceError(f"the paper has no task {unknown[0]!r}: --tasks takes {', '.join(TASKS)}", 2)
    names = tuple(dict.fromkeys(names)) or needed(table, numbers)
    made = planned.series_of(cache, names, table, numbers, model, logprobs, scale.preset)
    runs = {name: list(planned.runs_of(series, scale, cache, to)) for name, series in made.items()}
    carry_out([run for of_one in runs.values() for run in of_one], processes, show)
    rows, files = figures.write(runs, scale, to)
    return Reproduced(scale, planned.teachers(made), rows, files)


def needed(table: bool, numbers: Sequence[int]) -> tuple[str, ...]:
    """NavPick, whose runs take hours, only where its figure is."""
    return tuple(dict.fromkeys((*(GRID_TASKS if table else ()), *(name for each in numbers for name in ABOUT[each]))))
