"""Dropped pictures: where they go, what stays out, and that nothing is ever replaced."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from app.services import copying, datasets
from app.services.datasets import Added, Dropped
from tests.test_zips import with_old_names
from trainers.errors import DataError


def png(shade: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(file, "png")
    return file.getvalue()


class Desk:
    """A folder of uploads, as the server has it, and the data folder that they go to."""

    def __init__(self, root: Path) -> None:
        self.uploads, self.datasets, self.count = root / "uploads", root / "datasets", 0

    def upload(self, name: str, content: bytes, place: str = "") -> Dropped:
        self.count += 1
        file = self.uploads / str(self.count) / name
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
        return Dropped(file, place)

    def zip(self, name: str, files: dict[str, bytes]) -> Dropped:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for path, content in files.items():
                archive.writestr(path, content)
        return self.upload(name, packed.getvalue())

    def add(self, *dropped: Dropped, chosen: str | Path = "") -> Added:
        return datasets.add(dropped, self.datasets, str(chosen), ".txt,.caption")

    def files(self, folder: str) -> dict[str, bytes]:
        """Place in the folder -> content."""
        root = self.datasets / folder
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def left(self) -> list[Path]:
        return [path for path in self.uploads.rglob("*") if path.is_file()]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_pictures_and_captions_go_to_a_new_folder_and_the_uploads_are_gone(desk: Desk) -> None:
    added = desk.add(desk.upload("猫.PNG", png()), desk.upload("猫.txt", "一只猫".encode()))
    assert added == Added(desk.datasets / "pictures-1", 1, 1, 0, ())
    assert desk.files("pictures-1") == {"猫.png": png(), "猫.txt": "一只猫".encode()}
    assert desk.left() == []
    assert desk.add(desk.upload("b.png", png())).folder.name == "pictures-2"


def test_a_zip_names_its_folder(desk: Desk) -> None:
    assert desk.add(desk.upload("x.png", png()), desk.zip("Dog photos.zip", {"a.png": png()})).pictures == 2
    assert set(desk.files("Dog photos")) == {"x.png", "a.png"}
    assert desk.add(desk.zip("Dog photos.zip", {"a.png": png()})).folder.name == "Dog photos-2"


def test_another_drop_joins_the_chosen_folder(desk: Desk) -> None:
    folder = desk.add(desk.upload("a.png", png())).folder
    again = desk.add(desk.upload("a.png", png()), desk.upload("a.txt", b"a dog"), chosen=folder)
    assert (again.folder, again.pictures, again.captions, again.known) == (folder, 0, 1, 1)


@pytest.mark.parametrize("place", ["elsewhere", "datasets", "datasets/pictures-1/deeper", "datasets/../elsewhere"])
def test_a_folder_that_is_not_one_of_ours_is_left_alone(desk: Desk, tmp_path: Path, place: str) -> None:
    desk.add(desk.upload("a.png", png()))
    chosen = tmp_path / place
    chosen.mkdir(parents=True, exist_ok=True)
    before = set(chosen.rglob("*.png"))
    assert desk.add(desk.upload("b.png", png()), chosen=chosen).folder == desk.datasets / "pictures-2"
    assert {path for path in chosen.rglob("*.png") if "pictures-2" not in path.parts} == before


def test_a_taken_name_gets_a_number_and_its_caption_moves_along(desk: Desk) -> None:
    folder = desk.add(desk.upload("a.png", png(1)), desk.upload("a.txt", b"one")).folder
    added = desk.add(desk.upload("A.png", png(2)), desk.upload("A.txt", b"two"), chosen=folder)
    assert (added.pictures, added.captions) == (1, 1)
    assert desk.files("pictures-1") == {"a.png": png(1), "a.txt": b"one", "A-2.png": png(2), "A-2.txt": b"two"}
    assert desk.add(desk.upload("A.png", png(2)), desk.upload("A.txt", b"two"), chosen=folder).known == 2


def test_a_caption_with_the_whole_name_moves_along_too(desk: Desk) -> None:
    folder = desk.add(desk.upload("a.png", png(1))).folder
    desk.add(desk.upload("a.PNG", png(2)), desk.upload("a.PNG.txt", b"two"), chosen=folder)
    assert desk.files("pictures-1") == {"a.png": png(1), "a-2.png": png(2), "a-2.png.txt": b"two"}


def test_no_picture_takes_over_the_caption_of_another(desk: Desk) -> None:
    folder = desk.add(desk.upload("a.png", png()), desk.upload("a.txt", b"a dog")).folder
    desk.add(desk.upload("a.jpg", b"jpeg"), chosen=folder)
    assert set(desk.files("pictures-1")) == {"a.png", "a.txt", "a-2.jpg"}


def test_equal_names_of_several_folders_stay_with_their_captions(desk: Desk) -> None:
    files = {f"{place}/x.{end}": place.encode() for place in ("one", "two") for end in ("png", "txt")}
    desk.add(desk.zip("both.zip", files))
    assert desk.files("both") == files
    apart = [desk.upload("x.png", b"1", "/one"), desk.upload("x.png", b"2", "/two"), desk.upload("x.txt", b"2", "/two")]
    desk.add(*apart)
    assert desk.files("pictures-1") == {"one/x.png": b"1", "two/x.png": b"2", "two/x.txt": b"2"}


def test_a_dropped_folder_is_entered_and_folders_with_repeats_stay(desk: Desk) -> None:
    desk.add(desk.upload("a.png", b"1", "/photos"), desk.upload("b.png", b"2", "/photos/10_dog"))
    assert desk.files("pictures-1") == {"a.png": b"1", "10_dog/b.png": b"2"}
    desk.add(desk.upload("a.png", b"1", "/10_dog"))
    assert desk.files("pictures-2") == {"10_dog/a.png": b"1"}
    desk.add(desk.zip("Dogs.zip", {"Dogs/img/10_dog/a.png": b"1", "Dogs/reg/1_dog/a.png": b"2"}))
    assert desk.files("Dogs") == {"img/10_dog/a.png": b"1", "reg/1_dog/a.png": b"2"}


def test_a_second_drop_of_a_folder_knows_what_is_there(desk: Desk) -> None:
    folder = desk.add(desk.upload("a.png", b"1", "/10_dog"), desk.upload("b.png", b"2", "/1_cat")).folder
    again = desk.add(desk.upload("A.png", b"3", "/10_Dog"), desk.upload("b.png", b"2", "/1_cat"), chosen=folder)
    assert (again.pictures, again.known) == (1, 1)
    assert sorted(desk.files("pictures-1").values()) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("place", ["/../elsewhere", "../..", "/a/../../b", "/.git", "/" + "a/" * 9])
def test_the_folder_that_a_page_names_leads_nowhere_else(desk: Desk, tmp_path: Path, place: str) -> None:
    added = desk.add(desk.upload("a.png", png()), desk.upload("b.png", png(), place))
    assert added.left_out == ("b.png",) and {path.name for path in tmp_path.rglob("*.png")} == {"a.png"}


def test_a_folder_anywhere_can_be_filled(desk: Desk, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    added = datasets.add([desk.upload("a.png", png(), "/10_dog")], desk.datasets, "", ".txt", into=mine)
    assert added.folder == mine and (mine / "10_dog" / "a.png").is_file() and not desk.datasets.exists()


def test_two_names_that_become_one_are_both_kept(desk: Desk) -> None:
    desk.add(desk.zip("both.zip", {"a?.png": b"1", "a*.png": b"2", "a_.PNG": b"3"}))
    assert desk.files("both") == {"a_.png": b"1", "a_-2.png": b"2", "a_-3.png": b"3"}


def test_a_caption_that_contradicts_the_one_there_is_left_out(desk: Desk) -> None:
    folder = desk.add(desk.upload("a.png", png()), desk.upload("a.txt", b"old")).folder
    added = desk.add(desk.upload("a.txt", b"new"), chosen=folder)
    assert added.left_out == ("a.txt",) and desk.files("pictures-1")["a.txt"] == b"old"


def test_clutter_is_passed_over_and_other_files_are_named(desk: Desk) -> None:
    clutter = {"__MACOSX/._a.png": b"", "a/.DS_Store": b"", "Thumbs.db": b"", "a/._a.png": b"", "a/": b""}
    added = desk.add(
        desk.zip("z.zip", {**clutter, "a/a.png": png(), "notes.pdf": b"", "inner.zip": b"", ".h.png": b""})
    )
    assert added.pictures == 1 and sorted(added.left_out) == ["inner.zip", "notes.pdf"]
    assert set(desk.files("z")) == {"a.png"}


def test_names_in_a_zip_lead_nowhere_else(desk: Desk, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("../up.png", "/root.png", "a/../../two.png", "C:\\c\\drive.png", "..\\..\\back.png", "con.png"):
            archive.writestr(name, png())
        archive.writestr(link, "/etc/passwd")
    added = desk.add(desk.upload("z.zip", packed.getvalue()))
    assert set(desk.files("z")) == {"_con.png"}
    assert sorted(added.left_out) == ["back.png", "drive.png", "link.png", "root.png", "two.png", "up.png"]
    assert not [path for path in tmp_path.rglob("*.png") if desk.datasets / "z" not in path.parents]


@pytest.mark.parametrize("codec", ["utf-8", "gb18030", "shift_jis"])
def test_names_of_old_zips_are_read_as_their_system_meant_them(desk: Desk, tmp_path: Path, codec: str) -> None:
    names = ["いぬ.png", "ねこ.png", "いぬ.txt"] if codec == "shift_jis" else ["一只狗.png", "两只猫.png", "一只狗.txt"]
    packed = with_old_names(tmp_path / "old.zip", names, codec).read_bytes()
    desk.add(desk.upload("z.zip", packed))
    assert desk.files("z") == {name: name.encode() for name in names}


def test_a_long_name_is_cut_to_what_file_systems_take(desk: Desk) -> None:
    desk.add(desk.zip("z.zip", {f"{'狗' * 90}.png": png(), f"{'狗' * 90}.txt": b"a dog"}))
    assert {len(Path(name).stem) for name in desk.files("z")} == {76}


def test_what_cannot_be_used_is_refused_with_a_remedy_and_leaves_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = bytearray(desk.zip("z.zip", {"a.png": png(), "b.png": bytes(5000)}).file.read_bytes())
    damaged[-600] ^= 255
    monkeypatch.setattr(datasets, "MAX_FILES", 3)
    monkeypatch.setattr(datasets, "MAX_BYTES", 10_000)
    cases = {
        "no picture but notes.pdf": [desk.upload("notes.pdf", b"")],
        "no picture[.]": [desk.zip("empty.zip", {})],
        "captions, but no pictures": [desk.upload("a.txt", b"")],
        "zip cannot be read": [desk.upload("a.zip", b"no zip")],
        "zip cannot be read: Bad CRC": [desk.upload("b.zip", bytes(damaged))],
        "more than 3 files": [desk.zip("many.zip", {f"{n}.png": b"" for n in range(4)})],
        "at most 10 kB": [desk.zip("big.zip", {"a.png": bytes(10_001)})],
    }
    for words, dropped in cases.items():
        with pytest.raises(DataError, match=words) as caught:
            desk.add(*dropped)
        assert caught.value.hint
        assert not any(one.file.exists() for one in dropped)
    assert list(desk.datasets.iterdir()) == []


def test_a_full_disk_is_noticed_before_anything_is_copied(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "SPARE_BYTES", 2**60)
    with pytest.raises(DataError, match="are free") as caught:
        desk.add(desk.upload("a.png", png()))
    assert "Free some space" in caught.value.hint and list(desk.datasets.iterdir()) == []


def test_a_copy_that_breaks_off_leaves_the_folder_as_it_was(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = desk.add(desk.upload("a.png", png())).folder

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copying.shutil, "copyfileobj", fail)
    for chosen in (folder, ""):
        with pytest.raises(DataError, match="No space left"):
            desk.add(desk.upload("b.png", png()), chosen=chosen)
    assert {path.name for path in desk.datasets.rglob("*")} == {"pictures-1", "a.png"}


def test_a_zip_with_a_password_is_refused(desk: Desk) -> None:
    raw = bytearray(desk.zip("z.zip", {"a.png": png()}).file.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(DataError, match="password"):
        desk.add(desk.upload("locked.zip", bytes(raw)))
