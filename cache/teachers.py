"""Who has answered for which task, by name, so that choosing a teacher does not read the cache.

    DIR/index/teachers.json     the names, and what they were read from (`cache.checked`)

Derived from the cache like everything in index/: where it is missing or damaged, the names are read from the
answers again, and where answers were added, from those alone.
"""

from dataclasses import astuple
from pathlib import Path
from typing import Any

from askonce.cache import checked, durable, layout, query, store
from askonce.cache.errors import AskonceError
from askonce.cache.query import TeacherName


def teacher_names(directory: str | Path) -> list[TeacherName]:
    """Everyone who has answered for any task. AskonceError where the directory is no cache or is damaged."""
    parts = store.parts(directory)
    path = Path(directory) / layout.INDEX / layout.TEACHERS
    read_from, names = _read(path, parts)
    if set(read_from) != set(parts):
        names |= {astuple(name) for name in query.teacher_names(directory, besides=read_from)}
        _keep(path, {"parts": parts, "teachers": sorted(names)})
    return [TeacherName(*name) for name in sorted(names)]


def teachers_of(directory: str | Path, task: str) -> list[TeacherName]:
    """Who has answered for `task`. AskonceError where nobody has."""
    everyone = teacher_names(directory)
    held = [teacher for teacher in everyone if teacher.task == task]
    if not held:
        raise AskonceError(_nothing_held(directory, task, everyone))
    return held


def choose_teacher(directory: str | Path, task: str, model: str | None) -> TeacherName:
    """The teacher of `task` that `model`, "NAME" or "NAME@PROMPT", names; the only one where it is None.

    AskonceError where there is none, and with exit code 2 where there are several to choose from.
    """
    held = teachers_of(directory, task)
    # Compared whole, not taken apart at "@": model names contain it too.
    fitting = [teacher for teacher in held if model in (None, teacher.model, teacher.name)]
    if not fitting:
        raise AskonceError(f"{directory} holds no answers of {model} for {task}; it holds {_listed(held)}")
    if len(fitting) > 1:
        raise AskonceError(
            f"{directory} holds answers of several models or prompts for {task}; "
            f"choose one with --model: {_listed(fitting)}",
            exit_code=2,
        )
    return fitting[0]


def _read(path: Path, parts: list[str]) -> tuple[list[str], set[tuple[str, ...]]]:
    """The parts of the cache from which names are known, and the names; none once such a part is gone."""
    try:
        held = checked.read(path)
    except OSError:
        # Whatever the matter is, the answers themselves say the same.
        held = None
    if held is None or not set(parts).issuperset(held.get("parts", [""])):
        return [], set()
    return held["parts"], {tuple(name) for name in held["teachers"]}


def _keep(path: Path, names: dict[str, Any]) -> None:
    try:
        durable.make_directory(path.parent)
        checked.write(path, names)
    except OSError:
        # A cache that cannot be written is read again the next time; that only takes longer.
        pass


def _listed(teachers: list[TeacherName]) -> str:
    return ", ".join(teacher.name for teacher in teachers)


def _nothing_held(directory: str | Path, task: str, everyone: list[TeacherName]) -> str:
    tasks = ", ".join(dict.fromkeys(teacher.task for teacher in everyone))
    elsewhere = f"only for {tasks}" if tasks else "nor for any other task"
    return (
        f"{directory} holds no answers for {task}, {elsewhere}; "
        f"`cli build-cache --task {task} --cache {directory}` asks for them"
    )
