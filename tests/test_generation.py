"""Texts are drawn by the law that temperature, top k and top p make, each row by itself."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor, nn
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from captioners.base import Runtime, StopAskedError
from captioners.config import CaptionConfig, Generate
from captioners.generation import Drawing, SeededNoise, end_ids, generate, is_cut_off

WORDS, END = 11, 10
GREEDY = Drawing(temperature=0.0, top_p=1.0, top_k=0, beams=1, max_tokens=6)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.5,
        bos_token_id=0,
        eos_token_id=END,
        pad_token_id=END,
    )
    made = LlamaForCausalLM(config).eval()
    nn.init.normal_(made.lm_head.weight, std=0.4)
    # as the files of chat models have it
    made.generation_config = GenerationConfig(
        eos_token_id=END, pad_token_id=END, do_sample=True, temperature=0.3, top_p=0.5, top_k=2, max_length=3
    )
    return made


def runtime(**more) -> Runtime:
    return Runtime(torch.device("cpu"), torch.float32, **more)


def prompt(rows: int = 1) -> dict[str, Tensor]:
    ids = torch.tensor([[1, 2, 3]] * rows)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def first_words(model, drawing: Drawing, rows: int) -> Tensor:
    """Share of each word among the first new ones of so many seeds [V]."""
    drawing = Drawing(drawing.temperature, drawing.top_p, drawing.top_k, 1, 1)
    ids = generate(model, prompt(rows), drawing, range(rows), runtime())
    return torch.bincount(ids[:, -1], minlength=WORDS) / rows


def law(model, temperature: float) -> Tensor:
    with torch.no_grad():
        return (model(**prompt()).logits[0, -1] / temperature).softmax(-1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_words_are_drawn_by_softmax_of_the_logits_over_the_temperature(model, temperature):
    rows = 4000
    shares, expected = first_words(model, Drawing(temperature, 1.0, 0, 1, 1), rows), law(model, temperature)
    # four standard errors of a share
    assert ((shares - expected).abs() < 4 * (expected * (1 - expected) / rows).sqrt() + 1e-3).all()
    assert shares.max() < 0.95, "one word alone says nothing of a law"


def test_top_k_leaves_the_likeliest_and_their_proportions(model):
    shares, expected = first_words(model, Drawing(1.5, 1.0, 3, 1, 1), 3000), law(model, 1.5)
    kept = expected.topk(3).indices
    assert set(shares.nonzero().flatten().tolist()) == set(kept.tolist())
    assert torch.allclose(shares[kept], expected[kept] / expected[kept].sum(), atol=0.04)


def test_top_p_leaves_the_fewest_words_that_make_up_the_share(model):
    expected = law(model, 1.0)
    ranked = expected.sort(descending=True)
    count = int((ranked.values.cumsum(0) < 0.8).sum()) + 1
    assert 1 < count < WORDS
    shares = first_words(model, Drawing(1.0, 0.8, 0, 1, 1), 3000)
    assert set(shares.nonzero().flatten().tolist()) == set(ranked.indices[:count].tolist())


def test_noise_is_that_of_gumbel_and_always_finite():
    noise = torch.cat([SeededNoise([seed])(torch.zeros(1, 1), torch.zeros(1, 50_000)) for seed in range(4)])
    assert noise.isfinite().all()
    assert noise.mean() == pytest.approx(0.5772, abs=0.01)  # Euler's constant
    assert noise.var() == pytest.approx(torch.pi**2 / 6, abs=0.03)


def test_words_that_were_ruled_out_are_never_drawn():
    scores = torch.full((1, 100), float("-inf"))
    scores[0, 7] = -50.0
    assert all(SeededNoise([seed])(torch.zeros(1, 1), scores).argmax() == 7 for seed in range(50))


def test_a_row_is_drawn_the_same_in_any_batch_and_at_any_place(model):
    drawing = Drawing(1.5, 0.95, 0, 1, 12)
    together = generate(model, prompt(5), drawing, [3, 1, 4, 1, 5], runtime())
    for row, seed in zip(together, [3, 1, 4, 1, 5], strict=True):
        alone = generate(model, prompt(1), drawing, [seed], runtime())[0]
        assert row[: len(alone)].tolist() == alone.tolist()
        assert set(row[len(alone) :].tolist()) <= {END}
    assert together[1].tolist() == together[3].tolist() != together[0].tolist()


def by_hand(model, steps: int) -> list[int]:
    ids = [1, 2, 3]
    with torch.no_grad():
        for _ in range(steps):
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == END:
                break
    return ids


def test_temperature_0_takes_the_likeliest_word_whatever_the_model_s_file_asks_for(model):
    assert generate(model, prompt(), GREEDY, [9], runtime())[0].tolist() == by_hand(model, 6)


def test_beams_find_a_text_at_least_as_likely_as_the_greedy_one(model):
    def likelihood(ids: Tensor) -> float:
        with torch.no_grad():
            logs = model(input_ids=ids[None]).logits[0].log_softmax(-1)
        new = ids[3:]
        return float(logs[2:-1].gather(-1, new[:, None]).sum())

    beams = Drawing(0.0, 1.0, 0, 4, 4)
    never = {"suppress_tokens": [END]}  # so that both are of one length
    wide = generate(model, prompt(), beams, [0], runtime(), **never)[0]
    narrow = generate(model, prompt(), Drawing(0.0, 1.0, 0, 1, 4), [0], runtime(), **never)[0]
    assert len(wide) == len(narrow) == 7
    assert likelihood(wide) >= likelihood(narrow) - 1e-5


def test_an_entry_that_is_none_undoes_that_of_the_model_s_file(model):
    plain = generate(model, prompt(), GREEDY, [0], runtime())[0]
    model.generation_config.suppress_tokens = [int(plain[3])]
    try:
        kept = generate(model, prompt(), GREEDY, [0], runtime())[0]
        undone = generate(model, prompt(), GREEDY, [0], runtime(), suppress_tokens=None)[0]
    finally:
        model.generation_config.suppress_tokens = None
    assert kept[3] != plain[3]
    assert undone.tolist() == plain.tolist()


@pytest.mark.parametrize("drawing", [GREEDY, Drawing(0.7, 0.9, 5, 1, 4), Drawing(0.0, 1.0, 0, 3, 4)])
def test_the_model_s_own_generation_config_stays_and_nothing_is_warned_of(model, drawing, caplog):
    before = model.generation_config.to_dict()
    with caplog.at_level(logging.WARNING):
        generate(model, prompt(), drawing, [0], runtime())
    assert model.generation_config.to_dict() == before
    assert not [record for record in caplog.records if "generation" in record.getMessage()]


@pytest.mark.parametrize("beams", [1, 3])
def test_stop_is_heard_after_each_word(model, beams):
    heard = []
    asked = runtime(stop_asked=lambda: heard.append(1) or len(heard) > 1)
    calls = []
    hook = model.register_forward_hook(lambda *_: calls.append(1))
    before = model.generation_config
    try:
        with pytest.raises(StopAskedError):
            generate(model, prompt(), Drawing(0.0, 1.0, 0, beams, 20), [0], asked, suppress_tokens=[END])
    finally:
        hook.remove()
    assert len(calls) == 2
    assert model.generation_config is before


def test_a_text_is_cut_off_when_it_is_longest_and_has_no_end():
    assert is_cut_off(torch.tensor([1, 2, 3]), {END}, 3)
    assert not is_cut_off(torch.tensor([1, 2, END]), {END}, 3)
    assert not is_cut_off(torch.tensor([1, 2]), {END}, 3)


def test_the_ends_of_a_model_are_one_or_several_or_none(model):
    assert end_ids(model) == {END}
    before = model.generation_config.eos_token_id
    for value, ends in (([4, 5], {4, 5}), (None, set())):
        model.generation_config.eos_token_id = value
        assert end_ids(model) == ends
    model.generation_config.eos_token_id = before


def test_how_words_are_drawn_is_read_from_the_resolved_config():
    part = Generate(temperature=0.6, top_p=0.9, top_k=20, beams=2, max_tokens=99)
    assert Drawing.of(CaptionConfig(generate=part)) == Drawing(0.6, 0.9, 20, 2, 99)
