"""Ctrl-C and SIGTERM as a request to come to a good end, instead of an exception at any moment."""

from collections.abc import Iterator
from contextlib import contextmanager
import os
import signal
import sys
import threading


class Interruption(threading.Event):
    """Set by the two signals, and by whoever else ends the work; `signalled` is true after a signal alone."""

    signalled = False


@contextmanager
def interruption() -> Iterator[Interruption]:
    """An event that the two signals set; a second one no longer waits and raises KeyboardInterrupt.

    Outside the main thread, which alone gets signals, nothing sets it.
    """
    came = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def end(*_: object) -> None:
        if came.signalled:
            raise KeyboardInterrupt
        came.signalled = True
        came.set()
        if sys.stderr.isatty():
            # Not print: the signal may have come in the middle of one.
            os.write(sys.stderr.fileno(), b"\ninterrupted: coming to a good end; once more ends it at once\n")

    previous = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
