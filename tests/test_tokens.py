"""Token counts are those of the text encoders."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from trainers.data import tokens
from trainers.paths import PROGRAM

SENTENCE = "a photo of a cat wearing a red hat, 4k"
# as transformers 5.23 gives them, without the marks at the ends
IDS = {
    "clip": [320, 1125, 539, 320, 2368, 3309, 320, 736, 3801, 267, 275, 330],
    "t5": [3, 9, 1202, 13, 3, 9, 1712, 5119, 3, 9, 1131, 3, 547, 6, 314, 157],
}
TOKENIZERS = PROGRAM.parent / "shared" / "data" / "tokenizers"
RARE = "äé猫한日🐶\u0301"
TEXTS = [
    "",
    " ",
    SENTENCE,
    "OHWX dog, it's LONG   hair!!! (red:1.2) {a|b} ||| <lora>",
    "一只戴着红色帽子的猫, é ü ñ, naïve café",
    "🐶🐱 family 👨‍👩‍👧, ½ ™ ﬁ",
    "tab\tand\nnewline",
    "1girl, solo, ^_^, long_hair, 3.14, x" * 30,
]


@pytest.mark.parametrize("name", IDS)
def test_known_ids(name: str) -> None:
    assert tokens.shared(name).encode(SENTENCE, add_special_tokens=False).ids == IDS[name]


def their_tokenizer(name: str, folder: Path) -> Any:
    """The tokenizer of transformers: of its published files where they lie beside the repository, else of our words."""
    from transformers import CLIPTokenizer, T5Tokenizer

    if (folder / name).is_dir():
        return {"clip": CLIPTokenizer, "t5": T5Tokenizer}[name].from_pretrained(str(folder / name))
    model = json.loads(tokens.shared(name).to_str())["model"]
    if name == "clip":
        return CLIPTokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])
    return T5Tokenizer(vocab=[tuple(piece) for piece in model["vocab"]], extra_ids=0)


@pytest.mark.parametrize("folder", [TOKENIZERS, Path("nowhere")])
@pytest.mark.parametrize("name", IDS)
def test_ids_are_those_of_transformers(name: str, folder: Path) -> None:
    reference = their_tokenizer(name, folder)
    rng = random.Random(1)
    plain = "abcdefg ABC ,.'!-_0123456789"
    made = ["".join(rng.choices(letters, k=rng.randrange(80))) for letters in (plain, plain + RARE) for _ in range(200)]
    # the words of T5 come without its table of equal letters
    is_whole = name == "clip" or (folder / name).is_dir()
    for text in (text for text in TEXTS + made if is_whole or text.isascii()):
        assert tokens.shared(name).encode(text).ids == reference(text).input_ids, text


def test_counts_leave_out_the_marks() -> None:
    clip, t5 = (encoder.count(SENTENCE) for encoder in tokens.encoders("flux-dev", "flux"))
    assert (clip.encoder, clip.n, clip.limit) == ("CLIP", 12, 75)
    assert (t5.encoder, t5.n, t5.limit) == ("T5", 16, 511)
    assert tokens.encoders("flux-schnell", "flux")[1].limit == 255


def test_chunks_begin_where_javascript_counts_them() -> None:
    clip = tokens.encoders("flux-dev", "flux")[0]
    text = "🐶 " + "cat " * 200
    count = clip.count(text)
    first = clip.tokenizer.encode("🐶", add_special_tokens=False)
    place = 3 + 4 * (75 - len(first.ids))  # the dog is two units, the blank one
    assert count.chunks[0] == place
    assert len(count.chunks) == (count.n - 1) // 75


def test_lengths_are_the_counts() -> None:
    for encoder in tokens.encoders("flux-dev", "flux"):
        assert encoder.lengths(TEXTS) == [encoder.count(text).n for text in TEXTS]


def test_lengths_are_remembered_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tokens.encoders("flux-dev", "flux")[0]
    monkeypatch.setattr(tokens, "REMEMBERED", 10)
    for first in range(30):
        texts = ["a cat", *(f"{'cat ' * number}" for number in range(first, first + 5)), "a cat"]
        assert encoder.lengths(texts) == [2, *range(first, first + 5), 2]
        assert len(encoder._known) <= 10


def test_half_a_sign_is_counted_as_one() -> None:
    """JSON may hold one half of a surrogate pair; text encoders refuse it."""
    for encoder in tokens.encoders("flux-dev", "flux"):
        assert encoder.lengths(["a \ud83d cat"]) == [encoder.count("a \ud83d cat").n] == encoder.lengths(["a ? cat"])


def test_the_sandbox_is_counted_with_its_own_words() -> None:
    clip, t5 = tokens.encoders("sandbox", "flux")
    limits = {clip.encoder: clip.limit for clip in (clip.count(""), t5.count(""))}
    assert limits == {"CLIP": 30, "T5": 19}
    assert clip.tokenizer.get_vocab_size() < 2000 and t5.tokenizer.get_vocab_size() < 2000


def test_a_damaged_tokenizer_of_a_model_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{", encoding="utf-8")
    assert tokens.encoders(str(tmp_path), "flux")[0].count(SENTENCE).n == 12
