"""Several pictures in one, in rows, with a label above each."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

GAP, PAPER, INK = 12, "#ffffff", "#1d1f21"
LABEL_PART = 24  # a label is this part of the picture's side high, within limits
SMALLEST, LARGEST = 11, 32

Labelled = tuple[str, Image.Image]


def sheet(rows: Sequence[Sequence[Labelled]]) -> Image.Image:
    """Pictures of one size in rows. Labels are ASCII: the font that comes with Pillow has no other letters."""
    width, height = rows[0][0][1].size
    size = min(max(width // LABEL_PART, SMALLEST), LARGEST)
    font, line = ImageFont.load_default(size), 2 * size
    columns = max(len(row) for row in rows)
    paper = Image.new("RGB", (GAP + columns * (width + GAP), len(rows) * (line + height) + GAP), PAPER)
    draw = ImageDraw.Draw(paper)
    for down, row in enumerate(rows):
        for across, (label, picture) in enumerate(row):
            left, top = GAP + across * (width + GAP), down * (line + height)
            draw.text((left, top + line // 2), label, fill=INK, font=font, anchor="lm")
            paper.paste(picture, (left, top + line))
    return paper


def strength_label(strength: float) -> str:
    """As in "without" or "strength 0.8"."""
    return f"strength {strength:g}" if strength else "without"
