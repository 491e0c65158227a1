"""The reader of scenes judges what networks draw, so it is judged here first, on pictures that are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from trainers.sandbox import scenes
from trainers.sandbox.scenes import BACKGROUNDS, COLOURS, SHAPES, SIZE, Reading, Scene

NOISE = 12.0  # deviation of 255
BLUR = 1.0  # pixels


def drawn(count: int, seed: int = 0) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [scenes.sample_scene(rng, SHAPES) for _ in range(count)]


def noisy(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(picture) + rng.normal(0, NOISE, (SIZE, SIZE, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def parts(thing: Scene | Reading) -> tuple[str | None, ...]:
    return thing.shape, thing.colour, thing.place, thing.background


def test_reader_reads_back_500_drawn_scenes() -> None:
    every = drawn(500)
    assert {scene.shape for scene in every} == set(SHAPES)
    for scene in every:
        assert parts(scenes.read(scenes.draw(scene))) == parts(scene)


def test_reader_reads_through_noise() -> None:
    rng = np.random.default_rng(1)
    for scene in drawn(500, seed=1):
        assert parts(scenes.read(noisy(scenes.draw(scene), rng))) == parts(scene)


def test_reader_reads_through_blur() -> None:
    for scene in drawn(500, seed=2):
        blurred = scenes.draw(scene).filter(ImageFilter.GaussianBlur(BLUR))
        assert parts(scenes.read(blurred)) == parts(scene)


@pytest.mark.parametrize("factor", [2, 4])
def test_reader_reads_larger_pictures(factor: int) -> None:
    for scene in drawn(50, seed=3):
        large = scenes.draw(scene).resize((SIZE * factor,) * 2, Image.Resampling.LANCZOS)
        assert parts(scenes.read(large)) == parts(scene)


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_empty_picture_shows_nothing(background: str) -> None:
    empty = Image.new("RGB", (SIZE, SIZE), BACKGROUNDS[background])
    assert scenes.read(empty) == Reading(None, None, None, background, 0.0)
    assert parts(scenes.read(noisy(empty, np.random.default_rng(0)))) == (None, None, None, background)


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_half_an_object_is_no_known_shape(side: str) -> None:
    for scene in drawn(100, seed=4):
        if (scene.shape, side) == ("triangle", "bottom"):
            continue  # the upper half of a triangle is a triangle
        x, y = scene.x, scene.y
        erased = {"left": (0, 0, x, 64), "right": (x, 0, 64, 64), "top": (0, 0, 64, y), "bottom": (0, y, 64, 64)}
        picture = scenes.draw(scene)
        ImageDraw.Draw(picture).rectangle(erased[side], fill=BACKGROUNDS[scene.background])
        assert scenes.read(picture).shape is None


def test_clutter_is_mostly_no_known_shape() -> None:
    """Clutter holds ellipses and triangles, some of which are near enough to a shape."""
    rng = np.random.default_rng(5)
    known = [scenes.read(scenes.clutter(rng)).shape for _ in range(300)]
    assert known.count(None) >= 0.75 * len(known)


def test_two_objects_are_read_as_the_larger() -> None:
    scene = Scene("square", "red", "left", "white", 20.0, 32.0, 15.0)
    picture = scenes.draw(scene)
    ImageDraw.Draw(picture).ellipse((50, 28, 58, 36), fill=COLOURS["blue"])
    assert parts(scenes.read(picture)) == parts(scene)


def test_reading_agrees_when_shape_and_colour_do() -> None:
    scene = Scene("square", "red", "left", "white", 20.0, 32.0, 15.0)
    assert Reading("square", "red", "right", "black", 1.0).agrees(scene)
    assert not Reading("circle", "red", "left", "white", 1.0).agrees(scene)
    assert not Reading("square", "blue", "left", "white", 1.0).agrees(scene)
    assert not Reading(None, None, None, "white", 0.0).agrees(scene)


# --------------------------------------------------------------------------- colours, places, words


def test_every_colour_stands_out_on_every_background() -> None:
    """Twice the contrast that the reader asks for, in the strongest channel."""
    for colour, background in itertools.product(COLOURS.values(), BACKGROUNDS.values()):
        assert np.abs(np.subtract(colour, background)).max() > 1.9 * scenes.MIN_CONTRAST


def test_no_two_colours_are_near_each_other() -> None:
    for palette in (COLOURS, BACKGROUNDS):
        for one, other in itertools.combinations(palette.values(), 2):
            assert np.linalg.norm(np.subtract(one, other)) > 100


def test_objects_lie_inside_and_places_do_not_meet() -> None:
    for scene in drawn(500, seed=6):
        assert scene.radius <= min(scene.x, scene.y, SIZE - scene.x, SIZE - scene.y)
        left, right = scenes.PLACE_EDGES
        place = "left" if scene.x < left else "middle" if scene.x < right else "right"
        assert place == scene.place
        assert min(abs(scene.x - left), abs(scene.x - right)) > 2


@pytest.mark.parametrize("form", range(len(scenes.CAPTION_FORMS)))
def test_caption_names_every_part(form: int) -> None:
    for scene in drawn(50, seed=7):
        words = scenes.caption(scene, form)
        for part in (scene.colour, scene.shape, scene.place, f"{scene.background} background"):
            assert part in words
        assert scenes.caption(scene, form, shape_word="zota") == words.replace(scene.shape, "zota")


def test_same_seed_gives_the_same_scenes_and_pictures() -> None:
    assert drawn(20, seed=8) == drawn(20, seed=8) != drawn(20, seed=9)
    first, again = (scenes.draw(drawn(1, seed=8)[0]).tobytes() for _ in range(2))
    assert first == again


def test_base_scenes_never_show_the_concept() -> None:
    rng = np.random.default_rng(10)
    assert {scenes.sample_scene(rng).shape for _ in range(500)} == set(scenes.BASE_SHAPES)
    assert scenes.CONCEPT_WORD not in scenes.BASE_SHAPES


def test_made_up_words_are_never_the_concept_nor_a_word_of_the_captions() -> None:
    rng = np.random.default_rng(11)
    made_up = {scenes.nonsense_word(rng) for _ in range(5000)}
    known = {
        word.strip(",")
        for scene in drawn(500, seed=11)
        for form in range(3)
        for word in scenes.caption(scene, form).split()
    }
    assert len(made_up) > 3000
    assert scenes.CONCEPT_WORD not in made_up
    assert not made_up & known
