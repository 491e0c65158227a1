"""Pictures, captions, caches and batches: what belongs together stays together."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.tiny import make_flux
from tests.training import draw_pictures, make_bench
from trainers.config import Captions
from trainers.data import captions
from trainers.data.cache import TensorCache
from trainers.data.dataset import Dataset, fit, to_pixels
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


def test_trigger_goes_in_front_of_captions_that_lack_it() -> None:
    assert captions.with_trigger("a dog", "sks") == "sks, a dog"
    assert captions.with_trigger("a photo of SKS dog", "sks") == "a photo of SKS dog"
    assert captions.with_trigger(None, "sks") == "sks"
    assert captions.with_trigger(None, "") == ""


def test_shuffle_keeps_the_first_tags_and_loses_none() -> None:
    config = Captions(trigger="", shuffle=True, keep_tokens=2)
    found = captions.variants("a, b, c, d, e", config)
    assert found[0] == "a, b, c, d, e" and len(found) > 3
    assert all(text.startswith("a, b, ") and sorted(text.split(", ")) == list("abcde") for text in found)


def test_dropout_drops_its_share() -> None:
    drawn = [captions.draw(("text",), 0.25, 1, visit) for visit in range(4000)]
    assert 0.22 < drawn.count("") / 4000 < 0.28


def test_preserved_words_take_the_triggers_place() -> None:
    assert captions.preserved("a Zota on grass", "zota", ("dog", "cat")) == ("a dog on grass", "a cat on grass")
    assert captions.preserved("a zota", "zota", ()) == ("",)
    assert captions.preserved("a picture", "zota", ("dog",)) == ("",)
    assert captions.preserved(r"a zota", "zota", (r"\1",)) == (r"a \1",)  # words are not patterns
