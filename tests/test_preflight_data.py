"""What the check says of pictures and captions: every fault once, with its number and its remedy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image, ImageFilter

from app.ui.texts import texts
from tests.checks import add_picture, check, codes, config_of, found, lay_out, mended
from tests.machines import CARD_24
from trainers import preflight
from trainers.config import Captions
from trainers.data import layouts, sources


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder, pictures and a base model."""
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "data"))
    return lay_out(tmp_path)


def test_unreadable_pictures_are_named_and_counted(place: Path) -> None:
    for index in range(7):
        (place / f"pictures/bad {index}.png").write_bytes(b"" if index else b"text")
    problem = found(check(place), "bad_pictures")
    assert problem.level == "problem" and problem.field == "data.folder" and problem.hint
    assert problem.message.startswith("7 pictures cannot be read: bad 0.png: ")
    assert "bad 4.png" in problem.message and "bad 5.png" not in problem.message and "…" in problem.message
    assert "bad 1.png: 文件是空的" in texts("zh").finding(problem)[0]
    warning = found(mended(place, problem), "bad_left_out")
    assert warning.level == "warning" and "7 pictures" in warning.message


def test_captions_that_cannot_be_read_are_told_apart(place: Path) -> None:
    (place / "pictures/0.txt").write_bytes("ein roter Kühlschrank".encode("cp1252"))
    problem = found(check(place), "bad_captions")
    assert problem.message.startswith("1 caption cannot be read: 0.png: its caption is not UTF-8")
    report = mended(place, problem)
    assert not report.problems and report.plan and report.plan.pictures == 3


def test_nothing_that_can_be_read_is_not_mended_by_going_on(place: Path) -> None:
    shutil.rmtree(place / "pictures")
    (place / "pictures").mkdir()
    (place / "pictures/0.png").write_bytes(b"")
    problem = found(check(place, {"data": {"skip_bad": True}}), "bad_pictures")
    assert problem.level == "problem" and problem.fix and problem.fix.kind == "show"


# --------------------------------------------------------------------------- data sets and their files


def write_csv(path: Path, *rows: str) -> None:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def test_each_layout_is_said(place: Path) -> None:
    pictures = place / "pictures"
    assert found(check(place), "layout_flat").message == "plain folder: 4 pictures."
    write_csv(pictures / "metadata.csv", "file_name,text", "0.png,one", "1.png,two")
    assert found(check(place), "layout_imagefolder").message == "ImageFolder table: 4 pictures."
    write_csv(pictures / "metadata.csv", "image,prompt", "0.png,one", "1.png,two")
    assert found(check(place), "layout_diffsynth")
    (pictures / "metadata.csv").unlink()
    (pictures / "captions.json").write_text('{"0.png": "one"}')
    assert found(check(place), "layout_json")
    (pictures / "captions.json").unlink()
    backend = {"id": "mine", "instance_data_dir": ".", "type": "local", "vae_cache_clear_each_epoch": True}
    (pictures / "multidatabackend.json").write_text(json.dumps([backend]))
    assert found(check(place), "layout_simpletuner").message == "SimpleTuner data set: 4 pictures."
    (pictures / "multidatabackend.json").write_text(json.dumps([{**backend, "max_num_samples": 2}]))
    assert "max_num_samples" in found(check(place), "unused_settings").message
    for name in ("3_dog", "1_cat"):
        add_picture(place / f"kohya/{name}/{name}.png", "a pet")
    message = found(check(place, {"data": {"folder": str(place / "kohya")}}), "layout_kohya").message
    assert message == "kohya folders: 2 concepts, 2 pictures."


def test_everything_that_reading_can_tell_has_words() -> None:
    lines = Captions.model_fields["lines"].annotation
    wanted = {f"layout_{kind}" for kind in get_args(layouts.Kind)} | {f"lines_{what}" for what in get_args(lines)}
    assert wanted | set(get_args(sources.Code)) <= preflight.WORDS.keys()


def test_each_data_set_is_said_by_name(place: Path) -> None:
    add_picture(place / "more/a.png", "a cat")
    (place / "empty").mkdir()
    sets = [{"folder": str(place / "more")}, {"folder": str(place / "empty")}]
    report = check(place, {"data": {"sets": sets}})
    layouts = [finding.message for finding in report.findings if finding.code == "layout_flat"]
    assert layouts == ["pictures: plain folder: 4 pictures.", "more: plain folder: 1 picture."]
    problem = found(report, "empty_folder")
    assert problem.field == "data.sets" and str(place / "empty") in problem.message


def test_every_data_set_that_cannot_be_opened_is_told(place: Path) -> None:
    (place / "broken.zip").write_bytes(b"PK")
    sets = [{"folder": str(place / "gone")}, {"folder": str(place / "broken.zip")}]
    report = check(place, {"data": {"sets": sets}})
    assert [problem.code for problem in report.problems] == ["missing_folder", "bad_zip"]
    assert str(place / "gone") in found(report, "missing_folder").message
    assert "broken.zip" in found(report, "bad_zip").message


def test_captions_and_masks_without_picture_are_named(place: Path) -> None:
    (place / "pictures/old.txt").write_text("a caption")
    add_picture(place / "pictures/older-masklabel.png")
    warning = found(check(place), "orphans")
    assert warning.message == "2 caption or mask files without picture: old.txt, older-masklabel.png."
    assert warning.fix and warning.fix.filter == "bad"


def test_a_caption_of_two_pictures_is_told(place: Path) -> None:
    add_picture(place / "pictures/0.jpg")
    assert "0.jpg = 0.png" in found(check(place), "shared_caption").message


def test_clips_are_left_out_with_a_word(place: Path) -> None:
    (place / "pictures/film.mp4").write_bytes(b"film")
    assert found(check(place), "clips").message == "1 clip left out: FLUX.1 learns from pictures."


def test_rows_of_tables_that_lead_nowhere_are_counted(place: Path) -> None:
    rows = ("0.png,one", "gone.png,two", "../model/model_index.json,three", ",four")
    write_csv(place / "pictures/metadata.csv", "file_name,text", *rows)
    report = check(place)
    assert "1 picture listed in a table and not there: gone.png" in found(report, "table_missing").message
    assert found(report, "table_faults").message.startswith("2 rows of tables cannot be used: ")
    assert found(report, "two_captions").message.startswith("1 picture with a caption in a table and one beside it")


def test_regularisation_pictures_alone_teach_nothing(place: Path) -> None:
    (place / "pictures").rename(place / "prior")
    sets = [{"folder": str(place / "prior"), "regularisation": True}]
    assert found(check(place, {"data": {"folder": "", "sets": sets}}), "prior_alone").level == "problem"


# --------------------------------------------------------------------------- copies


def test_copies_are_told_once_and_are_no_near_duplicates(place: Path) -> None:
    for name in ("4", "5"):
        shutil.copy(place / "pictures/0.png", place / f"pictures/{name}.png")
        (place / f"pictures/{name}.txt").write_text("a red wuzzle")
    report = check(place)
    assert found(report, "duplicates").message == "2 pictures the same as another one: 0.png = 4.png = 5.png."
    assert "near_duplicates" not in codes(report)


def test_pictures_that_look_alike_are_told(place: Path) -> None:
    with Image.open(place / "pictures/0.png") as picture:
        picture.save(place / "pictures/again.jpg", quality=90)
    (place / "pictures/again.txt").write_text("a wuzzle")
    warning = found(check(place), "near_duplicates")
    assert warning.message == "2 pictures in 1 group nearly the same: 0.png = again.jpg."
    assert warning.fix and warning.fix.filter == "near_duplicate"


def test_flat_pictures_are_not_taken_for_copies(place: Path) -> None:
    for colour in ("red", "green"):
        Image.new("RGB", (64, 64), colour).save(place / f"pictures/{colour}.png")
    assert "near_duplicates" not in codes(check(place))


def test_blurred_pictures_are_named(place: Path) -> None:
    with Image.open(place / "pictures/0.png") as picture:
        picture.filter(ImageFilter.GaussianBlur(6)).save(place / "pictures/soft.png")
    warning = found(check(place), "blurry")
    assert warning.message == "1 picture blurred: soft.png."
    assert warning.fix and warning.fix.filter == "blurry"
    Image.new("RGB", (64, 64), "red").save(place / "pictures/soft.png")
    assert "blurry" not in codes(check(place)), "a plain picture is not blurred"


def test_the_same_copy_in_two_data_sets_is_meant(place: Path) -> None:
    shutil.copytree(place / "pictures", place / "more")
    report = check(place, {"data": {"sets": [{"folder": str(place / "more"), "resolution": (32,)}]}})
    assert "duplicates" not in codes(report)


def test_one_caption_for_most_pictures_is_told(place: Path) -> None:
    for index in range(10):
        add_picture(place / f"pictures/more {index}.png", "a red wuzzle" if index < 8 else f"a wuzzle at {index}")
    assert found(check(place), "same_caption").message == "12 pictures of 14 with the same caption: 'a red wuzzle'."
    (place / "pictures/0.txt").write_text("a wuzzle on grass")
    for index in range(5):
        (place / f"pictures/more {index}.txt").write_text(f"a wuzzle on grass at {index}")
    assert "same_caption" not in codes(check(place))


# --------------------------------------------------------------------------- captions


def test_missing_captions_are_counted_with_what_stands_in(place: Path) -> None:
    for index in range(3):
        (place / f"pictures/{index}.txt").unlink()
    warning = found(check(place), "no_caption")
    assert warning.level == "warning" and warning.message.startswith("3 pictures without caption") and warning.hint
    assert warning.fix and (warning.fix.kind, warning.fix.filter) == ("show", "no_caption")
    warning = found(check(place, {"captions": {"trigger": "wuzzle"}}), "stand_in")
    assert "trained as 'wuzzle'" in warning.message
    warning = found(check(place, {"captions": {"fallback": "folder"}}), "stand_in")
    assert "trained as 'pictures'" in warning.message
    for name in ("10_dog", "2_cat"):
        add_picture(place / f"kohya/{name}/{name}.png")
    report = check(place, {"data": {"folder": str(place / "kohya")}})
    assert "2 pictures without caption, trained as 'dog', 'cat'" in found(report, "stand_in").message


def test_folder_without_any_caption_may_be_named_by_its_folder(place: Path) -> None:
    for file in (place / "pictures").glob("*.txt"):
        file.unlink()
    assert found(mended(place, found(check(place), "no_caption")), "stand_in")


def test_empty_captions_are_no_missing_ones(place: Path) -> None:
    (place / "pictures/0.txt").write_text(" \n")
    report = check(place)
    assert found(report, "empty_caption").message == "1 caption file empty: 0.png."
    assert "no_caption" not in codes(report)


def test_captions_without_the_trigger_are_counted(place: Path) -> None:
    (place / "pictures/0.txt").write_text("a red Wuzzle on the left")
    (place / "pictures/1.txt").write_text("a red circle")
    warning = found(check(place, {"captions": {"trigger": "wuzzle"}}), "no_trigger")
    assert warning.level == "warning" and warning.message.startswith("1 caption without 'wuzzle'")


def test_captions_that_the_encoder_cuts_off_are_named(place: Path) -> None:
    limit = 255
    text = " ".join(["cat"] * limit)
    (place / "pictures/0.txt").write_text(text)
    (place / "pictures/1.txt").write_text(f"{text}\n{text}")
    model = {"model": {"base": "flux-schnell"}}
    assert "too_long" not in codes(check(place, model)), "each line is a caption of its own"
    joined = found(check(place, {**model, "captions": {"lines": "join"}}), "too_long")
    assert joined.message == "1 caption longer than the 255 tokens that T5 reads: 1.png."
    assert joined.fix and joined.fix.filter == "too_long"
    warning = found(check(place, {**model, "captions": {"trigger": "wuzzle"}}), "too_long")
    assert warning.message.startswith("2 captions"), "the trigger word is put in front"
    assert "too_long" not in codes(check(place))


@pytest.mark.parametrize("lines", ["draw", "first", "join"])
def test_captions_of_several_lines_are_told(place: Path, lines: str) -> None:
    (place / "pictures/0.txt").write_text("a red wuzzle\n\na round thing\n")
    assert found(check(place, {"captions": {"lines": lines}}), f"lines_{lines}").message.startswith("1 picture with")


def test_choices_are_told_and_can_be_drawn(place: Path) -> None:
    (place / "pictures/0.txt").write_text("a {red|blue} wuzzle")
    assert found(check(place), "choices").message == "1 caption with choices as in {a|b}; each visit draws one."
    values = {"captions": {"wildcards": False}}
    assert found(mended(place, found(check(place, values), "choices_off"), values), "choices")


def test_trigger_word_in_the_prefix_is_nowhere_missing(place: Path) -> None:
    report = check(place, {"captions": {"trigger": "zota", "prefix": "photo of Zota,"}})
    assert "no_trigger" not in codes(report)


def test_regularisation_pictures_need_no_trigger_word(place: Path) -> None:
    add_picture(place / "prior/a.png", "a cat")
    sets = [{"folder": str(place / "prior"), "regularisation": True}]
    assert "no_trigger" not in codes(check(place, {"captions": {"trigger": "wuzzle"}, "data": {"sets": sets}}))


# --------------------------------------------------------------------------- sizes and masks


def test_small_pictures_are_counted(place: Path) -> None:
    for index in range(4):
        add_picture(place / f"pictures/{index}.png", size=(300, 320))
    warning = found(check(place, {"data": {"resolution": 512}}), "small_pictures")
    assert warning.message.startswith("4 pictures will be enlarged") and warning.field == "data.resolution"
    assert warning.fix and warning.fix.values == {"data.resolution": 432}  # 432^2 / 2 <= 300 * 320 < 448^2 / 2
    mended(place, warning, {"data": {"resolution": 512}})
    report = check(place, {"data": {"resolution": 512, "upscale": False}})
    assert found(report, "kept_small") and "small_pictures" not in codes(report)


def test_tiny_pictures_are_named_and_no_small_ones(place: Path) -> None:
    report = check(place, {"data": {"resolution": 512}})
    warning = found(report, "tiny_pictures")
    assert warning.message.endswith("on a side: 0.png, 1.png, 2.png, 3.png.") and "small_pictures" not in codes(report)


def test_pictures_that_lose_much_are_counted(place: Path) -> None:
    add_picture(place / "pictures/panorama.png", "wide", (640, 64))
    assert found(check(place), "cropped_pictures").message.startswith("1 picture will lose more than 30%")


def test_shapes_are_kept_where_the_square_loses_much(place: Path) -> None:
    add_picture(place / "pictures/wide.png", "wide", (130, 64))
    values = {"data": {"aspect": "square"}}
    mended(place, found(check(place, values), "cropped_pictures"), values)


def test_pictures_without_mask_are_counted(place: Path) -> None:
    values = {"data": {"mask": "file"}}
    assert found(mended(place, found(check(place, values), "no_mask"), values), "pictures")
    for index in range(3):
        add_picture(place / f"pictures/{index}-masklabel.png")
    warning = found(check(place, values), "no_mask")
    assert warning.message == "1 picture without mask: all of it counts." and warning.fix is None
    mended(place, found(check(place), "unused_masks"))


# --------------------------------------------------------------------------- what is counted


def test_sizes_that_fill_no_batch_are_told(place: Path) -> None:
    add_picture(place / "pictures/tall.png", "tall", (60, 100))
    finding = found(check(place, {"schedule": {"batch_size": 4}}), "small_sizes")
    assert finding.message.startswith("1 size with fewer pictures than a batch of 4 (48x80: 1)")
    assert "small_sizes" not in codes(check(place))


def test_every_size_of_a_picture_is_counted(place: Path) -> None:
    report = check(place, {"data": {"more_resolutions": (32,)}})
    told = [finding.message for finding in report.findings if finding.code == "pictures"]
    assert told == ["4 pictures at 64 px in 1 size (64x64: 4).", "4 pictures at 32 px in 1 size (32x32: 4)."]
    assert report.plan and report.plan.pictures == 4


def test_an_epoch_is_said_in_batches_and_steps(place: Path) -> None:
    schedule = {"gradient_accumulation": 2, "max_steps": 10}
    message = found(check(place, {"schedule": schedule, "data": {"repeats": 3}}), "epoch").message
    assert message == "an epoch is 12 batches or 6 steps; the run shows each picture about 5 times."


def test_cuts_and_mirrors_take_room_in_the_cache(place: Path) -> None:
    add_picture(place / "pictures/wide.png", "wide", (150, 100))
    plain, more = (check(place, {"data": {"crop": "random", "crops": n, "flip": n > 1}}).plan for n in (1, 4))
    assert plain and more
    # one is cut, in 4 places; all are mirrored: 5 become 2 * (4 + 4)
    latents = (more.cache_gib - plain.cache_gib) / (2 * 8 - 5)
    assert latents > 0 and plain.cache_gib == pytest.approx(5 * latents)


def test_only_headers_of_very_many_pictures_are_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(place)
    assert "headers_only" not in codes(preflight.check(config, CARD_24, scanner=preflight.glance))
    monkeypatch.setattr(preflight.report, "MOST_DECODED", 3)
    report = preflight.check(config, CARD_24, scanner=preflight.glance)
    assert found(report, "headers_only").level == "ok" and report.plan and report.plan.pictures == 4
    assert "headers_only" not in codes(preflight.check(config, CARD_24))


def test_pictures_are_counted_by_size(place: Path) -> None:
    add_picture(place / "pictures/tall.png", "tall", (60, 100))
    assert found(check(place), "pictures").message == "5 pictures at 64 px in 2 sizes (48x80: 1, 64x64: 4)."


def test_plan_counts_batches_by_size(place: Path) -> None:
    """Seven pictures of one size would be two batches of four."""
    for index in range(2):
        add_picture(place / f"pictures/tall {index}.png", "tall", (60, 100))
    add_picture(place / "pictures/fifth.png", "square")
    report = check(place, {"schedule": {"batch_size": 4, "max_epochs": 1, "max_steps": 100}})
    assert report.plan and report.plan.steps == 3, "5 square in 2 batches, 2 tall in 1"


def test_unicode_and_odd_names_are_read(place: Path) -> None:
    add_picture(place / "我的 图片/ü (1).final.png", "\ufeffein roter Kreis\r\n")
    report = check(place, {"data": {"folder": str(place / "我的 图片")}})
    assert report.scan and [picture.lines for picture in report.scan.pictures] == [("ein roter Kreis",)]
    assert not report.problems
