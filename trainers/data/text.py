"""Text files as people keep them, read without losing a letter."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

GUESSES = {"gb18030": "GBK", "shift_jis": "Shift JIS", "cp1252": "Windows-1252"}  # by codec, for people
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# UTF-32 begins with the two bytes of UTF-16, and is nobody's caption
UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
SAMPLE_BYTES = 2**16  # enough to guess from


class TextError(ValueError):
    """A text file that cannot be read. guesses: names of Python codecs that would give a text, the likeliest first."""

    def __init__(self, reason: str, guesses: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason, self.guesses = reason, guesses


def read_text(path: Path, what: str = "its caption") -> str:
    """The text, with LF between lines and without a byte order mark. UTF-8, or UTF-16 with its mark.

    what: how the message calls the text. Raises TextError for any other encoding, OSError.
    """
    return decoded(path.read_bytes(), what)


def decoded(content: bytes, what: str = "its caption") -> str:
    """The text of a file's bytes. Raises TextError."""
    is_utf_16 = content.startswith(UTF_16) and not content.startswith(UTF_32)
    try:
        text = content.decode("utf-16" if is_utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(content, is_utf_16, what) from error
    if "\0" in text:
        raise TextError(f"{what} is not a text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def lines_of(text: str) -> tuple[str, ...]:
    """The lines that say something, without the blanks around them."""
    # not splitlines: it also cuts at form feeds and at separators that a caption may hold
    return tuple(line for raw in text.split("\n") if (line := raw.strip()))


def _refused(content: bytes, is_utf_16: bool, what: str) -> TextError:
    if is_utf_16:
        return TextError(f"{what} is UTF-16 that is cut off")
    readings = {codec: reading for codec in GUESSES if (reading := _reading(content, codec))}
    # stable: of equals, the more widespread stays in front
    guesses = tuple(sorted(readings, key=lambda codec: not _is_likely(codec, readings[codec], content)))
    reason = f"{what} is not UTF-8"
    if guesses:
        reason += f" (perhaps {GUESSES[guesses[0]]})"
    return TextError(reason, guesses)


def _reading(content: bytes, codec: str) -> str:
    """The beginning as the codec has it; empty when it is no text so."""
    try:
        # a sign that the end of the sample cuts in two is no objection
        text = codecs.getincrementaldecoder(codec)().decode(content[:SAMPLE_BYTES], len(content) <= SAMPLE_BYTES)
    except UnicodeDecodeError:
        return ""
    return text if all(sign.isprintable() or sign.isspace() for sign in text) else ""


def _is_likely(codec: str, reading: str, content: bytes) -> bool:
    """Whether the text is in the common letters of the language: each codec takes most of the others' bytes too."""
    if codec == "shift_jis":
        return re.search("[\u3041-\u30fa]", reading) is not None
    if codec == "cp1252":
        return re.search(rb"[\x80-\xff]{2}", content) is None
    return all(sign.isascii() or _is_common_chinese(sign) for sign in reading)


def _is_common_chinese(sign: str) -> bool:
    try:
        return len(sign.encode("gb2312")) == 2
    except UnicodeEncodeError:
        return False
