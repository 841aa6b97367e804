"""The tasks by name; `find` is how every command reaches one, and the only door to a world.

A world is a package beside this file. It offers `names()`, its tasks of the paper's, `ids()`, others, and
`find(name, simulator)`, which is None for what is not its own.
"""

from importlib import import_module
from types import ModuleType

from askonce.cache.errors import AskonceError
from askonce.pipeline.tasks.task import Task

WORLDS = "minigrid", "navpick"


def names() -> tuple[str, ...]:
    """The paper's tasks."""
    return tuple(name for world in _worlds() for name in world.names())


def registered_names() -> tuple[str, ...]:
    """Environments of others that are tasks, by their Gymnasium ids."""
    return tuple(name for world in _worlds() for name in world.ids())


def find(name: str, simulator: str | None = None) -> Task:
    """One of the paper's tasks by name, MiniGrid's by id, or one of your own as `package.module:NAME`.

    `simulator` is what steps NavPick, by default mujoco. AskonceError where there is no such task.
    """
    if ":" in name:
        found: Task | None = _import(name)
    else:
        found = next(filter(None, (world.find(name, simulator) for world in _worlds())), None)
    if found is None:
        raise AskonceError(
            f"unknown task {name!r}: use {', '.join(names())}, a MiniGrid id that `cli tasks` lists, or "
            "package.module:NAME for a task of your own",
            2,
        )
    if simulator and not found.simulator:
        raise AskonceError(f"--simulator is for NavPick alone: leave it out for {name}", 2)
    return found


def _worlds() -> list[ModuleType]:
    return [import_module(f"{__name__}.{world}") for world in WORLDS]


def _import(name: str) -> Task:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise AskonceError(f"no task at {name!r} ({error}): name an importable module and a Task in it", 2) from None
    if not isinstance(found, Task):
        raise AskonceError(f"{name!r} is no task but a {type(found).__name__}: name a GymTask or another Task", 2)
    return found
