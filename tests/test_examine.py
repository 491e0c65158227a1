"""What only the pixels say: damage, likeness, sharpness."""

from __future__ import annotations

import hashlib
import time
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from tests import pictures
from trainers.data.decode import DECODE_ERRORS, read_header
from trainers.data.examine import examine, is_blurry, near_duplicates, sharpness
from trainers.paths import PROGRAM
from trainers.sandbox import scenes

ALL_ONES = 2**64 - 1
PHOTOS = PROGRAM.parent / "shared" / "data" / "photos"  # where they lie beside the repository


def landscape(seed: int = 0, size: tuple[int, int] = (640, 480)) -> Image.Image:
    """Soft large shapes with fine grain, as a photo has."""
    generator = np.random.default_rng(seed)
    shapes = Image.fromarray(generator.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )
    grain = Image.fromarray(generator.integers(0, 255, (*size[::-1], 3), dtype=np.uint8))
    return Image.blend(shapes, grain, 0.15)


def saved(picture: Image.Image, path: Path, quality: int = 90) -> Path:
    picture.save(path, quality=quality)
    return path


def bits(one: int, other: int) -> int:
    return (one ^ other).bit_count()


# --------------------------------------------------------------------------- content


def test_digest_is_of_the_bytes(tmp_path: Path) -> None:
    path = saved(landscape(), tmp_path / "a.jpg")
    expected = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    assert examine(path).digest == expected


def test_copies_that_were_scaled_or_saved_again_look_alike_and_others_do_not(tmp_path: Path) -> None:
    first = examine(saved(landscape(), tmp_path / "a.png")).dhash
    small = examine(saved(landscape().resize((200, 150)), tmp_path / "b.jpg", 60)).dhash
    grey = examine(saved(landscape().convert("L"), tmp_path / "c.webp")).dhash
    other = examine(saved(landscape(1), tmp_path / "d.png")).dhash
    assert bits(first, small) <= 5 and bits(first, grey) <= 5
    assert bits(first, other) > 16
    assert near_duplicates([first, other, small, grey]) == [[0, 2, 3]]


def test_dhash_by_hand(tmp_path: Path) -> None:
    levels = np.zeros((8, 9), dtype=np.uint8)
    levels[0] = range(9)  # brighter to the right in the first row alone
    assert examine(saved(Image.fromarray(levels), tmp_path / "a.png")).dhash == 0xFF << 56


def test_sharpness_falls_with_blur_and_is_none_in_a_plain_picture(tmp_path: Path) -> None:
    sharp = landscape(size=(256, 192))
    blurred = [sharp.filter(ImageFilter.GaussianBlur(radius)) for radius in (0, 1, 3)]
    values = [examine(saved(picture, tmp_path / f"{n}.png")).sharpness for n, picture in enumerate(blurred)]
    assert values[0] > 2 * values[1] > 4 * values[2] > 0
    assert examine(saved(Image.new("RGB", (99, 80), "red"), tmp_path / "plain.png")).sharpness == 0


def test_sharpness_of_a_single_bright_pixel_by_hand(tmp_path: Path) -> None:
    levels = np.zeros((5, 5), dtype=np.uint8)
    levels[2, 2] = 100
    # the Laplacian is -400 in the middle, the levels range over 100
    assert examine(saved(Image.fromarray(levels), tmp_path / "a.png")).sharpness == 4


def test_sharpness_does_not_depend_on_the_contrast() -> None:
    grey = landscape(size=(256, 192)).convert("L")
    faded = grey.point([100 + level // 4 for level in range(256)])
    assert sharpness(faded) == pytest.approx(sharpness(grey), rel=0.1)


def test_blurred_photographs_are_told_from_sharp_ones_and_drawings() -> None:
    photos = [Image.open(path).convert("L") for path in sorted(PHOTOS.glob("*/*.jpg"))]
    blurred = [photo.filter(ImageFilter.GaussianBlur(photo.width * 0.006)) for photo in photos]
    rng = np.random.default_rng(1)
    drawn = [scenes.draw(scenes.sample_scene(rng)).convert("L") for _ in range(500)]
    drawn += [scenes.clutter(rng).convert("L") for _ in range(100)]
    assert not [place for place, grey in enumerate(photos + drawn) if is_blurry(sharpness(grey))]
    assert all(is_blurry(sharpness(grey)) for grey in blurred)
    assert len(drawn) == 600


@pytest.mark.parametrize("size", [(1, 1), (2, 40), (4000, 3)])
def test_odd_sizes_are_examined(tmp_path: Path, size: tuple[int, int]) -> None:
    assert examine(saved(Image.new("RGB", size), tmp_path / "a.png")).dhash == 0


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_damage_in_the_middle_that_no_header_shows_is_found(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    landscape().save(path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    if name == "a.png":
        content[middle : middle + 3000] = bytes(3000)
    else:
        tables = content.index(b"\xff\xc4")
        content[tables + 4 : tables + 24] = bytes([255] * 20)
    path.write_bytes(content)
    assert read_header(path).width == 640
    with pytest.raises(DECODE_ERRORS):
        examine(path)


def test_all_formats_are_examined(tmp_path: Path) -> None:
    for name, make in {**pictures.COLOURED, **pictures.GREY, **pictures.MOVING}.items():
        (tmp_path / name).write_bytes(make())
        assert len(examine(tmp_path / name).digest) == 32, name


# --------------------------------------------------------------------------- near duplicates


def by_hand(hashes: list[int], distance: int) -> list[list[int]]:
    """Every pair compared, groups grown one by one."""
    groups: list[list[int]] = []
    for position, value in enumerate(hashes):
        near = [group for group in groups if any(bits(value, hashes[other]) <= distance for other in group)]
        groups = [group for group in groups if group not in near]
        groups.append(sorted([*chain(*near), position]))
    return sorted(group for group in groups if len(group) > 1)


BASES = st.lists(st.integers(0, ALL_ONES), min_size=1, max_size=4)
FLIPS = st.lists(st.integers(0, 63), max_size=8)


@settings(max_examples=200, deadline=None)
@given(
    bases=BASES,
    changes=st.lists(st.tuples(st.integers(0, 3), FLIPS), max_size=30),
    distance=st.sampled_from([0, 1, 4, 5, 12, 31, 63]),
)
def test_groups_are_those_that_comparing_every_pair_gives(
    bases: list[int], changes: list[tuple[int, list[int]]], distance: int
) -> None:
    hashes = []
    for base, flips in changes:
        value = bases[base % len(bases)]
        for bit in flips:
            value ^= 1 << bit
        hashes.append(value)
    assert near_duplicates(hashes, distance) == by_hand(hashes, distance)


def test_near_is_up_to_the_distance_and_goes_on_from_one_to_the_next() -> None:
    assert near_duplicates([0, 0b11111]) == [[0, 1]]
    assert near_duplicates([0, 0b111111]) == []
    assert near_duplicates([0b1111111111, ALL_ONES, 0, 0b11111]) == [[0, 2, 3]]
    assert near_duplicates([]) == near_duplicates([7]) == []


@pytest.mark.parametrize("blank", [0, ALL_ONES])
def test_thousands_of_blank_pictures_are_one_group_at_once(blank: int) -> None:
    hashes = [blank] * 50_000
    started = time.perf_counter()
    assert near_duplicates(hashes) == [list(range(50_000))]
    assert time.perf_counter() - started < 5


def test_duplicates_among_many_are_found_in_seconds() -> None:
    generator = np.random.default_rng(0)
    hashes = [int(value) for value in generator.integers(0, ALL_ONES, 50_000, dtype=np.uint64)]
    hashes[40_000:40_100] = [value ^ (0b10101 << 20) for value in hashes[:100]]
    started = time.perf_counter()
    assert near_duplicates(hashes) == [[number, 40_000 + number] for number in range(100)]
    assert time.perf_counter() - started < 10  # comparing each with each in Python takes half an hour
