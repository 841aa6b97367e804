"""Which of a cache's teachers a student learns from, and what becomes of a text that the cache lacks."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from askonce.cache import store
from askonce.cache.errors import AskonceError
from askonce.cache.query import TeacherName
from askonce.cache.teachers import choose_teacher, teacher_names
from askonce.pipeline import build
from askonce.pipeline.adaptive import Precision
from askonce.pipeline.answered import open_answered
from askonce.pipeline.asking.terms import Terms
from askonce.pipeline.defer import Deferred, deferred
from askonce.pipeline.llm import LLM, prompt_digest
from askonce.pipeline.questions import Wanted
from askonce.pipeline.tasks.task import Decision, Lookup, Task
from askonce.student.learning.distill import Teacher, go_without, refuse
from askonce.student.learning.forms import in_form, lookup_of


def chosen_lookup(task: Task, cache: Path, model: str | None, form: str) -> tuple[Lookup, str]:
    """text → the chosen teacher's distribution, and its name as NAME@PROMPT."""
    chosen = choose_teacher(cache, task.name, model)
    return lookup_of(task, cache, chosen, form), chosen.name


def offline_teacher(
    task: Task, cache: Path, model: str | None = None, form: str = "soft", refusing: bool = False
) -> tuple[Teacher, str]:
    """A teacher that asks nobody, and its name; `refusing`: a missing text ends training with an AskonceError."""
    lookup, name = chosen_lookup(task, cache, model, form)
    return Teacher(task, lookup, refuse if refusing else go_without), name


@contextmanager
def opened(
    task: Task,
    cache: Path | None,
    model: str | None,
    form: str,
    on_miss: str,
    llm: LLM,
    samples: int | Precision,
    terms: Terms,
) -> Iterator[tuple[Teacher, dict[str, str], Deferred | None]]:
    """The teacher of a run, what its run.json says of it, and the questions that are answered in the background.

    Without a `cache` it knows nothing. `on_miss` says what becomes of a text that the cache lacks: "skip" and "error"
    ask nobody, "ask" and "defer" ask `llm`.
    """
    if cache is None:
        yield Teacher(task, go_without), {}, None
    elif on_miss in ("skip", "error"):
        teacher, name = offline_teacher(task, cache, model, form, on_miss == "error")
        yield teacher, {"teacher": name, "teacher_form": form}, None
    else:
        with asking_teacher(task, cache, llm, Wanted(samples), terms, form, on_miss == "defer") as asked:
            teacher, name, questions = asked
            yield teacher, {"teacher": name, "teacher_form": form}, questions


def held_model(cache: Path, task: str, model: str | None) -> str:
    """The model whose answers the cache holds for the task, or that is chosen by name; else the named one."""
    store.create(cache)
    held = any(teacher.task == task for teacher in teacher_names(cache))
    return choose_teacher(cache, task, model).model if held else model or "simulated"


@contextmanager
def asking_teacher(
    task: Task, cache: Path, llm: LLM, wanted: Wanted, terms: Terms, form: str = "soft", defer: bool = False
) -> Iterator[tuple[Teacher, str, Deferred | None]]:
    """A teacher that is asked about a missing text, once; `defer`: in the background."""
    llm = build.chosen(task, cache, llm, task.prompt.example_text, terms)
    prompt = prompt_digest(llm, task.prompt)
    name = f"{llm.model}@{prompt}"
    _require_the_same(cache, task, llm, name)
    answered = open_answered(cache, task, llm.model, prompt)
    lookup = in_form(answered, form, cache, TeacherName(task.name, llm.model, prompt))

    def learn(text: str, found: Mapping[Decision, float]) -> Mapping[Decision, float] | None:
        answered.add(text, found)
        return lookup(text)

    with build.builder(task, cache, llm, wanted, terms) as builder:
        if not defer:
            ask = lambda text: None if (found := build.answer_of(builder, text)) is None else learn(text, found)
            yield Teacher(task, lookup, ask), name, None
            return
        with deferred(builder) as questions:
            arrived = lambda: {text: learn(text, found) for text, found in questions.arrived().items()}
            yield Teacher(task, lookup, questions.ask, arrived), name, questions


def _require_the_same(cache: Path, task: Task, llm: LLM, name: str) -> None:
    held = [one.name for one in teacher_names(cache) if one.task == task.name and one.model == llm.model]
    if held and name not in held:
        raise AskonceError(
            f"{cache} holds answers of {', '.join(held)} for {task.name}, and {name} would be asked for more: add "
            "--cache-only, or the --base-url, --temperature and --max-tokens that they were asked with",
            2,
        )
