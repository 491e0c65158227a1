"""SimpleTuner's file of data sets means here what it means there, or is refused with the name of the entry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainers.data.simpletuner import Backend, read_backends
from trainers.errors import DataError


def backends(folder: Path, *entries: Any, step: int = 16) -> tuple[Backend, ...]:
    file = folder / "multidatabackend.json"
    file.write_text(json.dumps(entries), encoding="utf-8")
    return read_backends(file, step)


def backend(folder: Path, **values: Any) -> Backend:
    """The one data set with these values, and what every one has."""
    (found,) = backends(folder, {"id": "dogs", "type": "local", "instance_data_dir": "/pictures", **values})
    return found


def refusal(folder: Path, **values: Any) -> str:
    with pytest.raises(DataError) as raised:
        backend(folder, **values)
    assert raised.value.hint
    return raised.value.message


def test_an_entry_with_everything(tmp_path: Path) -> None:
    found = backend(
        tmp_path,
        dataset_type="image",
        instance_data_dir="/pictures/dogs",
        crop=True,
        crop_style="random",
        crop_aspect="square",
        resolution=512,
        resolution_type="pixel_area",
        caption_strategy="textfile",
        instance_prompt=" ohwx dog ",
        prepend_instance_prompt=True,
        repeats=9,
        probability=0.25,
        is_regularisation_data=True,
        cache_dir_vae="/cache",
        cache_file_suffix="_dogs",
        minimum_image_size=256,
        max_num_samples=10,
        start_step=0,
    )
    assert found == Backend(
        id="dogs",
        folder=Path("/pictures/dogs"),
        visits=10,
        probability=0.25,
        resolution=512,
        crop="random",
        aspect="square",
        is_regularisation=True,
        prompt="ohwx dog",
        only_prompt=False,
        prepend_prompt=True,
        filename_captions=False,
        unused=("minimum_image_size", "max_num_samples"),
    )


def test_an_entry_with_nothing_leaves_all_to_the_run(tmp_path: Path) -> None:
    found = backend(tmp_path)
    assert (found.visits, found.probability, found.resolution, found.crop, found.aspect) == (1, 1.0, None, None, None)
    assert (found.prompt, found.only_prompt, found.prepend_prompt, found.filename_captions) == ("", False, False, False)
    assert not found.is_regularisation
    assert found.unused == ()


@pytest.mark.parametrize(
    ("values", "side"),
    [
        ({"resolution": 768, "resolution_type": "pixel"}, 768),
        ({"resolution": 768, "resolution_type": "pixel_area"}, 768),
        ({"resolution": 1000}, 992),  # 62.5 steps of 16, and half to even
        ({"resolution": 1.05, "resolution_type": "area"}, 1024),
        ({"resolution": 1.0, "resolution_type": "area"}, 1024),
        ({"resolution": 0.25, "resolution_type": "area"}, 512),
        ({"resolution": 1.0}, 1024),
        ({"resolution": 0.0001, "resolution_type": "area"}, 64),
    ],
)
def test_resolutions_are_sides_of_a_square(tmp_path: Path, values: dict[str, Any], side: int) -> None:
    assert backend(tmp_path, **values).resolution == side


def test_sides_are_multiples_of_the_familys_step(tmp_path: Path) -> None:
    (found,) = backends(tmp_path, {"instance_data_dir": "/x", "resolution": 1.0, "resolution_type": "area"}, step=96)
    assert found.resolution == 960


@pytest.mark.parametrize(
    ("values", "aspect"),
    [
        ({"crop": False}, "buckets"),
        ({"crop": False, "crop_aspect": "square"}, "buckets"),
        ({"crop": True}, "square"),
        ({"crop_aspect": "square"}, "square"),
        ({"crop": True, "crop_aspect": "preserve"}, "buckets"),
        ({"crop": True, "crop_aspect": "closest"}, "buckets"),
    ],
)
def test_only_cropped_squares_are_square(tmp_path: Path, values: dict[str, Any], aspect: str) -> None:
    assert backend(tmp_path, **values).aspect == aspect


@pytest.mark.parametrize(
    ("style", "crop"), [("center", "centre"), ("corner", "centre"), ("random", "random"), ("face", "detail")]
)
def test_crop_styles(tmp_path: Path, style: str, crop: str) -> None:
    assert backend(tmp_path, crop_style=style).crop == crop


def test_strategies_of_captions(tmp_path: Path) -> None:
    assert backend(tmp_path, caption_strategy="filename").filename_captions
    alone = backend(tmp_path, caption_strategy="instanceprompt", instance_prompt="a dog")
    assert (alone.only_prompt, alone.prompt) == (True, "a dog")
    assert backend(tmp_path, only_instance_prompt=True, instance_prompt="a dog").only_prompt


def test_the_american_spelling(tmp_path: Path) -> None:
    assert backend(tmp_path, is_regularization_data=True).is_regularisation


def test_caches_and_disabled_sets_are_passed_over(tmp_path: Path) -> None:
    found = backends(
        tmp_path,
        {"id": "text", "dataset_type": "text_embeds", "type": "aws", "default": True},
        {"id": "vae", "dataset_type": "image_embeds", "type": "local"},
        {"id": "off", "type": "csv", "disabled": True},
        {"id": "off too", "type": "csv", "disable": True},
        {"id": "dogs", "instance_data_dir": "/pictures"},
        {"id": "clips", "dataset_type": "video", "instance_data_dir": "/clips"},
    )
    assert [one.id for one in found] == ["dogs", "clips"]


def test_a_relative_folder_is_beside_the_file_or_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config" / "both").mkdir(parents=True)
    (tmp_path / "both").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    for given, folder in {"both": "config/both", "here": "here", "nowhere": "config/nowhere"}.items():
        assert backend(tmp_path / "config", instance_data_dir=given).folder == tmp_path / folder


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"type": "aws"}, "is of type 'aws'; only local folders are read"),
        ({"type": "csv"}, "is of type 'csv'; only local folders are read"),
        ({"type": "huggingface"}, "is of type 'huggingface'; only local folders are read"),
        ({"dataset_type": "audio"}, "has dataset_type 'audio', which is not trained here"),
        ({"conditioning_type": "mask"}, "has dataset_type 'conditioning', which is not trained here"),
        ({"instance_data_dir": ""}, "has no instance_data_dir"),
        ({"instance_data_dir": 3}, "has instance_data_dir 3, which is no text"),
        ({"caption_strategy": "parquet"}, "has caption_strategy 'parquet', which is not known here"),
        ({"caption_strategy": "csv"}, "has caption_strategy 'csv', which is not known here"),
        ({"caption_strategy": "instanceprompt"}, "has no instance_prompt, which its captions should be"),
        ({"crop_style": "round"}, "has crop_style 'round', which is not known here"),
        ({"crop_style": ["random"]}, "has crop_style ['random'], which is not known here"),
        ({"crop": "yes"}, "has crop 'yes'"),
        ({"resolution": "1024"}, "has resolution '1024'"),
        ({"resolution": 0}, "has resolution 0"),
        ({"resolution": float("inf")}, "has resolution inf"),
        ({"repeats": -1}, "has repeats -1"),
        ({"repeats": 1.5}, "has repeats 1.5"),
        ({"repeats": True}, "has repeats True"),
        ({"probability": 0}, "has probability 0"),
    ],
)
def test_what_cannot_be_used_names_entry_and_key(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    assert refusal(tmp_path, **values) == f"multidatabackend.json: data set 'dogs' {message}."


@pytest.mark.parametrize("content", ["{", "{}", "3", "[1]", "[]", '[{"dataset_type": "text_embeds"}]', "\xff"])
def test_another_file_is_refused_with_a_remedy(tmp_path: Path, content: str) -> None:
    file = tmp_path / "data.json"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError) as raised:
        read_backends(file, 16)
    assert raised.value.message.startswith("data.json ")
    assert raised.value.hint
