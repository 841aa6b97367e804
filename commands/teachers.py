"""Which of a cache's teachers a student learns from, and what becomes of a text that it lacks."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any

from askonce.cache import store
from askonce.cache.errors import AskonceError


def chosen_lookup(world, cache: Path, model: str | None, teacher_form: str):
    """text → the chosen teacher's distribution, and its name as NAME@PROMPT."""
    from askonce.cache.teachers import choose_teacher
    from askonce.student.learning.forms import lookup_of

    chosen = choose_teacher(cache, world.name, model)
    return lookup_of(world, cache, chosen, teacher_form), chosen.name


def offline_teacher(world, cache: Path, model: str | None, teacher_form: str, refuse: bool):
    from askonce.student.learning import distill

    lookup, name = chosen_lookup(world, cache, model, teacher_form)
    return distill.Teacher(world, lookup, distill.refuse if refuse else distill.go_without), name


def held_model(cache: Path, task: str, model: str | None) -> str:
    """The model whose answers the cache holds for the task, or that is chosen by name; else the named one."""
    from askonce.cache.teachers import choose_teacher, teacher_names

    store.create(cache)
    held = any(teacher.task == task for teacher in teacher_names(cache))
    return choose_teacher(cache, task, model).model if held else model or "simulated"


@contextmanager
def asking_teacher(world, cache: Path, llm, wanted, terms, teacher_form: str, defer: bool):
    """A teacher that is asked about a missing text, once; `defer`: in the background."""
    from askonce.cache.query import TeacherName
    from askonce.cache.teachers import teacher_names
    from askonce.pipeline import build
    from askonce.pipeline.answered import open_answered
    from askonce.pipeline.defer import deferred
    from askonce.pipeline.llm import prompt_digest
    from askonce.pipeline.questions import Wanted
    from askonce.student.learning import distill
    from askonce.student.learning.forms import in_form

    prompt = prompt_digest(llm, world.prompt)
    held = [one.name for one in teacher_names(cache) if one.task == world.name and one.model == llm.model]
    name = f"{llm.model}@{prompt}"
    if held and name not in held:
        raise AskonceError(
            f"{cache} holds answers of {', '.join(held)} for {world.name}, and {name} would be asked for more: add "
            "--cache-only, or the --base-url, --temperature and --max-tokens that they were asked with",
            2,
        )
    answered = open_answered(cache, world, llm.model, prompt)
    lookup = in_form(answered, teacher_form, cache, TeacherName(world.name, llm.model, prompt))

    def learn(text: str, found) -> Any:
        # Read back as a later run reads it, to the last bit.
        answered.add(text, found)
        return lookup(text)

    with build.builder(world, cache, llm, Wanted(wanted), terms) as builder:
        if not defer:
            ask = lambda text: None if (found := build.answer_of(builder, text)) is None else learn(text, found)
            yield distill.Teacher(world, lookup, ask), name, None
            return
        with deferred(builder) as questions:
            arrived = lambda: {text: learn(text, found) for text, found in questions.arrived().items()}
            yield distill.Teacher(world, lookup, questions.ask, arrived), name, questions
