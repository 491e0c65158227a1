"""Sizes that pictures are trained at: properties for all pictures, resolutions and steps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import properties
from trainers.data.buckets import MAX_ASPECT, bucket_of, bucket_sizes, cover, crop_loss

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


@properties
@given(grids(), sides, sides)
def test_resized_picture_covers_the_bucket_and_the_crop_is_inside(
    grid: tuple[int, int], width: int, height: int
) -> None:
    bucket = bucket_of(width, height, *grid)
    size, (left, top, right, bottom) = cover(width, height, bucket)
    assert size[0] >= bucket[0] and size[1] >= bucket[1]
    assert (right - left, bottom - top) == bucket
    assert left >= 0 and right <= size[0] and top >= 0 and bottom <= size[1]
    assert abs(left - (size[0] - right)) <= 1 and abs(top - (size[1] - bottom)) <= 1, "the middle is kept"


@properties
@given(grids(), sides, sides)
def test_resizing_wastes_nothing_and_bends_nothing(grid: tuple[int, int], width: int, height: int) -> None:
    bucket = bucket_of(width, height, *grid)
    size, _ = cover(width, height, bucket)
    assert size[0] == bucket[0] or size[1] == bucket[1], "one side fits exactly"
    scale = max(bucket[0] / width, bucket[1] / height)
    assert abs(size[0] - width * scale) <= 1 and abs(size[1] - height * scale) <= 1


@properties
@given(grids(), sides, sides)
def test_cover_of_a_picture_on_its_side_is_on_its_side(grid: tuple[int, int], width: int, height: int) -> None:
    bucket = bucket_of(width, height, *grid)
    size, (left, top, right, bottom) = cover(width, height, bucket)
    assert cover(height, width, bucket[::-1]) == (size[::-1], (top, left, bottom, right))


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
