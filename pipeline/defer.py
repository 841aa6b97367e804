"""Questions in the background: whoever meets a missing text goes on without an answer until it is there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from queue import Empty, SimpleQueue
import threading

from askonce.cache.errors import AskonceError
from askonce.pipeline.build import Builder, distributions_of
from askonce.pipeline.interrupt import Interruption
from askonce.pipeline.tasks.task import Decision


class Deferred:
    """Made by `deferred`. `failure` is why nothing is asked any more; None while all is well."""

    def __init__(self, build: Builder):
        self.failure: AskonceError | None = None
        self._build, self._stop = build, Interruption()
        self._wanted: SimpleQueue[str] = SimpleQueue()
        self._answers: SimpleQueue[Mapping[str, Mapping[Decision, float]]] = SimpleQueue()

    def ask(self, text: str) -> None:
        """Puts the question; returns at once. Ask once about each text."""
        self._wanted.put(text)

    def arrived(self) -> dict[str, Mapping[Decision, float]]:
        """text → distribution, of all that has been answered since the last call; never waits."""
        found: dict[str, Mapping[Decision, float]] = {}
        while not self._answers.empty():
            found |= self._answers.get()
        return found

    def _run(self) -> None:
        while texts := self._next():
            try:
                self._build.teach(texts, self._stop)
            except AskonceError as error:
                self.failure = error
            self._answers.put(distributions_of(self._build, texts))
            if self.failure:
                return

    def _next(self) -> list[str]:
        """All that wait to be asked, at least one; none once it is to stop."""
        texts = [self._wanted.get()]
        try:
            while True:
                texts.append(self._wanted.get_nowait())
        except Empty:
            return [] if self._stop.is_set() else texts


@contextmanager
def deferred(build: Builder) -> Iterator[Deferred]:
    """Asks by `build`, which nobody else uses meanwhile, in a thread of its own. At the end what is in
    flight is waited for and stored; what has not been sent is not sent any more."""
    questions = Deferred(build)
    thread = threading.Thread(target=questions._run, name="deferred questions")
    thread.start()
    try:
        yield questions
    finally:
        questions._stop.set()
        # Wakes the thread where it waits for a question.
        questions._wanted.put("")
        thread.join()
