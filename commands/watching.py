"""`cli watch`."""

from itertools import groupby
from pathlib import Path
import time
from typing import Annotated, Any

import typer

from askonce.cache.errors import AskonceError
from askonce.commands.flags import Json, Model, Seed, Simulator, TaskOfRun, TeacherForm
from askonce.commands.runs import check_target, task_of
from askonce.commands.show import going_on, out, print_json


def watch(
    run: Annotated[
        Path | None, typer.Option(help="The run's directory; without one the teacher of --cache plays alone.")
    ] = None,
    task: TaskOfRun = None,
    cache: Annotated[Path | None, typer.Option(help="Show this cache's teacher beside the student.")] = None,
    model: Model = None,
    teacher_form: TeacherForm = "soft",
    simulator: Simulator = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to play.")] = 3,
    seed: Seed = 0,
    to: Annotated[Path | None, typer.Option(help="Write a GIF or an MP4 instead of playing in the terminal.")] = None,
    fps: Annotated[
        float | None,
        typer.Option(min=0.1, max=50, help="Steps shown a second; default 4, of NavPick 10, which is real time."),
    ] = None,
    json: Json = False,
) -> None:
    """Play held-out episodes of a student or of its teacher, with what they think of every action."""
    import askonce
    from askonce.student.showing import animation

    if to:
        animation.check(to)
        check_target(to)
    if run is None and (task is None or cache is None):
        raise AskonceError("name a student by --run DIR, or a teacher by --task NAME and --cache DIR", 2)
    world = task_of(run, task, simulator) if run else askonce.find_task(task, simulator)
    shown = world.watched()
    of_whom = {"run": run, "cache": cache, "model": model, "teacher_form": teacher_form}
    frames, fps = askonce.watch(world, shown, **of_whom, episodes=episodes, seed=seed), fps or shown.fps
    if to:
        kept = animation.film(world, shown, frames, to, fps)
    elif json:
        kept = list(frames)
    else:
        return _play(world, shown, frames, fps)
    played = _played(world, kept)
    if json:
        return print_json({"task": world.name, "run": run and str(run), "to": to and str(to), "episodes": played})
    out.print(f"{to}: {len(played)} episodes, {to.stat().st_size:,} bytes", soft_wrap=True)


def _play(world, shown, frames, fps: float) -> None:
    """Frame over frame in a terminal, one after another elsewhere; each episode's last frame stays."""
    from askonce.pipeline.tasks.task import action_names
    from askonce.student.showing.screen import screen

    actions, bar = action_names(world), "━" if out.encoding.startswith("utf") else "="
    view = lambda frame: screen(world.name, frame, shown.symbols and shown.symbols(), actions, bar)
    if not out.is_terminal:
        for frame in frames:
            out.print(view(frame))
        return
    from rich.live import Live

    with going_on("watch again with the same --seed for the same episodes"):
        for _, episode in groupby(frames, lambda frame: frame.episode):
            with Live(console=out, auto_refresh=False) as live:
                for frame in episode:
                    live.update(view(frame), refresh=True)
                    time.sleep(1 / fps)


def _played(world, frames) -> list[dict[str, Any]]:
    """Each episode with its figures and, step by step, who would have done what."""
    from askonce.pipeline.tasks.task import action_names

    actions = action_names(world)
    by_action = lambda policy: None if policy is None else dict(zip(actions, map(float, policy)))
    taken = lambda frame: by_action(frame.action) if frame.is_vector else actions[frame.action]
    played = []
    for _, episode in groupby(frames, lambda frame: frame.episode):
        *steps, last = episode
        played.append(
            {
                "layout": last.layout,
                "length": last.step,
                "return": last.returned,
                "success": last.success,
                "steps": [
                    {
                        "text": frame.text,
                        "holds": frame.holds,
                        "action": taken(frame),
                        "student": by_action(frame.student),
                        "teacher": by_action(frame.teacher),
                    }
                    for frame in steps
                ],
            }
        )
    return played
