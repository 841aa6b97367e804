"""Processes that begin with what they need imported, to be killed at any moment."""

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
# A process has one fork server, whoever starts it first, so here is what is needed of it by all.
CONTEXT.set_forkserver_preload(
    [
        "tests.cache.processes",
        "tests.pipeline.asking.test_batch",
        "tests.pipeline.test_build_faults",
        "askonce.pipeline.recorded",
        "askonce.pipeline.tasks.minigrid.stock.task",
        "askonce.cli",
        "askonce.commands.caching",
        # DuckDB imports it with its first parameters.
        "pandas",
    ]
)
