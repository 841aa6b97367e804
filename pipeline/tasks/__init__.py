"""The tasks by name; `find` is how every command reaches one."""

from importlib import import_module

from askonce.cache.errors import AskonceError
from askonce.pipeline.tasks.task import Task

NAVPICK = "NavPick"


def names() -> tuple[str, ...]:
    """The paper's tasks."""
    return (*grid_names(), NAVPICK)


def grid_names() -> tuple[str, ...]:
    """Those of them that are MiniGrid worlds."""
    return tuple(_grid_worlds())


def registered_names() -> tuple[str, ...]:
    """MiniGrid's own environments that are tasks, by their Gymnasium ids."""
    from askonce.pipeline.tasks.minigrid.stock.task import ids

    return ids()


def find(name: str, simulator: str | None = None) -> Task:
    """One of the paper's tasks by name, MiniGrid's by id, or one of your own as `package.module:NAME`.

    `simulator` is what steps NavPick, by default mujoco.
    """
    if name == NAVPICK:
        from askonce.pipeline.tasks.navpick.task import find as find_navpick

        return find_navpick(simulator or "mujoco")
    if simulator:
        raise AskonceError(f"--simulator is for {NAVPICK} alone: leave it out for {name}", 2)
    if ":" in name:
        return _import(name)
    if name.startswith("MiniGrid-"):
        from askonce.pipeline.tasks.minigrid.stock.task import find as find_registered

        return find_registered(name)
    try:
        return _grid_worlds()[name]
    except KeyError:
        raise AskonceError(
            f"unknown task {name!r}: use {', '.join(names())}, a MiniGrid id that `cli tasks` lists, or "
            "package.module:NAME for a task of your own",
            2,
        ) from None


def _grid_worlds() -> dict[str, Task]:
    from askonce.pipeline.tasks.minigrid.doorkey import TASKS

    return {task.name: task for task in TASKS}


def _import(name: str) -> Task:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise AskonceError(f"no task at {name!r} ({error}): name an importable module and a Task in it", 2) from None
    if not hasattr(found, "plans"):
        raise AskonceError(f"{name!r} is no task but a {type(found).__name__}: name a GymTask or another Task", 2)
    return found
