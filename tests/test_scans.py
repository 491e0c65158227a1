"""Scans that the page asks for: in a thread, remembered, and told of while they go on."""

from __future__ import annotations

import json
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.services.pictures import Scans, StillScanning
from tests.test_services import make_pictures
from trainers.config import Data
from trainers.data.sources import SourceError
from trainers.data.zips import unpacked
from trainers.errors import DataError


@pytest.fixture
def data_of(tmp_path: Path) -> Callable[..., Data]:
    """The section `data` of a resolved config."""

    def make(folder: Path, **values: Any) -> Data:
        fixed = {"resolution": 64, "bucket_step": 16, "cache_dir": str(tmp_path / "cache")}
        return Data.model_validate({"folder": str(folder), **fixed, **values})

    return make


def zipped(place: Path, count: int) -> Path:
    file, pictures = place / "pictures.zip", make_pictures(place / f"{count}", count)
    with zipfile.ZipFile(file, "w") as archive:
        for picture in pictures.iterdir():
            archive.write(picture, picture.name)
    return file


def test_a_folder_that_takes_long_does_not_hold_up_the_page(tmp_path: Path, data_of: Callable[..., Data]) -> None:
    scan = Scans().scanner(patience_s=0.0)
    data = data_of(make_pictures(tmp_path / "many", 30))
    with pytest.raises(StillScanning):
        scan(data, None)


def test_a_scan_is_remembered_until_a_file_changes(tmp_path: Path, data_of: Callable[..., Data]) -> None:
    one, two = make_pictures(tmp_path / "one"), make_pictures(tmp_path / "two")
    data, scan = data_of(one, sets=[{"folder": str(two)}]), Scans().scanner(patience_s=60)
    first = scan(data, None)
    assert len(first.pictures) == 6 and scan(data, None).pictures is first.pictures
    (two / "0.txt").write_text("another caption", encoding="utf-8")
    assert [picture.lines for picture in scan(data, None).pictures][3] == ("another caption",)
    (one / "1.png").unlink()
    assert len(scan(data, None).pictures) == 5


def test_settings_that_leave_the_files_alone_need_no_new_scan(tmp_path: Path, data_of: Callable[..., Data]) -> None:
    folder, scan = make_pictures(tmp_path / "one"), Scans().scanner(patience_s=60)
    small = scan(data_of(folder), None)
    large = scan(data_of(folder, resolution=128, flip=True), None)
    assert large.pictures is small.pictures
    assert (large.sources[0].resolutions, large.sources[0].flip) == ((128,), True)
    assert scan(data_of(folder, caption_extension=".caption"), None).pictures[0].lines is None


def test_a_folder_that_was_away_is_looked_at_again(tmp_path: Path, data_of: Callable[..., Data]) -> None:
    scan, data = Scans().scanner(patience_s=60), data_of(tmp_path / "drive")
    for _ in range(2):
        with pytest.raises(SourceError):
            scan(data, None)
    make_pictures(tmp_path / "drive")
    assert len(scan(data, None).pictures) == 3


def test_a_look_for_changes_that_takes_long_is_not_made_each_time(
    tmp_path: Path, data_of: Callable[..., Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.pictures.QUICK_S", 0)
    monkeypatch.setattr("app.services.pictures.REST", 1e9)
    folder, scan = make_pictures(tmp_path / "one"), Scans().scanner(patience_s=60)
    assert len(scan(data_of(folder), None).pictures) == 3
    (folder / "1.png").unlink()
    assert len(scan(data_of(folder), None).pictures) == 3


def test_data_sets_that_changed_meanwhile_are_not_mixed_up(
    tmp_path: Path, data_of: Callable[..., Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.pictures.QUICK_S", 0)
    monkeypatch.setattr("app.services.pictures.REST", 1e9)
    file, scan = tmp_path / "multidatabackend.json", Scans().scanner(patience_s=60)
    for name, count in (("one", 2), ("two", 4)):
        make_pictures(tmp_path / name, count)
    for names, pictures in ((["one"], 2), (["two"], 4), (["two", "one"], 6)):
        file.write_text(json.dumps([{"id": name, "type": "local", "instance_data_dir": name} for name in names]))
        if pictures > 2:
            with pytest.raises(StillScanning):
                scan(data_of(tmp_path), None)
        assert len(scan(data_of(tmp_path), None).pictures) == pictures


def test_a_zip_is_unpacked_while_the_page_goes_on(
    tmp_path: Path, data_of: Callable[..., Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, may_go_on = [], threading.Event()

    def slowly(file: Path, root: Path) -> Path:
        threads.append(threading.current_thread().name)
        may_go_on.wait(10)
        return unpacked(file, root)

    monkeypatch.setattr("trainers.data.sources.unpacked", slowly)
    file, scan = zipped(tmp_path, 3), Scans().scanner(patience_s=0.1)
    with pytest.raises(StillScanning):
        scan(data_of(file), None)
    may_go_on.set()
    assert len(Scans().scanner(patience_s=60)(data_of(file), None).pictures) == 3
    assert threads[0] == "scan"


def test_a_zip_that_was_replaced_is_unpacked_in_the_thread_too(
    tmp_path: Path, data_of: Callable[..., Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.pictures.QUICK_S", 0)
    monkeypatch.setattr("app.services.pictures.REST", 1e9)
    scans, file = Scans(), zipped(tmp_path, 3)
    assert len(scans.scanner(patience_s=60)(data_of(file), None).pictures) == 3
    zipped(tmp_path, 5)
    with pytest.raises(StillScanning):
        scans.scanner(patience_s=0.0)(data_of(file), None)
    assert len(scans.scanner(patience_s=60)(data_of(file), None).pictures) == 5


def test_a_zip_that_breaks_late_is_told_and_not_unpacked_for_ever(
    tmp_path: Path, data_of: Callable[..., Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def breaks(file: Path, root: Path) -> Path:
        tried.append(file)
        time.sleep(0.4)
        raise DataError(f"{file.name} cannot be unpacked.", "Pack it again.")

    monkeypatch.setattr("trainers.data.sources.unpacked", breaks)
    data, scan = data_of(zipped(tmp_path, 1)), Scans().scanner(patience_s=0.1)
    with pytest.raises(StillScanning):
        scan(data, None)
    time.sleep(0.5)
    for _ in range(3):
        with pytest.raises(SourceError, match="cannot be unpacked"):
            scan(data, None)
    assert len(tried) == 1


def test_of_very_large_folders_only_headers_are_read(
    tmp_path: Path, data_of: Callable[..., Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_pictures(tmp_path / "many", 4)
    monkeypatch.setattr("trainers.preflight.report.MOST_DECODED", 3)
    assert Scans().scanner(patience_s=60)(data_of(folder), None).content is False
    (folder / "0.png").unlink()
    assert Scans().scanner(patience_s=60)(data_of(folder), None).content is True
