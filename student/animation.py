"""Frames of `watch` as a GIF: the world, and beside it what the student and its teacher would do."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
import textwrap

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cache import durable
from student.watch import Frame

# Pixels of the finished picture.
SIDE, MARGIN, PANEL = 420, 20, 400
PAPER, INK, PALE, TRACK = "#ffffff", "#30343b", "#6c727d", "#eceef1"
STUDENT, TEACHER = "#0b6e99", "#c2571a"
TITLE, TEXT, LABEL = 22, 18, 17
LINE = 24
# The longest text that is shown, in lines of so many letters.
LINES, LETTERS = 3, 40
# The tallest row of bars, the room for an action's name before them and for numbers after them.
ROW, BARS, NUMBERS = 34, 112, 48
# Less would be written as 0.00.
SHOWN = 0.005
COLORS = 128
LAST_FRAME_SECONDS = 2.0


def draw(title: str, frame: Frame, picture: np.ndarray | None, actions: tuple[str, ...]) -> Image.Image:
    """One frame, RGB; `picture` is (h, w, 3) uint8, None for the panel alone."""
    left = MARGIN if picture is None else SIDE + 2 * MARGIN
    image = Image.new("RGB", (left + PANEL + MARGIN, SIDE + 2 * MARGIN), PAPER)
    if picture is not None:
        image.paste(*_fitted(picture))
    canvas = ImageDraw.Draw(image)
    canvas.text((left, MARGIN - 4), title, INK, _font(TITLE, bold=True))
    canvas.text((left, MARGIN + 28), _status(frame), PALE, _font(LABEL))
    top = _text(canvas, left, MARGIN + 62, frame)
    if frame.ended:
        _result(canvas, left, top, frame)
    else:
        _bars(canvas, left, top, frame, actions)
    return image


def save(path: Path, images: Iterable[Image.Image], ended: Iterable[bool], frames_a_second: float) -> None:
    """Writes a GIF that repeats for ever; an episode's end stays for two seconds."""
    images = [image.quantize(COLORS, dither=Image.Dither.NONE) for image in images]
    durations = [round(1000 * (LAST_FRAME_SECONDS if end else 1 / frames_a_second)) for end in ended]
    with durable.unfinished(path.parent) as temporary:
        images[0].save(
            temporary, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0,
            optimize=True,
        )
        durable.rename(temporary, path)


def _status(frame: Frame) -> str:
    return f"episode {frame.episode}    step {frame.step}    return {frame.returned:.2f}"


def _fitted(picture: np.ndarray) -> tuple[Image.Image, tuple[int, int]]:
    """The picture, scaled where it is not drawn to size, and where it goes."""
    image = Image.fromarray(np.asarray(picture, np.uint8))
    if max(image.size) > SIDE or max(image.size) < SIDE // 2:
        scale = SIDE / max(image.size)
        size = [max(round(length * scale), 1) for length in image.size]
        image = image.resize(size, Image.Resampling.LANCZOS)
    return image, (MARGIN + (SIDE - image.width) // 2, MARGIN + (SIDE - image.height) // 2)


def _text(canvas: ImageDraw.ImageDraw, left: int, top: int, frame: Frame) -> int:
    """Writes what the LLM is told and what is held; returns where it ends."""
    lines = textwrap.wrap(frame.text, LETTERS, max_lines=LINES, placeholder=" …")
    for line in lines:
        canvas.text((left, top), _cut(line, _font(TEXT), PANEL), INK, _font(TEXT))
        top += LINE
    if frame.holds is not None:
        canvas.text((left, top), f"In hand: {frame.holds}", PALE, _font(LABEL))
        top += LINE
    return top + 8


def _bars(canvas: ImageDraw.ImageDraw, left: int, top: int, frame: Frame, actions: tuple[str, ...]) -> None:
    top = _legend(canvas, left, top, frame)
    height = min(ROW, (SIDE + MARGIN - top) // len(actions))
    font = _font(min(LABEL, max(height - 6, 8)))
    for action, name in enumerate(actions):
        chosen = action == frame.action
        middle = top + action * height + height // 2
        canvas.text(
            (left, middle), _cut(name, font, BARS - 8), INK if chosen else PALE,
            _font(font.size, bold=True) if chosen else font, anchor="lm",
        )
        both = [(STUDENT, frame.student)] + ([(TEACHER, frame.teacher)] if frame.teacher is not None else [])
        thickness = max((height - 6) // len(both), 2)
        for i, (color, policy) in enumerate(both):
            start = middle - (thickness * len(both)) // 2 + i * thickness
            _bar(canvas, left, start, thickness, float(policy[action]), color)


def _bar(
    canvas: ImageDraw.ImageDraw, left: int, top: int, thickness: int, probability: float, color: str,
) -> None:
    start, end = left + BARS, left + PANEL - NUMBERS
    # The last row and column of a rectangle are part of it; one row stays free between two bars.
    canvas.rectangle((start, top, end, top + thickness - 2), TRACK)
    if probability >= SHOWN:
        canvas.rectangle((start, top, start + round(probability * (end - start)), top + thickness - 2), color)
        font = _font(min(13, max(thickness, 7)))
        canvas.text((left + PANEL, top + thickness // 2), f"{probability:.2f}", color, font, anchor="rm")


def _legend(canvas: ImageDraw.ImageDraw, left: int, top: int, frame: Frame) -> int:
    x, font, names = left + BARS, _font(LABEL, bold=True), [("student", STUDENT)]
    if frame.teacher is not None:
        names.append(("teacher" if frame.teacher.any() else "teacher: no answer", TEACHER))
    for name, color in names:
        canvas.text((x, top), name, color, font)
        x += round(font.getlength(name)) + 24
    return top + LINE + 4


def _result(canvas: ImageDraw.ImageDraw, left: int, top: int, frame: Frame) -> None:
    words, color = ("Success", STUDENT) if frame.returned > 0 else ("No success", TEACHER)
    canvas.text((left, top + 30), words, color, _font(34, bold=True))
    canvas.text((left, top + 78), f"return {frame.returned:.2f} in {frame.step} steps", INK, _font(TEXT))


def _cut(words: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    """As much as there is room for."""
    while font.getlength(words) > room:
        words = words.rstrip("…")[:-1] + "…"
    return words


@lru_cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib."""
    name = f"DejaVuSans{'-Bold' if bold else ''}.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
