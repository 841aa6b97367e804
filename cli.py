"""The console script: every command, and how each ends. `commands/` holds what they do.

Figures go to stdout, all else to stderr. Exit codes: 0 done, 1 failed, 2 wrong use, 3 finished in part
(everything obtained is stored), 130 interrupted (likewise).
"""

from collections.abc import Sequence
import sys
import sysconfig
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from askonce.cache.errors import AskonceError, Unfinished
from askonce.commands import (
    asking,
    auditing,
    caching,
    comparing,
    demo,
    listing,
    pretraining,
    prompting,
    reporting,
    reproducing,
    runs,
    training,
    watching,
)
from askonce.commands.show import alone_on_stdout, print_json, visible

app = typer.Typer(
    name="cli",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Ask a large language model once, train a small policy as often as you like.",
)
for command in (
    asking.build_cache,
    training.train,
    training.evaluate,
    reproducing.reproduce,
    runs.runs,
    watching.watch,
    runs.export,
    auditing.audit,
    comparing.compare,
    reporting.report,
    listing.tasks,
    listing.check_task,
    asking.serve_teacher,
    demo.demo,
    pretraining.pretrain,
):
    app.command()(alone_on_stdout(command))

cache_app = typer.Typer(no_args_is_help=True, help="Look into a cache, or bring decisions into it.")
for command in (
    caching.stats,
    caching.show,
    caching.explain,
    caching.import_,
    caching.export,
    caching.verify,
    caching.merge,
    caching.compact,
    caching.reparse,
):
    cache_app.command(command.__name__.rstrip("_"))(alone_on_stdout(command))
app.add_typer(cache_app, name="cache")

prompt_app = typer.Typer(no_args_is_help=True, help="Look at what an LLM is asked.")
# With one command alone typer would leave its name out.
prompt_app.callback()(lambda: None)
prompt_app.command()(alone_on_stdout(prompting.show))
app.add_typer(prompt_app, name="prompt")


def main() -> None:
    """Turns what is meant for a person into one line and an exit code."""
    # A script finds no module in the directory where it is started, and that is where a user's task is. Before what is
    # installed, as a checkout's own folders may be there; behind Python's own modules, which no task is meant to replace.
    installed = sysconfig.get_path("purelib")
    sys.path.insert(sys.path.index(installed) if installed in sys.path else len(sys.path), "")
    # A table that a terminal cannot show in full is better than none, after an hour of work.
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        # Typer's own account of wrong use is for people.
        sys.exit(app(standalone_mode="--json" not in sys.argv))
    except TyperException as error:
        _fail(error.format_message(), error.exit_code)
    except AskonceError as error:
        _fail(str(error), error.exit_code, error.missing if isinstance(error, Unfinished) else ())
    except OSError as error:
        _fail(f"{error}; check the path and the disk", 1)


def _fail(message: str, exit_code: int, missing: Sequence[str] = ()) -> NoReturn:
    if "--json" in sys.argv:
        print_json({"error": message} | ({"missing": list(missing)} if missing else {}))
    print(f"error: {visible(message)}", file=sys.stderr)
    for text in missing:
        print(f"  missing: {visible(text)}", file=sys.stderr)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
