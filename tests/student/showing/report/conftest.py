"""A small cache with an audit and a run, made once for all tests of the report."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from askonce.cache.query import TeacherName
from askonce.cache.teachers import choose_teacher
from askonce.pipeline import build, tasks
from askonce.pipeline.answered import open_answered
from askonce.pipeline.llm import LLM
from askonce.pipeline.questions import Wanted
from askonce.student.learning import distill
from askonce.student.learning.train import Settings, train
from askonce.student.showing.report import gather
from tests.student.showing.report import example

TASK = "ColoredDoorKey"
EPISODES = 50


@pytest.fixture(scope="session", autouse=True)
def short_rollouts():
    """A coverage that no build kept is over no more episodes than the cache was built from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gather, "EPISODES", EPISODES)
        yield


@dataclass(frozen=True)
class Made:
    cache: Path
    run: Path
    teacher: TeacherName


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Made:
    """To be read, not written."""
    home, task = tmp_path_factory.mktemp("report"), tasks.find(TASK)
    cache, run = home / "cache", home / "run"
    build.build_cache(task, cache, LLM(), EPISODES, Wanted(8))
    teacher = choose_teacher(cache, TASK, None)
    lookup = open_answered(cache, task, teacher.model, teacher.prompt)
    about = {"method": "llm4teach", "teacher": teacher.name, "teacher_form": "soft"}
    train(task, distill.Teacher(task, lookup), Settings(iterations=10), run, about=about)
    example.write_audit(cache, teacher)
    example.write_student(cache, teacher, run, ("unlearned", "kept"))
    return Made(cache, run, teacher)
