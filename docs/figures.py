"""Draws the README's picture: an agent in ColoredDoorKey, and a student passing its teacher.

    python docs/figures.py --run RUN --cache CACHE --out docs/learning.png

RUN is a `cli train` run of ColoredDoorKey, CACHE the cache it was trained from.
"""

from pathlib import Path
from typing import Annotated

import gymnasium
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import typer

from askonce.cache.teachers import choose_teacher
from askonce.pipeline import tasks
from askonce.student.judging.evaluate import evaluate, teacher
from askonce.student.learning.forms import lookup_of
from askonce.student.reproducing.figures import SMOOTHED_OVER, smooth
from askonce.student.showing import curves

EPISODES = 1000
INK, STUDENT, TEACHER = "#30343b", "#0b6e99", "#c2571a"


def scene(task, actions: str) -> np.ndarray:
    """The agent after some turns and steps, with what it has seen lit up."""
    env = gymnasium.make(task.env_id, render_mode="rgb_array", tile_size=32).unwrapped
    env.reset(seed=13)
    for action in actions:
        env.step("lrfpdt".index(action))
    width, height = env.room
    return env.render()[: height * 32, : width * 32]


def main(
    run: Annotated[Path, typer.Option()],
    cache: Annotated[Path, typer.Option()],
    out: Annotated[Path, typer.Option()] = Path("docs/learning.png"),
    actions: str = "ffllffrff",
) -> None:
    task = tasks.find("ColoredDoorKey")
    answered = lookup_of(task, cache, choose_teacher(cache, task.name, None))
    alone = evaluate(task, teacher(task, answered), EPISODES, seed=0)

    plt.rcParams.update(
        {
            "font.size": 11,
            "axes.edgecolor": INK,
            "text.color": INK,
            "axes.labelcolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "font.family": "DejaVu Sans",
        }
    )
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.4, 4.1), width_ratios=(1, 1.55), layout="constrained")
    left.imshow(scene(task, actions))
    left.set_axis_off()
    left.set_title("Lit: what the agent has seen so far", fontsize=11)
    columns = curves.read(run)
    steps = columns["env_steps"] / 1000
    right.plot(steps, smooth(columns["return"], SMOOTHED_OVER), color=STUDENT, linewidth=2)
    right.axhline(alone.return_mean, color=TEACHER, linestyle=(0, (5, 3)), linewidth=2)
    right.set(xlabel="environment steps (thousands)", ylabel="mean return", ylim=(0, 1), xlim=(0, steps[-1]))
    right.text(steps[-1] * 0.985, alone.return_mean - 0.03, "LLM alone", color=TEACHER, ha="right", va="top")
    right.text(steps[-1] * 0.985, 0.9, "student, trained from the LLM's cached answers", color=STUDENT, ha="right")
    right.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=130)


if __name__ == "__main__":
    typer.run(main)
