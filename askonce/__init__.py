"""Ask a large language model once, train a small policy as often as you like.

The Python twin of the command line. A task is asked about once (`build_cache`); what the LLM said is kept in a cache, a
folder; a student learns from it offline (`train`), is judged (`evaluate`) and deployed (`load_student`):

    import askonce

    askonce.build_cache("ColoredDoorKey", "my-cache")
    askonce.train("ColoredDoorKey", "my-run", cache="my-cache")
    print(askonce.evaluate("ColoredDoorKey", run="my-run").success_rate)

A task is named as on the command line, or is one of your own: a `GymTask`, or any other `Task`. Whatever goes wrong
and is not a fault of the program is an `AskonceError` of one line.
"""

# In a checkout askonce.cache, askonce.pipeline, askonce.student and askonce.commands are links to the folders beside
# this one; in a wheel they are inside it.

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from askonce.cache.errors import AskonceError, Unfinished

if TYPE_CHECKING:
    from torch import nn

    from askonce.cache.compact import compact as compact_cache
    from askonce.cache.dataset import export as export_dataset
    from askonce.cache.dataset import import_dataset
    from askonce.cache.explain import Explanation
    from askonce.cache.merge import merge as merge_caches
    from askonce.cache.query import show as find_completions
    from askonce.cache.query import stats as cache_stats
    from askonce.cache.repair import repair as repair_cache
    from askonce.cache.verify import verify as verify_cache
    from askonce.pipeline.adaptive import Precision
    from askonce.pipeline.asking.function import Function, Said
    from askonce.pipeline.asking.prices import Price
    from askonce.pipeline.asking.terms import Terms
    from askonce.pipeline.audit.audit import Audit
    from askonce.pipeline.build import AskingProgress, Plan, Report
    from askonce.pipeline.llm import LLM
    from askonce.pipeline.models import find as local_model
    from askonce.pipeline.recorded import import_decisions
    from askonce.pipeline.reparse import reparse as reparse_cache
    from askonce.pipeline.simulated.serve import serve as serve_simulated
    from askonce.pipeline.tasks.check import Checked
    from askonce.pipeline.tasks.gym_task import GymTask
    from askonce.pipeline.tasks.task import Advice, Batch, Decision, Option, Prompt, Task, Watched
    from askonce.student.deploying.export import export as export_student
    from askonce.student.judging.compare import compared as compare_audits
    from askonce.student.judging.evaluate import Evaluation
    from askonce.student.judging.side_by_side import Compared
    from askonce.student.judging.unlearned import habits
    from askonce.student.learning import pretrain as pretraining
    from askonce.student.learning.profile import Laps
    from askonce.student.learning.train import Progress, Settings
    from askonce.student.reproducing.reproduce import reproduce
    from askonce.student.showing.report.gather import Report as Reported
    from askonce.student.showing.runs import find as find_runs
    from askonce.student.showing.watch import Frame

__all__ = [
    "LLM",
    "Advice",
    "AskonceError",
    "Batch",
    "Decision",
    "GymTask",
    "Option",
    "Prompt",
    "Said",
    "Task",
    "Unfinished",
    "audit",
    "build_cache",
    "cache_stats",
    "check_task",
    "compact_cache",
    "compare_audits",
    "compare_teachers",
    "evaluate",
    "evaluate_option",
    "explain",
    "export_dataset",
    "export_student",
    "find_completions",
    "find_runs",
    "find_task",
    "first_request",
    "habits",
    "import_dataset",
    "import_decisions",
    "load_student",
    "local_model",
    "look_up",
    "merge_caches",
    "open_cache",
    "plan_cache",
    "pretrain_option",
    "reparse_cache",
    "repair_cache",
    "reproduce",
    "serve_simulated",
    "tasks_in",
    "train",
    "verify_cache",
    "watch",
    "write_report",
]

# What is offered as a room has it, where it lives and what it is called there. Imported only when it is used: that
# takes a second.
_HOMES = {
    "LLM": "pipeline.llm:LLM",
    "Said": "pipeline.asking.function:Said",
    "local_model": "pipeline.models:find",
    "GymTask": "pipeline.tasks.gym_task:GymTask",
    **{name: f"pipeline.tasks.task:{name}" for name in ("Advice", "Batch", "Decision", "Option", "Prompt", "Task")},
    "cache_stats": "cache.query:stats",
    "compact_cache": "cache.compact:compact",
    "compare_audits": "student.judging.compare:compared",
    "export_dataset": "cache.dataset:export",
    "export_student": "student.deploying.export:export",
    "find_completions": "cache.query:show",
    "find_runs": "student.showing.runs:find",
    "habits": "student.judging.unlearned:habits",
    "import_dataset": "cache.dataset:import_dataset",
    "import_decisions": "pipeline.recorded:import_decisions",
    "merge_caches": "cache.merge:merge",
    "reparse_cache": "pipeline.reparse:reparse",
    "repair_cache": "cache.repair:repair",
    "reproduce": "student.reproducing.reproduce:reproduce",
    "serve_simulated": "pipeline.simulated.serve:serve",
    "verify_cache": "cache.verify:verify",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, _, attribute = _HOMES[name].partition(":")
        return getattr(import_module(f"askonce.{module}"), attribute)
    if name == "__version__":
        return import_module("importlib.metadata").version("askonce")
    raise AttributeError(f"module 'askonce' has no attribute {name!r}")


def find_task(task: str | Task, simulator: str | None = None) -> Task:
    """One of the built-in tasks by its name or id, or one of your own as "package.module:NAME".

    `simulator` is what steps NavPick: "mujoco" (the default) or "habitat".
    """
    from askonce.pipeline import tasks

    return tasks.find(task, simulator) if isinstance(task, str) else task


def build_cache(
    task: str | Task,
    cache: str | Path,
    llm: LLM | Function | None = None,
    *,
    samples: int | Precision = 10,
    retry: tuple[str, ...] = (),
    episodes: int | None = None,
    seed: int = 0,
    max_cost: float | None = None,
    terms: Terms | None = None,
    show: Callable[[AskingProgress], None] = lambda progress: None,
    in_batches: bool = False,
) -> Report:
    """Finds the texts that an agent meets in `episodes` rollouts and asks about each that the cache does not hold.

    `llm` is an `LLM`, or a Python function that is given chats (each a list of {"role": …, "content": …}) and returns
    as many completions; None is the built-in simulated one. A function's answers are kept under its module and name: a
    function that answers differently needs another name. Each text gets so many `samples`, without those that ended as
    `retry` names ("truncated", "refused", "filtered"). `terms` are limits, patience, price and budget, of which
    `max_cost` (USD) is one; `in_batches` asks by the OpenAI Batch API. `show` is called as answers arrive. Unfinished
    where only a part could be asked; everything obtained is stored.
    """
    from askonce.pipeline import build
    from askonce.pipeline.questions import Wanted

    world, asked = find_task(task), _llm(llm)
    wanted, terms = Wanted(samples, retry), terms or _terms(asked, max_cost)
    rollouts = _episodes(world, episodes, build.EPISODES)
    return build.build_cache(world, Path(cache), asked, rollouts, wanted, seed, terms, show, in_batches)


def plan_cache(
    task: str | Task,
    cache: str | Path,
    llm: LLM | Function | None = None,
    *,
    samples: int | Precision = 10,
    retry: tuple[str, ...] = (),
    episodes: int | None = None,
    seed: int = 0,
    terms: Terms | None = None,
) -> Plan:
    """What `build_cache` would ask first, and the most that it can cost; asks nothing and stores nothing."""
    from askonce.pipeline import build
    from askonce.pipeline.questions import Wanted

    world, asked = find_task(task), _llm(llm)
    price, rollouts = (terms or _terms(asked, None)).price, _episodes(world, episodes, build.EPISODES)
    return build.plan(world, Path(cache), asked, rollouts, Wanted(samples, retry), seed, price)


def check_task(task: str | Task, *, episodes: int = 200, seed: int = 0) -> Checked:
    """What is wrong with a task, found by `episodes` of options drawn at random. AskonceError where it fails."""
    from askonce.pipeline.tasks.check import check

    return check(find_task(task), episodes, seed)


def open_cache(
    cache: str | Path, task: str | Task, model: str | None = None
) -> Callable[[str], Mapping[Decision, float] | None]:
    """A function from a text to its distribution: decision → probability.

    {} where no answer holds a decision, None where the text was not asked about. `model` is needed where the cache
    holds several LLMs' answers: its name, or NAME@PROMPT.
    """
    from askonce.student.learning.teachers import chosen_lookup

    return chosen_lookup(find_task(task), Path(cache), model, "soft")[0]


def look_up(
    cache: str | Path, task: str | Task, text: str, model: str | None = None
) -> Mapping[Decision, float] | None:
    """What `open_cache` gives for one text."""
    return open_cache(cache, task, model)(text)


def explain(cache: str | Path, task: str | Task, text: str, llm: LLM | Function | None = None) -> Explanation:
    """Whether the cache would answer a question about `text`, and if not, in what the nearest stored one differs."""
    from askonce.cache.explain import explain as compare
    from askonce.pipeline.llm import endpoint

    world, asked = find_task(task), _llm(llm)
    return compare(cache, world.name, first_request(world, text, asked), endpoint(asked), text)


def first_request(task: str | Task, text: str, llm: LLM | Function | None = None) -> dict[str, Any]:
    """The first chat-completions request by which `llm` is asked about `text`, as it is sent."""
    from askonce.pipeline.llm import assumed
    from askonce.pipeline.questions import questions, stages

    first = stages(assumed(_llm(llm)))[0]
    return questions(find_task(task), first, text)[0]


def audit(
    task: str | Task,
    cache: str | Path,
    model: str | None = None,
    *,
    seed: int = 0,
    show: Callable[[int, int], None] = lambda done, total: None,
) -> Audit:
    """Judges every decision in the cache, by rules and by playing it out; `Audit.rows` are the verdicts."""
    from askonce.pipeline.audit.audit import audit as judge

    return judge(find_task(task), Path(cache), model, seed, show)


def compare_teachers(
    task: str | Task,
    cache: str | Path,
    *,
    prices: Mapping[str, Price] = {},
    episodes: int = 1000,
    seed: int = 0,
    audited: bool = True,
    show: Callable[[int, int, str], None] = lambda done, total, line: None,
) -> list[Compared]:
    """Every LLM, prompt and way of asking that has answered for the task: how well it does alone, and what it took."""
    from askonce.student.judging.side_by_side import side_by_side

    return side_by_side(find_task(task), Path(cache), prices, episodes, seed, audited, show)


def tasks_in(cache: str | Path) -> list[str]:
    """The built-in tasks for which a cache holds answers."""
    from askonce.cache.query import stats
    from askonce.pipeline import tasks

    built_in = {*tasks.names(), *tasks.registered_names()}
    return [name for name in dict.fromkeys(one.task for one in stats(cache).teachers) if name in built_in]


def train(
    task: str | Task,
    run: str | Path,
    cache: str | Path | None = None,
    *,
    method: str | None = None,
    model: str | None = None,
    teacher_form: str = "soft",
    on_miss: str = "skip",
    llm: LLM | Function | None = None,
    samples: int | Precision = 10,
    terms: Terms | None = None,
    iterations: int | None = None,
    seed: int = 0,
    settings: Settings | None = None,
    resume: bool = False,
    evaluate_every: int | None = None,
    stop_at_success: float | None = None,
    show: Callable[[Progress], None] = lambda progress: None,
    laps: Laps | None = None,
) -> Progress:
    """Trains a student and keeps it in the folder `run`: from the cache ("llm4teach"), or without one by PPO alone
    ("ppo"), or by PPO over the task's options ("hierarchical").

    A text that the cache lacks goes without the teacher's term ("skip"), ends training ("error"), or is asked about by
    `llm`, at once ("ask") or in the background ("defer"). `teacher_form` is "soft", "hard" or "audited". `settings`
    go before `iterations` and `seed`; without them they are those of the task. `show` is called after every iteration.
    """
    from askonce.student.judging.evaluate import evaluate as judge
    from askonce.student.learning import presets
    from askonce.student.learning.teachers import opened
    from askonce.student.learning.train import train as learn

    world, asked = find_task(task), _llm(llm)
    method = method or ("ppo" if cache is None else "llm4teach")
    settings = settings or presets.settings(world, method, iterations, seed)
    if method == "hierarchical":
        world = world.over_options()
    place, limits = None if cache is None else Path(cache), terms or _terms(asked, None)
    with opened(world, place, model, teacher_form, on_miss, asked, samples, limits) as (teacher, about, questions):
        about = {"method": method, **about}
        _, progress = learn(
            world, teacher, settings, Path(run), resume, about, show, laps, judge, evaluate_every, stop_at_success
        )
    progress.asking_failure = str(questions.failure) if questions and questions.failure else None
    return progress


def evaluate(
    task: str | Task,
    *,
    run: str | Path | None = None,
    cache: str | Path | None = None,
    model: str | None = None,
    teacher_form: str = "soft",
    episodes: int | None = None,
    seed: int = 0,
) -> Evaluation:
    """How well the student of `run` does on held-out layouts, or without a run the LLM alone, from `cache`."""
    from askonce.student.judging import evaluate as judging
    from askonce.student.learning.teachers import chosen_lookup

    world = find_task(task)
    if (run is None) == (cache is None):
        raise AskonceError("name either the student by run=…, or its teacher by cache=…", 2)
    if cache is not None:
        act = judging.teacher(world, chosen_lookup(world, Path(cache), model, teacher_form)[0])
    else:
        world = judging.as_learnt(world, Path(str(run)))
        act = judging.student(world, Path(str(run)))
    return judging.evaluate(world, act, _episodes(world, episodes, judging.EPISODES), seed)


def load_student(task: str | Task, run: str | Path) -> nn.Module:
    """The policy that is deployed, as a torch module: observations (N, …) → (N, A) probabilities of the actions.

    Where actions are vectors, (N, 2A) means and standard deviations. It takes what `Batch.observations` holds, or, of a
    task that cannot say in torch how it looks at them, such as a `GymTask`, what `look` returns.
    """
    from askonce.student.deploying.export import policy_of

    return policy_of(find_task(task), Path(run))


def watch(
    task: str | Task,
    shown: Watched | None = None,
    *,
    run: str | Path | None = None,
    cache: str | Path | None = None,
    model: str | None = None,
    teacher_form: str = "soft",
    episodes: int = 3,
    seed: int = 0,
) -> Iterator[Frame]:
    """Held-out episodes step by step: of the student of `run`, with what the LLM of `cache` would do, or of that alone.

    `shown` is the task's `watched()`, for those who draw it as it goes.
    """
    from askonce.student.learning.teachers import offline_teacher
    from askonce.student.showing.watch import frames

    world = find_task(task)
    teacher = offline_teacher(world, Path(cache), model, teacher_form)[0] if cache else None
    return frames(world, shown or world.watched(), Path(run) if run else None, teacher, episodes, seed)


def write_report(
    cache: str | Path,
    to: str | Path,
    runs: Sequence[str | Path] = (),
    task: str | Task | None = None,
    *,
    prices: Mapping[str, Price] = {},
    episodes: int = 1000,
    seed: int = 0,
) -> Reported:
    """Writes one HTML file: what the cache holds, what its audit found, and what the students of `runs` made of it."""
    from askonce.student.showing.report.gather import gather
    from askonce.student.showing.report.page import write

    world = None if task is None else find_task(task)
    found = gather(Path(cache), [Path(run) for run in runs], world, prices, episodes, seed)
    write(found, Path(to))
    return found


def pretrain_option(
    task: str | Task,
    option: str,
    to: str | Path | None = None,
    settings: pretraining.Settings | None = None,
    show: Callable[[pretraining.Round], None] = lambda ended: None,
) -> None:
    """An option of the task learns from its scripted expert; its weights go to `to`, or replace the project's own."""
    import torch

    from askonce.student.learning import pretrain

    world, settings = find_task(task), settings or pretrain.Settings()
    lesson = pretrain.lesson_of(world, option)
    torch.set_num_threads(1)
    lesson.save(pretrain.pretrain(world, lesson, settings, show), Path(to or lesson.weights), asdict(settings))


def evaluate_option(
    task: str | Task, option: str, weights: str | Path | None = None, episodes: int = 100, seed: int = 0
) -> tuple[nn.Module, list[tuple[str, int]]]:
    """A pre-trained option's network, and how held-out episodes of it alone end, and after how many steps."""
    import torch

    from askonce.student.learning import pretrain

    world = find_task(task)
    lesson = pretrain.lesson_of(world, option)
    torch.set_num_threads(1)
    network = lesson.load(Path(weights or lesson.weights))
    return network, pretrain.evaluate(world, lesson, lesson.policy(network), episodes, seed)


def _llm(llm: LLM | Function | None) -> LLM:
    from askonce.pipeline.asking.function import model_of
    from askonce.pipeline.llm import LLM as Asked

    if llm is None or isinstance(llm, Asked):
        return llm or Asked()
    return Asked(model=model_of(llm), function=llm)


def _terms(llm: LLM, max_cost: float | None) -> Terms:
    from askonce.pipeline.asking.budget import Budget
    from askonce.pipeline.asking.prices import price_of
    from askonce.pipeline.asking.terms import Terms

    return Terms(budget=Budget(max_cost, None), price=price_of(llm.model, {}, llm.base_url))


def _episodes(task: Task, episodes: int | None, usual: int) -> int:
    from askonce.pipeline.tasks.task import worth_playing

    return episodes or worth_playing(task, usual)
