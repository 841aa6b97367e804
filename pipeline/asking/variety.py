"""Whether a server that is asked for samples draws any: some give the same words each time, which looks like certainty."""

from collections import Counter
from collections.abc import Iterable

from askonce.pipeline.asking.reply import Reply

# So long a completion is not written twice by chance, so often for so many texts.
LONG, OFTEN, TEXTS = 100, 3, 3


class Variety:
    """Of completions that were asked for at a temperature above 0."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._repeated: Counter[str] = Counter()
        self._settled = False

    def note(self, text: str, replies: Iterable[Reply]) -> None:
        for reply in replies:
            if self._settled or self.lacking or len(reply.content) < LONG:
                return
            self._settled = self._first.setdefault(text, reply.content) != reply.content
            self._repeated[text] += 1

    @property
    def lacking(self) -> bool:
        return not self._settled and sum(count >= OFTEN for count in self._repeated.values()) >= TEXTS
