"""Teachers side by side: models, prompts and ways of asking, by what they say, how well it does, and what it cost."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from askonce.cache import query
from askonce.cache.errors import AskonceError
from askonce.cache.index import Entry
from askonce.cache.query import TeacherEntry
from askonce.pipeline import answered, estimators
from askonce.pipeline.asking.prices import Price, price_of
from askonce.pipeline.audit.audit import audit
from askonce.pipeline.audit.summary import shares
from askonce.pipeline.tasks.task import Decision, Task
from askonce.student.judging.evaluate import evaluate, teacher


@dataclass(frozen=True)
class Compared:
    """One teacher of one task.

    estimator            how it was asked
    texts, completions   answered, and obtained for them
    unparsable           share of completions in which no decision can be read
    invented             share of what it decides that names an option which its text does not allow
    agreement            1 − the mean total-variation distance to the others, over texts that both answer; None alone
    verdicts             verdict of the audit → its share of what the teacher says where texts are met; {} without
    success_rate, return_mean
                         of the teacher alone, over held-out layouts
    tokens, seconds      for one text, prompt and completion tokens together; of the server's time, where it is known
    cost                 USD for all, None where the price is unknown
    """

    task: str
    teacher: str
    estimator: str
    texts: int
    completions: int
    unparsable: float
    invented: float
    agreement: float | None
    verdicts: dict[str, float]
    success_rate: float
    success_ci95: tuple[float, float]
    return_mean: float
    tokens: float
    seconds: float | None
    cost: float | None


def side_by_side(
    task: Task,
    cache: Path,
    prices: Mapping[str, Price] = {},
    episodes: int = 1000,
    seed: int = 0,
    audited: bool = True,
    show: Callable[[int, int, str], None] = lambda done, total, line: None,
) -> list[Compared]:
    """Every teacher that has answered for `task`. AskonceError where there is none."""
    entries = query.teachers(cache, task.name)
    if not entries:
        raise AskonceError(f"{cache} holds no answers for {task.name}: ask for them by `cli build-cache` first")
    said = {one.name: dict(answered.entries(cache, task, one.model, one.prompt)) for one in entries}
    found = []
    for number, entry in enumerate(entries):
        show(number, len(entries), f"{task.name}  {entry.name}")
        found.append(_compared(task, cache, entry, said, prices, episodes, seed, audited))
    show(len(entries), len(entries), task.name)
    return found


Said = dict[str, Entry]


def _compared(
    task: Task,
    cache: Path,
    entry: TeacherEntry,
    said: Mapping[str, Said],
    prices: Mapping[str, Price],
    episodes: int,
    seed: int,
    audited: bool,
) -> Compared:
    mine, told = said[entry.name], told_of(task, cache, entry, said)
    alone = evaluate(task, teacher(task, lambda text: _distribution(mine, text)), episodes, seed)
    unparsable = sum(len(found.unreadable) for found in mine.values())
    judged = shares(audit(task, cache, entry.name, seed).rows) if audited and task.playout() else {}
    price = price_of(entry.model, prices)
    return Compared(
        task=task.name,
        teacher=entry.name,
        estimator=told.estimator,
        texts=entry.texts,
        completions=entry.completions,
        unparsable=unparsable / entry.completions,
        invented=told.invented,
        agreement=told.agreement,
        verdicts={verdict: share.visits for verdict, share in judged.items()},
        success_rate=alone.success_rate,
        success_ci95=alone.success_ci95,
        return_mean=alone.return_mean,
        tokens=(entry.prompt_tokens + entry.completion_tokens) / entry.texts,
        seconds=told.seconds,
        cost=None if price is None else price.of(entry.prompt_tokens, entry.completion_tokens),
    )


@dataclass(frozen=True)
class Told:
    """Of a teacher, what its answers alone show; each as in `Compared`."""

    estimator: str
    invented: float
    agreement: float | None
    seconds: float | None


def told_of(task: Task, cache: Path, entry: TeacherEntry, said: Mapping[str, Said]) -> Told:
    """`said` is what each of the task's teachers answered, by name."""
    mine = said[entry.name]
    others = [theirs for name, theirs in said.items() if name != entry.name]
    seconds = query.seconds(cache, task.name, entry.model, entry.prompt)
    return Told(
        _estimator(cache, entry, next(iter(mine))),
        _invented(task, mine),
        _agreement(mine, others),
        None if seconds is None else seconds / entry.texts,
    )


def _distribution(said: Said, text: str) -> dict[Decision, float] | None:
    return dict(said[text].distribution) if text in said else None


def _estimator(cache: Path, entry: TeacherEntry, text: str) -> str:
    """All of a teacher's texts were asked about in one way."""
    ((_, answers),) = query.texts(cache, entry.task, entry.model, entry.prompt, [text])
    first = estimators.of(answers)
    return next(name for name, one in estimators.ESTIMATORS.items() if one is first)


def _invented(task: Task, said: Said) -> float:
    """Over the task's texts, the mass of decisions with an option that their text does not allow."""
    shares = []
    for text, found in said.items():
        # A cache from elsewhere may hold what the task never says.
        with suppress(LookupError, ValueError):
            allowed = {option for decision in task.decisions(text) for option in decision}
            shares.append(sum(share for decision, share in found.distribution.items() if not set(decision) <= allowed))
    return sum(shares) / len(shares) if shares else 0.0


def _agreement(mine: Said, others: Sequence[Said]) -> float | None:
    both = [(mine[text], theirs[text]) for theirs in others for text in mine.keys() & theirs.keys()]
    apart = [answered.total_variation(one, other) for one, other in both if one.distribution and other.distribution]
    return 1 - sum(apart) / len(apart) if apart else None
