"""`cli compare`: teachers side by side."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from rich.table import Table
import typer

from askonce.commands.flags import CacheDir, Json, Prices, Seed
from askonce.commands.show import live, out, print_json


def compare(
    cache: CacheDir,
    task: Annotated[
        list[str], typer.Option(help="A task; may be given several times. Default all built-in ones of the cache.")
    ] = (),
    audit: Annotated[
        bool, typer.Option(help="Judge every decision, too; it takes a while where texts are many.")
    ] = True,
    episodes: Annotated[int, typer.Option(min=1, help="Held-out episodes that each teacher plays alone.")] = 1000,
    prices: Prices = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Set the LLMs of a cache side by side: what they say, how well it does, what it took."""
    import askonce
    from askonce.pipeline.asking.prices import read_prices

    known = read_prices(prices) if prices else {}
    names = list(task) or askonce.tasks_in(cache)
    with live("teachers") as show:
        found = [
            one
            for name in names
            for one in askonce.compare_teachers(
                name, cache, prices=known, episodes=episodes, seed=seed, audited=audit, show=show
            )
        ]
    if json:
        return print_json({"teachers": [asdict(one) for one in found]})
    out.print(_table(cache, found))


def _table(cache: Path, found) -> Table:
    """Two or three lines a teacher, so that a terminal of 80 columns holds all of it."""
    table = Table(title=str(cache), title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("task\nteacher\nasked for", overflow="fold")
    for name in (
        "success\nreturn",
        "unparsable\ninvented",
        "incorrect\ninefficient\ninconsistent",
        "agree",
        "a text: tokens\nseconds\nUSD in all",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        judged = [_share(one.verdicts.get(name)) for name in ("incorrect", "inefficient", "inconsistent")]
        seconds = "–" if one.seconds is None else f"{one.seconds:,.1f}"
        cost = "–" if one.cost is None else f"{one.cost:,.4f}"
        table.add_row(
            f"{one.task}\n{one.teacher}\n{one.estimator}",
            f"{one.success_rate:.1%}\n{one.return_mean:.3f}",
            f"{one.unparsable:.1%}\n{one.invented:.1%}",
            "\n".join(judged),
            _share(one.agreement),
            f"{one.tokens:,.0f}\n{seconds}\n{cost}",
        )
    return table


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
