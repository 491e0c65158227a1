"""Captioned scenes of one object, drawn by rule and read back by rule.

A scene is a shape of one colour at one place on one background, 64 x 64 pixels. `draw` makes the
picture, `caption` the words, and `read` recovers the scene from any picture of that size by
comparing it with drawn templates: no network is involved, so it can judge what a network drew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SIZE = 64
OVERSAMPLE = 4

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "green": (40, 160, 70),
    "blue": (45, 85, 215),
    "yellow": (242, 205, 40),
    "purple": (145, 55, 175),
    "cyan": (40, 190, 210),
}
BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (245, 245, 242),
    "grey": (150, 150, 150),
    "black": (22, 22, 24),
}
PLACES: dict[str, float] = {"left": 20.0, "middle": 32.0, "right": 44.0}  # centre x, pixels
PLACE_EDGES = (26.0, 38.0)  # centre x at which left becomes middle, and middle right

BASE_SHAPES = ("circle", "square", "triangle", "cross")
CONCEPT_WORD = "wuzzle"  # the base model has seen neither this word nor its shape, a ring
CONCEPT_COLOURS = ("red", "green", "blue", "yellow")  # the colours that the concept comes in
SHAPES = (*BASE_SHAPES, CONCEPT_WORD)

MIN_CONTRAST = 48  # of 255, in the strongest channel: below it a pixel belongs to the background
MIN_AREA = 80  # pixels; smaller blobs are noise, not an object
MIN_OVERLAP = 0.72  # intersection over union with the best template; below it: no known shape


@dataclass(frozen=True)
class Scene:
    """What a picture shows. x, y: centre, radius: half the side of the bounding box, in pixels."""

    shape: str
    colour: str
    place: str
    background: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Reading:
    """What `read` saw; a part is None where nothing known was recognised.

    overlap: intersection over union of the object with the template of `shape`, in [0, 1]; y: centre of the object in
    pixels of SIZE from the top.
    """

    shape: str | None
    colour: str | None
    place: str | None
    background: str
    overlap: float
    y: float | None = None

    def agrees(self, scene: Scene) -> bool:
        """Shape and colour are both right."""
        return self.shape == scene.shape and self.colour == scene.colour


def _cross(draw: ImageDraw.ImageDraw, x: float, y: float, r: float) -> None:
    arm = r * 0.38
    draw.rectangle((x - r, y - arm, x + r, y + arm), fill=255)
    draw.rectangle((x - arm, y - r, x + arm, y + r), fill=255)


def _ring(draw: ImageDraw.ImageDraw, x: float, y: float, r: float) -> None:
    hole = r * 0.55
    draw.ellipse((x - r, y - r, x + r, y + r), fill=255)
    draw.ellipse((x - hole, y - hole, x + hole, y + hole), fill=0)


_PAINT: dict[str, Callable[[ImageDraw.ImageDraw, float, float, float], None]] = {
    "circle": lambda d, x, y, r: d.ellipse((x - r, y - r, x + r, y + r), fill=255),
    "square": lambda d, x, y, r: d.rectangle((x - r, y - r, x + r, y + r), fill=255),
    "triangle": lambda d, x, y, r: d.polygon([(x, y - r), (x + r, y + r), (x - r, y + r)], fill=255),
    "cross": _cross,
    CONCEPT_WORD: _ring,
}


def _mask(shape: str, x: float, y: float, radius: float) -> Image.Image:
    """Coverage of the shape, antialiased, [SIZE, SIZE] in 0..255."""
    k = OVERSAMPLE
    canvas = Image.new("L", (SIZE * k, SIZE * k), 0)
    _PAINT[shape](ImageDraw.Draw(canvas), x * k, y * k, radius * k)
    return canvas.resize((SIZE, SIZE), Image.Resampling.BOX)


def draw(scene: Scene) -> Image.Image:
    """The picture of a scene, RGB, SIZE x SIZE."""
    picture = Image.new("RGB", (SIZE, SIZE), BACKGROUNDS[scene.background])
    picture.paste(COLOURS[scene.colour], mask=_mask(scene.shape, scene.x, scene.y, scene.radius))
    return picture


def sample_scene(
    rng: np.random.Generator, shapes: tuple[str, ...] = BASE_SHAPES, colours: tuple[str, ...] = tuple(COLOURS)
) -> Scene:
    """A random scene; the place is that of the words, jittered by a few pixels."""
    place = str(rng.choice(list(PLACES)))
    return Scene(
        shape=str(rng.choice(shapes)),
        colour=str(rng.choice(colours)),
        place=place,
        background=str(rng.choice(list(BACKGROUNDS))),
        x=PLACES[place] + float(rng.uniform(-2, 2)),
        y=SIZE / 2 + float(rng.uniform(-6, 6)),
        radius=float(rng.uniform(14, 17)),
    )


_PLACE_WORDS = {"left": "on the left", "middle": "in the middle", "right": "on the right"}
CAPTION_FORMS = (
    "a {colour} {shape} {place}, {background} background",
    "{background} background with a {colour} {shape} {place}",
    "{colour} {shape} {place} on a {background} background",
)


def caption(scene: Scene, form: int = 0, *, shape_word: str | None = None) -> str:
    """The words of a scene in one of CAPTION_FORMS; `shape_word` replaces the name of the shape."""
    return CAPTION_FORMS[form].format(
        colour=scene.colour,
        shape=shape_word or scene.shape,
        place=_PLACE_WORDS[scene.place],
        background=scene.background,
    )


def _nearest(colour: np.ndarray, palette: dict[str, tuple[int, int, int]]) -> str:
    return min(palette, key=lambda name: float(np.linalg.norm(colour - np.array(palette[name]))))


def _largest_blob(mask: np.ndarray) -> np.ndarray:
    """The largest 4-connected region of a boolean mask."""
    left = mask.copy()
    best: list[tuple[int, int]] = []
    for start in zip(*np.nonzero(mask), strict=True):
        if not left[start]:
            continue
        left[start] = False
        blob, queue = [start], deque([start])
        while queue:
            row, column = queue.popleft()
            for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if 0 <= near[0] < SIZE and 0 <= near[1] < SIZE and left[near]:
                    left[near] = False
                    blob.append(near)
                    queue.append(near)
        if len(blob) > len(best):
            best = blob
    out = np.zeros_like(mask)
    if best:
        rows, columns = zip(*best, strict=True)
        out[list(rows), list(columns)] = True
    return out


def read(picture: Image.Image) -> Reading:
    """Recover the scene of a picture (any size; it is brought to SIZE x SIZE)."""
    picture = picture.convert("RGB")
    if picture.size != (SIZE, SIZE):
        picture = picture.resize((SIZE, SIZE), Image.Resampling.BOX)
    pixels = np.asarray(picture, dtype=np.float32)

    border = np.concatenate([pixels[:2].reshape(-1, 3), pixels[-2:].reshape(-1, 3)])
    ground = np.median(border, axis=0)
    background = _nearest(ground, BACKGROUNDS)

    blob = _largest_blob(np.abs(pixels - ground).max(axis=-1) > MIN_CONTRAST)
    if blob.sum() < MIN_AREA:
        return Reading(None, None, None, background, 0.0)

    rows, columns = np.nonzero(blob)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    x, y = (left + right) / 2, (top + bottom) / 2
    place = "left" if x < PLACE_EDGES[0] else "middle" if x < PLACE_EDGES[1] else "right"

    inner = _erode(blob)
    colour = _nearest(np.median(pixels[inner if inner.any() else blob], axis=0), COLOURS)

    radius = ((right - left) + (bottom - top)) / 4
    overlaps = {shape: _overlap(blob, shape, x, y, radius) for shape in SHAPES}
    shape = max(overlaps, key=lambda name: overlaps[name])
    known = overlaps[shape] >= MIN_OVERLAP
    return Reading(shape if known else None, colour, place, background, overlaps[shape], float(y))


def _erode(blob: np.ndarray) -> np.ndarray:
    """Pixels whose four neighbours belong to the blob too: free of antialiased edges."""
    padded = np.pad(blob, 1)
    inner: np.ndarray = blob & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inner


def _overlap(blob: np.ndarray, shape: str, x: float, y: float, radius: float) -> float:
    template = np.asarray(_mask(shape, x, y, radius)) > 96
    return float((blob & template).sum() / max(1, (blob | template).sum()))


_SYLLABLES = tuple(c + v for c in "bdfgklmnprstvwz" for v in "aeiou")


def nonsense_word(rng: np.random.Generator) -> str:
    """A made-up word of two or three syllables; CONCEPT_WORD is not made of such syllables."""
    return "".join(rng.choice(_SYLLABLES, size=int(rng.integers(2, 4))))


def clutter(rng: np.random.Generator) -> Image.Image:
    """Random polygons and ellipses without a caption: the autoencoder learns more than scenes from it."""
    k = 2
    canvas = Image.new("RGB", (SIZE * k, SIZE * k), tuple(int(v) for v in rng.integers(0, 256, 3)))
    pen = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(2, 8))):
        fill = tuple(int(v) for v in rng.integers(0, 256, 3))
        centre = rng.uniform(0, SIZE * k, 2)
        spread = float(rng.uniform(6, 30)) * k
        if rng.random() < 0.5:
            points = centre + rng.normal(0, spread / 1.5, (int(rng.integers(3, 7)), 2))
            pen.polygon([(float(px), float(py)) for px, py in points], fill=fill)
        else:
            half = np.abs(rng.normal(0, spread / 1.5, 2)) + 2
            box = (*(centre - half), *(centre + half))
            pen.ellipse(tuple(float(v) for v in box), fill=fill)
    return canvas.resize((SIZE, SIZE), Image.Resampling.BOX)
