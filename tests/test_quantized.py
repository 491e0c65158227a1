"""Captioners in 8 and 4 bits: the language model alone is quantised, and it is checked that it was so."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlavaForConditionalGeneration

from captioners import joycaption, joycaption_folders, sandbox
from captioners.base import Request
from captioners.generation import Drawing
from captioners.joycaption import KEEP, LANGUAGE
from captioners.loading import check_quantized, quantization
from captioners.sandbox import PROMPT, quality
from captioners.sandbox.captioner import SandboxCaptioner, open_processor
from tests import tiny_llava
from tests.tiny_llava import caption_config, cpu, requests_for
from trainers.errors import AtelierError, MissingPackageError
from trainers.sandbox import scenes

PROMPTS = ("Write it.", "What is there in the picture?", "x")
OUTSIDE = ("model.vision_tower.", "model.multi_modal_projector.", "lm_head")
KINDS = {"nf4": Linear4bit, "int8": Linear8bitLt}
LEGACY = ("vision_tower", "multi_modal_projector")  # names of before transformers 4.52, which match nothing


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("joycaption")
    tiny_llava.make_llava(made)
    return made


@pytest.fixture(scope="module", params=KINDS)
def quantised(request, folder):
    """The captioner, and the class of its quantised layers."""
    return joycaption.load(folder, caption_config(), cpu(quantize=request.param)), KINDS[request.param]


def test_the_layers_of_the_language_model_and_no_others_are_quantised(quantised):
    captioner, kind = quantised
    layers = {name: module for name, module in captioner._model.named_modules() if isinstance(module, nn.Linear)}
    inside = {name for name in layers if name.startswith(f"{LANGUAGE}.")}
    assert len(inside) == 14  # 4 of attention and 3 of the MLP, in two blocks
    assert {name for name, module in layers.items() if type(module) is kind} == inside
    assert not [name for name in layers.keys() - inside if isinstance(layers[name], (Linear4bit, Linear8bitLt))]
    assert all(any(name.startswith(place) for name in layers) for place in OUTSIDE)


def test_what_is_not_quantised_is_as_it_was_written(folder, quantised):
    captioner, _ = quantised
    whole = joycaption.load(folder, caption_config(), cpu())._model.state_dict()
    now = captioner._model.state_dict()
    kept = [name for name in whole if name.startswith(OUTSIDE)]
    assert kept
    assert all(now[name].dtype == torch.float32 and torch.equal(now[name], whole[name]) for name in kept)


def test_logits_stay_near_those_of_the_whole_model(folder, quantised):
    captioner, kind = quantised
    whole = joycaption.load(folder, caption_config(), cpu())
    ids = torch.tensor([whole._ids("Write it.")])
    pixels = joycaption.to_pixels(tiny_llava.noise_pictures(1), tiny_llava.SIZE)
    with torch.no_grad():
        exact, near = (one._model(input_ids=ids, pixel_values=pixels).logits for one in (whole, captioner))
    likeness = nn.functional.cosine_similarity(exact.flatten(), near.flatten(), dim=0)
    assert (0.7 if kind is Linear4bit else 0.99) < likeness < 0.99999


def test_a_caption_of_a_batch_has_a_text_for_each_picture(quantised):
    captioner, _ = quantised
    results = captioner.caption(requests_for(PROMPTS))
    assert len({result.text for result in results}) == len(PROMPTS)
    assert results == captioner.caption(requests_for(PROMPTS))


@pytest.mark.parametrize("quantize", KINDS)
def test_a_trained_captioner_still_tells_what_it_sees(quantize):
    runtime, drawing = cpu(quantize=quantize), Drawing(temperature=0.0, top_p=1.0, top_k=0, beams=1, max_tokens=32)
    model = LlavaForConditionalGeneration.from_pretrained(quality.FOLDER, **quantization(runtime, KEEP))
    check_quantized(model, runtime, LANGUAGE)
    captioner = SandboxCaptioner(model.eval(), open_processor(quality.FOLDER), drawing, runtime)
    shown = sandbox.fresh_scenes(60, np.random.default_rng(5))
    texts = [result.text for result in captioner.caption([Request(scenes.draw(scene), PROMPT) for scene in shown])]
    expected = [scenes.caption(scene) for scene in shown]
    right = sum(map(str.__eq__, texts, expected))
    shuffled = sum(map(str.__eq__, texts, expected[1:] + expected[:1]))
    print(f"{quantize}: {right} of {len(shown)} right, {shuffled} of another picture")
    assert right >= 54
    assert shuffled <= 6


@pytest.mark.parametrize(
    ("keep", "said"),
    [(LEGACY, "is quantised"), (KEEP[:2], "lm_head is quantised"), ((*KEEP, LANGUAGE), "is not quantised")],
    ids=["older names", "without lm_head", "nothing at all"],
)
def test_a_list_that_keeps_the_wrong_parts_is_noticed(folder, keep, said):
    runtime = cpu(quantize="nf4")
    model = LlavaForConditionalGeneration.from_pretrained(folder, **quantization(runtime, keep))
    with pytest.raises(AtelierError, match=said):
        check_quantized(model, runtime, LANGUAGE)


def test_a_missing_package_is_told_with_the_line_that_installs_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingPackageError) as raised:
        joycaption.load(folder, caption_config(), cpu(quantize="nf4"))
    file = Path(__file__).parents[1] / raised.value.hint.split()[-1]
    assert "bitsandbytes==" in file.read_text()


def test_older_folders_take_a_llama_that_is_stored_in_4_bits(tmp_path):
    tiny_llava.make_folders(tmp_path)
    language = tmp_path / "llm" / "Meta-Llama-3.1-8B-Instruct"
    whole = joycaption_folders.load(tmp_path, caption_config(), cpu()).caption(requests_for(PROMPTS))
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    stored = AutoModelForCausalLM.from_pretrained(language, quantization_config=settings)
    (language / "model.safetensors").unlink()
    stored.save_pretrained(language)
    captioner = joycaption_folders.load(tmp_path, caption_config(), cpu())
    kinds = {type(module) for name, module in captioner._language.named_modules() if name.endswith("base_layer")}
    assert kinds == {Linear4bit}
    texts = [result.text for result in captioner.caption(requests_for(PROMPTS))]
    assert len(set(texts)) == len(texts)
    assert texts != [result.text for result in whole]
