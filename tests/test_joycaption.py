"""JoyCaption as a Llava folder: the published layout, the chat, the picture, the text."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor

from captioners import joycaption
from captioners.base import Request, StopAskedError
from captioners.config import CaptionConfig, Prompt
from captioners.joycaption import JoyCaption, chat, encode_chat, open_tokenizer, to_pixels
from tests import tiny_llava
from tests.tiny_llava import BEGIN, IMAGE, SIZE, TURN_END, caption_config, cpu, requests_for
from trainers.errors import AtelierError

PROMPTS = ("Write it.", "What is there in the picture?", "x", "Describe the light.")
SAMPLED = {"temperature": 1.0, "top_p": 0.9, "top_k": 40}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder in the published layout, and the model that was written."""
    folder = tmp_path_factory.mktemp("joycaption")
    return folder, tiny_llava.make_llava(folder)


@pytest.fixture
def folder(made, tmp_path):
    """A copy to break."""
    return Path(shutil.copytree(made[0], tmp_path / "copy"))


def load(folder: Path, config: CaptionConfig | None = None, **runtime) -> JoyCaption:
    return joycaption.load(folder, config or caption_config(), cpu(**runtime))


def by_hand(model, tokenizer, request: Request, steps: int) -> str:
    """The likeliest tokens one after another, each from a forward pass over everything, without `generate`."""
    text = chat(tokenizer, joycaption.SYSTEM, request.prompt).replace(IMAGE, IMAGE * 4)
    ids = tokenizer.encode(text, add_special_tokens=False)
    length = len(ids)
    pixels = to_pixels([request.image], SIZE)
    ends = tokenizer.convert_tokens_to_ids([TURN_END, tiny_llava.END])
    with torch.no_grad():
        for _ in range(steps):
            logits = model(input_ids=torch.tensor([ids]), pixel_values=pixels).logits
            ids.append(int(logits[0, -1].argmax()))
            if ids[-1] in ends:
                break
    return tokenizer.decode(ids[length:], skip_special_tokens=True).strip()


def test_the_published_layout_loads_with_every_weight_as_it_was_written(made):
    folder, written = made
    assert (
        "language_model.lm_head.weight"
        in json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    )
    loaded = load(folder)._model.state_dict()
    assert loaded.keys() == written.state_dict().keys()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in written.state_dict().items())


def test_captions_are_those_of_a_greedy_loop_by_hand(made):
    folder, model = made
    requests = requests_for(PROMPTS)
    captioner = load(folder)
    texts = [result.text for result in captioner.caption(requests)]
    assert texts == [by_hand(model, captioner._tokenizer, request, 12) for request in requests]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("drawing", [{}, SAMPLED], ids=["greedy", "sampled"])
def test_a_caption_does_not_depend_on_its_batch(made, drawing):
    captioner = load(made[0], caption_config(**drawing))
    requests = requests_for(PROMPTS)
    together = captioner.caption(requests)
    assert together == [captioner.caption([request])[0] for request in requests]
    assert together[::-1] == captioner.caption(requests[::-1])


def test_a_seed_draws_the_same_text_again_and_another_seed_another_one(made):
    captioner = load(made[0], caption_config(**SAMPLED))
    (request,) = requests_for(["Write it."])
    first = [captioner.caption([Request(request.image, request.prompt, seed)])[0].text for seed in (1, 1, 2)]
    assert first[0] == first[1] != first[2]


def test_the_picture_and_the_prompt_both_matter(made):
    captioner = load(made[0])
    one, other = requests_for(["Write it.", "Write it."])
    texts = [captioner.caption([request])[0].text for request in (one, other, Request(one.image, "Say it."))]
    assert len(set(texts)) == 3


def test_the_tokens_are_those_of_the_library_s_processor(made):
    folder, _ = made
    processor = AutoProcessor.from_pretrained(folder)
    captioner = load(folder)
    turns = [{"role": "system", "content": joycaption.SYSTEM}, {"role": "user", "content": "Write it."}]
    text = processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    picture = tiny_llava.noise_pictures(1)[0]
    expected = processor(text=[text], images=[picture], return_tensors="pt", add_special_tokens=False)
    ids = captioner._ids("Write it.")
    assert ids == expected["input_ids"][0].tolist()
    assert ids.count(captioner._tokenizer.convert_tokens_to_ids(IMAGE)) == (SIZE // tiny_llava.PATCH) ** 2


@pytest.mark.parametrize("written", [True, False], ids=["the template writes it", "the tokenizer adds it"])
def test_a_chat_begins_once(made, written):
    tokenizer = open_tokenizer(made[0])
    if not written:
        tokenizer.chat_template = tokenizer.chat_template.removeprefix("{{ bos_token }}")
    ids = encode_chat(tokenizer, chat(tokenizer, "Be kind.", "Write it."))
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.bos_token_id) == 1


@pytest.mark.parametrize("prompt", [f"Write {BEGIN} it.", f"Write {IMAGE} it."])
def test_special_tokens_in_a_prompt_are_refused(made, prompt):
    with pytest.raises(AtelierError, match=r"instead of (one|once)") as refused:
        load(made[0]).caption(requests_for([prompt]))
    assert "Take special tokens out of the prompt" in refused.value.hint


def test_the_system_prompt_is_the_author_s_unless_there_is_another(made):
    default, own = (
        load(made[0]),
        load(made[0], caption_config().model_copy(update={"prompt": Prompt(system="Be kind.")})),
    )
    texts = [captioner._tokenizer.decode(captioner._ids("Write it.")) for captioner in (default, own)]
    assert "system<|end_header_id|>\n\nYou are a helpful image captioner.<|eot_id|>" in texts[0]
    assert "system<|end_header_id|>\n\nBe kind.<|eot_id|>" in texts[1]
    assert "helpful" not in texts[1]


def test_a_template_of_the_tokenizer_alone_serves_too(folder):
    template = json.loads((folder / "chat_template.json").read_text())["chat_template"]
    requests = requests_for(PROMPTS)
    before = load(folder).caption(requests)
    (folder / "chat_template.json").unlink()
    (folder / "chat_template.jinja").write_text(template)
    assert load(folder).caption(requests) == before


def test_a_folder_without_processor_files_serves_too(folder):
    requests = requests_for(PROMPTS)
    before = load(folder).caption(requests)
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").unlink()
    assert load(folder).caption(requests) == before


def test_without_a_token_for_padding_that_of_the_end_is_taken(made, tmp_path):
    requests = requests_for(PROMPTS)
    tiny_llava.make_llava(tmp_path / "unpadded", pad=None)
    captioner = load(tmp_path / "unpadded")
    assert captioner._tokenizer.pad_token == captioner._tokenizer.eos_token
    assert captioner.caption(requests) == load(made[0]).caption(requests)


def test_pictures_are_squashed_to_the_models_size_and_go_from_minus_one_to_one():
    wide = Image.new("RGB", (400, 100), (255, 0, 0))
    wide.paste((0, 0, 255), (200, 0, 400, 100))
    pixels = to_pixels([wide, Image.new("RGB", (10, 90), (0, 255, 51))], 28)
    assert pixels.shape == (2, 3, 28, 28)
    assert torch.allclose(pixels[0, :, 14, 0], torch.tensor([1.0, -1.0, -1.0]))
    assert torch.allclose(pixels[0, :, 14, 27], torch.tensor([-1.0, -1.0, 1.0]))
    assert torch.allclose(pixels[1, :, 5, 5], torch.tensor([-1.0, 1.0, -0.6]))


def test_pictures_are_made_smaller_by_lanczos():
    picture = tiny_llava.noise_pictures(1)[0]
    small = np.asarray(picture.resize((28, 28), Image.Resampling.LANCZOS), dtype=np.float64)
    assert np.allclose(to_pixels([picture], 28)[0].permute(1, 2, 0).numpy(), small / 127.5 - 1, atol=1e-6)


def test_a_text_that_reached_the_longest_length_is_told(made):
    requests = requests_for(PROMPTS * 3)
    captioner = load(made[0], caption_config(temperature=2.0, max_tokens=60))
    results = captioner.caption(requests)
    assert {result.truncated for result in results} == {True, False}
    whole = [place for place, result in enumerate(results) if not result.truncated]
    longer = load(made[0], caption_config(temperature=2.0, max_tokens=70)).caption(requests)
    for place, (one, other) in enumerate(zip(results, longer, strict=True)):
        assert (one.text == other.text) == (place in whole)


def test_a_turn_s_end_ends_the_text_though_the_generation_config_lacks_it(folder):
    requests = requests_for(PROMPTS * 3)
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["eos_token_id"] = None
    (folder / "config.json").write_text(json.dumps(config))
    results = load(folder, caption_config(temperature=2.0, max_tokens=120)).caption(requests)
    assert not all(result.truncated for result in results)


def test_special_tokens_and_the_prompt_are_not_in_the_text(made):
    captioner = load(made[0], caption_config(temperature=3.0, max_tokens=60))
    texts = [result.text for result in captioner.caption(requests_for(PROMPTS * 4))]
    assert not [text for text in texts if any(token in text for token in tiny_llava.SPECIAL)]
    assert not [text for text in texts if "captioner" in text or "Write" in text]
    assert all(text == text.strip() for text in texts)


def test_stop_ends_the_text_within_a_token(made):
    calls = []
    captioner = load(made[0], caption_config(max_tokens=40), stop_asked=lambda: len(calls) > 2)
    captioner._model.register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(StopAskedError):
        captioner.caption(requests_for(PROMPTS))
    assert len(calls) == 3


def break_shard(folder: Path, change) -> None:
    file = folder / "model-00001-of-00002.safetensors"
    tensors = load_file(file)
    change(tensors, sorted(tensors)[0])
    save_file(tensors, file, {"format": "pt"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors, name: tensors.pop(name), "are missing"),
        (lambda tensors, name: tensors.update({name: torch.zeros(3, 3)}), "have another size"),
    ],
    ids=["missing", "of another size"],
)
def test_weights_that_do_not_fit_are_refused(folder, change, said):
    break_shard(folder, change)
    with pytest.raises(AtelierError, match=said):
        load(folder)


def test_a_weight_that_the_model_does_not_know_is_refused(folder):
    save_file(
        {"language_model.model.extra": torch.zeros(2)}, folder / "model-00003-of-00003.safetensors", {"format": "pt"}
    )
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"]["language_model.model.extra"] = "model-00003-of-00003.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(AtelierError, match="are not known"):
        load(folder)


@pytest.mark.parametrize("file", ["model-00001-of-00002.safetensors", "tokenizer.json", "config.json"])
def test_a_file_that_is_not_there_is_told(folder, file):
    (folder / file).unlink()
    with pytest.raises(AtelierError, match=file.removesuffix(".json")) as refused:
        load(folder)
    assert refused.value.hint


def test_a_file_that_broke_off_is_told(folder):
    file = folder / "model-00002-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(AtelierError, match="cannot be read"):
        load(folder)


def test_another_kind_of_model_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config["text_config"] | {"model_type": "llama"}))
    with pytest.raises(AtelierError, match="'llama'"):
        load(folder)


def test_a_tokenizer_without_a_chat_template_is_refused(folder):
    (folder / "chat_template.json").unlink()
    with pytest.raises(AtelierError, match="not that of a chat model"):
        load(folder)


def test_a_captioner_that_is_let_go_frees_its_model(made):
    captioner = load(made[0])
    captioner.caption(requests_for(["Write it."]))
    model = weakref.ref(captioner._model)
    del captioner
    gc.collect()
    assert model() is None
