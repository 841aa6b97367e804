"""`cli runs` and `cli export`: what is done with a run once it is trained."""

from dataclasses import asdict
import os
from pathlib import Path
from typing import Annotated, Literal

from rich.table import Table
import typer

from askonce.cache.errors import AskonceError
from askonce.commands.flags import Json, RunDir, TaskOfRun
from askonce.commands.show import err, out, print_json


def runs(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to look for runs, at any depth.")] = Path(
        "runs"
    ),
    json: Json = False,
) -> None:
    """List runs with their figures."""
    import askonce

    found, damaged = askonce.find_runs(directory)
    if json:
        listed = [asdict(run) | {"when": run.when.isoformat()} for run in found]
        print_json({"runs": listed, "damaged": damaged})
    elif found:
        out.print(_table(directory, found))
    else:
        err.print(f"no runs in {directory}", soft_wrap=True)
    for line in damaged:
        err.print(f"damaged: {line}", soft_wrap=True)
    if damaged:
        raise typer.Exit(3)


def export(
    run: RunDir,
    to: Annotated[Path, typer.Option(help="The file to write: *.onnx or *.pt.")],
    task: TaskOfRun = None,
    format: Annotated[Literal["onnx", "torchscript"] | None, typer.Option(help="Else by the suffix.")] = None,
    json: Json = False,
) -> None:
    """Write the policy that is deployed alone, and print a program that runs it without this project."""
    import askonce
    from askonce.student.deploying.export import SUFFIXES

    form = format or SUFFIXES.get(to.suffix.lower())
    if form is None:
        raise AskonceError(f"{to}: name it *.onnx or *.pt, or say which by --format", 2)
    check_target(to)
    found = askonce.export_student(task_of(run, task), run, to, form)
    if json:
        return print_json(asdict(found))
    given = f"{found.input} (N, {', '.join(map(str, found.shape))}) {found.dtype}"
    taken = (
        f"{found.output.replace('_', ' ')} (N, {len(found.actions) * (1 if found.output == 'probabilities' else 2)})"
    )
    err.print(f"{to}: {found.bytes:,} bytes, {given} → {taken}", soft_wrap=True)
    out.print(found.example, end="", soft_wrap=True)


def _table(directory: Path, found) -> Table:
    """Two lines a run, so that a terminal of 80 columns holds all of it."""
    table = Table(title=str(directory), title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("run", "task\nteacher"):
        table.add_column(name, overflow="fold")
    for figure in ("iteration\nof", "env steps\nsteps/s", "success\nreturn", "when"):
        table.add_column(figure, justify="right", no_wrap=True)
    for run in found:
        table.add_row(
            str(run.run.relative_to(directory)),
            f"{run.task}\n{' '.join(filter(None, (run.method, run.teacher))) or 'none'}",
            f"{run.iterations:,}\n{_until(run)}",
            f"{run.env_steps:,}\n{run.steps_per_second:,.0f}",
            f"{run.success_rate:.1%}\n{run.return_mean:.3f}",
            f"{run.when.astimezone():%Y-%m-%d\n%H:%M}",
        )
    return table


def _until(run) -> str:
    if run.stopped_at_success is not None:
        return f"at {run.stopped_at_success:.0%}"
    return f"{run.iterations_wanted:,}" if run.steps_wanted is None else f"{run.steps_wanted:,} steps"


def task_of(run: Path, name: str | None, simulator: str | None = None):
    """The task that a run was of, or the named one; over the simulator of the run, if it is its task, unless one is named."""
    import askonce
    from askonce.pipeline import tasks
    from askonce.student.learning.checkpoint import describe

    about = describe(run)
    if name is None and about["task"] not in (*tasks.names(), *tasks.registered_names()):
        raise AskonceError(
            f"{run} is a run of {about['task']}, a task of your own: name it by --task package.module:NAME", 2
        )
    name = name or about["task"]
    if name == about["task"]:
        simulator = simulator or about.get("simulator")
    return askonce.find_task(name, simulator)


def check_target(to: Path) -> None:
    """Whether a file can be written to `to`, before an effort is made."""
    if to.is_dir():
        raise AskonceError(f"{to} is a directory: name a file")
    if not to.parent.is_dir():
        raise AskonceError(f"there is no directory {to.parent} to write {to.name} to: make it first")
    if not os.access(to.parent, os.W_OK):
        raise AskonceError(f"{to.parent} cannot be written to: name another place")
