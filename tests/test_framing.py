"""What SDXL is told of sizes: the picture's own, and where the real cut lies."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.tiny import make_sdxl
from tests.training import make_bench
from trainers.data.cuts import framing_of

WIDE = (300, 100)  # width, height


def test_nothing_is_cut_from_a_picture_of_the_buckets_shape() -> None:
    assert framing_of((200, 100), (64, 32), (0.5, 0.5), flip=False).tolist() == [100, 200, 0, 0, 32, 64]


@pytest.mark.parametrize(
    ("place", "flip", "left"),
    [((0.0, 0.5), False, 0), ((0.5, 0.5), False, 64), ((1.0, 0.5), False, 128), ((0.0, 0.5), True, 128)],
)
def test_left_is_counted_in_the_resized_picture(place: tuple[float, float], flip: bool, left: int) -> None:
    """300 x 100 covers 64 x 64 at 192 x 64: the square begins at 0, 64 or 128; mirrored it begins at the other end."""
    assert framing_of(WIDE, (64, 64), place, flip=flip).tolist() == [100, 300, 0, left, 64, 64]


def test_top_of_a_tall_picture() -> None:
    assert framing_of((100, 300), (64, 64), (0.5, 1.0), flip=False).tolist() == [300, 100, 128, 0, 64, 64]


def test_every_sample_of_a_batch_is_framed_by_its_own_cut(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, size in enumerate((WIDE, (100, 300), (64, 64))):
        Image.new("RGB", size, (80 * number, 0, 0)).save(pictures / f"{number}.png")
        (pictures / f"{number}.txt").write_text(f"picture {number}", encoding="utf-8")
    data = {"folder": str(pictures), "resolution": 64, "aspect": "square", "cache_dir": str(tmp_path / "cache")}
    bench = make_bench(
        tmp_path, make_sdxl(tmp_path / "base"), pictures, data=data, schedule={"batch_size": 3, "max_steps": 1}
    )
    family, dataset = bench.prepare()
    batch = dataset.batch(0)
    told = {caption: ids.tolist() for caption, ids in zip(batch.captions, batch.cond["time_ids"], strict=True)}
    assert told["picture 0"] == [100, 300, 0, 64, 64, 64]
    assert told["picture 1"] == [300, 100, 64, 0, 64, 64]
    assert told["picture 2"] == [64, 64, 0, 0, 64, 64]
    family.load("denoiser")
    one = family.predict(batch.latents, torch.full((3,), 0.5), batch.cond)
    other = family.framed(batch.cond, torch.zeros(3, 6))
    assert not torch.allclose(one, family.predict(batch.latents, torch.full((3,), 0.5), other))
