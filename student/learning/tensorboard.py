"""A run's curves as TensorBoard scalars, by iteration, counted from 1."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# So many records wait in memory for the thread that writes to disk.
QUEUE = 200


@contextmanager
def writing(
    run: Path | None, iteration: int
) -> Iterator[tuple[Callable[[int, Mapping[str, float]], None], Callable[[], None]]]:
    """Two functions: one writes an iteration's scalars by their names, one waits until they are on disk.

    What a killed run wrote after `iteration`, its last checkpoint, is written again. Without a run both do nothing.
    """
    if run is None:
        yield lambda iteration, scalars: None, lambda: None
        return
    # Imported late: it takes a second, and only a kept run needs it.
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(run, purge_step=iteration + 1, max_queue=QUEUE)

    def write(iteration: int, scalars: Mapping[str, float]) -> None:
        # All in one record, which takes a fraction of the time of one for each.
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        writer.file_writer.add_summary(Summary(value=values), iteration)

    try:
        yield write, writer.flush
    finally:
        writer.close()
