"""The profile accounts for the whole run, and looking changes nothing."""

from time import sleep

import pytest

from askonce.pipeline import tasks
from askonce.student.learning import profile
from askonce.student.learning.anneal import Schedule
from askonce.student.learning.distill import Teacher
from askonce.student.learning.profile import Laps
from askonce.student.learning.train import Settings, train
from tests.student.example import PERFECT, Episode, Script


def test_a_lap_begins_where_the_one_before_it_ended():
    laps = Laps()
    sleep(0.02)
    laps.end("first")
    laps.end("second")
    laps.end("first")
    assert laps.seconds["first"] >= 0.02 and laps.seconds.total() < 10 and set(laps.seconds) == {"first", "second"}


@pytest.mark.parametrize("closed, asked", [(5, True), (0, False)])
def test_its_parts_add_up_to_the_run_and_its_episodes_are_not_counted(closed, asked):
    task = tasks.find("LavaDoorKey")
    partial = {text: found for text, found in PERFECT.items() if "door" not in text}
    teacher, laps = Teacher(task, partial.get), Laps()
    network, _ = train(
        task, teacher, Settings(iterations=5, distill_coef=Schedule(final_from=0, zero_from=closed)), laps=laps
    )
    before = teacher.hits, dict(teacher.missing)
    found = profile.breakdown(laps, task, network, teacher)
    assert sum(found.values()) == pytest.approx(laps.seconds.total())
    assert (teacher.hits, teacher.missing) == before
    assert min(found.values()) >= 0 and (asked or found["playing: teacher"] == 0)
    assert found["playing: network"] > 0 and found["playing: view"] > 0 and found["learning"] > 0


def test_it_takes_a_task_that_is_not_compiled():
    class Named(Script):
        name = "Script"

        def plans(self, distributions):
            return None

    task, laps = Named((Episode((0.0, 0.0, 1.0)),) * 200), Laps()
    alone = Settings(iterations=2, distill_coef=Schedule(final_from=0, zero_from=0))
    network, _ = train(task, Teacher(task, {}.get), alone, laps=laps)
    found = profile.breakdown(laps, task, network, Teacher(task, {}.get))
    assert sum(found.values()) == pytest.approx(laps.seconds.total())
