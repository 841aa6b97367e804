"""Episodes moment by moment, and how they look in a terminal and in a GIF."""

import sys

import numpy as np
from PIL import Image
import pytest
from rich.console import Console
import torch

from askonce.cache.errors import AskonceError
from askonce.pipeline import tasks
from askonce.pipeline.tasks.gym_task import GymTask
from askonce.pipeline.tasks.task import action_names
from askonce.student.judging import evaluate
from askonce.student.learning import checkpoint, ppo
from askonce.student.learning.distill import Teacher
from askonce.student.learning.network import ActorCritic
from askonce.student.showing import animation, watch
from askonce.student.showing.screen import screen
from askonce.student.showing.watch import Frame
from tests.student.example import Episode, Script

POLE = GymTask(
    "CartPole",
    "CartPole-v1",
    prompt=None,
    action_names=("left", "right"),
    write=lambda pole: "left" if pole[2] < 0 else "right",
    options=lambda text: [f"push {text}"],
    act=lambda option, pole: int(option == "push right"),
)
ACTIONS = "left", "right", "a name far too long for the room that it has"


def keep(directory, task):
    torch.manual_seed(0)
    network = ActorCritic(task.view_size, task.action_space.n)
    adam = ppo.optimizer(network, ppo.Hyperparameters())
    checkpoint.save(directory, network, adam, {"task": task.name, "iteration": 1})
    return directory


@pytest.fixture(scope="module")
def door_key(tmp_path_factory):
    """SimpleDoorKey and the run of a student that has learnt nothing."""
    task = tasks.find("SimpleDoorKey")
    return task, keep(tmp_path_factory.mktemp("run"), task)


class Always:
    """A teacher that advises an action in every state, or has no answer."""

    def __init__(self, action: int | None):
        self.action = action

    def __call__(self, batch, running):
        assert batch.size == len(running) == 1
        policy = np.zeros((1, 7), np.float32)
        if self.action is not None:
            policy[0, self.action] = 1
        return policy


def played(task, run, teacher=None, episodes=2, seed=0) -> list[Frame]:
    return list(watch.frames(task, task.watched(), run, teacher, episodes, seed))


def test_frames_tell_what_was_done_and_what_came_of_it(door_key):
    task, run = door_key
    frames, batch = played(task, run), task.batch(1)
    layouts = task.seeds(2, 0, held_out=True)
    for number, layout in enumerate(layouts, start=1):
        *steps, last = [frame for frame in frames if frame.episode == number]
        batch.reset(np.array([0]), layouts[number - 1 : number])
        returned = 0.0
        for step, frame in enumerate(steps):
            assert (frame.layout, frame.step, frame.returned, frame.ended) == (layout, step, returned, False)
            assert frame.text == task.text(int(batch.situations[0]))
            assert frame.student.sum() == pytest.approx(1, abs=1e-6) and frame.student[frame.action] > 0
            reward, terminated, truncated = batch.step(np.array([frame.action]))
            returned += reward[0]
            assert (terminated | truncated)[0] == (step == len(steps) - 1)
        assert (last.ended, last.step, last.returned) == (True, len(steps), returned)
        assert last.student is last.teacher is last.action is None


def test_the_student_is_the_one_that_is_evaluated(door_key):
    task, run = door_key
    first, batch = played(task, run, episodes=1)[0], task.batch(1)
    batch.reset(np.array([0]), task.seeds(1, 0, held_out=True))
    act, rng, counts = evaluate.student(task, run), np.random.default_rng(0), np.zeros(7)
    for _ in range(2000):
        counts[act(batch, np.ones(1, dtype=bool), rng)] += 1
    # A share strays by more than five standard deviations once in 1.7 million.
    assert np.abs(counts / 2000 - first.student).max() <= 5 * 0.5 / 2000**0.5


def test_the_same_seed_plays_the_same_episodes(door_key):
    once, again, other = (
        [(frame.layout, frame.action) for frame in played(*door_key, seed=seed)] for seed in (1, 1, 2)
    )
    assert once == again != other


def test_the_teacher_is_asked_at_every_step(door_key):
    for frame in played(*door_key, Always(2), episodes=1)[:-1]:
        assert frame.teacher.tolist() == [0, 0, 1, 0, 0, 0, 0]
    assert all(frame.teacher is None for frame in played(*door_key, episodes=1))


def test_without_a_student_its_teacher_plays_alone(door_key):
    task, _ = door_key
    explore = Teacher(task, lambda text: {("explore",): 1.0})
    frame, *_ = played(task, None, explore, episodes=1)
    assert frame.student is None and frame.teacher[frame.action] == 1 and set(frame.policies) == {"teacher"}


def test_a_robot_is_shown_in_its_home():
    task = tasks.find("NavPick")
    shown, teacher = task.watched(), Teacher(task, lambda text: {("wait",): 1.0})
    frame = next(watch.frames(task, shown, None, teacher, 1, 0))
    assert frame.is_vector and (frame.action == task.idle_action).all() and not frame.teacher.any()
    assert list(frame.policies) == ["action", "teacher: no advice"]
    picture = shown.picture(animation.SIDE // 4)
    image = animation.draw(task.name, frame, picture, action_names(task))
    assert picture.shape[1] > 2 * picture.shape[0] and shown.fps == 10 and image.height > picture.shape[0]


def test_a_task_of_ones_own_shows_what_its_environment_draws(tmp_path):
    shown = POLE.watched()
    frame = next(watch.frames(POLE, shown, keep(tmp_path, POLE), None, 1, 0))
    assert shown.picture(100).shape[2] == 3 and shown.symbols is None and frame.holds is None
    assert frame.text in ("left", "right") and action_names(POLE) == ("left", "right")


def test_a_task_may_have_nothing_to_show_but_its_text():
    bare = Script((Episode((0.0,)),))
    shown = bare.watched()
    assert (shown.batch.size, shown.picture, shown.symbols, shown.holds) == (1, None, None, None)
    assert action_names(bare) == ("action 0", "action 1")


# ---- In a terminal -------------------------------------------------------------------------------


def moment(**changes) -> Frame:
    given = dict(
        episode=1,
        layout=0,
        step=3,
        returned=0.0,
        text="Agent sees [red] :key:.",
        holds="a red key",
        student=np.array([0.75, 0.25, 0.0]),
        teacher=np.array([0.0, 1.0, 0.0]),
        action=0,
    )
    return Frame(**given | changes)


def printed(frame: Frame, symbols=None) -> str:
    console = Console(width=80, markup=False, emoji=False, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(screen("Task", frame, symbols, ACTIONS))
    return captured.get()


def test_the_screen_shows_the_text_word_for_word_and_what_each_would_do():
    text = printed(moment())
    assert "Task  episode 1  step 3  return 0.00" in text
    assert "Agent sees [red] :key:." in text and "In hand: a red key" in text
    lines = text.splitlines()
    left, right = (next(line for line in lines if f"{name} " in line) for name in ("left", "right"))
    assert left.startswith("> ") and "0.75" in left and "0.00" in left
    assert not right.startswith(">") and "0.25" in right and "1.00" in right
    assert right.count("━") > left.count("━") > right.split("1.00")[0].count("━") > 0


def test_the_screen_says_where_there_is_no_teacher_no_answer_and_no_map():
    assert "teacher" not in printed(moment(teacher=None))
    assert "teacher: no advice" in printed(moment(teacher=np.zeros(3)))
    with_map = printed(moment(), [[("#", "grey"), ("k", "red")], [(">", "agent"), (".", "empty")]])
    assert "# k" in with_map and "> ." in with_map
    assert "success: return 0.75 in 9 steps" in printed(
        moment(student=None, teacher=None, action=None, returned=0.75, step=9, success=True)
    )


def test_a_vector_is_shown_by_how_far_each_number_is_from_zero():
    text = printed(moment(student=np.array([0.5, -1.0, 0.0]), teacher=None, action=np.array([0.5, -1.0, 0.0])))
    left, right = (next(line for line in text.splitlines() if f"{name} " in line) for name in ("left", "right"))
    assert "+0.50" in left and "-1.00" in right and not left.startswith(">")
    assert left.index("|") < left.index("━") and right.index("|") > right.rindex("━")


def test_without_a_student_the_action_taken_is_beside_its_teacher():
    text = printed(moment(student=None, teacher=np.zeros(3), action=np.ones(3)))
    assert "student" not in text and "action" in text and "teacher: no advice" in text


# ---- As a GIF ------------------------------------------------------------------------------------


def pixels(image: Image.Image, color: str) -> np.ndarray:
    """Where a colour is, (h, w) bool."""
    return (np.asarray(image) == np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])).all(axis=-1)


def longest_bar(image: Image.Image, color: str) -> int:
    start = animation.MARGIN + animation.BARS
    bars = pixels(image, color)[:, start : animation.MARGIN + animation.PANEL - animation.NUMBERS]
    return bars.sum(axis=1).max()


def test_bars_are_as_long_as_probabilities_say():
    sure = moment(student=np.array([1.0, 0, 0]))
    full = longest_bar(animation.draw("Task", sure, None, ACTIONS), animation.STUDENT)
    image = animation.draw("Task", moment(), None, ACTIONS)
    assert longest_bar(image, animation.STUDENT) == pytest.approx(0.75 * full, abs=2)
    assert longest_bar(image, animation.TEACHER) == pytest.approx(full, abs=2)
    assert not pixels(animation.draw("Task", moment(teacher=None), None, ACTIONS), animation.TEACHER).any()


def test_bars_of_vectors_are_left_or_right_of_the_middle():
    vector = np.array([-1.0, 0.5, 0.0])
    image = animation.draw("Task", moment(student=vector, action=vector, teacher=None), None, ACTIONS)
    middle = animation.MARGIN + animation.BARS + (animation.PANEL - animation.NUMBERS - animation.BARS) // 2
    rows = pixels(image, animation.STUDENT)[animation.MARGIN + 160 :]
    reach = slice(animation.MARGIN + animation.BARS, animation.MARGIN + animation.PANEL - animation.NUMBERS)
    to_left = rows[:, reach.start : middle].sum(axis=1).max()
    to_right = rows[:, middle + 1 : reach.stop].sum(axis=1).max()
    assert to_left == pytest.approx(2 * to_right, abs=3) and to_right > 50


@pytest.mark.parametrize(
    "actions, text, shape",
    [
        (1, "", None),
        (11, "word " * 200, (300, 750)),
        (3, "", (100, 1200)),
        (7, "short", (420, 420)),
        (18, "word " * 200, (400, 600)),
        (60, "x" * 500, (3, 5)),
    ],
)
def test_everything_stays_inside_the_picture(actions, text, shape):
    policy = np.full(actions, 1 / actions)
    frame = moment(text=text, student=policy, teacher=policy, action=actions - 1)
    picture = None if shape is None else np.full((*shape, 3), 200, np.uint8)
    image = animation.draw("Task", frame, picture, tuple(f"{ACTIONS[2]} {i}" for i in range(actions)))
    edge = np.asarray(image).copy()
    edge[1:-1, 1:-1] = 255
    assert (edge == 255).all()


FRAMES = [moment(step=0), moment(step=1), moment(step=2, student=None, action=None)]


def save(path) -> tuple[int, int]:
    """The size of what was saved."""
    images = [animation.draw("Task", frame, None, ACTIONS) for frame in FRAMES]
    animation.check(path)
    animation.save(path, ((image, frame.ended) for image, frame in zip(images, FRAMES)), frames_a_second=5)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    return images[0].size


def test_a_gif_holds_every_frame_and_rests_at_an_episodes_end(tmp_path):
    size = save(tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as gif:
        durations = []
        for number in range(gif.n_frames):
            gif.seek(number)
            durations.append(gif.info["duration"])
        assert durations == [200, 200, 2000] and gif.size == size


def test_an_mp4_holds_every_frame_and_rests_at_an_episodes_end(tmp_path):
    av = pytest.importorskip("av", reason="an MP4 needs PyAV")
    size = save(tmp_path / "a.mp4")
    with av.open(tmp_path / "a.mp4") as video:
        stream, images = video.streams.video[0], list(video.decode(video=0))
        assert stream.average_rate == 5 and len(images) == 2 + 10 and (stream.width, stream.height) == size


def test_what_cannot_be_written_is_said_before_an_effort_is_made(tmp_path, monkeypatch):
    with pytest.raises(AskonceError, match="GIFs and MP4s"):
        animation.check(tmp_path / "a.webm")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AskonceError, match="PyAV"):
        animation.check(tmp_path / "a.mp4")
