"""Pairs as batches: winner and loser differ in nothing but the picture, and every pair stays itself."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageOps

from tests.pair_files import draw_pairs, recoloured, write
from tests.tiny import make_flux, make_sdxl
from tests.training import draw_pictures, make_bench
from trainers.config import TrainConfig
from trainers.data.cuts import fit, to_pixels
from trainers.data.dataset import Batch
from trainers.data.pair_samples import arranged
from trainers.data.pair_scan import scan_pairs
from trainers.data.pairs import PairDataset
from trainers.families import load_family
from trainers.families.base import ModelFamily
from trainers.families.flux import Family
from trainers.preferences.training_pairs import TrainingPair


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_flux(tmp_path_factory.mktemp("base"))


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one entry for each picture that an encoder saw."""
    seen: list[str] = []
    image = Family.encode_image
    monkeypatch.setattr(Family, "encode_image", lambda self, pixels: (seen.append("picture"), image(self, pixels))[1])
    return seen


def config_of(root: Path, base: Path, pairs: Path, **sections: dict[str, Any]) -> TrainConfig:
    objective = {"kind": "dpo", "pairs": str(pairs), **sections.pop("objective", {})}
    data = {"folder": "", **sections.pop("data", {})}
    return make_bench(root, base, root, objective=objective, data=data, **sections).config


def prepared(
    root: Path, base: Path, rows: list[TrainingPair], **sections: dict[str, Any]
) -> tuple[ModelFamily, PairDataset]:
    """A family and the encoded pairs."""
    config = config_of(root, base, write(root / "set", rows), **sections)
    family = load_family(config, make_bench(root, base, root).runtime)
    scan = scan_pairs(Path(config.objective.pairs), root / "cache" / "index")
    dataset = PairDataset(scan, config, family, torch.device("cpu"), root / "run")
    dataset.encode((), lambda *_: None)
    return family, dataset


def pairs_of(tmp_path: Path, base: Path, rows: list[TrainingPair], **sections: dict[str, Any]) -> PairDataset:
    return prepared(tmp_path, base, rows, **sections)[1]


def epoch(dataset: PairDataset, number: int) -> list[Batch]:
    first = number * dataset.batches_per_epoch
    return [dataset.batch(first + place) for place in range(dataset.batches_per_epoch)]


def test_winner_loser_and_prompt_of_a_pair_stay_together_in_any_order(tmp_path: Path, base: Path) -> None:
    rows = draw_pairs(tmp_path / "set", 5)
    family, dataset = prepared(tmp_path, base, rows)
    family.load("vae")

    def latents(file: str) -> torch.Tensor:
        return family.encode_image(to_pixels(fit(Image.open(file), (64, 64)))[None])[0]

    expected = {row.prompt: (latents(row.chosen), latents(row.rejected)) for row in rows}
    assert dataset.batches_per_epoch == 3
    for batch in (one for number in range(3) for one in epoch(dataset, number)):
        assert batch.loser is not None and batch.wanted is None and batch.mask is None and batch.preserved is None
        for place, prompt in enumerate(batch.captions):
            torch.testing.assert_close(batch.latents[place], expected[prompt][0])
            torch.testing.assert_close(batch.loser[place], expected[prompt][1])
            torch.testing.assert_close(batch.cond["words"][place], dataset.conditioning([prompt])["words"][0])


def test_an_epoch_shows_every_pair_once_in_another_order_each_time(tmp_path: Path, base: Path) -> None:
    dataset = pairs_of(tmp_path, base, draw_pairs(tmp_path / "set", 7), schedule={"batch_size": 2})
    orders = [[id for batch in epoch(dataset, number) for id in batch.ids] for number in range(3)]
    assert all(sorted(order) == sorted(pair.id for pair in dataset.samples) for order in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert sorted(len(batch.ids) for batch in epoch(dataset, 0)) == [1, 2, 2, 2], "a rest is a smaller batch"


def test_batches_are_addressed_by_number_not_by_history(tmp_path: Path, base: Path) -> None:
    rows = draw_pairs(tmp_path / "set", 5)
    rows[0] = dataclasses.replace(rows[0], source="real")
    sections = {"captions": {"dropout": 0.5}, "objective": {"real_ratio": 0.5}, "data": {"flip": True}}
    one, other = (pairs_of(tmp_path, base, rows, **sections) for _ in range(2))
    forward = [(batch.ids, batch.captions, batch.latents.sum().item()) for batch in map(one.batch, range(9))]
    backward = [(batch.ids, batch.captions, batch.latents.sum().item()) for batch in map(other.batch, range(8, -1, -1))]
    assert forward == backward[::-1]


def test_both_pictures_get_the_shape_of_the_winner(tmp_path: Path, base: Path) -> None:
    rows = draw_pairs(tmp_path / "set", 2)
    wide = recoloured(rows[0].chosen, "wide.png", (128, 64), "red")
    rows[0] = dataclasses.replace(rows[0], chosen=wide)
    dataset = pairs_of(tmp_path, base, rows, schedule={"batch_size": 4})
    shapes = {tuple(batch.latents.shape) for batch in epoch(dataset, 0)}
    assert shapes == {(1, 16, 6, 10), (1, 16, 8, 8)}  # 80 x 48 is nearest to 2 : 1
    assert all(batch.loser is not None and batch.loser.shape == batch.latents.shape for batch in epoch(dataset, 0))


def test_crop_and_mirror_are_the_same_for_both(tmp_path: Path, base: Path) -> None:
    """Two copies of a picture are cut alike at every visit, so their latents are equal."""
    row = draw_pairs(tmp_path / "set", 1)[0]
    wide = Image.new("RGB", (160, 64))
    wide.paste(Image.open(row.chosen), (0, 0))
    wide.paste(ImageOps.mirror(Image.open(row.rejected)).rotate(90), (90, 0))
    for file in (row.chosen, row.rejected):
        wide.save(file)
    data = {"crop": "random", "flip": True, "aspect": "square"}
    _, dataset = prepared(tmp_path, base, [row], data=data, schedule={"batch_size": 1})
    seen = [dataset.batch(number) for number in range(24)]
    assert all(batch.loser is not None and torch.equal(batch.latents, batch.loser) for batch in seen)
    assert len({batch.latents.sum().item() for batch in seen}) > 4, "there are 4 places and 2 sides"


def test_framing_is_that_of_the_winner_for_both(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    base = make_sdxl(tmp_path_factory.mktemp("sdxl"))
    row = draw_pairs(tmp_path / "set", 1)[0]
    small = recoloured(row.rejected, "small.png", (48, 48), "blue")
    dataset = pairs_of(tmp_path, base, [dataclasses.replace(row, rejected=small)])
    assert dataset.batch(0).cond["time_ids"][0, :2].tolist() == [64, 64]


def test_the_null_caption_is_shared_and_is_that_of_plain_training(tmp_path: Path, base: Path) -> None:
    sections = {"captions": {"dropout": 0.5, "trigger": "wuzzle", "prefix": "photo"}, "schedule": {"batch_size": 1}}
    dataset = pairs_of(tmp_path, base, draw_pairs(tmp_path / "set", 4), **sections)
    batches = [dataset.batch(number) for number in range(40)]
    empty = [batch for batch in batches if batch.captions == ("",)]
    assert 8 < len(empty) < 32
    null = dataset.conditioning([""])["words"]
    assert all(torch.equal(batch.cond["words"], null) for batch in empty)
    prompts = {pair.prompt for pair in dataset.samples}
    assert {text for batch in batches for text in batch.captions} == {"", *prompts}, "no trigger word, no prefix"


def test_a_picture_in_three_pairs_is_encoded_once_and_shares_its_latents_with_plain_training(
    tmp_path: Path, base: Path, encoded: list[str]
) -> None:
    rows = draw_pairs(tmp_path / "set", 3)
    rows = [dataclasses.replace(row, chosen=rows[0].chosen) for row in rows]
    pairs_of(tmp_path, base, rows)
    assert len(encoded) == 4
    encoded.clear()
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Path(rows[0].chosen).rename(pictures / "one.png")
    make_bench(tmp_path, base, pictures).prepare()
    assert encoded == []


def test_ids_follow_from_contents_and_prompt_and_not_from_names(tmp_path: Path, base: Path) -> None:
    rows = draw_pairs(tmp_path / "set", 2)
    before = {pair.id for pair in pairs_of(tmp_path, base, rows).samples}
    for row in rows:
        for file in (row.chosen, row.rejected):
            Path(file).rename(Path(file).with_suffix(".moved.png"))
    moved = [
        dataclasses.replace(
            row,
            chosen=str(Path(row.chosen).with_suffix(".moved.png")),
            rejected=str(Path(row.rejected).with_suffix(".moved.png")),
        )
        for row in rows
    ]
    assert {pair.id for pair in pairs_of(tmp_path, base, moved).samples} == before
    other = [dataclasses.replace(row, prompt=f"{row.prompt}, again") for row in moved]
    assert not {pair.id for pair in pairs_of(tmp_path, base, other).samples} & before
    swapped = [dataclasses.replace(row, chosen=row.rejected, rejected=row.chosen) for row in moved]
    assert not {pair.id for pair in pairs_of(tmp_path, base, swapped).samples} & before


def test_weights_of_pairs_reach_the_batch(tmp_path: Path, base: Path) -> None:
    rows = [dataclasses.replace(row, weight=0.25 * (n + 1)) for n, row in enumerate(draw_pairs(tmp_path / "set", 3))]
    dataset = pairs_of(tmp_path, base, rows)
    by_prompt = {row.prompt: row.weight for row in rows}
    for batch in epoch(dataset, 0):
        assert batch.weight.tolist() == [by_prompt[prompt] for prompt in batch.captions]


# --------------------------------------------------------------------------- held out


def test_no_prompt_is_on_both_sides(tmp_path: Path, base: Path) -> None:
    rows = draw_pairs(tmp_path / "set", 6, held_out=2)
    twice = dataclasses.replace(rows[-1], chosen=rows[0].chosen, split="train")  # of a prompt that is held out
    config = config_of(tmp_path, base, write(tmp_path / "set", [*rows, twice]))
    found = arranged(scan_pairs(Path(config.objective.pairs), tmp_path / "index"), config)
    assert {pair.prompt for pair in found.held_out} == {row.prompt for row in rows[-2:]}
    assert len(found.held_out) == 3 and len(found.trained) == 4 and found.divided == 1


def test_a_share_of_the_prompts_is_held_out_where_the_file_has_none(tmp_path: Path, base: Path) -> None:
    rows = draw_pairs(tmp_path / "set", 10)
    rows += [dataclasses.replace(row, chosen=row.rejected, rejected=row.chosen) for row in rows]
    config = config_of(tmp_path, base, write(tmp_path / "set", rows), validation={"fraction": 0.3})
    found = arranged(scan_pairs(Path(config.objective.pairs), tmp_path / "index"), config)
    prompts = {pair.prompt for pair in found.held_out}
    assert len(prompts) == 3 and len(found.held_out) == 6 and len(found.trained) == 14
    assert not prompts & {pair.prompt for pair in found.trained}


def test_a_held_out_pair_is_always_seen_alike(tmp_path: Path, base: Path) -> None:
    sections = {"captions": {"dropout": 0.9}, "data": {"flip": True, "crop": "random", "aspect": "square"}}
    dataset = pairs_of(tmp_path, base, draw_pairs(tmp_path / "set", 4, held_out=1), **sections)
    one, other = dataset.held_out_batch(0), dataset.held_out_batch(0)
    assert one.captions == (dataset.held_out[0].prompt,) and one.loser is not None and other.loser is not None
    assert torch.equal(one.latents, other.latents) and torch.equal(one.loser, other.loser)


# --------------------------------------------------------------------------- real pictures, single pictures


@pytest.mark.parametrize(("ratio", "low", "high"), [(0.0, 0.1, 0.4), (0.5, 0.5, 0.8), (1.0, 1.0, 1.0)])
def test_real_pairs_are_shown_at_their_share(tmp_path: Path, base: Path, ratio: float, low: float, high: float) -> None:
    """One pair of four is real: it has a quarter of the visits, and of the others the ratio."""
    rows = draw_pairs(tmp_path / "set", 4)
    rows[0] = dataclasses.replace(rows[0], source="real")
    dataset = pairs_of(tmp_path, base, rows, objective={"real_ratio": ratio}, schedule={"batch_size": 1})
    seen = Counter(dataset.batch(number).captions[0] for number in range(60))
    assert low <= seen[rows[0].prompt] / 60 <= high


def test_a_real_pair_of_another_size_stays_in_its_own_batches(tmp_path: Path, base: Path) -> None:
    rows = draw_pairs(tmp_path / "set", 3)
    wide = recoloured(rows[0].chosen, "wide.png", (128, 64), "red")
    rows[0] = dataclasses.replace(rows[0], source="real", chosen=wide)
    dataset = pairs_of(tmp_path, base, rows, objective={"real_ratio": 1.0}, schedule={"batch_size": 1})
    assert {id for batch in epoch(dataset, 0) for id in batch.ids} == {pair.id for pair in dataset.samples}


def test_losses_of_pairs_leave_single_pictures_out(tmp_path: Path, base: Path) -> None:
    rows = draw_pairs(tmp_path / "set", 3)
    single = TrainingPair("a red circle", "", rows[0].rejected)
    config = config_of(tmp_path, base, write(tmp_path / "set", [*rows, single]))
    found = arranged(scan_pairs(Path(config.objective.pairs), tmp_path / "index"), config)
    assert len(found.trained) == 3 and found.unpaired == 1


def test_kto_sees_each_picture_alone_and_is_told_whether_it_is_wanted(tmp_path: Path, base: Path) -> None:
    rows = draw_pairs(tmp_path / "set", 4, held_out=1)
    single = TrainingPair("a red circle", "", rows[0].rejected, weight=0.5)
    objective = {"preference_loss": "kto"}
    dataset = pairs_of(tmp_path, base, [*rows, single], objective=objective, schedule={"batch_size": 4})
    batches = epoch(dataset, 0)
    assert sorted(len(batch.ids) for batch in batches) == [3, 4]
    told = []
    for batch in batches:
        assert batch.loser is None and batch.wanted is not None
        told += list(zip(batch.captions, batch.wanted.tolist(), batch.weight.tolist(), strict=True))
    expected = [(row.prompt, wanted, 1.0) for row in rows[:3] for wanted in (True, False)]
    assert sorted(told) == sorted([*expected, ("a red circle", False, 0.5)])
    assert dataset.held_out_batch(0).loser is not None, "what is held out is measured as pairs"


# --------------------------------------------------------------------------- what cannot be read


def test_a_pair_without_one_of_its_pictures_is_left_out_and_no_black_picture_stands_in(
    tmp_path: Path, base: Path
) -> None:
    rows = draw_pairs(tmp_path / "set", 4)
    Path(rows[0].rejected).unlink()
    Path(rows[1].chosen).write_bytes(Path(rows[1].chosen).read_bytes()[:60])
    dataset = pairs_of(tmp_path, base, rows)
    assert {pair.prompt for pair in dataset.samples} == {row.prompt for row in rows[2:]}


def test_the_second_scan_reads_no_picture(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from trainers.data import index

    rows = draw_pairs(tmp_path / "set", 3)
    for row in rows:
        for file in (row.chosen, row.rejected):
            os.utime(file, (1, 1))  # long ago: their times tell of any change
    pairs = write(tmp_path / "set", rows)
    first = scan_pairs(pairs, tmp_path / "index")
    monkeypatch.setattr(index, "examine", lambda path: pytest.fail(f"{path} is read again"))
    assert scan_pairs(pairs, tmp_path / "index") == first
    again = write(tmp_path / "set", rows[:2]).rename(tmp_path / "set/export/pairs-1.train.jsonl")
    assert len(scan_pairs(again, tmp_path / "index").pictures) == 4


def test_latents_of_plain_training_are_of_its_own_pictures(tmp_path: Path, base: Path) -> None:
    """The shared caches keep both kinds of data apart where they differ."""
    pictures = draw_pictures(tmp_path / "pictures", 2)
    _, plain = make_bench(tmp_path, base, pictures).prepare()
    before = {batch.captions: batch.latents for batch in map(plain.batch, range(plain.batches_per_epoch))}
    pairs_of(tmp_path, base, draw_pairs(tmp_path / "set", 2))
    _, plain = make_bench(tmp_path, base, pictures).prepare()
    after = {batch.captions: batch.latents for batch in map(plain.batch, range(plain.batches_per_epoch))}
    assert all(torch.equal(before[key], after[key]) for key in before)
