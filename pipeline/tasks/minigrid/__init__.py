"""MiniGrid: the paper's four DoorKey tasks in a compiled engine, and MiniGrid's own environments (`stock`)."""

from askonce.pipeline.tasks.task import Task

NAMES = "SimpleDoorKey", "LavaDoorKey", "ColoredDoorKey", "DivergedDoorKey"


def names() -> tuple[str, ...]:
    return NAMES


def ids() -> tuple[str, ...]:
    """MiniGrid's own environments that are tasks."""
    from askonce.pipeline.tasks.minigrid.stock.task import ids as stock_ids

    return stock_ids()


def find(name: str, simulator: str | None = None) -> Task | None:
    if name.startswith("MiniGrid-"):
        from askonce.pipeline.tasks.minigrid.stock.task import find as find_stock

        return find_stock(name)
    if name not in NAMES:
        return None
    from askonce.pipeline.tasks.minigrid.doorkey import TASKS

    return TASKS[NAMES.index(name)]
