"""What an epoch shows: nothing is dropped, batches have one size, shares and balance come out over the epochs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training import CPU
from trainers import resolve
from trainers.config import TrainConfig
from trainers.data import epoch
from trainers.data.epoch import Epochs, Sample
from trainers.data.folder import Picture, Scan
from trainers.data.sources import Source

SOURCE = Source(Path("pictures"), "pictures", 1, 1.0, (64,), "centre", False, "buckets")


def config_of(**sections: dict[str, Any]) -> TrainConfig:
    values = {"data": {"folder": ".", "resolution": 64}, **sections}
    return resolve.resolve(resolve.validate(values), CPU)


def scan_of(*sets: tuple[Source, list[tuple[int, int]]]) -> Scan:
    """One source for each, with pictures of these sizes."""
    pictures = [
        Picture(str(source.folder), f"{place}-{number}.png", *size, digest=f"{place}-{number}", source=place)
        for place, (source, sizes) in enumerate(sets)
        for number, size in enumerate(sizes)
    ]
    return Scan(tuple(source for source, _ in sets), (), tuple(pictures), ())


def epochs_of(scan: Scan, config: TrainConfig) -> Epochs:
    return Epochs(epoch.split(epoch.samples(scan, config), scan, config)[0], scan, config)


def shown(epochs: Epochs, number: int) -> Counter[str]:
    return Counter(sample.id for batch in epochs.batches(number) for sample in batch)


SIZES = st.lists(st.sampled_from([(64, 64), (128, 64), (64, 128), (90, 70)]), min_size=1, max_size=20)


@given(sizes=SIZES, batch_size=st.integers(1, 7), repeats=st.integers(1, 3), number=st.integers(0, 5))
def test_an_epoch_shows_every_picture_as_often_as_asked_in_batches_of_one_size(
    sizes: list[tuple[int, int]], batch_size: int, repeats: int, number: int
) -> None:
    scan = scan_of((replace(SOURCE, repeats=repeats, resolutions=(64, 32)), sizes))
    epochs = epochs_of(scan, config_of(schedule={"batch_size": batch_size}))
    batches = epochs.batches(number)
    assert len(batches) == epochs.batches_per_epoch
    assert all(len({sample.bucket for sample in batch}) == 1 and 1 <= len(batch) <= batch_size for batch in batches)
    counts = shown(epochs, number)
    assert len(counts) == 2 * len(sizes) and set(counts.values()) == {repeats}
    assert sum(epochs.visits.values()) == 2 * len(sizes) * repeats


@given(count=st.integers(1, 30), weight=st.sampled_from([0.1, 0.25, 0.5, 0.75, 1.5, 2.0]))
def test_a_weight_shows_its_share_and_every_picture_in_turn(count: int, weight: float) -> None:
    epochs = epochs_of(scan_of((replace(SOURCE, weight=weight), [(64, 64)] * count)), config_of())
    share = max(1, round(count * weight))
    total: Counter[str] = Counter()
    for number in range(count):
        counts = shown(epochs, number)
        assert counts.total() == share and len(epochs.batches(number)) == epochs.batches_per_epoch
        total += counts
    assert set(total.values()) == {share}  # after as many epochs as pictures, all alike


@pytest.mark.parametrize(("taught", "priors"), [(6, 2), (2, 7), (5, 5)])
def test_as_many_regularisation_pictures_are_shown_as_others(taught: int, priors: int) -> None:
    prior = replace(SOURCE, folder=Path("prior"), regularisation=True)
    scan = scan_of((replace(SOURCE, repeats=3), [(64, 64)] * taught), (prior, [(64, 64)] * priors))
    counts = shown(epochs_of(scan, config_of()), 0)
    by_set = Counter({side: sum(n for name, n in counts.items() if name.startswith(side)) for side in "01"})
    assert by_set["0"] == by_set["1"] == 3 * taught


def test_regularisation_alone_is_trained_as_it_is() -> None:
    scan = scan_of((replace(SOURCE, regularisation=True), [(64, 64)] * 3))
    assert shown(epochs_of(scan, config_of()), 0).total() == 3


def test_epochs_differ_in_order_and_repeat_exactly() -> None:
    scan, config = scan_of((SOURCE, [(64, 64)] * 8)), config_of(schedule={"batch_size": 3})
    one, other = epochs_of(scan, config), epochs_of(scan, config)
    assert one.batches(3) == other.batches(3) != one.batches(4)


def ids(samples: list[Sample]) -> set[str]:
    return {sample.id for sample in samples}


def test_copies_of_a_picture_are_on_one_side_of_the_split() -> None:
    scan = scan_of((replace(SOURCE, resolutions=(64, 32)), [(64, 64)] * 6))
    twice = Scan(scan.sources, (), (*scan.pictures, *scan.pictures), ())
    config = config_of(validation={"fraction": 0.34})
    trained, held_out = epoch.split(epoch.samples(twice, config), twice, config)
    assert len(held_out) == 2 and len(trained) == 4 * 2 * 2
    assert not {s.picture.digest for s in trained} & {s.picture.digest for s in held_out}
    assert {sample.resolution for sample in held_out} == {64}
    assert len(ids(trained)) == len(trained)  # copies have names of their own


def test_regularisation_pictures_are_never_held_out() -> None:
    prior = replace(SOURCE, folder=Path("prior"), regularisation=True)
    scan = scan_of((SOURCE, [(64, 64)] * 2), (prior, [(64, 64)] * 20))
    config = config_of(validation={"fraction": 0.5})
    assert {s.picture.source for s in epoch.split(epoch.samples(scan, config), scan, config)[1]} == {0}


def test_a_sample_keeps_its_name_when_its_file_moves() -> None:
    scan, config = scan_of((SOURCE, [(64, 64)])), config_of()
    moved = Scan(scan.sources, (), tuple(replace(p, name="elsewhere/x.png") for p in scan.pictures), ())
    assert ids(epoch.samples(scan, config)) == ids(epoch.samples(moved, config))
