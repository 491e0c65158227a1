"""The part of a picture with the most detail: the subject stays, without a search for faces."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from trainers.data.detail import detail_place

SQUARE = (512, 512)


def with_square(size: tuple[int, int], left: int, top: int, side: int = 120) -> Image.Image:
    """Checks of 10 pixels on plain grey."""
    picture = np.full((size[1], size[0], 3), 128, dtype=np.uint8)
    rows, columns = np.mgrid[:side, :side]
    picture[top : top + side, left : left + side] = np.where((rows // 10 + columns // 10) % 2, 255, 0)[..., None]
    return Image.fromarray(picture)


def window(picture: Image.Image, bucket: tuple[int, int]) -> tuple[float, float, float, float]:
    """left, top, right, bottom of the part that stays, in pixels."""
    scale = min(picture.width / bucket[0], picture.height / bucket[1])
    width, height = bucket[0] * scale, bucket[1] * scale
    x, y = detail_place(picture, bucket)
    left, top = x * (picture.width - width), y * (picture.height - height)
    return left, top, left + width, top + height


@settings(max_examples=40, deadline=None)
@given(at=st.integers(0, 880), upright=st.booleans(), bucket=st.sampled_from([SQUARE, (768, 512), (512, 768)]))
def test_textured_square_off_the_centre_is_kept_whole(at: int, upright: bool, bucket: tuple[int, int]) -> None:
    picture = with_square((300, 1000), 90, at) if upright else with_square((1000, 300), at, 90)
    left, top, right, bottom = window(picture, bucket)
    near = 1000 / 128  # a pixel of the copy that is measured
    if upright:
        assert top <= at + near and at + 120 <= bottom + near
    else:
        assert left <= at + near and at + 120 <= right + near


@pytest.mark.parametrize("colour", ["white", "#806040", "black"])
@pytest.mark.parametrize("size", [(1000, 300), (300, 1000), (512, 512), (3, 1000)])
def test_plain_picture_keeps_its_centre(size: tuple[int, int], colour: str) -> None:
    assert detail_place(Image.new("RGB", size, colour), SQUARE) == (0.5, 0.5)


def test_square_in_the_middle_keeps_the_centre() -> None:
    assert detail_place(with_square((1000, 300), 440, 90), SQUARE) == (0.5, 0.5)


def test_two_equal_subjects_at_both_ends_leave_the_centre() -> None:
    picture = with_square((1000, 300), 0, 90)
    picture.paste(ImageOps.mirror(picture.crop((0, 90, 120, 210))), (880, 90))
    assert detail_place(picture, SQUARE)[0] == pytest.approx(0.5, abs=0.01)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), size=st.sampled_from([(640, 256), (256, 640), (600, 401), (128, 90)]))
def test_mirrored_picture_has_the_mirrored_place(seed: int, size: tuple[int, int]) -> None:
    small = np.random.default_rng(seed).integers(0, 255, (7, 9, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    x, y = detail_place(picture, SQUARE)
    for turn, expected in [(ImageOps.mirror, (1 - x, y)), (ImageOps.flip, (x, 1 - y))]:
        turned: Callable[[Image.Image], Image.Image] = turn
        assert detail_place(turned(picture), SQUARE) == pytest.approx(expected)


def test_skin_wins_over_grass() -> None:
    """As much texture on either side; the one in skin tones stays."""
    noise = np.random.default_rng(0).normal(0, 6, (300, 300, 1))
    picture = np.zeros((300, 1000, 3))
    picture[:] = (90, 110, 90)
    picture[:, :300] = np.array([70, 140, 60]) + noise
    picture[:, -300:] = np.array([200, 150, 120]) + noise[:, ::-1]
    assert detail_place(Image.fromarray(picture.clip(0, 255).astype(np.uint8)), SQUARE)[0] > 0.9


def test_only_the_shape_of_the_bucket_counts() -> None:
    picture = with_square((1000, 300), 700, 90)
    assert detail_place(picture, (512, 512)) == detail_place(picture, (64, 64))
    # nothing is cut: there is no choice
    assert detail_place(picture, (1000, 300)) == (0.5, 0.5)


def test_smaller_copy_has_the_same_place() -> None:
    picture = with_square((1000, 300), 200, 90)
    small = picture.resize((500, 150), Image.Resampling.BOX)
    assert detail_place(small, SQUARE) == pytest.approx(detail_place(picture, SQUARE), abs=0.02)
