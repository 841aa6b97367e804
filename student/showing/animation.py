"""Frames of `watch` as a GIF or an MP4: the world, and beside or below it what the student and its teacher would do."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
import textwrap

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from askonce.cache import durable
from askonce.cache.errors import AskonceError
from askonce.pipeline.tasks.task import Task, Watched, action_names
from askonce.student.showing.watch import Frame

# Pixels of the finished picture.
SIDE, MARGIN, PANEL = 420, 20, 400
# A picture so many times as wide as high has its panel below it, with rows so low, and no lower than what a result takes.
WIDE, LOW_ROW, LOWEST = 1.5, 24, 120
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
    """One frame, RGB; `picture` is (h, w, 3) uint8, None for the panel alone. Below a wide one the panel is in two
    columns."""
    if picture is not None and picture.shape[1] > WIDE * picture.shape[0]:
        return _below(title, frame, picture, actions)
    left = MARGIN if picture is None else SIDE + 2 * MARGIN
    image = Image.new("RGB", (left + PANEL + MARGIN, SIDE + 2 * MARGIN), PAPER)
    if picture is not None:
        image.paste(*_fitted(picture))
    canvas = ImageDraw.Draw(image)
    top = _words(canvas, left, MARGIN - 4, title, frame)
    _deciding(canvas, left, top, SIDE + MARGIN, frame, actions)
    return image


def _below(title: str, frame: Frame, picture: np.ndarray, actions: tuple[str, ...]) -> Image.Image:
    height, width = picture.shape[:2]
    room = max(width, 2 * PANEL + MARGIN)
    panel = height + 2 * MARGIN
    bottom = panel + LINE + 8 + max(LOW_ROW * len(actions), LOWEST)
    image = Image.new("RGB", (room + 2 * MARGIN, bottom + MARGIN), PAPER)
    image.paste(Image.fromarray(np.asarray(picture, np.uint8)), (MARGIN + (room - width) // 2, MARGIN))
    canvas = ImageDraw.Draw(image)
    _words(canvas, MARGIN, panel - 4, title, frame)
    _deciding(canvas, MARGIN + room - PANEL, panel, bottom, frame, actions)
    return image


def check(path: Path) -> None:
    """Whether `save` can write it, before an effort is made. AskonceError where it cannot."""
    if path.suffix.lower() not in (".gif", ".mp4"):
        raise AskonceError(f"{path}: watch writes GIFs and MP4s, name it *.gif or *.mp4", 2)
    if path.suffix.lower() == ".mp4":
        try:
            import av  # noqa: F401
        except ImportError:
            raise AskonceError("an MP4 needs PyAV: pip install 'askonce[video]', or name it *.gif") from None


def film(task: Task, shown: Watched, frames: Iterable[Frame], to: Path, frames_a_second: float) -> list[Frame]:
    """Writes the frames of `watch` as a GIF or an MP4, and returns them."""
    kept, actions = [], action_names(task)

    def drawn() -> Iterator[tuple[Image.Image, bool]]:
        for frame in frames:
            picture = shown.picture and shown.picture(SIDE)
            kept.append(frame)
            yield draw(task.name, frame, picture, actions), frame.ended

    save(to, drawn(), frames_a_second)
    return kept


def save(path: Path, frames: Iterable[tuple[Image.Image, bool]], frames_a_second: float) -> None:
    """Writes images, each with whether it is an episode's last, which stays for two seconds. A GIF repeats for ever."""
    write = _write_mp4 if path.suffix.lower() == ".mp4" else _write_gif
    with durable.unfinished(path.parent) as temporary:
        write(temporary, frames, frames_a_second)
        durable.rename(temporary, path)


def _write_gif(path: Path, frames: Iterable[tuple[Image.Image, bool]], frames_a_second: float) -> None:
    def images() -> Iterator[Image.Image]:
        for image, end in frames:
            image = image.quantize(COLORS, dither=Image.Dither.NONE)
            image.info["duration"] = round(1000 * (LAST_FRAME_SECONDS if end else 1 / frames_a_second))
            yield image

    others = images()
    next(others).save(path, "GIF", save_all=True, append_images=others, loop=0, optimize=True)


def _write_mp4(path: Path, frames: Iterable[tuple[Image.Image, bool]], frames_a_second: float) -> None:
    import av

    with av.open(str(path), "w", format="mp4") as video:
        stream = None
        for image, end in frames:
            # Colours are shared by 2 × 2 pixels.
            image = image.crop((0, 0, image.width // 2 * 2, image.height // 2 * 2))
            if stream is None:
                stream = video.add_stream("libx264", Fraction(frames_a_second).limit_denominator(1000))
                stream.width, stream.height, stream.pix_fmt = *image.size, "yuv420p"
            for _ in range(max(round(LAST_FRAME_SECONDS * frames_a_second), 1) if end else 1):
                video.mux(stream.encode(av.VideoFrame.from_image(image)))
        video.mux(stream.encode(None))


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


def _words(canvas: ImageDraw.ImageDraw, left: int, top: int, title: str, frame: Frame) -> int:
    """Writes how far it is, what the LLM is told and what is held; returns where that ends."""
    canvas.text((left, top), title, INK, _font(TITLE, bold=True))
    canvas.text((left, top + 32), _status(frame), PALE, _font(LABEL))
    top += 66
    lines = textwrap.wrap(frame.text, LETTERS, max_lines=LINES, placeholder=" …")
    for line in lines:
        canvas.text((left, top), _cut(line, _font(TEXT), PANEL), INK, _font(TEXT))
        top += LINE
    if frame.holds is not None:
        canvas.text((left, top), f"In hand: {frame.holds}", PALE, _font(LABEL))
        top += LINE
    return top + 8


def _deciding(
    canvas: ImageDraw.ImageDraw, left: int, top: int, bottom: int, frame: Frame, actions: tuple[str, ...]
) -> None:
    if frame.ended:
        _result(canvas, left, top, frame)
    else:
        _bars(canvas, left, top, bottom, frame, actions)


def _bars(
    canvas: ImageDraw.ImageDraw, left: int, top: int, bottom: int, frame: Frame, actions: tuple[str, ...]
) -> None:
    top = _legend(canvas, left, top, frame)
    height = min(ROW, (bottom - top) // len(actions))
    font = _font(min(LABEL, max(height - 6, 8)))
    draw_bar = _signed_bar if frame.is_vector else _bar
    for action, name in enumerate(actions):
        chosen = not frame.is_vector and action == frame.action
        middle = top + action * height + height // 2
        canvas.text(
            (left, middle),
            _cut(name, font, BARS - 8),
            INK if chosen else PALE,
            _font(font.size, bold=True) if chosen else font,
            anchor="lm",
        )
        thickness = max((height - 6) // len(frame.policies), 2)
        for i, (who, policy) in enumerate(frame.policies.items()):
            start = middle - (thickness * len(frame.policies)) // 2 + i * thickness
            draw_bar(canvas, left, start, thickness, float(policy[action]), _color(who))


def _bar(canvas: ImageDraw.ImageDraw, left: int, top: int, thickness: int, probability: float, color: str) -> None:
    start, end = left + BARS, left + PANEL - NUMBERS
    # The last row and column of a rectangle are part of it; one row stays free between two bars.
    canvas.rectangle((start, top, end, top + thickness - 2), TRACK)
    if probability >= SHOWN:
        canvas.rectangle((start, top, start + round(probability * (end - start)), top + thickness - 2), color)
        font = _font(min(13, max(thickness, 7)))
        canvas.text((left + PANEL, top + thickness // 2), f"{probability:.2f}", color, font, anchor="rm")


def _signed_bar(canvas: ImageDraw.ImageDraw, left: int, top: int, thickness: int, value: float, color: str) -> None:
    """Of a number in [−1, 1], from the middle to its side."""
    start, end = left + BARS, left + PANEL - NUMBERS
    middle = (start + end) // 2
    canvas.rectangle((start, top, end, top + thickness - 2), TRACK)
    there = middle + round(max(-1.0, min(1.0, value)) * (end - start) / 2)
    canvas.rectangle((min(middle, there), top, max(middle, there), top + thickness - 2), color)
    font = _font(min(13, max(thickness, 7)))
    canvas.text((left + PANEL, top + thickness // 2), f"{value:+.2f}", color, font, anchor="rm")


def _color(who: str) -> str:
    return TEACHER if who.startswith("teacher") else STUDENT


def _legend(canvas: ImageDraw.ImageDraw, left: int, top: int, frame: Frame) -> int:
    x, font = left + BARS, _font(LABEL, bold=True)
    for name in frame.policies:
        canvas.text((x, top), name, _color(name), font)
        x += round(font.getlength(name)) + 24
    return top + LINE + 4


def _result(canvas: ImageDraw.ImageDraw, left: int, top: int, frame: Frame) -> None:
    words, color = ("Success", STUDENT) if frame.success else ("No success", TEACHER)
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
