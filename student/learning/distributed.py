"""Several processes that train one student: decentralised distributed PPO (DD-PPO, Wijmans et al. 2020).

`torchrun` starts them. Each plays episodes of its own, all step by the sum of their gradients, and nobody serves
parameters: workers that begin alike stay alike, bit for bit. What they must decide in the same way, such as when
to stop, follows from figures that all of them have.

This is the only module that knows of ranks. A process on its own gets back from every function what it gave.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
import json
import math
import os
from pathlib import Path
import signal
import time
from typing import Any, NoReturn

import numpy as np
import torch
from torch import distributed as dist
from torch.distributed.rendezvous import rendezvous
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from askonce.cache.errors import AskonceError

# For a worker that neither answers nor hangs up; while one plays, the others wait for it.
PATIENCE = timedelta(minutes=10)
# For the store of a group that is breaking up.
HURRY = timedelta(seconds=5)


@contextmanager
def joined() -> Iterator[None]:
    """Makes a group of the processes that torchrun started; within it the first of them alone prints.

    When they fail, the first one that does raises its error, and the others exit without a word: they only lost it.
    """
    if not _launched():
        yield
        return
    devices = torch.cuda.device_count()
    if devices:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % devices)
    store = None
    try:
        with _together():
            store, rank, workers = next(rendezvous("env://", timeout=PATIENCE))
            # torchrun keeps one store for all its attempts.
            store = dist.PrefixStore(f"attempt {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
            # What is to be summed is summed where it is.
            backends = "cpu:gloo,cuda:nccl" if devices else "gloo"
            dist.init_process_group(backends, store=store, rank=rank, world_size=workers, timeout=PATIENCE)
        # torchrun ends the others when it sees that one has ended, which they may be about to see themselves.
        signal.signal(signal.SIGTERM, _end)
        with ExitStack() as silenced:
            if not first():
                nowhere = silenced.enter_context(open(os.devnull, "w"))
                silenced.enter_context(redirect_stdout(nowhere))
                silenced.enter_context(redirect_stderr(nowhere))
            yield
    except (AskonceError, OSError) as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if not _first_to_fail(store):
            raise SystemExit(getattr(error, "exit_code", 1)) from None
        _tell_torchrun(error)
        raise
    dist.destroy_process_group()


def size() -> int:
    """The number of workers."""
    return dist.get_world_size() if _several() else 1


def first() -> bool:
    """Whether this worker is the one that prints and writes."""
    return not _several() or dist.get_rank() == 0


def restarted() -> bool:
    """Whether torchrun has started the workers anew after a failure (its --max-restarts)."""
    return _launched() and int(os.environ["TORCHELASTIC_RESTART_COUNT"]) > 0


def own(seed: int) -> int:
    """A seed for this worker alone; the first one's is `seed`, which is below 2^128."""
    return (dist.get_rank() << 128 if _several() else 0) | seed


def from_first(value: Any) -> Any:
    """The first worker's `value`, for all."""
    values = [value]
    if _several():
        with _together():
            dist.broadcast_object_list(values)
    return values[0]


def gather(value: Any) -> list[Any]:
    """Every worker's `value`, in the same order everywhere."""
    values = [value] * size()
    if _several():
        with _together():
            dist.all_gather_object(values, value)
    return values


def agreed(flag: bool) -> bool:
    """Whether it is so for any of the workers."""
    return bool(total(torch.tensor(int(flag))))


def total(values: torch.Tensor) -> torch.Tensor:
    """The sum over all workers, in place."""
    if _several():
        with _together():
            dist.all_reduce(values)
    return values


def mean(values: np.ndarray) -> np.floating:
    """The mean over the rows of all workers, of the type of (S,) `values`."""
    if not _several():
        return values.mean()
    summed, rows = total(torch.tensor([values.sum(dtype=np.float64), len(values)], dtype=torch.float64)).tolist()
    return values.dtype.type(summed / rows)


def minibatches(rows: int, most: int) -> list[tuple[int, float]]:
    """How many of this worker's rows go into each minibatch, and their share of all workers' rows in it.

    With W workers a minibatch has W · `most` rows at most. As everyone takes every step, everyone has as many
    minibatches, and spreads its rows over them: some may be without rows of a worker who has few.
    """
    if not _several():
        return [(min(most, rows - start), 1.0) for start in range(0, rows, most)]
    count = math.ceil(int(total(torch.tensor(rows))) / (size() * most))
    parts = torch.tensor([len(part) for part in torch.arange(rows).tensor_split(count)], dtype=torch.float64)
    shares = parts / total(parts.clone())
    return list(zip(parts.int().tolist(), shares.tolist()))


def add_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replaces every gradient by its sum over all workers; a worker without one adds nothing."""
    if not _several():
        return
    parameters = list(parameters)
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in parameters]
    vector_to_parameters(total(parameters_to_vector(gradients)), gradients)


def _launched() -> bool:
    return dist.is_torchelastic_launched() and int(os.environ["WORLD_SIZE"]) > 1


def _several() -> bool:
    return dist.is_initialized()


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError:
        _end()


def _end(*_) -> NoReturn:
    raise AskonceError(
        "another worker has ended or cannot be reached; torchrun says which: run the same command again with "
        "--resume to go on from the last checkpoint"
    ) from None


def _first_to_fail(store: dist.Store | None) -> bool:
    """Asked once by each worker that fails. torchrun's own process keeps the store, and so the count."""
    if store is None:
        return True
    try:
        store.set_timeout(HURRY)
        return store.add("failed", 1) == 1
    except RuntimeError:
        # It is gone with its machine: better said twice than not at all.
        return True


def _tell_torchrun(error: Exception) -> None:
    """For its closing report, which otherwise has an exit code alone."""
    if path := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        found = {"message": str(error), "extraInfo": {"timestamp": str(int(time.time()))}}
        Path(path).write_text(json.dumps({"message": found}))
