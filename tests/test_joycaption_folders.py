"""JoyCaption Alpha Two in its older three folders."""

from __future__ import annotations

import gc
import json
import shutil
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from captioners import joycaption_folders
from captioners.base import Request, StopAskedError
from captioners.config import CaptionConfig
from captioners.joycaption import SYSTEM, to_pixels
from captioners.joycaption_folders import JoyCaptionFolders, find_parts, split_chat
from tests import tiny_llava
from tests.tiny_llava import HEADER_END, SIZE, TURN_END, caption_config, cpu, requests_for
from trainers.errors import AtelierError

PROMPTS = ("Write it.", "What is there in the picture?", "user", "assistant")
SAMPLED = {"temperature": 1.0, "top_p": 0.9, "top_k": 40}
CHECKPOINT = Path("joy-caption-alpha-two", "cgrkzexw-599808")
LLAMA = Path("llm", "Meta-Llama-3.1-8B-Instruct")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The three folders, and the parts as they were written."""
    root = tmp_path_factory.mktemp("folders")
    return root, tiny_llava.make_folders(root)


@pytest.fixture
def root(made, tmp_path):
    """A copy to break."""
    return Path(shutil.copytree(made[0], tmp_path / "copy"))


def load(root: Path, config: CaptionConfig | None = None, **runtime) -> JoyCaptionFolders:
    return joycaption_folders.load(root, config or caption_config(), cpu(**runtime))


def by_hand(parts, request: Request, steps: int) -> str:
    """The picture spliced into the embeddings of the chat, and PEFT's Llama run over everything for each token."""
    vision, adapter, language, tokenizer = parts
    encode = lambda text: torch.tensor(tokenizer.encode(text, add_special_tokens=False))  # noqa: E731
    before = encode(
        f"<|begin_of_text|><|start_header_id|>system{HEADER_END}\n\n{SYSTEM}{TURN_END}"
        f"<|start_header_id|>user{HEADER_END}\n\n"
    )
    after = encode(f"{request.prompt}{TURN_END}<|start_header_id|>assistant{HEADER_END}\n\n")
    embed = language.get_input_embeddings()
    new: list[int] = []
    with torch.no_grad():
        states = vision(pixel_values=to_pixels([request.image], SIZE), output_hidden_states=True).hidden_states[-2]
        picture = adapter.linear2(torch.nn.functional.gelu(adapter.linear1(states)))[0]
        start, stop, _ = adapter.other_tokens.weight
        told = torch.cat([embed(before), start[None], picture, stop[None], embed(after)])
        for _ in range(steps):
            row = torch.cat([told, embed(torch.tensor(new, dtype=torch.long))])
            token = int(language(inputs_embeds=row[None]).logits[0, -1].argmax())
            if token in tokenizer.convert_tokens_to_ids([TURN_END, tiny_llava.END]):
                break
            new.append(token)
    return tokenizer.decode(new, skip_special_tokens=True).strip()


def test_captions_are_those_of_embeddings_that_were_spliced_by_hand(made):
    root, parts = made
    requests = requests_for(PROMPTS)
    texts = [result.text for result in load(root).caption(requests)]
    assert texts == [by_hand(parts, request, 12) for request in requests]
    assert len(set(texts)) == len(texts)


def test_the_lora_counts(made):
    root, parts = made
    (request,) = requests_for(["Write it."])
    with parts[2].disable_adapter():
        without = by_hand(parts, request, 12)
    assert load(root).caption([request])[0].text == by_hand(parts, request, 12) != without


@pytest.mark.parametrize("drawing", [{}, SAMPLED], ids=["greedy", "sampled"])
def test_a_caption_does_not_depend_on_its_batch(made, drawing):
    captioner = load(made[0], caption_config(**drawing))
    requests = requests_for(PROMPTS)
    assert captioner.caption(requests) == [captioner.caption([request])[0] for request in requests]


def test_a_seed_draws_the_same_text_again_and_another_seed_another_one(made):
    captioner = load(made[0], caption_config(**SAMPLED))
    (request,) = requests_for(["Write it."])
    texts = [captioner.caption([Request(request.image, request.prompt, seed)])[0].text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("prompt", ["Write it.", "system", "user", "assistant", "a", "", TURN_END])
def test_the_picture_goes_right_before_the_user_s_words(made, prompt):
    tokenizer = made[1][3]
    before, after = (tokenizer.decode(ids) for ids in split_chat(tokenizer, "Be kind.", f" {prompt}\n"))
    assert before.endswith(f"<|start_header_id|>user{HEADER_END}\n\n")
    assert before.count(tiny_llava.BEGIN) == 1
    assert after == f"{prompt}{TURN_END}<|start_header_id|>assistant{HEADER_END}\n\n"


def test_pieces_are_found_under_other_names_of_folders(made, root):
    requests = requests_for(PROMPTS)
    (root / CHECKPOINT).rename(root / "checkpoint")
    (root / "clip").rename(root / "siglip")
    (root / LLAMA).rename(root / "llama")
    assert load(root).caption(requests) == load(made[0]).caption(requests)
    assert find_parts(root).language == root / "llama"


def test_a_file_of_the_vision_model_alone_serves_for_its_sizes(made, root):
    file = root / "clip" / "siglip-so400m-patch14-384" / "config.json"
    config = json.loads(file.read_text())["vision_config"]
    file.write_text(json.dumps(config | {"model_type": "siglip_vision_model"}))
    requests = requests_for(PROMPTS)
    assert load(root).caption(requests) == load(made[0]).caption(requests)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (CHECKPOINT / "clip_model.pt", "no clip_model.pt"),
        (CHECKPOINT / "image_adapter.pt", "lacks image_adapter.pt"),
        (CHECKPOINT / "text_model" / "adapter_config.json", "lacks text_model/adapter_config.json"),
        (Path("clip", "siglip-so400m-patch14-384", "config.json"), "no folder of SigLIP"),
        (LLAMA / "config.json", "no folder of Llama"),
        (LLAMA / "model.safetensors", "cannot be read"),
    ],
)
def test_a_piece_that_is_missing_is_named(root, gone, said):
    (root / gone).unlink()
    with pytest.raises(AtelierError, match=said) as refused:
        load(root)
    assert refused.value.hint


def test_two_language_models_are_one_too_many(root):
    shutil.copytree(root / LLAMA, root / "llm" / "other")
    with pytest.raises(AtelierError, match="more than one folder of Llama") as refused:
        load(root)
    assert "each of them once" in refused.value.hint


@pytest.mark.parametrize("name", ["clip_model.pt", "image_adapter.pt"])
def test_weights_that_do_not_fit_are_refused(root, name):
    file = root / CHECKPOINT / name
    whole = torch.load(file, weights_only=True)
    first = next(iter(whole))
    changes = {
        "are missing": {key: value for key, value in whole.items() if key != first},
        "are not known": whole | {"extra": torch.zeros(2)},
        "have another size": whole | {first: torch.zeros(3, 3, 3)},
    }
    for said, state in changes.items():
        torch.save(state, file)
        with pytest.raises(AtelierError, match=said):
            load(root)


@pytest.mark.parametrize("change", ["missing", "unknown"])
def test_a_lora_that_does_not_fit_is_refused(root, change):
    file = root / CHECKPOINT / "text_model" / "adapter_model.safetensors"
    tensors = load_file(file)
    weight = tensors.pop(sorted(tensors)[0])
    if change == "unknown":
        tensors["base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight"] = weight
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(AtelierError, match=r"are (missing|not known)"):
        load(root)


@pytest.mark.parametrize("name", ["clip_model.pt", "image_adapter.pt"])
def test_a_file_that_holds_code_or_broke_off_is_refused(root, name):
    file = root / CHECKPOINT / name
    whole = file.read_bytes()
    torch.save({"weight": Path("code")}, file)
    with pytest.raises(AtelierError, match="cannot be read"):
        load(root)
    file.write_bytes(whole[:1000])
    with pytest.raises(AtelierError, match="cannot be read"):
        load(root)


def test_stop_ends_the_text_within_a_token(made):
    calls = []
    captioner = load(made[0], caption_config(max_tokens=40), stop_asked=lambda: len(calls) > 2)
    captioner._language.register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(StopAskedError):
        captioner.caption(requests_for(PROMPTS))
    assert len(calls) == 3


def test_a_captioner_that_is_let_go_frees_its_models(made):
    captioner = load(made[0])
    captioner.caption(requests_for(["Write it."]))
    models = [weakref.ref(captioner._language), weakref.ref(captioner._vision), weakref.ref(captioner._adapter)]
    del captioner
    gc.collect()
    assert [model() for model in models] == [None, None, None]
