"""Real writers and compactors in processes of their own, to be killed at any moment."""

from contextlib import contextmanager
from itertools import count

from askonce.cache import compact, store
from askonce.cache.merge import merge
from tests.cache.example import completion
from tests.forked import CONTEXT


def write(reports, directory, name, seal_size, rows):
    """Adds `rows` rows at a time for ever; says which number is stored once `add` has returned."""
    store.SEAL_SIZE = seal_size
    with store.writer(directory) as writer:
        for number in count():
            writer.add([completion(f"{name} {number}", sample=sample) for sample in range(rows)])
            reports.send(number)


def append(reports, directory, name, number):
    """Appends `number` times; says so each time."""
    for done in range(number):
        store.append(directory, [completion(f"{name} {done}")])
        reports.send(done)


def compact_again_and_again(reports, directory, grace):
    compact.GRACE = grace
    while True:
        compact.compact(directory)
        reports.send(0)


def merge_again_and_again(reports, into, other):
    while True:
        merge(into, other)
        reports.send(0)


@contextmanager
def running(job, *arguments):
    """A process and the receiving end of what it reports; killed with SIGKILL at the end."""
    receive, send = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=job, args=(send, *arguments))
    process.start()
    send.close()
    try:
        yield process, receive
    finally:
        process.kill()
        process.join()


def reported(receive):
    """Everything that a process has reported before it ended; blocks until it has."""
    found = []
    while True:
        try:
            found.append(receive.recv())
        except EOFError:
            return found
