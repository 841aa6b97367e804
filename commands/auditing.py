"""`cli audit`: which of a teacher's decisions are mistakes, what they cost, and whether a student has unlearned them."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from rich.table import Table
import typer

from askonce.commands.flags import CacheDir, Json, Model, Seed, Simulator, TaskName, TeacherForm
from askonce.commands.show import err, live, out, print_json


def audit(
    task: TaskName,
    cache: CacheDir,
    model: Model = None,
    simulator: Simulator = None,
    run: Annotated[list[Path], typer.Option(help="Say which mistakes the student of this run has unlearned.")] = (),
    compare: Annotated[
        Path | None, typer.Option(help="Another cache, or the same: what does each teacher get wrong alone?")
    ] = None,
    compare_model: Annotated[str | None, typer.Option(help="Its LLM's name, as --model.")] = None,
    teacher_form: TeacherForm = "soft",
    compare_form: Annotated[Literal["soft", "hard", "audited"], typer.Option(help="The same for the other.")] = "soft",
    limit: Annotated[int, typer.Option(min=0, help="List so many of the costliest decisions.")] = 10,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Judge every decision in a cache by rules and by playing it out, and write the table beside it."""
    import askonce
    from askonce.pipeline.audit import summary
    from askonce.pipeline.audit.table import place, record

    world = askonce.find_task(task, simulator)
    with live("texts judged") as show:
        found = askonce.audit(world, cache, model, seed=seed, show=show)
    for line in _remarks(found):
        err.print(line, soft_wrap=True)
    habits = {str(path): _habits(world, found, path, cache) for path in run}
    sides = _compared(world, found, cache, teacher_form, compare, compare_model, compare_form, seed) if compare else ()
    shares, costliest = summary.shares(found.rows), summary.costliest(found.rows)
    if json:
        return print_json(
            {
                "task": world.name,
                "teacher": found.teacher.name,
                "table": str(place(cache, found.teacher)),
                "classes": {verdict: asdict(share) for verdict, share in shares.items()},
                "rows": [record(row) for row in found.rows],
                "unmet": list(found.unmet),
                "playable": found.playable,
                "students": {path: [asdict(habit) for habit in each] for path, each in habits.items()},
                "compared": [_side_record(side, record) for side in sides],
            }
        )
    out.print(_shares_table(f"{world.name}: {found.teacher.name}", shares))
    _list("the costliest decisions", costliest[:limit])
    for path, each in habits.items():
        out.print(_habits_table(path, each, costliest[:limit]))
    for side in sides:
        _list(f"wrong in {side.name} alone", side.alone[:limit])
    if sides:
        out.print(_sides_table(sides))
    err.print(f"every decision with its evidence: {place(cache, found.teacher)}", soft_wrap=True)


def _habits(world, found, run: Path, cache: Path):
    import askonce

    return askonce.habits(world, found, run, cache)


def _compared(world, found, cache, form, other, other_model, other_form, seed):
    import askonce

    with live("texts judged") as show:
        return askonce.compare_audits(world, found, cache, form, other, other_model, other_form, seed=seed, show=show)


def _remarks(found) -> list[str]:
    lines = []
    if not found.playable:
        lines.append(
            f"{found.teacher.task} cannot play decisions out: they are judged by the rules alone, and those that break none are undecided"
        )
    elif found.unmet:
        lines.append(f"met by no rollout, and judged by the rules alone: {'; '.join(found.unmet)}")
    return lines


def _shares_table(title: str, shares) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in ("decisions", "probability", "visits"):
        table.add_column(name, justify="right")
    for verdict, share in shares.items():
        table.add_row(verdict, *(f"{figure:.1%}" for figure in (share.decisions, share.probability, share.visits)))
    return table


def _list(title: str, costliest) -> None:
    """A few lines a decision: columns would leave too little room for words."""
    out.print(f"\n{title}", style="bold", soft_wrap=True)
    if not costliest:
        out.print("none")
    for row, met in costliest:
        cost = "" if row.cost is None else f", costs {row.cost:.3f} ({row.cost_low:.3f} – {row.cost_high:.3f}) a time"
        rule = f" ({row.rule})" if row.rule and row.decision is not None else ""
        said = "no decision" if row.decision is None else row.decision
        out.print(f"{row.verdict}{rule}, {met:.2%} of visits{cost}", soft_wrap=True)
        out.print(f"  {row.text}", soft_wrap=True)
        out.print(f"  said: {said}  ({row.probability:.0%}, {row.completion})", soft_wrap=True)
        out.print(f"  {row.reason}{f'; best: {row.best}' if row.best else ''}", soft_wrap=True)


def _habits_table(run: str, habits, costliest) -> Table:
    table = Table(
        title=f"\nwhat {run} makes of them", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 1, 0)
    )
    table.add_column("faulty decision", overflow="fold")
    for name in ("follows\nthe best", "difference\n95 %", "states", "status"):
        table.add_column(name, justify="right", no_wrap=True)
    order = {(row.text, row.decision): place for place, (row, _) in enumerate(costliest)}
    shown = [habit for habit in habits if (habit.text, habit.decision) in order]
    for habit in sorted(shown, key=lambda habit: order[habit.text, habit.decision]):
        if habit.status is None:
            figures = "–", "–"
        else:
            figures = (
                f"{habit.follows:.1%}\n{habit.follows_best:.1%}",
                f"{habit.difference:+.3f}\n{habit.difference_low:+.3f} – {habit.difference_high:+.3f}",
            )
        table.add_row(
            f"{habit.decision}\n  in {habit.text}", *figures, f"{habit.states:,}", habit.status or "the same action"
        )
    return table


def _sides_table(sides) -> Table:
    table = Table(title="as policies, on the same held-out layouts", title_justify="left")
    for name in ("", "mean return", "success"):
        table.add_column(name, justify="left" if not name else "right", overflow="fold")
    for side in sides:
        found = side.evaluation
        table.add_row(
            side.name,
            f"{found.return_mean:.3f} ({found.return_ci95[0]:.3f} – {found.return_ci95[1]:.3f})",
            f"{found.success_rate:.1%} ({found.success_ci95[0]:.1%} – {found.success_ci95[1]:.1%})",
        )
    return table


def _side_record(side, record) -> dict[str, Any]:
    return {
        "teacher": side.name,
        "evaluation": asdict(side.evaluation),
        "wrong_alone": [record(row) | {"of_visits": met} for row, met in side.alone],
    }
