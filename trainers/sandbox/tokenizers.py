"""Small tokenizers of the classes that FLUX uses, made from a corpus: the same corpus gives the same files."""

from __future__ import annotations

import math
import string
from collections import Counter
from itertools import pairwise

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer, T5Tokenizer


def clip_tokenizer(corpus: list[str], max_length: int) -> CLIPTokenizer:
    """Byte-pair tokenizer with all bytes and every merge that the corpus gives; <eos> has the highest id."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = _merges(corpus)
    tokens = alphabet + [letter + "</w>" for letter in alphabet]
    tokens += dict.fromkeys(left + right for left, right in merges)
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=max_length)


def _merges(corpus: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent pair first, ties by spelling: `BpeTrainer` breaks them by hash order."""
    backend = CLIPTokenizer()._tokenizer
    words: Counter[tuple[str, ...]] = Counter()
    for line in corpus:
        for piece, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(line)):
            words[(*piece[:-1], piece[-1] + "</w>")] += 1
    merges = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                pairs[pair] += count
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = Counter({_merged(word, best): count for word, count in words.items()})


def _merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    for symbol in word:
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return tuple(out)


def t5_tokenizer(corpus: list[str], max_length: int) -> T5Tokenizer:
    """Unigram tokenizer: whole words of the corpus, pairs of letters, and single characters for the rest."""
    words = Counter(word.strip(",.") for line in corpus for word in line.split())
    total = sum(words.values())
    pieces = {"▁" + word: math.log(count / total) for word, count in words.items()} | {"▁": -3.0, ",": -3.0}
    for consonant in "bcdfghjklmnpqrstvwxyz":
        for vowel in "aeiou":
            pieces.setdefault(consonant + vowel, -9.0)
            pieces.setdefault(f"▁{consonant}{vowel}", -9.0)
    for character in string.printable[:94]:
        pieces.setdefault(character, -12.0)
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocab += sorted(pieces.items(), key=lambda item: (-item[1], item[0]))
    return T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=max_length)
