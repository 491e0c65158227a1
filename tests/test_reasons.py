"""Why a file cannot be used is said in the language of the page, whatever the cause."""

from __future__ import annotations

import ast
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from app.ui.texts import texts
from tests import pictures
from trainers import catalog
from trainers.data import decode, index, kinds, text
from trainers.data.decode import DECODE_ERRORS, open_picture, read_header, reason_of
from trainers.data.index import entries
from trainers.data.text import TextError, decoded
from trainers.errors import ConfigError, MissingPackageError
from trainers.preflight import Reasons
from trainers.preflight.finding import tell

CHINESE = texts("zh")
RAISED = {"UnreadableError", "TextError", "MissingPackageError"}


def has_english(said: str) -> bool:
    return any(word in said for word in ("its ", "the ", "it is", " not ", "whatever", "file"))


def test_strangers_and_damage_are_named(tmp_path: Path) -> None:
    faults = {name: content for name, (content, _) in pictures.STRANGERS.items()}
    faults["cut.png"] = pictures.encoded(Image.effect_noise((99, 99), 60), "PNG")[:-30]
    faults["header.jpg"] = b"\xff\xd8\xff\xe0" + bytes(60) + b"\xff\xd9"
    faults["inside.png"] = pictures.encoded(Image.effect_noise((99, 99), 60), "PNG").replace(b"IDAT", b"IDAX", 1)
    faults["large.png"] = pictures.png(20_000, 10_000, 8, 0, b"")
    for name, content in faults.items():
        path = pictures.write(tmp_path, name, content)
        with pytest.raises(DECODE_ERRORS) as caught:
            read_header(path)
            open_picture(path)
        reason = reason_of(caught.value)
        said = CHINESE.reason(reason)
        assert said != reason and not has_english(said.replace("git lfs pull", "")), (name, reason, said)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError("broken data stream"),
        Image.DecompressionBombError("no number"),
        MissingPackageError("HEIC needs pillow-heif:", kinds.INSTALL),
        *(OSError(code, os.strerror(code)) for code in (errno.EACCES, errno.EPERM, errno.ENOENT, errno.EIO)),
        *(OSError(code, os.strerror(code)) for code in (errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.EMFILE)),
    ],
    ids=str,
)
def test_errors_are_translated(error: Exception) -> None:
    reason = reason_of(error)
    assert CHINESE.reason(reason) != reason
    assert texts("en").reason(reason) == reason


def test_captions_are_translated(tmp_path: Path) -> None:
    contents = [b"\xff\xfea\0b", b"a\0b", "猫和狗".encode("gb18030"), "é".encode("cp1252"), b"\x81\x00\xff"]
    for content in contents:
        with pytest.raises(TextError) as caught:
            decoded(content)
        assert CHINESE.reason(caught.value.reason).startswith("标注"), caught.value.reason
    assert "GBK" in CHINESE.reason("its caption is not UTF-8 (perhaps GBK)")


def test_reasons_of_an_index_are_translated(tmp_path: Path) -> None:
    for name in ("long", "away"):
        pictures.write(tmp_path, f"{name}.png", pictures.COLOURED["plain.png"]())
    (tmp_path / "long.txt").write_text("a" * (index.MAX_CAPTION_BYTES + 1))
    (tmp_path / "away.txt").symlink_to("nowhere.txt")
    told = {entry.name: CHINESE.reason(entry.caption_error) for entry in entries(tmp_path, None, ".txt")}
    assert told["long.png"] == "标注超过 1 MB"
    assert told["away.png"].startswith("标注") and told["away.png"].endswith("文件已不在")


def test_every_reason_in_the_code_is_known() -> None:
    found = [reason for module in (decode, kinds, text, index) for reason in raised_in(module)]
    kind_names = [kind for _, kind in (*kinds.STRANGERS, *kinds.TEXTS)]
    found += [f"it is {kind}, whatever its name says" for kind in kind_names]
    assert len(found) > 20
    assert [reason for reason in found if CHINESE.reason(reason) == reason] == []
    assert [kind for kind in kind_names if CHINESE.reason(kind) == kind] == []


def raised_in(module: ModuleType) -> Iterator[str]:
    """Reasons that the module raises or that `reason_of` returns, with a number for what is filled in."""
    for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RAISED:
            yield from (reason for reason in map(sample, node.args[:1]) if reason)
        elif isinstance(node, ast.FunctionDef) and node.name in ("reason_of", "_too_large"):
            returned = (part.value for part in ast.walk(node) if isinstance(part, ast.Return))
            yield from (reason for reason in map(sample, returned) if reason)


def sample(node: ast.AST | None) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if not isinstance(node, ast.JoinedStr):
        return ""
    named = {"what": "its caption", "title": "HEIC", "package": "pillow-heif"}
    parts = [part.value if isinstance(part, ast.Constant) else filled_in(part, named) for part in node.values]
    joined = "".join(map(str, parts))
    return joined + " pip install it" if joined.endswith(":") else joined


def filled_in(part: ast.expr, named: dict[str, str]) -> str:
    return named.get(ast.unparse(part.value), "7") if isinstance(part, ast.FormattedValue) else ""


def test_findings_say_reasons_in_their_language() -> None:
    reasons = Reasons(tuple((f"{number}.png", "the file is empty") for number in range(7)))
    assert str(reasons).startswith("0.png: the file is empty; 1.png: ") and str(reasons).endswith("; …")
    assert reasons.said(CHINESE.reason).startswith("0.png: 文件是空的; 1.png: ")


WHOLE = b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
MODELS = {
    "empty": b"",
    "page": b"<!DOCTYPE html><html></html>",
    "pointer": b"version https://git-lfs.github.com/spec/v1\n",
    "gguf": b"GGUF" + bytes(20),
    "garbage": b"\xff" * 64,
    "incomplete": len(WHOLE).to_bytes(8, "little") + WHOLE + bytes(8),
    "damaged": (5).to_bytes(8, "little") + b"{oops",
    "unknown": len(WHOLE).to_bytes(8, "little") + WHOLE + bytes(16),
}


@pytest.mark.parametrize("name", MODELS)
def test_why_a_model_file_is_refused_is_said_in_chinese(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(MODELS[name])
    with pytest.raises(ConfigError) as caught:
        catalog.family_of(str(path))
    english = f"{caught.value.message} {caught.value.hint}"
    said = CHINESE.reason(english)
    assert said != english and not has_english(said), said


def test_a_quoted_reason_of_a_finding_is_said_in_chinese() -> None:
    reason, remedy = "ae.safetensors is empty.", "Download it again."
    message, hint = CHINESE.finding(tell("problem", "model_file", "model.vae", reason=reason, remedy=remedy))
    assert "是空的" in message and not hint and not has_english(message)
