"""Sizes that pictures are trained at: properties for all pictures, resolutions and steps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import properties
from trainers.data.buckets import (
    MAX_ASPECT,
    Aspect,
    bucket_of,
    bucket_sizes,
    crop_box,
    crop_loss,
    is_cut,
    places,
)

steps = st.sampled_from([8, 16, 32, 64])
sides = st.integers(1, 20_000)


@st.composite
def grids(draw: st.DrawFn) -> tuple[int, int]:
    """(resolution, step), the resolution being a multiple of the step."""
    step = draw(steps)
    return step * draw(st.integers(1, 1024 // step)), step


def log_aspect(size: tuple[int, int]) -> float:
    return math.log(size[0] / size[1])


@properties
@given(grids())
def test_sizes_are_multiples_of_the_step_within_the_area(grid: tuple[int, int]) -> None:
    resolution, step = grid
    sizes = bucket_sizes(resolution, step)
    assert (resolution, resolution) in sizes
    assert len(set(sizes)) == len(sizes)
    for width, height in sizes:
        assert width % step == 0 and height % step == 0
        assert 0 < width * height <= resolution**2
        assert 1 / MAX_ASPECT <= width / height <= MAX_ASPECT
        assert (height, width) in sizes


@properties
@given(grids())
def test_no_size_wastes_more_than_a_step(grid: tuple[int, int]) -> None:
    resolution, step = grid
    for width, height in bucket_sizes(resolution, step):
        assert max(width, height) * min(width, height) > resolution**2 - step * max(width, height)


@properties
@given(grids(), sides, sides)
def test_bucket_has_the_nearest_shape(grid: tuple[int, int], width: int, height: int) -> None:
    chosen = bucket_of(width, height, *grid)
    assert chosen in bucket_sizes(*grid)
    error = abs(log_aspect(chosen) - log_aspect((width, height)))
    for size in bucket_sizes(*grid):
        assert error <= abs(log_aspect(size) - log_aspect((width, height))) + 1e-9


@properties
@given(grids(), st.floats(1 / MAX_ASPECT, MAX_ASPECT))
def test_error_of_the_shape_is_bounded(grid: tuple[int, int], aspect: float) -> None:
    """Between neighbouring sizes the log of the aspect ratio jumps by a few steps in `resolution`."""
    resolution, step = grid
    width, height = round(10_000 * math.sqrt(aspect)), round(10_000 / math.sqrt(aspect))
    error = abs(log_aspect(bucket_of(width, height, resolution, step)) - log_aspect((width, height)))
    assert error <= 3 * step / resolution + 1e-3


@properties
@given(grids(), sides)
def test_square_picture_gets_the_square(grid: tuple[int, int], side: int) -> None:
    assert bucket_of(side, side, *grid) == (grid[0], grid[0])


@properties
@given(grids(), sides, sides)
def test_picture_on_its_side_gets_the_bucket_on_its_side(grid: tuple[int, int], width: int, height: int) -> None:
    assert bucket_of(height, width, *grid) == bucket_of(width, height, *grid)[::-1]


@pytest.mark.parametrize(
    ("picture", "bucket", "loss"), [((64, 64), (64, 64), 0), ((200, 100), (64, 64), 0.5), ((64, 256), (64, 64), 0.75)]
)
def test_crop_loss_is_the_share_that_is_cut_away(
    picture: tuple[int, int], bucket: tuple[int, int], loss: float
) -> None:
    assert crop_loss(*picture, bucket) == pytest.approx(loss)


@pytest.mark.parametrize(
    ("picture", "bucket"),
    [
        ((1024, 1024), (1024, 1024)),
        ((3000, 2000), (1248, 832)),
        ((1080, 1920), (768, 1360)),
        ((5000, 1000), (1760, 592)),
    ],
)
def test_sizes_of_photos_at_1024(picture: tuple[int, int], bucket: tuple[int, int]) -> None:
    assert bucket_of(*picture, 1024, 16) == bucket


# --------------------------------------------------------------------------- other shapes and small pictures

aspects = st.sampled_from(["buckets", "square", "area"])


@properties
@given(st.integers(16, 1100), steps, sides, sides, aspects, st.booleans())
def test_every_picture_has_a_bucket_of_whole_steps_in_the_area(
    resolution: int, step: int, width: int, height: int, aspect: Aspect, upscale: bool
) -> None:
    bucket = bucket_of(width, height, resolution, step, aspect=aspect, upscale=upscale)
    assert all(side >= step and side % step == 0 for side in bucket)
    assert bucket[0] * bucket[1] <= max(resolution, step) ** 2
    assert 1 / MAX_ASPECT <= bucket[0] / bucket[1] <= MAX_ASPECT
    if aspect == "square":
        assert bucket[0] == bucket[1]
    assert bucket_of(height, width, resolution, step, aspect=aspect, upscale=upscale) == bucket[::-1]


@properties
@given(grids(), sides, sides, aspects)
def test_without_upscale_nothing_is_enlarged_that_has_a_whole_step(
    grid: tuple[int, int], width: int, height: int, aspect: Aspect
) -> None:
    step = grid[1]
    usual = bucket_of(width, height, *grid, aspect=aspect)
    bucket = bucket_of(width, height, *grid, aspect=aspect, upscale=False)
    if usual[0] <= width and usual[1] <= height:
        assert bucket == usual
    for side, own in zip(bucket, (width, height), strict=True):
        assert side <= max(own, step)


@pytest.mark.parametrize(
    ("picture", "bucket"),
    [((300, 200), (288, 192)), ((600, 100), (288, 96)), ((10, 200), (16, 48)), ((2000, 1000), (704, 368))],
)
def test_small_pictures_keep_their_size(picture: tuple[int, int], bucket: tuple[int, int]) -> None:
    assert bucket_of(*picture, 512, 16, upscale=False) == bucket


@properties
@given(grids(), st.integers(1, 5000), st.integers(1, 5000))
def test_area_has_the_pictures_shape_and_number_of_pixels(grid: tuple[int, int], width: int, height: int) -> None:
    resolution, step = grid
    bucket = bucket_of(width, height, *grid, aspect="area")
    limits = math.log(1 / MAX_ASPECT), math.log(MAX_ASPECT)
    shape = min(max(log_aspect((width, height)), limits[0]), limits[1])
    assert abs(log_aspect(bucket) - shape) <= 2 * step / min(bucket)
    assert (bucket[0] + 2 * step) * (bucket[1] + 2 * step) > resolution**2


@pytest.mark.parametrize(
    ("picture", "bucket"), [((3000, 2000), (1248, 832)), ((777, 777), (1024, 1024)), ((9000, 1000), (1728, 576))]
)
def test_area_of_photos_at_1024(picture: tuple[int, int], bucket: tuple[int, int]) -> None:
    assert bucket_of(*picture, 1024, 16, aspect="area") == bucket


# --------------------------------------------------------------------------- parts

unit = st.floats(0, 1)


@properties
@given(grids(), sides, sides, aspects, unit, unit)
def test_part_lies_inside_and_has_the_buckets_shape(
    grid: tuple[int, int], width: int, height: int, aspect: Aspect, x: float, y: float
) -> None:
    bucket = bucket_of(width, height, *grid, aspect=aspect)
    left, top, right, bottom = crop_box(width, height, bucket, (x, y))
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    assert (right - left) / (bottom - top) == pytest.approx(bucket[0] / bucket[1])
    assert right - left == pytest.approx(width) or bottom - top == pytest.approx(height), "the largest there is"
    assert 0 <= crop_loss(width, height, bucket) < 1


@properties
@given(grids(), sides, sides)
def test_places_reach_the_edges_and_the_usual_one_is_the_middle(grid: tuple[int, int], width: int, height: int) -> None:
    bucket = bucket_of(width, height, *grid)
    left, top, right, bottom = crop_box(width, height, bucket)
    assert left == pytest.approx(width - right, abs=1e-6) and top == pytest.approx(height - bottom, abs=1e-6)
    assert crop_box(width, height, bucket, (0, 0))[:2] == (0, 0)
    assert crop_box(width, height, bucket, (1, 1))[2:] == pytest.approx((width, height))
    assert crop_box(height, width, bucket[::-1])[:2] == pytest.approx((top, left))


@properties
@given(grids(), sides, sides, unit, unit)
def test_picture_that_is_not_cut_has_one_part(
    grid: tuple[int, int], width: int, height: int, x: float, y: float
) -> None:
    bucket = bucket_of(width, height, *grid)
    first, other = crop_box(width, height, bucket, (0, 0)), crop_box(width, height, bucket, (x, y))
    moved = max(abs(one - two) for one, two in zip(first, other, strict=True))
    assert is_cut(width, height, bucket) or moved < 1
    assert not is_cut(width * bucket[0], width * bucket[1], bucket)


def test_places_spread_evenly_from_the_centre() -> None:
    found = places(64)
    assert found[0] == (0.5, 0.5) and found[:4] == places(4)
    quarters = [(x < 0.5, y < 0.5) for x, y in found[1:]]
    assert all(12 <= quarters.count((left, top)) <= 20 for left in (True, False) for top in (True, False))
    assert min(math.dist(one, two) for one in found for two in found if one != two) > 0.05
