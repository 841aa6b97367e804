"""Functions in several processes at once, as torchrun starts them, but without its seconds of importing.

As a program, for torchrun itself: the console script with a checkpoint after every iteration; it says first which
process it is.
"""

from collections.abc import Callable
import multiprocessing
import os
from typing import Any

from torch import distributed as dist

from askonce.student.learning import distributed


def together(work: Callable[..., Any], *given: Any, size: int = 2) -> list[Any]:
    """What `work(*given)` returned or raised in each of the workers."""
    # As with torchrun, it outlives them.
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    # Forked, so that what is imported and compiled here need not be again.
    fork = multiprocessing.get_context("fork")
    ends = [fork.Pipe(duplex=False) for _ in range(size)]
    processes = [
        fork.Process(target=_work, args=(rank, size, store.port, told, work, given))
        for rank, (_, told) in enumerate(ends)
    ]
    for process, (_, told) in zip(processes, ends):
        process.start()
        told.close()
    results = [heard.recv() for heard, _ in ends]
    for process in processes:
        process.join()
    return results


def _work(rank: int, size: int, port: int, told, work, given) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    try:
        with distributed.joined():
            result = work(*given)
    except BaseException as error:
        result = error
    told.send(result)


if __name__ == "__main__":
    from askonce import cli
    from askonce.student.learning import train

    print(os.getpid(), flush=True)
    train.CHECKPOINT_EVERY = 1
    cli.main()
