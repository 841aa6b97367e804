"""The build-cache job: roll out, describe, deduplicate, look up, ask for what is missing, store.

`teach` is the one way by which a text gets its answers; a student that meets a missing text in training
uses the same. Every answer is on disk before it is counted.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
import time

from cache import query, store
from cache.errors import AskonceError, Unfinished
from cache.key import canonical_json
from cache.store import Completion
from pipeline import collect
from pipeline.deduplicate import Visits, distinct_texts, merge
from pipeline.distribution import Unparsable, option_distributions
from pipeline.interrupt import interruption
from pipeline.tasks.task import Decision, Distributions, Task
from pipeline.teacher import Job, Reply, Teacher, ask_all, endpoint, key, prompt_digest, request

EPISODES = 500
SAMPLES = 10
# Rounds of teacher-driven rollouts: each may meet texts that the last one's answers lead to.
ROUNDS = 5


@dataclass
class Asked:
    """What it took to get texts answered; `hits` are texts that needed nothing, tokens those spent now."""

    hits: int = 0
    asked: int = 0
    completions: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __iadd__(self, other: "Asked") -> "Asked":
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self


@dataclass(frozen=True)
class Report:
    """What `build_cache` did. `states` are visits, `coverage` the share of future visits that are answered."""

    states: int
    texts: int
    hits: int
    asked: int
    completions: int
    unparsable: int
    prompt_tokens: int
    completion_tokens: int
    coverage: float
    seconds: float


# Called as answers arrive, with texts answered so far and texts to be answered in this round.
Show = Callable[[int, int], None]


def build_cache(
    task: Task, directory: Path, teacher: Teacher, episodes: int = EPISODES, samples: int = SAMPLES,
    seed: int = 0, show: Show = lambda done, total: None,
) -> Report:
    """Answers every text that `episodes` rollouts meet: a third at random, a third by random options, and
    a third driven by the teacher's own answers, repeated while these lead to new texts."""
    started = time.perf_counter()
    part = -(-episodes // 3)
    visits = merge(
        distinct_texts(task, collect.random_actions(task, part, seed)),
        distinct_texts(task, collect.random_options(task, part, seed)),
    )
    asked = teach(task, directory, teacher, visits.counts, samples, show)
    for round_number in range(ROUNDS):
        found = teacher_visits(task, directory, teacher, part, seed + round_number)
        new = [text for text in found.counts if text not in visits.counts]
        visits = merge(visits, found)
        asked += teach(task, directory, teacher, new, samples, show, unfinished=True)
        if not new:
            break
    distributions, unparsable = answered(task, directory, teacher)
    return Report(
        states=visits.total, texts=len(visits.counts), unparsable=len(unparsable),
        coverage=visits.coverage(distributions), seconds=time.perf_counter() - started, **vars(asked),
    )


def teacher_visits(task: Task, directory: Path, teacher: Teacher, episodes: int, seed: int) -> Visits:
    distributions, _ = answered(task, directory, teacher)
    return distinct_texts(task, collect.teacher(task, distributions, episodes, seed))


def answered(task: Task, directory: Path, teacher: Teacher) -> tuple[Distributions, list[Unparsable]]:
    """What `teacher` has answered so far for `task`."""
    found = query.answers(directory, task.name, teacher.model, prompt_digest(teacher, task.prompt))
    return option_distributions(found, task.prompt.options)


def teach(
    task: Task, directory: Path, teacher: Teacher, texts: Iterable[str], samples: int = SAMPLES,
    show: Show = lambda done, total: None, unfinished: bool = False,
) -> Asked:
    """Brings every text to `samples` stored completions, asking only for those that are missing.

    Unfinished where a failure ends it with part of the answers there (or `unfinished`: from before);
    AskonceError where there are none.
    """
    store.create(directory)
    keys = {key(teacher, task.prompt, text): text for text in texts}
    asked = Asked()
    store.append(directory, [
        replace(found, task=task.name, prompt_tokens=0, completion_tokens=0)
        for found in query.elsewhere(directory, task.name, keys)
    ])
    stored = query.stored(directory, task.name, keys)
    missing = {found: text for found, text in keys.items() if stored.get(found, 0) < samples}
    asked.hits = len(keys) - len(missing)
    if not missing:
        return asked
    jobs = [
        Job(found, request(teacher, task.prompt, text), samples - stored.get(found, 0), stored.get(found, 0))
        for found, text in missing.items()
    ]
    asked.asked = len(jobs)
    outstanding = {job.label: job.n for job in jobs}
    done = 0
    show(done, len(jobs))
    try:
        with interruption() as stop, store.writer(directory) as writer:
            for rows in _rows(task, teacher, missing, ask_all(teacher, jobs, stop=stop)):
                writer.add(rows)
                for row in rows:
                    asked.completions += 1
                    asked.prompt_tokens += row.prompt_tokens
                    asked.completion_tokens += row.completion_tokens
                    outstanding[row.key] -= 1
                    done += outstanding[row.key] == 0
                show(done, len(jobs))
    except AskonceError as error:
        if not (asked.completions or asked.hits or unfinished):
            raise
        left = [missing[found] for found, count in outstanding.items() if count]
        raise Unfinished(f"{error}; {len(left)} of {len(keys)} texts still lack answers", left) from error
    if stop.signalled:
        # What was in flight has been waited for and stored; if that was all, there are still later rounds.
        raise KeyboardInterrupt
    return asked


def answer_of(task: Task, directory: Path, teacher: Teacher, samples: int, text: str) -> dict[Decision, float]:
    """Asks about one text, stores the answers, and returns its distribution."""
    teach(task, directory, teacher, [text], samples)
    return answered(task, directory, teacher)[0].get(text, {})


def _rows(
    task: Task, teacher: Teacher, texts: dict[str, str], replies: Iterable[tuple[Job, list[Reply]]]
) -> Iterator[list[Completion]]:
    digest, address = prompt_digest(teacher, task.prompt), endpoint(teacher)
    for job, parts in replies:
        yield [
            Completion(
                key=job.label, task=task.name, model=teacher.model, prompt=digest, text=texts[job.label],
                sample=job.first + i, content=reply.content, finish_reason=reply.finish_reason or None,
                prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens,
                latency=reply.latency, served_model=reply.served_model or None, endpoint=address,
                request=canonical_json(job.body), asked_at=datetime.now(UTC),
            )
            for i, reply in enumerate(parts)
        ]
