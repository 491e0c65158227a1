"""Zips of all systems are unpacked once, all of it or nothing, and never outside their folder."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
from pathlib import Path

import pytest

from trainers.data.zips import unpacked
from trainers.errors import DataError


def packed(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def with_old_names(path: Path, names: list[str], codec: str) -> Path:
    """A zip whose names do not say their encoding."""
    stand_ins = {name: chr(65 + number) * len(name.encode(codec)) for number, name in enumerate(names)}
    content = packed(path, {stand_in: name.encode() for name, stand_in in stand_ins.items()}).read_bytes()
    for name, stand_in in stand_ins.items():
        content = content.replace(stand_in.encode(), name.encode(codec))
    path.write_bytes(content)
    return path


def below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(file: Path, root: Path) -> str:
    """Why a zip is refused; nothing is left of it."""
    with pytest.raises(DataError) as raised:
        unpacked(file, root)
    assert raised.value.hint
    assert not root.exists() or list(root.iterdir()) == []
    return raised.value.message


FILES = {"10_dog/a.png": b"a", "10_dog/a.txt": b"a dog", "reg/1_dog/b.png": b"b", "metadata.csv": b"file_name,text"}


def test_folders_are_kept(tmp_path: Path) -> None:
    folder = unpacked(packed(tmp_path / "set.zip", FILES), tmp_path / "cache" / "zips")
    assert folder.parent == tmp_path / "cache" / "zips"
    assert folder.name.startswith("set-")
    assert below(folder) == FILES


def test_a_folder_alone_in_the_zip_is_entered(tmp_path: Path) -> None:
    file = packed(tmp_path / "set.zip", {f"my set/{name}": content for name, content in FILES.items()})
    folder = unpacked(file, tmp_path / "zips")
    assert folder.name == "my set"
    assert below(folder) == FILES
    assert unpacked(file, tmp_path / "zips") == folder


def test_the_same_zip_is_unpacked_once_and_a_changed_one_again(tmp_path: Path) -> None:
    file = packed(tmp_path / "set.zip", FILES)
    folder = unpacked(file, tmp_path / "zips")
    (folder / "a note").write_text("stays")
    assert unpacked(file, tmp_path / "zips") == folder
    assert (folder / "a note").exists()
    packed(file, {"a.png": b"another"})
    again = unpacked(file, tmp_path / "zips")
    assert again != folder
    assert below(again) == {"a.png": b"another"}
    assert below(unpacked(packed(tmp_path / "other" / "set.zip", FILES), tmp_path / "zips")) == FILES


def test_clutter_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    clutter = ["__MACOSX/._a.png", ".DS_Store", "x/Thumbs.db", "._a.png", ".git/config", "desktop.ini"]
    file = packed(tmp_path / "set.zip", {**FILES, **dict.fromkeys(clutter, b"")})
    assert below(unpacked(file, tmp_path / "zips")) == FILES


@pytest.mark.parametrize(
    ("names", "codec"),
    [
        (["一只狗.png", "é.png"], "utf-8"),  # macOS
        (["一只狗.png", "两只猫.txt"], "gb18030"),  # Windows in Chinese
        (["いぬ.png", "ねこ.png"], "shift_jis"),
        (["café.png"], "cp437"),
    ],
)
def test_names_of_unknown_encoding_are_read_as_their_system_meant_them(
    tmp_path: Path, names: list[str], codec: str
) -> None:
    file = with_old_names(tmp_path / "set.zip", names, codec)
    assert below(unpacked(file, tmp_path / "zips")) == {name: name.encode() for name in names}


def test_backslashes_are_folders(tmp_path: Path) -> None:
    file = packed(tmp_path / "set.zip", {"a.png": b"", "10_dog\\b.png": b"b"})
    assert below(unpacked(file, tmp_path / "zips")) == {"a.png": b"", "10_dog/b.png": b"b"}


def test_of_two_files_of_one_name_the_later_counts(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.png", b"old and long")
        archive.writestr("a.png", b"new")
    assert below(unpacked(tmp_path / "set.zip", tmp_path / "zips")) == {"a.png": b"new"}


@pytest.mark.parametrize("name", ["../a.png", "x/../../a.png", "/a.png", "C:\\a.png", "..\\a.png"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    message = refusal(packed(tmp_path / "set.zip", {"b.png": b"", name: b"x"}), tmp_path / "zips")
    assert message == f"set.zip holds {name.replace(chr(92), '/')!r}, which leads out of its folder."
    assert [path.name for path in tmp_path.rglob("*.png")] == []


def test_links_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "leads out" in refusal(tmp_path / "set.zip", tmp_path / "zips")


def test_a_password_is_named(tmp_path: Path) -> None:
    file = packed(tmp_path / "set.zip", {"a.png": b"a"})
    content = bytearray(file.read_bytes())
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + place] |= 1
    file.write_bytes(content)
    assert refusal(file, tmp_path / "zips") == "set.zip is locked with a password."


def test_broken_zips_leave_nothing(tmp_path: Path) -> None:
    file = packed(tmp_path / "set.zip", {"a.png": b"first", "b.png": b"second"})
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"second", b"Second"))
    assert "Bad CRC-32" in refusal(file, tmp_path / "zips")
    file.write_bytes(whole[:-30])
    assert "not a zip" in refusal(file, tmp_path / "zips")
    file.write_bytes(b"")
    assert "not a zip" in refusal(file, tmp_path / "zips")


def test_a_zip_without_files_is_refused(tmp_path: Path) -> None:
    assert (
        refusal(packed(tmp_path / "set.zip", {"x/": b"", ".DS_Store": b""}), tmp_path / "zips") == "set.zip is empty."
    )


def test_a_file_in_a_folders_place_is_refused(tmp_path: Path) -> None:
    message = refusal(packed(tmp_path / "set.zip", {"a": b"", "a/b.png": b""}), tmp_path / "zips")
    assert message.startswith("set.zip cannot be unpacked: ")


def test_a_zip_larger_than_the_disk_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    entries = shutil.disk_usage(tmp_path).free // 2**32 + 2
    file = packed(tmp_path / "set.zip", {f"{number}.png": b"" for number in range(entries)})
    # a directory that claims 4 GiB for each file, as that of a zip bomb does
    content = bytearray(file.read_bytes())
    at = content.find(b"PK\1\2")
    while at >= 0:
        content[at + 24 : at + 28] = b"\xfe\xff\xff\xff"
        at = content.find(b"PK\1\2", at + 4)
    file.write_bytes(content)
    assert " GiB are free." in refusal(file, tmp_path / "zips")


def test_a_changed_date_alone_unpacks_again(tmp_path: Path) -> None:
    file = packed(tmp_path / "set.zip", FILES)
    folder = unpacked(file, tmp_path / "zips")
    os.utime(file, (1, 1))
    assert unpacked(file, tmp_path / "zips") != folder
