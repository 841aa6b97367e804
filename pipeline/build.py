"""The build-cache job: roll out, describe, deduplicate, look up, ask for what is missing, store.

`Builder.teach` is the one way by which a text gets its answers; a student that meets a missing text in
training uses the same. Every answer is on disk before it is counted.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
import json
from pathlib import Path
from tempfile import TemporaryDirectory
import time
from typing import Any

from askonce.cache import coverage, layout, query, store
from askonce.cache.completion import Completion
from askonce.cache.coverage import Coverage
from askonce.cache.errors import AskonceError, Unfinished
from askonce.cache.key import canonical_json
from askonce.cache.teachers import teacher_names
from askonce.pipeline import adaptive, collect, questions
from askonce.pipeline.adaptive import Precision
from askonce.pipeline.asking import abilities
from askonce.pipeline.asking.asker import Asker, Replies, Unanswered
from askonce.pipeline.asking.batch import BatchAsker
from askonce.pipeline.asking.budget import Tally
from askonce.pipeline.asking.client import Job
from askonce.pipeline.asking.function import FunctionAsker
from askonce.pipeline.asking.prices import Price, forecast
from askonce.pipeline.asking.terms import Terms
from askonce.pipeline.asking.thinking import cut_off, with_thoughts
from askonce.pipeline.asking.variety import Variety
from askonce.pipeline.deduplicate import Visits, distinct_texts, merge
from askonce.pipeline.estimators import AUTO, ESTIMATORS, JSON, SCORED, TEXT, Unparsable, option_distributions
from askonce.pipeline.interrupt import Interruption, interruption
from askonce.pipeline.llm import LLM, assumed, connect, endpoint, prompt_digest
from askonce.pipeline.questions import Outstanding, Wanted
from askonce.pipeline.tasks.task import Decision, Distributions, Task

EPISODES = 500
# Rounds of teacher-driven rollouts: each may meet texts that the last one's answers lead to.
ROUNDS = 5


@dataclass
class AskingProgress:
    """How far the asking is, in texts: `hits` needed nothing, `asked` were asked about, `total` are all so far.

    `completions` and tokens are those obtained now; `tally` also counts what failed. `unanswered` is why
    the server does not answer a text.
    """

    total: int = 0
    hits: int = 0
    asked: int = 0
    done: int = 0
    completions: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unanswered: dict[str, str] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    variety: Variety = field(default_factory=Variety)


@dataclass(frozen=True)
class Report:
    """What `build_cache` did.

    states       visits, `coverage` the share of future ones whose text is answered
    hits, asked  texts that needed nothing, and those that were asked about
    completions, prompt_tokens, completion_tokens
                 stored now; tokens of failed requests are counted with the others
    reasoning_tokens
                 those of the completion tokens with which the model thought, where the server says so
    requests, errors, cost
                 sent, and failed by kind; USD, None where the price is unknown
    unanswered   text → why the server does not answer it
    server       what it was seen to take, in words
    samples_alike
                 whether every text got the same words each time: the server draws no samples
    saved        completions fewer than if every text had as many as the least known one might need;
                 None for a fixed number of samples
    """

    states: int
    texts: int
    hits: int
    asked: int
    completions: int
    unparsable: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    requests: int
    errors: dict[str, int]
    cost: float | None
    unanswered: dict[str, str]
    estimator: str
    server: str
    samples_alike: bool
    saved: int | None
    coverage: float
    seconds: float


# Called as answers arrive.
Show = Callable[[AskingProgress], None]


def build_cache(
    task: Task,
    directory: Path,
    llm: LLM,
    episodes: int = EPISODES,
    wanted: Wanted = Wanted(),
    seed: int = 0,
    terms: Terms = Terms(),
    show: Show = lambda progress: None,
    in_batches: bool = False,
) -> Report:
    """Answers every text that `episodes` rollouts meet: a third at random, a third by random options, and
    a third driven by the LLM's own answers, repeated while these lead to new texts."""
    started = time.perf_counter()
    store.create(directory)
    visits = first_visits(task, episodes, seed)
    tally = Tally()
    llm = chosen(task, directory, llm, next(iter(visits.counts)), terms, show, tally)
    before = tally.completions
    with builder(task, directory, llm, wanted, terms, show, in_batches, tally) as build:
        build.teach(visits.counts)
        for round_number in range(ROUNDS):
            found = _teacher_visits(task, directory, llm, episodes, seed + round_number)
            new = [text for text in found.counts if text not in visits.counts]
            visits = merge(visits, found)
            if not new:
                break
            build.teach(new)
    progress = build.progress
    distributions, unparsable = answered(task, directory, llm)
    share = visits.coverage(distributions)
    coverage.note(directory, (task.name, *_name(task, llm)), Coverage(share, visits.total))
    return Report(
        states=visits.total,
        texts=len(visits.counts),
        hits=progress.hits,
        asked=progress.asked,
        completions=before + progress.completions,
        unparsable=len(unparsable),
        prompt_tokens=tally.prompt_tokens,
        completion_tokens=tally.completion_tokens,
        reasoning_tokens=tally.reasoning_tokens,
        requests=tally.requests,
        errors=dict(tally.errors),
        cost=tally.cost if terms.price else None,
        unanswered=progress.unanswered,
        estimator=llm.estimator,
        server=abilities.noted(directory, endpoint(llm), llm.model).words,
        samples_alike=progress.variety.lacking,
        saved=_saved(task, directory, llm, wanted, distributions),
        coverage=share,
        seconds=time.perf_counter() - started,
    )


def chosen(
    task: Task,
    directory: Path,
    llm: LLM,
    text: str,
    terms: Terms = Terms(),
    show: Show = lambda progress: None,
    tally: Tally | None = None,
) -> LLM:
    """The same with the way of asking that "auto" stands for: the best of what the server can do.

    With reasoning that is JSON over a text's own options; without, log-probabilities of letters; else free text. What is
    not known of the server yet is found by asking about `text` once, and that answer is kept.
    """
    if llm.estimator != AUTO:
        return llm
    best = (JSON,) if llm.template.reasons else (SCORED, JSON)
    for one in (replace(llm, estimator=name) for name in best):
        if _able(directory, one) is None:
            refused = False
            with suppress(AskonceError), builder(task, directory, one, Wanted(1), terms, show, tally=tally) as build:
                build.teach([text])
                refused = bool(build.progress.unanswered)
            if refused:
                _refused(directory, one)
        if _able(directory, one):
            return one
    return replace(llm, estimator=TEXT)


def _refused(directory: Path, llm: LLM) -> None:
    """The server takes no such question, which it cannot be seen to do by answering."""
    who = directory, endpoint(llm), llm.model
    lacks: dict[str, Any] = {"schema": False} if llm.estimator == JSON else {"logprobs": 0}
    abilities.note(*who, replace(abilities.noted(*who), **lacks))


def _able(directory: Path, llm: LLM) -> bool | None:
    """Whether the server can do what the estimator needs; None where that was not seen."""
    can = abilities.noted(directory, endpoint(llm), llm.model)
    if llm.estimator == JSON:
        return can.schema
    return None if can.logprobs is None else can.logprobs > 0


@dataclass(frozen=True)
class Plan:
    """What `build_cache` would do first; answers may lead to further texts. `cost` in USD at most, None where
    the price is unknown."""

    states: int
    texts: int
    hits: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


def plan(
    task: Task,
    directory: Path,
    llm: LLM,
    episodes: int = EPISODES,
    wanted: Wanted = Wanted(),
    seed: int = 0,
    price: Price | None = None,
) -> Plan:
    """Asks nothing and stores nothing. Answers count as long as those stored are on average, or, where there
    are none, as long as they may be."""
    visits = first_visits(task, episodes, seed)
    llm, hits = assumed(llm), 0

    def bodies(cache: Path) -> Iterator[tuple[dict[str, Any], int]]:
        nonlocal hits
        for _, jobs in questions.missing(cache, task, llm, visits.counts, wanted):
            hits += not jobs
            yield from ((job.body, job.n) for job in jobs)

    with TemporaryDirectory(prefix="askonce-") as empty:
        if not directory.exists():
            store.create(empty)
            directory = Path(empty)
        if held := _held(task, directory, llm):
            visits = merge(visits, _teacher_visits(task, directory, llm, episodes, seed))
        expected = forecast(bodies(directory), price, held.completion_tokens / held.completions if held else None)
    return Plan(visits.total, len(visits.counts), hits, **vars(expected))


def first_visits(task: Task, episodes: int, seed: int) -> Visits:
    """What a build begins with, before it knows any answer: two thirds of its rollouts."""
    part = -(-episodes // 3)
    return merge(
        distinct_texts(task, collect.random_actions(task, part, seed)),
        distinct_texts(task, collect.random_options(task, part, seed)),
    )


def answered(task: Task, directory: Path, llm: LLM) -> tuple[Distributions, list[Unparsable]]:
    """What `llm` has answered so far for `task`."""
    found = query.answers(directory, task.name, *_name(task, llm))
    return option_distributions(found, task.prompt.options)


@contextmanager
def builder(
    task: Task,
    directory: Path,
    llm: LLM,
    wanted: Wanted = Wanted(),
    terms: Terms = Terms(),
    show: Show = lambda progress: None,
    in_batches: bool = False,
    tally: Tally | None = None,
) -> Iterator["Builder"]:
    """One connection, one budget and one journal for as many calls of `Builder.teach` as come; `in_batches`:
    by the OpenAI Batch API.

    AskonceError where the directory is no cache and cannot be made one.
    """
    progress = AskingProgress(tally=tally or Tally())
    batches = Path(directory) / layout.BATCHES if in_batches else None
    with store.writer(directory) as writer:
        known = abilities.noted(directory, endpoint(llm), llm.model)
        with connect(llm, terms, progress.tally, batches, known) as asker:
            others = frozenset((one.model, one.prompt) for one in teacher_names(directory) if one.task != task.name)
            try:
                yield Builder(task, directory, llm, wanted, asker, writer, show, progress, others)
            finally:
                if not isinstance(asker, BatchAsker) and asker.can != known:
                    # Learnt again at the next opportunity: no reason to fail, or to hide why the build did.
                    with suppress(AskonceError):
                        abilities.note(directory, endpoint(llm), llm.model, asker.can)


@dataclass(frozen=True)
class Builder:
    """Made by `builder`."""

    task: Task
    directory: Path
    llm: LLM
    wanted: Wanted
    asker: Asker | BatchAsker | FunctionAsker
    writer: store.Writer
    show: Show
    progress: AskingProgress
    # Who has answered for other tasks, by model and prompt.
    others: frozenset[tuple[str, str]]

    def teach(self, texts: Iterable[str], stop: Interruption | None = None) -> None:
        """Brings every text to what is wanted of it, asking only for what is missing.

        A text that the server does not answer is set aside in `progress`. Unfinished where a failure or the
        budget ends it with part of the answers there; AskonceError where there are none. KeyboardInterrupt
        after a signal, when what was in flight is stored; set `stop` for the same without an exception.
        """
        pending = dict.fromkeys(text for text in texts if text not in self.progress.unanswered)
        self.progress.total += len(pending)
        asked: set[str] = set()
        try:
            for llm in questions.stages(self.llm):
                self._adopt(llm, pending)
                some = list(pending)
                while some:
                    with nullcontext(stop) if stop is not None else interruption() as stopping:
                        some = self._ask(llm, some, asked, pending if llm is self.llm else {}, stopping)
        except AskonceError as error:
            if not (self.progress.completions or self.progress.hits):
                raise
            left = [*self.progress.unanswered, *pending]
            raise Unfinished(f"{error}; {len(left)} of {self.progress.total} texts still lack answers", left) from error

    def _adopt(self, llm: LLM, texts: Collection[str]) -> None:
        """Two tasks may ask the very same question: its answers are paid for once."""
        name = _name(self.task, llm)
        if name not in self.others:
            return
        keys = questions.few_keys(self.task, llm, texts)
        copies = (
            replace(found, task=self.task.name, prompt_tokens=0, completion_tokens=0, usage=None)
            for found in query.elsewhere(self.directory, self.task.name, *name, texts, keys)
        )
        while some := list(islice(copies, store.RECORD_ROWS)):
            self.writer.add(some)

    def _ask(
        self, llm: LLM, texts: list[str], asked: set[str], pending: dict[str, None], stop: Interruption
    ) -> list[str]:
        """One pass over `texts`; what is done leaves `pending`. Returns those that may need another."""
        outstanding, again, progress = Outstanding(), [], self.progress
        failed: AskonceError | None = None

        def done(text: str) -> None:
            if text in pending:
                del pending[text]
                progress.done += 1
                progress.hits += text not in asked

        def jobs() -> Iterator[Job]:
            for text, opened in questions.missing(self.directory, self.task, llm, texts, self.wanted):
                if opened:
                    progress.asked += text not in asked
                    asked.add(text)
                    outstanding.open(text, opened)
                    yield from opened
                else:
                    done(text)

        self.show(progress)
        for events in self.asker.ask(jobs(), stop):
            self.writer.add(self._rows(llm, events, outstanding))
            for event in events:
                text = outstanding.text(event.job)
                if isinstance(event, Unanswered):
                    progress.unanswered[text] = event.reason
                    pending.pop(text, None)
                else:
                    progress.completions += event.job.n
                    if llm.temperature:
                        progress.variety.note(text, event.replies)
                    if complaint := ESTIMATORS[llm.estimator].complaint(event.replies[0]) or cut_off(event.replies):
                        failed = AskonceError(complaint)
                        stop.set()
                if outstanding.close(event.job):
                    if isinstance(self.wanted.samples, Precision) and text not in progress.unanswered:
                        again.append(text)
                    else:
                        done(text)
            self.show(progress)
        if failed:
            raise failed
        if stop.signalled:
            # What was in flight has been waited for and stored; if that was all, there are still later rounds.
            raise KeyboardInterrupt
        return [] if stop.is_set() else again

    def _rows(self, llm: LLM, events: list[Replies | Unanswered], outstanding: Outstanding) -> Iterator[Completion]:
        (model, prompt), address = _name(self.task, llm), endpoint(llm)
        for job, replies in (event for event in events if isinstance(event, Replies)):
            request = canonical_json(job.body)
            for number, reply in enumerate(replies):
                yield Completion(
                    key=job.label,
                    task=self.task.name,
                    model=model,
                    prompt=prompt,
                    text=outstanding.text(job),
                    sample=job.first + number,
                    content=with_thoughts(reply),
                    finish_reason=reply.finish_reason or None,
                    prompt_tokens=reply.prompt_tokens,
                    completion_tokens=reply.completion_tokens,
                    latency=reply.latency,
                    served_model=reply.served_model or None,
                    endpoint=address,
                    request=request,
                    asked_at=reply.asked_at,
                    logprobs=None if reply.logprobs is None else json.dumps(reply.logprobs),
                    usage=None if reply.usage is None else json.dumps(reply.usage),
                )


def answer_of(build: Builder, text: str) -> dict[Decision, float] | None:
    """Asks about one text, stores the answers, and returns its distribution; None where the server does not
    answer it."""
    build.teach([text])
    return distributions_of(build, [text]).get(text)


def distributions_of(build: Builder, texts: Iterable[str]) -> dict[str, dict[Decision, float]]:
    """What the cache now holds about `texts`."""
    task, llm, texts = build.task, build.llm, list(texts)
    if keys := [key for text in texts if (key := questions.key(task, llm, text))]:
        found = query.of_keys(build.directory, task.name, keys)
    else:
        found = dict(query.texts(build.directory, task.name, *_name(task, llm), texts))
    return option_distributions(found, task.prompt.options)[0]


def _name(task: Task, llm: LLM) -> tuple[str, str]:
    """Model and prompt, by which the cache knows the LLM."""
    return llm.model, prompt_digest(llm, task.prompt)


def _teacher_visits(task: Task, directory: Path, llm: LLM, episodes: int, seed: int) -> Visits:
    distributions, _ = answered(task, directory, llm)
    return distinct_texts(task, collect.teacher(task, distributions, -(-episodes // 3), seed))


def _held(task: Task, directory: Path, llm: LLM) -> query.TeacherEntry | None:
    name = _name(task, llm)
    return next((held for held in query.teachers(directory, task.name) if (held.model, held.prompt) == name), None)


def _saved(task: Task, directory: Path, llm: LLM, wanted: Wanted, distributions: Distributions) -> int | None:
    held = _held(task, directory, llm)
    if held is None or not isinstance(wanted.samples, Precision):
        return None
    most = max(map(len, distributions.values()))
    return held.texts * adaptive.fixed(most, wanted.samples.max_tv, wanted.samples.confidence) - held.completions
