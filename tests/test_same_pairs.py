"""However people keep their pictures and captions, the training pairs are the same."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainers.config import Data
from trainers.data.folder import Scan, scan

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = ROOT.parent / "shared" / "data" / "photos"
MADE = ("圆 红.png", "grün.v1.2.JPG", "plain.webp", "子/方 1.png")
WORDS = ("一个红色的圆, left", "ein grüner Kreis", 'he said "hi"; twice, and left', "no, really")


@dataclass(frozen=True)
class Pair:
    """A picture file and its captions. name: below the folder, with slashes."""

    name: str
    content: bytes
    lines: tuple[str, ...]

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


Pairs = Sequence[Pair]
Expected = set[tuple[str, tuple[str, ...]]]


def made() -> Pairs:
    """Pictures with names of several scripts, in a folder and below it."""
    pairs = []
    for number, name in enumerate(MADE):
        noise = np.random.default_rng(number).integers(0, 255, (16, 24, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(noise).save(file, {"jpg": "jpeg"}.get(name[-3:].lower(), name.rpartition(".")[2]))
        pairs.append(Pair(name, file.getvalue(), captions(number)))
    return pairs


def photos(subject: str) -> Pairs:
    files = sorted((PHOTOS / subject).glob("*.jpg"))
    return [Pair(file.name, file.read_bytes(), captions(number)) for number, file in enumerate(files)]


def captions(number: int) -> tuple[str, ...]:
    """One line, or two."""
    return tuple(f"{word} {number}" for word in (WORDS[number % 4], WORDS[(number + 1) % 4])[: 1 + number % 2])


# the photos are beside the project and not in it
SUBJECTS = sorted(folder.name for folder in PHOTOS.glob("*") if folder.is_dir())


@pytest.fixture(scope="module", params=["made", *SUBJECTS])
def pairs(request: pytest.FixtureRequest) -> Pairs:
    found = made() if request.param == "made" else photos(request.param)
    assert len(found) > 3
    return found


# --------------------------------------------------------------------------- layouts: each gives what to choose


def pictures(folder: Path, pairs: Pairs) -> Path:
    for pair in pairs:
        path = folder / pair.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pair.content)
    return folder


def beside(folder: Path, pairs: Pairs, ending: str = ".txt", mark: bytes = b"", encoding: str = "utf-8") -> Path:
    for pair in pairs:
        (folder / f"{pair.stem}{ending}").write_bytes(mark + pair.text.encode(encoding))
    return pictures(folder, pairs)


def flat(root: Path, pairs: Pairs) -> Path:
    (root / "子").mkdir(parents=True)
    return beside(root, pairs)


def flat_caption(root: Path, pairs: Pairs) -> Path:
    (root / "子").mkdir(parents=True)
    return beside(root, pairs, ".caption")


def flat_as_windows_writes(root: Path, pairs: Pairs) -> Path:
    """A mark in front, and CR LF."""
    flat(root, pairs)
    for pair in pairs:
        text = "\r\n".join(pair.lines) + "\r\n"
        (root / f"{pair.stem}.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    return root


def flat_utf_16(root: Path, pairs: Pairs) -> Path:
    (root / "子").mkdir(parents=True)
    return beside(root, pairs, encoding="utf-16")


def flat_with_whole_name(root: Path, pairs: Pairs) -> Path:
    """`a.png.txt` of `a.png`."""
    pictures(root, pairs)
    for pair in pairs:
        (root / f"{pair.name}.txt").write_text(pair.text, encoding="utf-8")
    return root


def kohya_parent(root: Path, pairs: Pairs) -> Path:
    flat(root / "10_小狗 dog", pairs)
    return root


def kohya_deeper(root: Path, pairs: Pairs) -> Path:
    flat(root / "img" / "2_dog", pairs)
    return root


def kohya_itself(root: Path, pairs: Pairs) -> Path:
    return flat(root / "10_dog", pairs)


def table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]], encoding: str = "utf-8") -> None:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def metadata_csv(root: Path, pairs: Pairs) -> Path:
    pictures(root, pairs)
    table(root / "metadata.csv", ["file_name", "text"], [[pair.name, pair.text] for pair in pairs])
    return root


def metadata_csv_of_excel(root: Path, pairs: Pairs) -> Path:
    """A mark in front, and a row for each caption."""
    pictures(root, pairs)
    rows = [[pair.name.replace("/", "\\"), line] for pair in pairs for line in pair.lines]
    table(root / "metadata.csv", ["file_name", "text"], rows, "utf-8-sig")
    return root


def metadata_jsonl(root: Path, pairs: Pairs) -> Path:
    pictures(root, pairs)
    lines = [json.dumps({"file_name": pair.name, "text": pair.text}, ensure_ascii=False) for pair in pairs]
    (root / "metadata.jsonl").write_bytes("\r\n".join(lines).encode())
    return root


def diffsynth(root: Path, pairs: Pairs) -> Path:
    pictures(root, pairs)
    table(root / "metadata.csv", ["image", "prompt"], [[pair.name, pair.text] for pair in pairs])
    return root


def captions_json(root: Path, pairs: Pairs) -> Path:
    pictures(root, pairs)
    content = {pair.name: pair.text for pair in pairs}
    (root / "captions.json").write_text(json.dumps(content), encoding="utf-8-sig")
    return root


def kohya_json(root: Path, pairs: Pairs) -> Path:
    """Names without their ending."""
    pictures(root, pairs)
    content = {pair.stem: {"caption": pair.text} for pair in pairs}
    (root / "meta_cap.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return root


def zipped(root: Path, pairs: Pairs) -> Path:
    return Path(shutil.make_archive(str(root / "我的 set"), "zip", flat(root / "packed", pairs)))


def zipped_kohya(root: Path, pairs: Pairs) -> Path:
    return Path(shutil.make_archive(str(root / "set"), "zip", kohya_parent(root / "packed", pairs)))


def zipped_table(root: Path, pairs: Pairs) -> Path:
    """One folder alone in the zip."""
    metadata_csv(root / "packed" / "top", pairs)
    return Path(shutil.make_archive(str(root / "set"), "zip", root / "packed"))


def simpletuner(root: Path, pairs: Pairs) -> Path:
    """Two data sets; what the run needs stands in the file."""
    half = len(pairs) // 2
    flat(root / "one", pairs[:half])
    flat(root / "two", pairs[half:])
    entries = [
        {"id": name, "type": "local", "instance_data_dir": name, "caption_strategy": "textfile", "repeats": 0}
        for name in ("one", "two")
    ]
    texts = {"id": "text", "type": "local", "dataset_type": "text_embeds", "cache_dir": "cache/text"}
    (root / "multidatabackend.json").write_text(json.dumps([*entries, texts]), encoding="utf-8")
    return root


def simpletuner_file(root: Path, pairs: Pairs) -> Path:
    return simpletuner(root, pairs) / "multidatabackend.json"


LAYOUTS: list[Callable[[Path, Pairs], Path]] = [
    flat,
    flat_caption,
    flat_as_windows_writes,
    flat_utf_16,
    flat_with_whole_name,
    kohya_parent,
    kohya_deeper,
    kohya_itself,
    metadata_csv,
    metadata_csv_of_excel,
    metadata_jsonl,
    diffsynth,
    captions_json,
    kohya_json,
    zipped,
    zipped_kohya,
    zipped_table,
    simpletuner,
    simpletuner_file,
]


def scanned(chosen: Path, root: Path) -> Scan:
    data = Data(folder=str(chosen), resolution=512, bucket_step=16, cache_dir=str(root / "cache"))
    return scan(data)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_layout_gives_the_same_pairs(tmp_path: Path, pairs: Pairs, layout: Callable[[Path, Pairs], Path]) -> None:
    found = scanned(layout(tmp_path / "data", pairs), tmp_path)
    assert found.bad == ()
    assert {(one.digest, one.lines) for one in found.pictures} == expected(pairs)
    assert len(found.pictures) == len(pairs)


def expected(pairs: Pairs) -> Expected:
    return {(hashlib.blake2b(pair.content, digest_size=16).hexdigest(), pair.lines) for pair in pairs}


@pytest.mark.parametrize("layout", [kohya_parent, kohya_itself, zipped_kohya], ids=lambda layout: layout.__name__)
def test_kohya_folders_keep_their_repeats_wherever_they_lie(
    tmp_path: Path, pairs: Pairs, layout: Callable[[Path, Pairs], Path]
) -> None:
    found = scanned(layout(tmp_path / "data", pairs), tmp_path)
    assert {picture.repeats for picture in found.pictures} == {10}
    assert found.folders[0].layout.kind == "kohya"


def test_several_data_sets_together_give_the_pairs_of_all(tmp_path: Path, pairs: Pairs) -> None:
    half = len(pairs) // 2
    first = kohya_parent(tmp_path / "first", pairs[:half])
    second = zipped_table(tmp_path / "second", pairs[half:])
    sets = [{"folder": str(second), "repeats": 2}]
    data = Data(folder=str(first), sets=sets, resolution=512, bucket_step=16, cache_dir=str(tmp_path / "cache"))
    assert {(one.digest, one.lines) for one in scan(data).pictures} == expected(pairs)
