"""The tasks by name; `find` is how every command reaches one."""

from importlib import import_module

from cache.errors import AskonceError
from pipeline.tasks.task import Task


def names() -> tuple[str, ...]:
    """The tasks that come with the project."""
    return tuple(_built_in())


def find(name: str) -> Task:
    """A built-in task by name, or one of your own as `package.module:NAME`."""
    if ":" in name:
        return _import(name)
    try:
        return _built_in()[name]
    except KeyError:
        raise AskonceError(
            f"unknown task {name!r}: use {', '.join(names())}, or package.module:NAME for a task of your own", 2
        ) from None


def _built_in() -> dict[str, Task]:
    from pipeline.tasks.minigrid.doorkey import TASKS

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
