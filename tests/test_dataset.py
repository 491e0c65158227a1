"""Pictures, captions, caches and batches: what belongs together stays together."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.tiny import make_flux
from tests.training import draw_pictures, make_bench
from trainers.data import folder
from trainers.data.cache import TensorCache
from trainers.data.cuts import fit, to_pixels
from trainers.data.dataset import Dataset
from trainers.errors import DataError
from trainers.families import load_family
from trainers.families.flux import Family


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_flux(tmp_path_factory.mktemp("base"))


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one entry for each picture or text that an encoder saw."""
    seen: list[str] = []
    image, prompt = Family.encode_image, Family.encode_prompt
    monkeypatch.setattr(Family, "encode_image", lambda self, pixels: (seen.append("picture"), image(self, pixels))[1])
    monkeypatch.setattr(Family, "encode_prompt", lambda self, texts: (seen.extend(texts), prompt(self, texts))[1])
    return seen


def dataset_of(tmp_path: Path, base: Path, pictures: Path, **sections: dict) -> Dataset:
    return make_bench(tmp_path, base, pictures, **sections).prepare()[1]


def test_every_latent_meets_its_own_caption_in_any_order(tmp_path: Path, base: Path) -> None:
    pictures = draw_pictures(tmp_path / "pictures", 5)
    family, dataset = make_bench(tmp_path, base, pictures, schedule={"batch_size": 2}).prepare()
    family.load("vae")
    expected = {}
    for file in sorted(pictures.glob("*.png")):
        pixels = to_pixels(fit(Image.open(file), (64, 64)))
        expected[file.with_suffix(".txt").read_text()] = family.encode_image(pixels[None])[0]
    seen = set()
    for number in range(9):  # three epochs, each in another order
        batch = dataset.batch(number)
        for latents, caption, words in zip(batch.latents, batch.captions, batch.cond["words"], strict=True):
            torch.testing.assert_close(latents, expected[caption])
            torch.testing.assert_close(words, dataset.conditioning([caption])["words"][0])
            seen.add(caption)
    assert seen == set(expected)


def test_an_epoch_shows_every_picture_once_and_the_rest_as_a_smaller_batch(tmp_path: Path, base: Path) -> None:
    dataset = dataset_of(tmp_path, base, draw_pictures(tmp_path / "pictures", 5), schedule={"batch_size": 2})
    assert dataset.batches_per_epoch == 3
    for epoch in range(2):
        batches = [dataset.batch(epoch * 3 + position) for position in range(3)]
        assert sorted(len(batch.ids) for batch in batches) == [1, 2, 2]
        assert len({id for batch in batches for id in batch.ids}) == 5


def test_batches_are_addressed_by_number_not_by_history(tmp_path: Path, base: Path) -> None:
    pictures = draw_pictures(tmp_path / "pictures", 5)
    one, other = (dataset_of(tmp_path, base, pictures) for _ in range(2))
    forward = [one.batch(number).ids for number in range(8)]
    backward = [other.batch(number).ids for number in reversed(range(8))]
    assert forward == backward[::-1]


def test_a_batch_has_one_size(tmp_path: Path, base: Path) -> None:
    pictures = draw_pictures(tmp_path / "pictures", 3)
    for number in range(3):
        Image.new("RGB", (128, 64), (number * 60, 0, 0)).save(pictures / f"wide{number}.png")
    dataset = dataset_of(tmp_path, base, pictures, schedule={"batch_size": 4})
    shapes = sorted(tuple(dataset.batch(number).latents.shape) for number in range(dataset.batches_per_epoch))
    assert shapes == [(3, 16, 6, 10), (3, 16, 8, 8)]  # 80 x 48 is nearest to 2 : 1


def test_repeats_show_pictures_more_often(tmp_path: Path, base: Path) -> None:
    pictures = draw_pictures(tmp_path / "pictures", 2)
    dataset = dataset_of(tmp_path, base, pictures, data={"repeats": 3}, schedule={"batch_size": 1})
    assert dataset.batches_per_epoch == 6
    assert [dataset.batch(number).ids for number in range(6)].count(dataset.batch(0).ids) == 3


def test_second_preparation_encodes_nothing(tmp_path: Path, base: Path, encoded: list[str]) -> None:
    pictures = draw_pictures(tmp_path / "pictures", 2)
    dataset_of(tmp_path, base, pictures)
    assert encoded.count("picture") == 2
    encoded.clear()
    dataset_of(tmp_path, base, pictures)
    assert encoded == []


def test_renamed_pictures_are_not_encoded_again_and_a_changed_one_alone_is(
    tmp_path: Path, base: Path, encoded: list[str]
) -> None:
    pictures = draw_pictures(tmp_path / "pictures", 3)
    dataset_of(tmp_path, base, pictures)
    moved = tmp_path / "somewhere else"
    shutil.move(pictures, moved)
    for file in moved.iterdir():
        file.rename(file.with_name("new-" + file.name))
    Image.new("RGB", (64, 64), "red").save(moved / "new-00.png")
    encoded.clear()
    dataset_of(tmp_path, base, moved)
    assert encoded == ["picture"]


def test_another_resolution_is_another_entry(tmp_path: Path, base: Path, encoded: list[str]) -> None:
    pictures = draw_pictures(tmp_path / "pictures", 1)
    for resolution in (64, 32):
        dataset = dataset_of(tmp_path, base, pictures, data={"resolution": resolution})
        assert dataset.batch(0).latents.shape[-1] == resolution // 8
    assert encoded.count("picture") == 2


def test_a_damaged_cache_file_is_made_again(tmp_path: Path, encoded: list[str]) -> None:
    cache = TensorCache(tmp_path, ram_limit=0)
    cache.put("ab01", {"x": torch.ones(3)})
    file = next(tmp_path.rglob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:20])
    assert cache.get("ab01") is None
    cache.fill(["ab01"], lambda part: [{"x": torch.zeros(3)} for _ in part], batch=1, progress=lambda *_: None)
    found = cache.get("ab01")
    assert found is not None and found["x"].sum() == 0


def test_texts_of_shuffle_and_dropout_are_all_encoded_beforehand(tmp_path: Path, base: Path) -> None:
    pictures = draw_pictures(tmp_path / "pictures", 2)
    for file in pictures.glob("*.txt"):
        file.write_text("trigger, one, two, three, four", encoding="utf-8")
    dataset = dataset_of(tmp_path, base, pictures, captions={"shuffle": True, "keep_tokens": 1, "dropout": 0.3})
    seen = {caption for number in range(60) for caption in dataset.batch(number).captions}
    assert "" in seen and len(seen) > 4
    assert all(text.startswith("trigger, ") for text in seen if text)
    with pytest.raises(KeyError):
        dataset.conditioning(["never encoded"])


def test_several_resolutions_show_every_picture_at_each(tmp_path: Path, base: Path) -> None:
    pictures = draw_pictures(tmp_path / "pictures", 3)
    dataset = dataset_of(tmp_path, base, pictures, data={"resolution": [64, 32]}, schedule={"batch_size": 4})
    batches = [dataset.batch(number) for number in range(dataset.batches_per_epoch)]
    assert sorted((batch.latents.shape[-1], len(batch.ids)) for batch in batches) == [(4, 3), (8, 3)]
    assert len({name for batch in batches for name in batch.ids}) == 6


def test_random_crops_and_mirrors_are_all_seen_and_follow_from_the_number(tmp_path: Path, base: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    colours = Image.effect_noise((200, 64), 80).convert("RGB")
    colours.save(pictures / "wide.png")
    settings = {"resolution": 64, "aspect": "square", "crop": "random", "crops": 3, "flip": True}
    one, other = (dataset_of(tmp_path, base, pictures, data=settings, schedule={"batch_size": 1}) for _ in range(2))
    seen = [one.batch(number).latents for number in range(60)]
    assert len({latents.sum().item() for latents in seen}) == 6  # three parts, each mirrored or not
    torch.testing.assert_close(other.batch(41).latents, seen[41], rtol=0, atol=0)


def test_a_picture_that_fits_has_one_cut_however_it_is_cropped(tmp_path: Path, base: Path, encoded: list[str]) -> None:
    dataset_of(tmp_path, base, draw_pictures(tmp_path / "pictures", 2), data={"crop": "random"})
    assert encoded.count("picture") == 2


def test_a_mask_weighs_its_places(tmp_path: Path, base: Path) -> None:
    pictures = draw_pictures(tmp_path / "pictures", 2)
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 32, 64))
    mask.save(pictures / "00-masklabel.png")
    dataset = dataset_of(tmp_path, base, pictures, data={"mask": "file", "unmasked_weight": 0.2, "flip": True})
    captions_of = {file.stem: file.read_text() for file in pictures.glob("*.txt")}
    assert len(dataset.samples) == 2  # the mask is none of them
    halves = set()
    for number in range(12):
        batch = dataset.batch(number)
        assert batch.mask is not None and batch.mask.shape == (2, 1, 8, 8)
        for weights, caption in zip(batch.mask, batch.captions, strict=True):
            if caption == captions_of["01"]:
                assert weights.eq(1).all()
            else:
                left, right = weights[0, :, :4], weights[0, :, 4:]
                halves.add((round(left.mean().item(), 4), round(right.mean().item(), 4)))
    assert halves == {(1.0, 0.2), (0.2, 1.0)}  # mirrored with its picture


def test_transparency_is_a_mask_or_lies_on_the_background(tmp_path: Path, base: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    half = Image.new("RGBA", (64, 64), (255, 0, 0, 255))
    half.paste((0, 0, 255, 0), (0, 32, 64, 64))
    half.save(pictures / "half.png")
    masked = dataset_of(tmp_path, base, pictures, data={"mask": "alpha", "unmasked_weight": 0.0}).batch(0)
    assert masked.mask is not None
    assert masked.mask[0, 0, :4].eq(1).all() and masked.mask[0, 0, 4:].eq(0).all()
    latents = [
        dataset_of(tmp_path, base, pictures, data={"background": colour}).batch(0) for colour in ("white", "#000")
    ]
    assert all(batch.mask is None for batch in latents)
    assert not torch.equal(latents[0].latents, latents[1].latents)


def test_a_data_set_brings_its_own_repeats_size_and_weight(tmp_path: Path, base: Path) -> None:
    draw_pictures(tmp_path / "one", 2)
    draw_pictures(tmp_path / "two", 2, seed=1)
    sets = [f"'{tmp_path / 'two'}' repeats=3 resolution=32 loss_weight=0.25"]
    dataset = dataset_of(tmp_path, base, tmp_path / "one", data={"sets": sets}, schedule={"batch_size": 2})
    batches = [dataset.batch(number) for number in range(dataset.batches_per_epoch)]
    shown = sorted((batch.latents.shape[-1], len(batch.ids), *batch.weight.tolist()) for batch in batches)
    assert shown == [(4, 2, 0.25, 0.25)] * 3 + [(8, 2, 1.0, 1.0)]


def test_regularisation_pictures_have_no_trigger_and_their_own_weight(tmp_path: Path, base: Path) -> None:
    draw_pictures(tmp_path / "kohya" / "2_zota", 2)
    prior = draw_pictures(tmp_path / "kohya" / "reg" / "1_shape", 1, seed=1)
    next(prior.glob("*.txt")).unlink()
    dataset = dataset_of(tmp_path, base, tmp_path / "kohya", data={"prior_weight": 0.5}, captions={"trigger": "zota"})
    batches = [dataset.batch(number) for number in range(dataset.batches_per_epoch)]
    seen = [pair for batch in batches for pair in zip(batch.captions, batch.weight.tolist(), strict=True)]
    assert [weight for caption, weight in seen if caption == "shape"] == [0.5] * 4  # as many as the two, twice each
    assert [weight for caption, weight in seen if caption.startswith("zota, ")] == [1.0] * 4


@pytest.mark.parametrize("kept", ["run", "disk", "none"])
def test_captions_are_kept_as_long_as_they_are_wanted(
    tmp_path: Path, base: Path, encoded: list[str], kept: str
) -> None:
    pictures = draw_pictures(tmp_path / "pictures", 2)
    dataset = dataset_of(tmp_path, base, pictures, data={"cache_text": kept})
    texts = [text for text in encoded if text != "picture"]
    first = dataset.batch(0)
    again = dataset.conditioning(list(first.captions))
    torch.testing.assert_close(first.cond["words"], again["words"])
    dataset.forget_texts()
    encoded.clear()
    dataset_of(tmp_path, base, pictures, data={"cache_text": kept})
    assert bool(texts) == (kept != "none")
    assert bool(encoded) == (kept == "run")


def test_without_stored_captions_every_visit_draws_anew(tmp_path: Path, base: Path) -> None:
    pictures = draw_pictures(tmp_path / "pictures", 1)
    next(pictures.glob("*.txt")).write_text("a, b, c, d, e, f", encoding="utf-8")
    settings: dict[str, dict] = {"data": {"cache_text": "none"}, "captions": {"shuffle": True, "variants": 2}}
    dataset = dataset_of(tmp_path, base, pictures, **settings)
    seen = {dataset.batch(number).captions[0] for number in range(20)}
    assert len(seen) > 2 and all(text.startswith("a, ") for text in seen)


def test_a_picture_that_goes_before_it_is_encoded_is_named(tmp_path: Path, base: Path) -> None:
    pictures = draw_pictures(tmp_path / "pictures", 2)
    bench = make_bench(tmp_path, base, pictures)
    scan = folder.scan(bench.config.data)
    family = load_family(bench.config, bench.runtime)
    dataset = Dataset(scan, bench.config, family, bench.runtime.device, bench.run.path)
    (pictures / "01.png").write_bytes(b"gone")
    with pytest.raises(DataError, match=r"01\.png"):
        dataset.encode((), lambda *_: None)
