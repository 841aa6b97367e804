"""`cli tasks`."""

from typing import Any

from rich.table import Table

from askonce.commands.flags import Json
from askonce.commands.show import err, out, print_json


def tasks(json: Json = False) -> None:
    """List the tasks, and how the simulated LLM and its student do on them."""
    from askonce.pipeline import tasks
    from askonce.pipeline.tasks import measured

    found = measured.read()
    names = (*tasks.names(), *tasks.registered_names())
    if json:
        rows = [{"name": name, "measured": name in found} | found.get(name, {}) for name in names]
        return print_json({"tasks": rows})
    table = Table()
    table.add_column("--task", no_wrap=True)
    for column in ("texts", "LLM alone", "student", "steps"):
        table.add_column(column, justify="right", no_wrap=True)
    for name in names:
        table.add_row(name, *_task_row(found.get(name)))
    out.print(table)
    err.print(
        "Success and mean return over held-out episodes, with the simulated LLM, after so many steps of training; "
        "* where the layouts are too few to hold any out; – where nobody has built, trained and evaluated yet. "
        "--json has intervals, commands and commits."
    )


def _task_row(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return ["–"] * 4
    shown = [f"{found[who]['success_rate']:.0%} {found[who]['return_mean']:.2f}" for who in ("teacher", "student")]
    kept = "" if found["held_out"] else "*"
    return [str(found["texts"]), shown[0], shown[1] + kept, f"{found['env_steps'] / 1000:,.0f}k"]
