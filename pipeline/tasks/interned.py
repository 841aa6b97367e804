"""Situations that are texts: for tasks that can write their texts, but not count them beforehand."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Interned:
    """Texts numbered as they are met, as situations of `pipeline.tasks.task.Task`; names in them stay as they are."""

    texts: list[str] = field(default_factory=list, compare=False, repr=False, kw_only=True)
    numbers: dict[str, int] = field(default_factory=dict, compare=False, repr=False, kw_only=True)

    def number(self, text: str) -> int:
        """The same text has the same number for as long as the process lives."""
        if text not in self.numbers:
            self.numbers[text] = len(self.texts)
            self.texts.append(text)
        return self.numbers[text]

    def text(self, situation: int) -> str:
        return self.texts[situation]
