"""Which questions are still open: what is wanted of each text, less what the cache holds.

A question is one wire body and how many samples of it are missing. They come text by text, with an empty
list for a text that needs nothing, so that bodies exist only shortly before they are sent.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from askonce.cache import query
from askonce.cache.errors import AskonceError
from askonce.cache.key import answer_key
from askonce.pipeline.adaptive import Precision
from askonce.pipeline.asking.client import Job
from askonce.pipeline.estimators import letters
from askonce.pipeline.estimators.counting import read_decision
from askonce.pipeline.llm import LLM, LOGPROBS, SAMPLING, endpoint, key, prompt_digest, request
from askonce.pipeline.tasks.task import Decision, Task

# What can be asked again, and the finish reason by which a completion shows it.
RETRIABLE = {"truncated": "length", "refused": "refusal", "filtered": "content_filter"}

# text → its open questions
Open = Iterator[tuple[str, list[Job]]]


@dataclass(frozen=True)
class Wanted:
    """How many completions of each text: a number, or as many as make its distribution known so well.

    Completions that ended as `retry` names (of `RETRIABLE`) are kept, but do not count.
    """

    samples: int | Precision = 10
    retry: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if unknown := set(self.retry) - set(RETRIABLE):
            raise AskonceError(f"--retry takes {', '.join(RETRIABLE)}, not {', '.join(sorted(unknown))}", 2)

    @property
    def reasons(self) -> list[str]:
        return [RETRIABLE[name] for name in self.retry]


class Outstanding:
    """Questions that have been handed out, until the last of their samples is there; forgets them then."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._samples: dict[str, int] = {}
        self._open: Counter[str] = Counter()

    def open(self, text: str, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._texts[job.label], self._samples[job.label] = text, job.n
            self._open[text] += 1

    def text(self, job: Job) -> str:
        return self._texts[job.label]

    def close(self, job: Job) -> bool:
        """The samples that `job` names are there, or never will be; whether that was the last of its text."""
        self._samples[job.label] -= job.n
        if self._samples[job.label]:
            return False
        del self._samples[job.label]
        text = self._texts.pop(job.label)
        self._open[text] -= 1
        return not self._open[text] and self._open.pop(text) == 0


def missing(directory: Path, task: Task, llm: LLM, texts: Iterable[str], wanted: Wanted) -> Open:
    """The open questions of `llm` itself: for samples, or for letters where that is its estimator."""
    if llm.estimator == LOGPROBS:
        yield from _letters(directory, task, llm, texts, wanted)
    elif isinstance(wanted.samples, Precision):
        yield from _until_known(directory, task, llm, texts, wanted)
    else:
        yield from _samples(directory, task, llm, texts, wanted)


def few_keys(task: Task, llm: LLM, texts: Collection[str]) -> list[str]:
    """The keys of the answers to `texts` where they are few, and known before they are asked: letters' are not."""
    if llm.estimator == LOGPROBS or len(texts) > query.FEW_KEYS:
        return []
    return [key(llm, task.prompt, text) for text in texts]


def stages(llm: LLM) -> list[LLM]:
    """Who is asked, one after the other: letters are asked after the reasonings of the same LLM, sampled."""
    return [_reasoner(llm), llm] if llm.estimator == LOGPROBS else [llm]


def _samples(directory: Path, task: Task, llm: LLM, texts: Iterable[str], wanted: Wanted) -> Open:
    texts = list(texts)
    held = query.counted(directory, *_who(task, llm), texts, wanted.reasons, few_keys(task, llm, texts))
    for text, stored, good in zip(texts, *held, strict=True):
        yield text, _question(task, llm, text, wanted.samples - int(good), int(stored))


def _until_known(directory: Path, task: Task, llm: LLM, texts: Iterable[str], wanted: Wanted) -> Open:
    """Completions in which no decision can be read are part of what the LLM answers, and count as one."""
    unseen = dict.fromkeys(texts)
    for text, answers in query.texts(directory, *_who(task, llm), unseen):
        del unseen[text]
        counts = Counter(
            read_decision(answer, task.prompt.options).decision
            for answer in answers
            if answer.finish_reason not in wanted.reasons
        )
        yield text, _question(task, llm, text, wanted.samples.needed(counts), len(answers))
    for text in unseen:
        yield text, _question(task, llm, text, wanted.samples.needed({}), 0)


def _question(task: Task, llm: LLM, text: str, n: int, first: int) -> list[Job]:
    if n <= 0:
        return []
    body = request(llm, task.prompt, text)
    return [Job(answer_key(body, endpoint(llm)), body, n, first)]


def _letters(directory: Path, task: Task, llm: LLM, texts: Iterable[str], wanted: Wanted) -> Open:
    """After each of a text's first reasonings one letter, the letters turned on by one each time."""
    held = query.keys(directory, *_who(task, llm))
    for text, answers in query.texts(directory, *_who(task, _reasoner(llm)), texts):
        body, questions = request(llm, task.prompt, text), {}
        for number, answer in enumerate(answers[: wanted.samples]):
            asked = letters.letter_request(
                body, letters.reasoning_of(answer.content), _choices(task, text, answer), number
            )
            name = answer_key(asked, endpoint(llm))
            if name not in held:
                questions[name] = Job(name, asked, 1)
        yield text, [*questions.values()]


def _reasoner(llm: LLM) -> LLM:
    return replace(llm, estimator=SAMPLING)


def _choices(task: Task, text: str, answer: query.Answer) -> list[Decision]:
    """The text's single options, and what the LLM decided after this reasoning, as far as letters reach."""
    decided = read_decision(answer, task.prompt.options).decision
    own = [decided] if decided else []
    return list(dict.fromkeys([*own, *task.decisions(text)]))[: letters.MOST_LETTERS]


def _who(task: Task, llm: LLM) -> tuple[str, str, str]:
    return task.name, llm.model, prompt_digest(llm, task.prompt)
