"""`cli reproduce`."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

from rich.table import Table
import typer

from askonce.cache.errors import AskonceError
from askonce.commands.flags import CacheDir, Json, Model, Preset
from askonce.commands.show import going_on, live, out, print_json


def reproduce(
    cache: CacheDir,
    to: Annotated[Path, typer.Option(help="Where runs, tables and figures go.")],
    table: Annotated[list[int], typer.Option(help="3: success, return and length beside the paper's.")] = (),
    figure: Annotated[
        list[int],
        typer.Option(
            help="3: learning curves of all methods; 4: soft and hard teachers; 6: as 3, of NavPick; 7: the schedules."
        ),
    ] = (),
    everything: Annotated[bool, typer.Option("--all", help="The table and all figures.")] = False,
    wanted: Annotated[
        str,
        typer.Option(
            "--tasks",
            help="Names, separated by commas; default all of MiniGrid's that are needed, NavPick for figure 6.",
        ),
    ] = "",
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each; default 5, quick 3.")] = None,
    iterations: Annotated[
        int | None, typer.Option(min=1, help="Of each run; default the preset's: 3000, NavPick 40; quick a tenth.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Much less of everything, and marked so.")] = False,
    preset: Preset = "default",
    model: Model = None,
    logprobs: Annotated[
        str | None, typer.Option(help="NAME@PROMPT in the cache, made of log-probabilities, for figure 4.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 2,
    json: Json = False,
) -> None:
    """The paper's table and figures from a cache, beside the paper's own; what was run is not run again."""
    import askonce
    from askonce.student.reproducing.planned import ABOUT, QUICK, Scale
    from askonce.student.reproducing.reproduce import needed

    if unknown := set(table) - {3}:
        raise AskonceError(f"there is no {min(unknown)} to reproduce: --table 3, --figure 3, 4, 6 or 7, or --all", 2)
    if not (table or figure or everything):
        raise AskonceError("say what to reproduce: --table 3, --figure 3, 4, 6 or 7, or --all", 2)
    names = [name.strip() for name in wanted.split(",")] if wanted else needed(True, figure) if everything else []
    numbers = [number for number, of in ABOUT.items() if set(of) & set(names)] if everything else figure
    given = {"seeds": seeds, "iterations": iterations, "preset": preset}
    scale = replace(QUICK if quick else Scale(), **{name: value for name, value in given.items() if value is not None})
    asked = bool(table) or everything, numbers, names, scale, model, logprobs, processes
    with going_on("run the same command again to go on"), live("steps", transient=False) as show:
        found = askonce.reproduce(cache, to, *asked, show)
    if json:
        rows = [asdict(row) | {"difference": row.difference} for row in found.rows]
        return print_json(
            {"quick": quick, "scale": asdict(scale), "teachers": found.teachers, "rows": rows, "files": found.files}
        )
    if found.rows:
        _print_table(found.rows, scale)
    for path in found.files:
        out.print(str(path), soft_wrap=True)


def _print_table(rows, scale) -> None:
    from askonce.student.reproducing import figures
    from askonce.student.showing.curves import METHOD_NAMES

    title = "Table 3: ours, the paper's, the difference" + (" (QUICK: compare nothing by it)" if scale.quick else "")
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    shown.add_column("task\nmethod")
    for name in ("length", "return", "success"):
        shown.add_column(f"{name}\npaper, difference", justify="right", no_wrap=True)
    for row in rows:
        cells = figures.cells(row)
        pairs = [f"{cells[i]}\n{cells[i + 1]}  {cells[i + 2]}" for i in (0, 3, 6)]
        shown.add_row(f"{row.task}\n{METHOD_NAMES[row.method]}", *pairs)
    out.print(shown)
    if note := figures.footnote(rows):
        out.print(f"{note}.")
