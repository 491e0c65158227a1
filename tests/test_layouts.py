"""Every way people keep captions is recognised by itself, and nothing is dropped in silence."""

from __future__ import annotations

import json
import time
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from trainers.data.layouts import MAX_NAMED, Concept, Layout, recognise

ENDINGS = ".txt,.caption"


def pictures(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), "red").save(file)


def write(folder: Path, name: str, content: str | list[object] | dict[str, object]) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def layout_of(folder: Path) -> Layout:
    return recognise(folder, ENDINGS)


def table_layout(folder: Path, rows: str) -> Layout:
    """The layout of a folder with these rows of metadata.csv."""
    write(folder, "metadata.csv", f"file_name,text\n{rows}\n")
    return layout_of(folder)


# --------------------------------------------------------------------------- flat


def test_pictures_with_text_files_are_flat(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "more/b.png")
    write(tmp_path, "a.txt", "a dog")
    assert layout_of(tmp_path) == Layout("flat")


def test_an_empty_folder_is_flat_and_a_missing_one_an_error(tmp_path: Path) -> None:
    assert layout_of(tmp_path) == Layout("flat")
    with pytest.raises(FileNotFoundError):
        layout_of(tmp_path / "gone")


def test_a_link_to_a_folder_above_ends(tmp_path: Path) -> None:
    pictures(tmp_path, "3_dog/a.png")
    (tmp_path / "3_dog" / "loop").symlink_to(tmp_path)
    assert layout_of(tmp_path).concepts == {"3_dog": Concept("dog", 3, False)}


def test_a_folder_behind_a_link_counts(tmp_path: Path) -> None:
    pictures(tmp_path / "elsewhere", "a.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "5_dog").symlink_to(tmp_path / "elsewhere")
    assert layout_of(tmp_path / "set").concepts == {"5_dog": Concept("dog", 5, False)}


# --------------------------------------------------------------------------- kohya


@pytest.mark.parametrize("base", ["", "img/", "a/b/"])
def test_kohya_folders_at_any_depth(tmp_path: Path, base: str) -> None:
    pictures(tmp_path, f"{base}10_ohwx dog/a.png", f"{base}2_猫/more/b.png", f"{base}plain/c.png")
    found = layout_of(tmp_path)
    assert found.kind == "kohya"
    assert found.concepts == {
        f"{base}10_ohwx dog": Concept("ohwx dog", 10, False),
        f"{base}2_猫": Concept("猫", 2, False),
    }
    assert found.concept_of(f"{base}10_ohwx dog/a.png") == Concept("ohwx dog", 10, False)
    assert found.concept_of(f"{base}2_猫/more/b.png") == Concept("猫", 2, False)
    assert found.concept_of(f"{base}plain/c.png") is None
    assert found.concept_of("d.png") is None


def test_the_folder_itself_may_be_a_concept(tmp_path: Path) -> None:
    pictures(tmp_path / "10_dog", "a.png", "5_cat/b.png", "more/c.png")
    found = layout_of(tmp_path / "10_dog")
    assert found.kind == "kohya"
    assert found.concept_of("a.png") == found.concept_of("more/c.png") == Concept("dog", 10, False)
    assert found.concept_of("5_cat/b.png") == Concept("cat", 5, False)


@pytest.mark.parametrize("name", ["reg", "Regularization", "regularisation", "class_images", "prior"])
def test_folders_below_a_regularisation_folder_are_regularisation(tmp_path: Path, name: str) -> None:
    pictures(tmp_path, "img/10_dog/a.png", f"{name}/1_dog/b.png", f"{name}/c.png", f"2_{name}/d.png")
    found = layout_of(tmp_path)
    assert found.concept_of("img/10_dog/a.png") == Concept("dog", 10, False)
    assert found.concept_of(f"{name}/1_dog/b.png") == Concept("dog", 1, True)
    assert found.concept_of(f"{name}/c.png") == Concept("", 1, True)
    assert found.concept_of(f"2_{name}/d.png") == Concept(name, 2, True)


def test_a_chosen_concept_below_reg_is_regularisation(tmp_path: Path) -> None:
    pictures(tmp_path, "reg/1_dog/a.png")
    assert layout_of(tmp_path / "reg" / "1_dog").concepts == {"": Concept("dog", 1, True)}


def test_a_plain_folder_named_reg_is_flat(tmp_path: Path) -> None:
    pictures(tmp_path / "reg", "a.png")
    assert layout_of(tmp_path / "reg") == Layout("flat")


@pytest.mark.parametrize("name", ["2024_holiday", "1999_tour", "20240105_party", "dog_10", "10-dog", "10_"])
def test_years_and_dates_are_not_repeats(tmp_path: Path, name: str) -> None:
    pictures(tmp_path, f"{name}/a.png")
    assert layout_of(tmp_path) == Layout("flat")


@pytest.mark.parametrize(("name", "repeats"), [("1800_dog", 1800), ("001_dog", 1), ("2100_dog", 2100)])
def test_large_and_padded_numbers_are_repeats(tmp_path: Path, name: str, repeats: int) -> None:
    pictures(tmp_path, f"{name}/a.png")
    assert layout_of(tmp_path).concepts == {name: Concept("dog", repeats, False)}


def test_no_repeats_are_one_and_said_so(tmp_path: Path) -> None:
    pictures(tmp_path, "0_dog/a.png")
    found = layout_of(tmp_path)
    assert found.concepts == {"0_dog": Concept("dog", 1, False)}
    assert found.faults == ("0_dog: a folder cannot have 0 repeats; it counts as 1",)


def test_a_concept_without_pictures_is_none(tmp_path: Path) -> None:
    pictures(tmp_path, "1_dog/a.png")
    write(tmp_path, "2_cat/a.txt", "a cat")
    (tmp_path / "3_bird").mkdir()
    assert list(layout_of(tmp_path).concepts) == ["1_dog"]


def test_a_table_in_kohya_folders_gives_the_captions(tmp_path: Path) -> None:
    pictures(tmp_path, "2_dog/a.png")
    write(tmp_path, "2_dog/metadata.csv", "file_name,text\na.png,a dog\n")
    found = layout_of(tmp_path)
    assert (found.kind, found.lines_of("2_dog/a.png")) == ("kohya", ("a dog",))


# --------------------------------------------------------------------------- tables


@pytest.mark.parametrize("base", ["", "train/", "data/train/"])
@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "captions_v2.CSV"])
def test_imagefolder_tables_at_any_depth(tmp_path: Path, base: str, name: str) -> None:
    pictures(tmp_path, f"{base}a.png", f"{base}sub/b.png", f"{base}c.png")
    records = [{"file_name": "a.png", "text": "a dog"}, {"file_name": "sub/b.png", "text": "a cat"}]
    lines = [json.dumps(one) for one in records]
    if not name.endswith("jsonl"):
        lines = ["file_name,text", *(f"{one['file_name']},{one['text']}" for one in records)]
    write(tmp_path, base + name, "\n".join(lines))
    found = layout_of(tmp_path)
    assert found == Layout(
        "imagefolder",
        captions={f"{base}a.png": ("a dog",), f"{base}sub/b.png": ("a cat",)},
        tables=(tmp_path / base / name,),
    )
    assert found.lines_of(f"{base}c.png") is None


def test_a_diffsynth_table(tmp_path: Path) -> None:
    pictures(tmp_path, "images/a.png")
    write(tmp_path, "metadata.csv", 'image,prompt\nimages/a.png,"a dog, running"\n')
    found = layout_of(tmp_path)
    assert (found.kind, found.captions) == ("diffsynth", {"images/a.png": ("a dog, running",)})


def test_several_rows_of_a_file_are_several_captions_and_equal_ones_one(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    found = table_layout(tmp_path, "a.png,a dog\nb.png,a cat\na.png,two dogs\na.png,a dog")
    assert found.captions == {"a.png": ("a dog", "two dogs"), "b.png": ("a cat",)}


def test_names_from_other_systems_are_found(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "café.png") for form in ("NFC", "NFD"))
    pictures(tmp_path, "sub/a.png", "B.PNG", composed, "x/c.png", "back.png")
    rows = f"sub\\a.png,one\nb.png,two\n{apart},three\n./x/../x/c.png,four\n{tmp_path}/back.png,five"
    found = table_layout(tmp_path, rows)
    assert found.captions == {
        "sub/a.png": ("one",),
        "B.PNG": ("two",),
        composed: ("three",),
        "x/c.png": ("four",),
        "back.png": ("five",),
    }
    assert (found.missing, found.faults) == ((), ())


def test_an_exact_name_wins_over_another_case(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "A.png")
    assert table_layout(tmp_path, "A.png,large\na.png,small").captions == {"A.png": ("large",), "a.png": ("small",)}


def test_a_table_below_may_name_files_from_the_folder_itself(tmp_path: Path) -> None:
    pictures(tmp_path, "img/a.png")
    write(tmp_path, "lists/metadata.csv", "file_name,text\nimg/a.png,a dog\n../img/a.png,two dogs\n")
    assert layout_of(tmp_path).captions == {"img/a.png": ("a dog", "two dogs")}


@pytest.mark.parametrize("root", ["/mnt/old/set", "D:\\me\\set", "//server/share"])
def test_a_set_that_was_moved_keeps_its_captions(tmp_path: Path, root: str) -> None:
    pictures(tmp_path, "img/a.png", "img/b.png")
    slash = "\\" if "\\" in root else "/"
    files = [slash.join([root, "img", name]) for name in ("gone.png", "a.png", "b.png", "c.png")]
    elsewhere = slash.join([root + "2", "img", "a.png"])
    write(tmp_path, "metadata.csv", "image,prompt\n" + "".join(f"{file},x\n" for file in [*files, elsewhere]))
    found = layout_of(tmp_path)
    assert found.captions == {"img/a.png": ("x",), "img/b.png": ("x",)}
    assert found.missing == (files[3],)
    # before the old place is known, and in another place, nothing tells that a file was meant to be here
    assert found.faults == tuple(
        f"metadata.csv, row {row}: {file} lies outside the folder" for row, file in ((2, files[0]), (6, elsewhere))
    )


def test_a_path_out_of_the_folder_is_a_fault(tmp_path: Path) -> None:
    pictures(tmp_path, "out.png", "set/a.png")
    found = table_layout(tmp_path / "set", f"../out.png,x\n{tmp_path}/out.png,y\nsub/../../out.png,z\na.png,a dog")
    assert found.captions == {"a.png": ("a dog",)}
    assert found.faults == (
        "metadata.csv, row 2: ../out.png lies outside the folder",
        f"metadata.csv, row 3: {tmp_path}/out.png lies outside the folder",
        "metadata.csv, row 4: sub/../../out.png lies outside the folder",
    )


def test_listed_files_that_are_not_there_are_missing_and_counted(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    found = table_layout(tmp_path, "a.png,a dog\n" + "\n".join(f"{n}.png,x" for n in range(MAX_NAMED + 7)))
    assert found.missing[0] == "0.png"
    assert (len(found.missing), found.missing_count) == (MAX_NAMED, MAX_NAMED + 7)


def test_faults_are_counted_and_the_first_ones_kept(tmp_path: Path) -> None:
    found = table_layout(tmp_path, "\n".join(",x" for _ in range(MAX_NAMED + 3)))
    assert found.kind == "imagefolder"
    assert found.faults[0] == "metadata.csv, row 2: no file name"
    assert (len(found.faults), found.fault_count) == (MAX_NAMED, MAX_NAMED + 3)


def test_twenty_thousand_rows_are_matched_in_half_a_second(tmp_path: Path) -> None:
    names = [f"{number:06}.png" for number in range(20_000)]
    for name in names:
        (tmp_path / name).touch()
    write(tmp_path, "metadata.csv", "file_name,text\n" + "".join(f"{name},a dog\n" for name in names))
    started = time.process_time()
    found = layout_of(tmp_path)
    assert time.process_time() - started < 0.5
    assert len(found.captions) == 20_000


# --------------------------------------------------------------------------- JSON


def test_a_json_of_names_with_or_without_ending_and_absolute(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "sub/b.png", "v1.2.png", "c.png")
    captions = {"a.png": "a dog", "sub/b": "a cat", "v1.2": "a bird", str(tmp_path / "c"): "a cow", "version": "1.0"}
    write(tmp_path, "list.json", {**captions, "gone.png": "x"})
    found = layout_of(tmp_path)
    assert found == Layout(
        "json",
        captions={"a.png": ("a dog",), "sub/b.png": ("a cat",), "v1.2.png": ("a bird",), "c.png": ("a cow",)},
        missing=("gone.png",),
        missing_count=1,
        tables=(tmp_path / "list.json",),
    )


def test_kohya_meta_of_another_machine(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    write(tmp_path, "meta_lat.json", {f"/data/old/{name}": {"caption": name, "tags": "x"} for name in "ab"})
    assert layout_of(tmp_path).captions == {"a.png": ("a, x",), "b.png": ("b, x",)}


def test_a_json_without_a_picture_that_is_there_is_something_else(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    write(tmp_path, "settings.json", {"model": "flux", "steps": 3})
    write(tmp_path, "captions.json", {"gone.png": "a dog"})
    write(tmp_path, "aspect.json", {"1.0": ["a.png"]})
    assert layout_of(tmp_path) == Layout("flat")


def test_a_json_beside_its_picture_is_not_a_list(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    write(tmp_path, "a.json", {"b.png": "not for b"})
    assert layout_of(tmp_path) == Layout("flat")


def test_a_handful_of_json_files_is_read_the_likeliest_first(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    for number in range(10):
        write(tmp_path, f"config{number}.json", {"b.png": str(number)})
    write(tmp_path, "my_captions.json", {"b.png": "out of reach"})
    write(tmp_path, "captions.json", {"a.png": "a dog"})
    found = layout_of(tmp_path)
    assert found.captions == {"a.png": ("a dog",), "b.png": ("0", "1", "2", "3")}
    assert found.tables[0] == tmp_path / "captions.json"


def test_a_json_in_the_folder_of_a_concept_is_read(tmp_path: Path) -> None:
    pictures(tmp_path, "10_dog/a.png", "other/b.png")
    write(tmp_path, "10_dog/meta_cap.json", {"a": {"caption": "a dog"}})
    write(tmp_path, "other/meta_cap.json", {"b": {"caption": "never asked for"}})
    found = recognise(tmp_path, ".txt")
    assert found.captions == {"10_dog/a.png": ("a dog",)}
    assert found.tables == (tmp_path / "10_dog" / "meta_cap.json",)


def test_a_table_goes_before_json(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    write(tmp_path, "captions.json", {"a.png": "old"})
    assert table_layout(tmp_path, "a.png,new").captions == {"a.png": ("new",)}


def test_a_file_that_is_a_caption_is_no_table(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    write(tmp_path, "captions.json", {"a.png": "a dog"})
    assert recognise(tmp_path, ".json") == Layout("flat")


# --------------------------------------------------------------------------- SimpleTuner


def test_simpletuner_is_named(tmp_path: Path) -> None:
    write(tmp_path, "multidatabackend.json", [])
    assert layout_of(tmp_path) == Layout("simpletuner")
