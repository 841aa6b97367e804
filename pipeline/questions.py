"""Which questions are still open: what is wanted of each text, less what the cache holds.

A question is one wire body and how many samples of it are missing. They come text by text, with an empty
list for a text that needs nothing, so that bodies exist only shortly before they are sent.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from askonce.cache import query
from askonce.cache.errors import AskonceError
from askonce.cache.key import answer_key
from askonce.pipeline.adaptive import Precision
from askonce.pipeline.asking.client import Job
from askonce.pipeline.estimators import ESTIMATORS
from askonce.pipeline.estimators.question import About, Body
from askonce.pipeline.llm import LLM, endpoint, prompt_digest, request
from askonce.pipeline.tasks.task import Task

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
    """The open questions of `llm`'s own estimator."""
    if not ESTIMATORS[llm.estimator].REPEATED:
        yield from _each_once(directory, task, llm, texts, wanted.samples)
    elif isinstance(wanted.samples, Precision):
        yield from _until_known(directory, task, llm, texts, wanted.samples, wanted.reasons)
    else:
        yield from _samples(directory, task, llm, texts, wanted.samples, wanted.reasons)


def key(task: Task, llm: LLM, text: str) -> str | None:
    """The key of the answers to `text`; None where there may be several."""
    if not ESTIMATORS[llm.estimator].REPEATED:
        return None
    return answer_key(_question(task, llm, text), endpoint(llm))


def few_keys(task: Task, llm: LLM, texts: Collection[str]) -> list[str]:
    """The keys of the answers to `texts` where they are few, and known before they are asked."""
    if len(texts) > query.FEW_KEYS:
        return []
    return [name for text in texts if (name := key(task, llm, text))]


def stages(llm: LLM) -> list[LLM]:
    """Who is asked, one after the other: an estimator may go on from what the same LLM answered to another."""
    after = ESTIMATORS[llm.estimator].after(llm.template.reasons)
    return [*stages(replace(llm, estimator=after)), llm] if after else [llm]


def _samples(
    directory: Path, task: Task, llm: LLM, texts: Iterable[str], samples: int, unwelcome: Sequence[str]
) -> Open:
    texts = list(texts)
    held = query.counted(directory, *_who(task, llm), texts, unwelcome, few_keys(task, llm, texts))
    for text, stored, good in zip(texts, *held, strict=True):
        yield text, _jobs(task, llm, text, samples - int(good), int(stored))


def _until_known(
    directory: Path, task: Task, llm: LLM, texts: Iterable[str], precision: Precision, unwelcome: Sequence[str]
) -> Open:
    """Completions in which no decision can be read are part of what the LLM answers, and count as one."""
    unseen, decisions_in = dict.fromkeys(texts), ESTIMATORS[llm.estimator].decisions_in
    for text, answers in query.texts(directory, *_who(task, llm), unseen):
        del unseen[text]
        counts = Counter(
            next(iter(decisions_in(answer, task.prompt.options)), None)
            for answer in answers
            if answer.finish_reason not in unwelcome
        )
        yield text, _jobs(task, llm, text, precision.needed(counts), len(answers))
    for text in unseen:
        yield text, _jobs(task, llm, text, precision.needed({}), 0)


def _jobs(task: Task, llm: LLM, text: str, n: int, first: int) -> list[Job]:
    if n <= 0:
        return []
    body = _question(task, llm, text)
    return [Job(answer_key(body, endpoint(llm)), body, n, first)]


def _question(task: Task, llm: LLM, text: str) -> Body:
    """The only question about `text` of an estimator that repeats it."""
    (asked,) = questions(task, llm, text)
    return asked


def questions(
    task: Task, llm: LLM, text: str, before: Sequence[query.Answer] = (), most: int | None = None
) -> list[Body]:
    """The wire bodies that ask about `text`; `before` and `most` as for `Estimator.questions`."""
    body = request(llm, task.prompt, text, task.decisions(text) if llm.template.lists_decisions else ())
    return ESTIMATORS[llm.estimator].questions(About(task, text, body, llm.template.reasons), before, most)


def _each_once(directory: Path, task: Task, llm: LLM, texts: Iterable[str], samples: int | Precision) -> Open:
    """Questions after a text's first answers to the stage before, or after all that made it known; or the only ones."""
    held, before = query.keys(directory, *_who(task, llm)), stages(llm)[:-1]
    most = samples if isinstance(samples, int) else None
    answered: Iterable[tuple[str, Sequence[query.Answer]]] = ((text, ()) for text in texts)
    if before:
        answered = query.texts(directory, *_who(task, before[-1]), texts)
    for text, answers in answered:
        asked = {answer_key(body, endpoint(llm)): body for body in questions(task, llm, text, answers, most)}
        yield text, [Job(name, body, 1) for name, body in asked.items() if name not in held]


def _who(task: Task, llm: LLM) -> tuple[str, str, str]:
    return task.name, llm.model, prompt_digest(llm, task.prompt)
