"""Ctrl-C and SIGTERM as a request to come to a good end, instead of an exception at any moment."""

from collections.abc import Iterator
from contextlib import contextmanager
import signal
import threading


@contextmanager
def interruption() -> Iterator[threading.Event]:
    """An event that the two signals set. Outside the main thread, which alone gets signals, nothing sets it."""
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, lambda *_: came.set()) for number in numbers}
    try:
        yield came
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
