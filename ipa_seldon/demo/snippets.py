"""Grey images of short text lines, rendered from a seed, so that what they say is known.

Fonts are Pillow's own and those that matplotlib ships: the same pictures on every machine, without system fonts.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ipa_seldon.demo.vocabulary import WORDS

WIDTH, HEIGHT = 480, 160
MARGIN = 24
"""Pixels kept free left and right, so that no line leaves the picture when it is turned."""
GAP = (1, 10)
"""Pixels between two lines."""
SIZES = (13, 30)
"""Font sizes in pixels."""
ROTATION = 4.0
"""Largest rotation, in degrees."""
BLUR = 1.5
"""Largest radius of the blur, in pixels."""
NOISE = (2.0, 12.0)
"""Standard deviation of the noise, in grey levels."""
FONTS = (
    None,  # Pillow's own
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSans-Oblique.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "STIXGeneral.ttf",
    "STIXGeneralBol.ttf",
)
LINE_HEIGHT, LINE_WIDTH = 48, 640
"""Pixels: the height of a line that was cut out, and the most of its width."""
CUT = (0.16, 0.3)
"""How far a cut reaches beyond the letters, across and down, in heights of the line: the medians of what the text
pipeline's best detector cuts out of pictures that are not turned."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels of the picture."""


@dataclass(frozen=True)
class Snippet:
    """``png`` is a grey PNG of WIDTH x HEIGHT, ``lines`` what it says, from top to bottom."""

    png: bytes
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Cuttings:
    """The lines of one picture, cut out: a grey PNG of LINE_HEIGHT for each, and what it says, from top to bottom."""

    pngs: tuple[bytes, ...]
    lines: tuple[str, ...]


@cache
def snippet(seed: int, index: int) -> Snippet:
    """The ``index``-th picture of ``seed``, always the same; kept in memory once rendered (a few ms, some 40 kB)."""
    random = np.random.default_rng((seed, index))
    paper, lines, _ = _print_lines(random, ROTATION)
    return Snippet(_png(_ink(random, paper)), lines)


@cache
def cuttings(seed: int, index: int) -> Cuttings:
    """The lines of ``snippet(seed, index)`` before it was turned, as a good detector would cut them out; kept, too."""
    random = np.random.default_rng((seed, index))
    paper, lines, boxes = _print_lines(random, 0.0)
    ink = _ink(random, paper)
    return Cuttings(tuple(_png(_cut(ink, box)) for box in boxes), lines)


def matched(expected: Sequence[str], read: Sequence[str]) -> int:
    """How many of the expected lines were read exactly, each as often as it is expected."""
    return (Counter(expected) & Counter(read)).total()


def _print_lines(random: Generator, rotation: float) -> tuple[Image.Image, tuple[str, ...], tuple[Box, ...]]:
    """Black (0) paper with white (255) text, turned by up to ``rotation`` degrees and blurred; the text; and where its
    letters were before they were turned.
    """
    size = int(random.integers(SIZES[0], SIZES[1] + 1))
    font = _font(FONTS[random.integers(len(FONTS))], size)
    lines = tuple(_line(random, font) for _ in range(random.integers(1, 3)))
    gap = int(random.integers(*GAP))
    room = HEIGHT - len(lines) * size - (len(lines) - 1) * gap
    top = room // 2 + int(random.integers(-room // 5, room // 5 + 1))
    paper = Image.new("L", (WIDTH, HEIGHT))
    draw = ImageDraw.Draw(paper)
    boxes = []
    for line in lines:
        slack = WIDTH - 2 * MARGIN - round(font.getlength(line))
        start = MARGIN + int(random.integers(slack + 1)), top + size
        draw.text(start, line, fill=255, font=font, anchor="ls")
        boxes.append(draw.textbbox(start, line, font=font, anchor="ls"))
        top += size + gap
    paper = paper.rotate(random.uniform(-rotation, rotation), Image.Resampling.BICUBIC)
    return paper.filter(ImageFilter.GaussianBlur(random.uniform(0, BLUR))), lines, tuple(boxes)


def _cut(picture: Image.Image, box: Box) -> Image.Image:
    """What is in the box and a little around it, LINE_HEIGHT high."""
    left, top, right, bottom = box
    across, down = (part * (bottom - top) for part in CUT)
    left, top = max(left - across, 0.0), max(top - down, 0.0)
    right, bottom = min(right + across, WIDTH), min(bottom + down, HEIGHT)
    width = min(round((right - left) * LINE_HEIGHT / (bottom - top)), LINE_WIDTH)
    return picture.resize((width, LINE_HEIGHT), Image.Resampling.BICUBIC, box=(left, top, right, bottom))


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="png", compress_level=1)
    return buffer.getvalue()


def _line(random: Generator, font: ImageFont.FreeTypeFont) -> str:
    """One to five words or numbers that fit between the margins."""
    line = _word(random)
    for _ in range(random.integers(0, 5)):
        longer = f"{line} {_word(random)}"
        if font.getlength(longer) > WIDTH - 2 * MARGIN:
            break
        line = longer
    return line


def _word(random: Generator) -> str:
    kind = random.integers(10)
    if kind < 7:
        word = str(random.choice(WORDS))
        return (word, word.capitalize(), word.upper())[random.integers(3)]
    number = int(random.integers(10, 10_000))
    return (str(number), f"{number / 100:.2f}", f"{random.integers(1, 24)}:{random.integers(10, 60)}")[kind - 7]


def _ink(random: Generator, paper: Image.Image) -> Image.Image:
    """Dark text on light paper or the reverse, with uneven light and noise."""
    light = random.uniform(110, 235)
    dark = light - random.uniform(50, light)
    if random.random() < 0.25:
        light, dark = dark, light
    text = np.asarray(paper, np.float64) / 255
    grey = light + (dark - light) * text
    across, down = np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT)[:, np.newaxis]
    grey *= 1 + random.uniform(-0.2, 0.2) * across + random.uniform(-0.2, 0.2) * down
    grey += random.normal(0, random.uniform(*NOISE), grey.shape)
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))


@cache
def _font(name: str | None, size: int) -> ImageFont.FreeTypeFont:
    if name is None:
        font = ImageFont.load_default(size)
        if not isinstance(font, ImageFont.FreeTypeFont):
            raise TypeError("Pillow was built without FreeType; the demo needs a Pillow that can scale fonts")
        return font
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), size)
