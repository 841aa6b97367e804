"""Nav & Pick, the paper's embodied task: a robot with a depth camera in a home, over one of two simulators."""

from askonce.pipeline.tasks.task import Task

NAME = "NavPick"


def names() -> tuple[str, ...]:
    return (NAME,)


def ids() -> tuple[str, ...]:
    return ()


def find(name: str, simulator: str | None = None) -> Task | None:
    if name != NAME:
        return None
    from askonce.pipeline.tasks.navpick.task import find as find_task

    return find_task(simulator or "mujoco")
