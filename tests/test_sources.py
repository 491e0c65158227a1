"""The data sets of a run: what each leaves out is as in the section, and a set that cannot be opened says why."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from trainers.config import Data, DataSet
from trainers.data.layouts import recognise
from trainers.data.sources import Source, SourceError, gather, sources


def folder_at(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "a.png").write_bytes(b"")
    return path


def data_of(cache: Path, folder: Path | str = "", *sets: DataSet, **values: Any) -> Data:
    """A section as it is when a config is resolved."""
    values = {"resolution": 512, "bucket_step": 16, **values}
    return Data(folder=str(folder), sets=sets, cache_dir=str(cache), **values)


def backend_file(folder: Path, *entries: dict[str, Any], name: str = "multidatabackend.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(entries), encoding="utf-8")
    return folder / name


def refusal(cache: Path, folder: Path | str, *sets: DataSet) -> SourceError:
    with pytest.raises(SourceError) as raised:
        sources(data_of(cache, folder, *sets))
    assert raised.value.hint
    return raised.value


def test_a_folder_alone_is_one_source_as_the_section_says(tmp_path: Path) -> None:
    folder = folder_at(tmp_path / "dogs")
    data = data_of(
        tmp_path, folder, repeats=3, more_resolutions=(768,), crop="random", flip=True, aspect="area", prior_weight=0.5
    )
    assert sources(data) == (
        Source(
            folder=folder,
            name="dogs",
            repeats=3,
            weight=1.0,
            resolutions=(512, 768),
            crop="random",
            flip=True,
            aspect="area",
        ),
    )


def test_a_set_keeps_its_own_values_and_takes_the_rest_from_the_section(tmp_path: Path) -> None:
    main, own, bare = (folder_at(tmp_path / name) for name in ("main", "own", "bare"))
    one = DataSet(
        folder=str(own),
        repeats=5,
        weight=2.0,
        resolution=(256, 128),
        crop="detail",
        flip=False,
        regularisation=True,
        loss_weight=0.5,
        prompt="a dog",
    )
    data = data_of(tmp_path, main, one, DataSet(folder=str(bare)), repeats=2, flip=True, prior_weight=0.5)
    first, second, third = sources(data)
    assert second == Source(
        folder=own,
        name="own",
        repeats=5,
        weight=2.0,
        resolutions=(256, 128),
        crop="detail",
        flip=False,
        aspect="buckets",
        regularisation=True,
        loss_weight=0.25,
        prompt="a dog",
    )
    assert (third.repeats, third.resolutions, third.crop, third.flip) == (2, (512,), "centre", True)
    assert (third.weight, third.regularisation, third.loss_weight) == (1.0, False, 1.0)
    assert first.folder == main


def test_prior_weight_is_for_regularisation_alone(tmp_path: Path) -> None:
    folder = folder_at(tmp_path / "dogs")
    plain = DataSet(folder=str(folder), loss_weight=0.5)
    (found,) = sources(data_of(tmp_path, "", plain, prior_weight=0.1))
    assert found.loss_weight == 0.5


def test_names_are_unique(tmp_path: Path) -> None:
    folders = [folder_at(tmp_path / place / "dogs") for place in "abc"]
    found = sources(data_of(tmp_path, folders[0], *(DataSet(folder=str(folder)) for folder in folders[1:])))
    assert [one.name for one in found] == ["dogs", "dogs (2)", "dogs (3)"]


def test_sets_alone_are_enough_and_nothing_is_not(tmp_path: Path) -> None:
    folder = folder_at(tmp_path / "dogs")
    assert [one.folder for one in sources(data_of(tmp_path, "", DataSet(folder=str(folder))))] == [folder]
    error = refusal(tmp_path, "")
    assert (error.code, error.field) == ("missing_folder", "data.folder")


# --------------------------------------------------------------------------- zips


def test_a_zipped_kohya_tree_stays_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "dogs.zip", "w") as archive:
        archive.writestr("set/10_dog/a.png", b"")
        archive.writestr("set/reg/1_dog/b.png", b"")
    (found,) = sources(data_of(tmp_path / "cache", tmp_path / "dogs.zip"))
    assert found.name == "dogs"
    assert (tmp_path / "cache" / "zips") in found.folder.parents
    assert sorted(recognise(found.folder, ".txt").concepts) == ["10_dog", "reg/1_dog"]


def test_a_zip_of_one_concept_keeps_its_repeats(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "dogs.zip", "w") as archive:
        archive.writestr("10_dog/a.png", b"")
    (found,) = sources(data_of(tmp_path, tmp_path / "dogs.zip"))
    concept = recognise(found.folder, ".txt").concept_of("a.png")
    assert concept is not None
    assert (concept.name, concept.repeats) == ("dog", 10)


def test_a_broken_zip_is_named(tmp_path: Path) -> None:
    (tmp_path / "dogs.zip").write_bytes(b"no zip")
    error = refusal(tmp_path, tmp_path / "dogs.zip")
    assert (error.code, error.field) == ("bad_zip", "data.folder")
    assert "dogs.zip" in error.message


# --------------------------------------------------------------------------- SimpleTuner


@pytest.mark.parametrize("as_folder", [True, False])
def test_a_simpletuner_file_is_several_sources(tmp_path: Path, as_folder: bool) -> None:
    dogs, cats = folder_at(tmp_path / "st" / "dogs"), folder_at(tmp_path / "cats")
    file = backend_file(
        tmp_path / "st",
        {"id": "text", "dataset_type": "text_embeds", "cache_dir": "x"},
        {"id": "my dogs", "instance_data_dir": "dogs", "repeats": 9, "probability": 0.5, "resolution": 256},
        {
            "id": "cats",
            "instance_data_dir": str(cats),
            "crop": True,
            "crop_style": "face",
            "is_regularisation_data": True,
            "instance_prompt": "a cat",
            "only_instance_prompt": True,
            "prepend_instance_prompt": True,
            "caption_strategy": "filename",
            "max_num_samples": 5,
        },
    )
    data = data_of(tmp_path, file.parent if as_folder else file, repeats=2, flip=True, prior_weight=0.5)
    assert sources(data) == (
        Source(
            folder=dogs,
            name="my dogs",
            repeats=20,
            weight=0.5,
            resolutions=(256,),
            crop="centre",
            flip=True,
            aspect="buckets",
        ),
        Source(
            folder=cats,
            name="cats",
            repeats=2,
            weight=1.0,
            resolutions=(512,),
            crop="detail",
            flip=True,
            aspect="square",
            regularisation=True,
            loss_weight=0.5,
            prompt="a cat",
            only_prompt=True,
            prepend_prompt=True,
            filename_captions=True,
            unused=("max_num_samples",),
        ),
    )


def test_a_simpletuner_file_may_be_one_of_the_sets_under_any_name(tmp_path: Path) -> None:
    folder_at(tmp_path / "dogs")
    file = backend_file(tmp_path, {"id": "dogs", "instance_data_dir": "dogs"}, name="data.json")
    one = DataSet(folder=str(file), weight=3.0, regularisation=True, loss_weight=0.5)
    (found,) = sources(data_of(tmp_path, "", one, prior_weight=0.5))
    assert (found.weight, found.regularisation, found.loss_weight) == (3.0, True, 0.25)


def test_a_simpletuner_file_that_cannot_be_used_names_its_entry(tmp_path: Path) -> None:
    file = backend_file(tmp_path, {"id": "far", "type": "aws"})
    error = refusal(tmp_path, file)
    assert (error.code, error.field) == ("bad_backend", "data.folder")
    assert "'far'" in error.message


def test_a_folder_of_a_simpletuner_file_that_is_missing_is_named(tmp_path: Path) -> None:
    error = refusal(tmp_path, backend_file(tmp_path, {"id": "dogs", "instance_data_dir": "gone"}))
    assert error.code == "missing_folder"
    assert str(tmp_path / "gone") in error.message


# --------------------------------------------------------------------------- folders that cannot be opened


def test_a_missing_folder_a_file_and_a_name_too_long(tmp_path: Path) -> None:
    folder = folder_at(tmp_path / "dogs")
    missing, file = DataSet(folder=str(tmp_path / "gone")), DataSet(folder=str(folder / "a.png"))
    error = refusal(tmp_path, folder, missing)
    assert (error.code, error.field) == ("missing_folder", "data.sets")
    assert str(error) == (
        f"data.sets: there is no folder {tmp_path / 'gone'}. Check the spelling, or that the drive is connected."
    )
    error = refusal(tmp_path, folder, file)
    assert error.code == "not_a_folder"
    assert error.hint == f"Give the folder that holds it: {folder}"
    assert refusal(tmp_path, "x" * 5000).code == "missing_folder"


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_at(tmp_path / "dogs")
    # permissions do not bind the root user, whom tests in containers run as
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != folder)
    assert refusal(tmp_path, folder).code == "not_readable"


def test_every_set_that_cannot_be_opened_is_told_and_the_others_are_found(tmp_path: Path) -> None:
    folder = folder_at(tmp_path / "dogs")
    sets = [DataSet(folder=str(tmp_path / name)) for name in ("gone", "dogs", "gone too")]
    found, errors = gather(data_of(tmp_path, tmp_path / "lost", *sets))
    assert [one.folder for one in found] == [folder]
    assert [(error.field, error.code) for error in errors] == [
        ("data.folder", "missing_folder"),
        ("data.sets", "missing_folder"),
        ("data.sets", "missing_folder"),
    ]
