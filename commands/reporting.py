"""`cli report`: a cache, its audit and its students as one HTML file."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from askonce.commands.flags import CacheDir, Json, Prices, Seed
from askonce.commands.runs import check_target
from askonce.commands.show import err, out, print_json


def report(
    cache: CacheDir,
    to: Annotated[Path, typer.Option(help="The HTML file to write.")],
    run: Annotated[list[Path], typer.Option("--run", help="A student's run; may be given several times.")] = (),
    task: Annotated[str | None, typer.Option(help="This task alone; one of your own must be named.")] = None,
    prices: Prices = None,
    episodes: Annotated[
        int, typer.Option(min=0, help="Held-out episodes for every teacher and student; 0 for none.")
    ] = 1000,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Write one HTML file that shows what a cache holds, what its audit found, and what students made of it."""
    import askonce
    from askonce.pipeline.asking.prices import read_prices

    check_target(to)
    known = read_prices(prices) if prices else {}
    found = askonce.write_report(cache, to, run, task, prices=known, episodes=episodes, seed=seed)
    size = to.stat().st_size
    if json:
        return print_json(
            {
                "to": str(to),
                "bytes": size,
                "teachers": len(found.held),
                "runs": list(map(str, run)),
                "verdicts": Counter(decision.verdict for decision in found.decisions),
                "notes": [asdict(note) for note in found.notes],
            }
        )
    for note in found.notes:
        err.print(" ".join(filter(None, (note.words, note.command))), soft_wrap=True)
    out.print(f"{to}: {len(found.decisions)} decisions, {size:,} bytes", soft_wrap=True)
