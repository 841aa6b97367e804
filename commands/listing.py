"""`cli tasks` and `cli check-task`."""

from dataclasses import asdict
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from rich.table import Table
import typer

from askonce.commands.flags import BaseUrl, Json, Prices, Seed, Simulator
from askonce.commands.show import err, out, print_json, print_rows
from askonce.pipeline.simulated.response import SIMULATED


def check_task(
    task: Annotated[str, typer.Argument(help="A task of your own, package.module:NAME, or a built-in one.")],
    simulator: Simulator = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes that options drawn at random play.")] = 200,
    model: Annotated[str, typer.Option(help="The LLM whose price is told.")] = SIMULATED,
    base_url: BaseUrl = None,
    prices: Prices = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Find what is wrong with a task before it is trained on, and what asking about it would take."""
    import askonce
    from askonce.commands.asking import terms_of

    world = askonce.find_task(task, simulator)
    found = askonce.check_task(world, episodes=episodes, seed=seed)
    terms = terms_of(model, base_url, 1, None, None, None, None, None, prices)
    with TemporaryDirectory() as nothing:
        llm = askonce.LLM(model, base_url)
        plan = askonce.plan_cache(world, f"{nothing}/cache", llm, episodes=episodes, seed=seed, terms=terms)
    if json:
        print_json(asdict(found) | {"plan": asdict(plan)})
    else:
        cost = "" if plan.cost is None else f", {plan.cost:,.2f} USD"
        tokens = f"{plan.prompt_tokens:,} / {plan.completion_tokens:,} tokens{cost}"
        print_rows(
            task,
            {
                "episodes": f"{found.episodes:,} of {found.steps / found.episodes:,.0f} steps",
                "texts": f"{found.texts:,}, {found.late_texts:,} of them only in the last tenth",
                "by random options": f"success {found.success_rate:.1%}, return {found.return_mean:,.3f}",
                "ten completions a text": f"at most {tokens}",
            },
            json,
        )
        for one in found.findings:
            out.print(f"{'error' if one.serious else 'warning'}: {one.words}: {one.advice}", soft_wrap=True)
        if not found.findings:
            out.print("nothing is wrong with it")
    if any(one.serious for one in found.findings):
        raise typer.Exit(1)


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
