"""What is wrong with a text that a model wrote. Light."""

from __future__ import annotations

import re

from captioners.base import Fault
from trainers.data.tags import is_tags

REPEATS = 4  # the same words so often in a row are no caption any more
LONGEST_PHRASE = 40  # words, or signs of a script that writes no blanks
SHORTEST_LOOP = 8  # such signs: four of one alone may be laughter
LONGEST_REFUSAL = 400  # signs; in a longer text it was said of a detail
UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"  # kana and Chinese characters
PIECE = re.compile(f"[{UNSPACED}]|[^\\s{UNSPACED}]+")
# full-width stops need no blank behind them; a point does, and ends no sentence behind a title or an initial
SENTENCE_END = re.compile(
    r"(?:[!?]|(?<!\bMr)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bvs)(?<!\bMrs)(?<!\be\.g)(?<!\bi\.e)(?<!\b[A-Z])\.)"
    "[\"'\u201d\u2019)]*(?=\\s|$)"
    "|[\u3002\uff01\uff1f][\u300d\u300f\u201d\u2019\uff09]*"
)
TAG_ENDS = ",\uff0c\u3001"
SORRY = r"(?:(?:i'm|i am) (?:very |so )?sorry|sorry|i apologi[sz]e|my apologies|unfortunately)\b[^.!?]{0,60}?"
CANNOT = r"\b(?:i|we)(?: ?(?:can't|cannot|can not|won't|will not)|(?:'m| am|'re| are) (?:not able|unable) to)"
DO_IT = (
    r" (?:help|assist|describe|provide|create|write|comply|fulfil|generate|identify|see|view|access|analy[sz]e|process)"
)
REFUSAL = re.compile(f"{SORRY}{CANNOT}|{CANNOT}{DO_IT}|as an ai\\b")
WORDS = {
    "empty": "the model wrote nothing",
    "repeats": "the model repeated itself without end",
    "refused": "the model would not describe it",
    "failed": "the server did not answer",
}


def fault_of(text: str) -> Fault:
    """empty: no letter or digit in it; repeats: a phrase four times in a row; refused: an apology in place of a
    caption; "" for a usable text."""
    if not any(sign.isalnum() for sign in text):
        return "empty"
    if _repeats(_pieces(text.casefold())):
        return "repeats"
    return "refused" if is_refusal(text) else ""


def is_refusal(text: str) -> bool:
    """Whether an English text begins as models do that will not, or cannot, look at the picture."""
    plain = text.strip().casefold().replace("\u2019", "'")
    return len(plain) <= LONGEST_REFUSAL and REFUSAL.match(plain) is not None


def _pieces(text: str) -> list[str]:
    """Words without the marks around them; of scripts without blanks, each sign."""
    bare = (re.sub(r"^\W+|\W+$", "", piece) for piece in PIECE.findall(text))
    return [piece for piece in bare if piece]


def _repeats(pieces: list[str]) -> bool:
    """A phrase of some length follows itself again and again, which happens in no caption: tags are never the same."""
    for length in range(1, min(LONGEST_PHRASE, len(pieces) // REPEATS) + 1):
        run = 0
        for place in range(length, len(pieces)):
            run = run + 1 if pieces[place] == pieces[place - length] else 0
            signs = len(pieces[place]) == 1 and not pieces[place].isascii()
            if run + length >= max(length * REPEATS, SHORTEST_LOOP if signs else 0):
                return True
    return False


def cut_at_sentence(text: str) -> str:
    """A text that was cut off, up to its last whole sentence, or its last whole tag; as it is when it has neither."""
    ends = [] if is_tags(text) else [found.end() for found in SENTENCE_END.finditer(text)]
    if ends:
        return text[: ends[-1]]
    place = max(text.rfind(comma) for comma in TAG_ENDS)
    return text[:place].rstrip() if place > 0 else text
