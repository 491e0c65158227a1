"""Florence-2's files: the older layout gives the same model as the newer one, and files that do not fit are refused."""

from __future__ import annotations

import copy
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from captioners import florence2
from captioners.florence2_legacy import image_tokens, make_tokenizer
from tests.florence_captioner import CPU, config, native_folder, parts, texts
from tests.tiny_captioners_florence import (
    FLORENCE_GENERATION,
    FLORENCE_MARKS,
    FLORENCE_SIDE,
    WORDS_OF_BART,
    bart_tokenizer,
    florence_config,
)
from trainers.errors import AtelierError

WORDS = WORDS_OF_BART + len(FLORENCE_MARKS)
EMBEDDINGS = (
    "language_model.model.shared.weight",
    "language_model.model.encoder.embed_tokens.weight",
    "language_model.model.decoder.embed_tokens.weight",
    "language_model.lm_head.weight",
)

native = pytest.fixture(scope="module")(native_folder)


def old_weights(new: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a model of two stages, of one and two blocks, as Microsoft's own class names them."""
    old = {}

    def take(there: str, here: str, *ends: str) -> None:
        for end in ends or ("weight", "bias"):
            old[f"{there}.{end}"] = new[f"{here}.{end}"].clone()

    for stage, blocks in enumerate((1, 2)):
        tower = f"model.vision_tower.convs.{stage}"
        take(f"vision_tower.convs.{stage}.proj", f"{tower}.conv")
        take(f"vision_tower.convs.{stage}.norm", f"{tower}.norm")
        for block in range(blocks):
            for kind, attention in (("spatial_block", "window_attn"), ("channel_block", "channel_attn")):
                there = f"vision_tower.blocks.{stage}.{block}.{kind}"
                here = f"model.{there}"
                take(f"{there}.conv1.fn.dw", f"{here}.conv1")
                take(f"{there}.conv2.fn.dw", f"{here}.conv2")
                take(f"{there}.{attention}.norm", f"{here}.norm1")
                take(f"{there}.{attention}.fn.qkv", f"{here}.{attention}.qkv")
                take(f"{there}.{attention}.fn.proj", f"{here}.{attention}.proj")
                take(f"{there}.ffn.norm", f"{here}.norm2")
                take(f"{there}.ffn.fn.net.fc1", f"{here}.ffn.fc1")
                take(f"{there}.ffn.fn.net.fc2", f"{here}.ffn.fc2")
    projector = "model.multi_modal_projector"
    old["image_projection"] = new[f"{projector}.image_projection.weight"].clone().T.contiguous()
    take("image_proj_norm", f"{projector}.image_proj_norm")
    take("image_pos_embed.row_embeddings", f"{projector}.image_position_embed.row_embeddings", "weight")
    take("image_pos_embed.column_embeddings", f"{projector}.image_position_embed.column_embeddings", "weight")
    take("visual_temporal_embed", f"{projector}.visual_temporal_embed", "pos_idx_to_embed")
    for name, tensor in new.items():
        if name.startswith("model.language_model.") and "embed_tokens" not in name and "shared" not in name:
            old[name.replace("model.language_model.", "language_model.model.")] = tensor.clone()
    for name in EMBEDDINGS:
        old[name] = new["model.language_model.shared.weight"][:WORDS].clone()
    old["language_model.final_logits_bias"] = torch.zeros(1, WORDS)
    return old


def old_config() -> dict[str, Any]:
    vision = florence_config(WORDS, WORDS).vision_config
    same = ("depths", "patch_size", "patch_stride", "patch_padding", "patch_prenorm", "num_heads", "num_groups")
    return {
        "architectures": ["Florence2ForConditionalGeneration"],
        "auto_map": {"AutoConfig": "configuration_florence2.Florence2Config"},
        "model_type": "florence2",
        "is_encoder_decoder": True,
        "projection_dim": 48,
        "torch_dtype": "float32",
        "vocab_size": WORDS,
        "vision_config": {
            **{name: list(getattr(vision, name)) for name in same},
            "model_type": "davit",
            "dim_embed": [16, 32],
            "drop_path_rate": 0.1,
            "enable_checkpoint": False,
            "window_size": 4,
            "projection_dim": 48,
            "visual_temporal_embedding": {"type": "COSINE", "max_temporal_embeddings": 10},
            "image_pos_embed": {"type": "learned_abs_2d", "max_pos_embeddings": 16},
            "image_feature_source": ["spatial_avg_pool", "temporal_avg_pool"],
        },
        "text_config": {
            "model_type": "florence2_language",
            "vocab_size": WORDS,
            "d_model": 48,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "max_position_embeddings": 256,
            "activation_function": "gelu",
            "forced_bos_token_id": 0,
            "forced_eos_token_id": 2,
            "num_beams": 3,
            "no_repeat_ngram_size": 3,
            "id2label": {"0": "LABEL_0"},
        },
    }


def save_old(folder: Path, weights: dict[str, Tensor], pickled: bool = False) -> Path:
    """A folder as Microsoft's: BART's tokenizer without the marks, vocabulary and merges beside it."""
    folder.mkdir(exist_ok=True)
    tokenizer = bart_tokenizer()
    tokenizer.save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1024}')
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(pair) for pair in model["merges"])]))
    pictures_config = {
        "auto_map": {"AutoProcessor": "processing_florence2.Florence2Processor"},
        "processor_class": "Florence2Processor",
        "image_processor_type": "CLIPImageProcessor",
        "image_seq_length": 577,
        "crop_size": {"height": FLORENCE_SIDE, "width": FLORENCE_SIDE},
        "do_center_crop": False,
        "do_convert_rgb": None,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "size": {"height": FLORENCE_SIDE, "width": FLORENCE_SIDE},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures_config))
    (folder / "config.json").write_text(json.dumps(old_config()))
    if pickled:
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def weights(native: Path) -> dict[str, Tensor]:
    return old_weights(load_file(native / "model.safetensors"))


@pytest.fixture(scope="module")
def legacy(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, Tensor]) -> Path:
    return save_old(tmp_path_factory.mktemp("legacy"), weights)


@pytest.mark.parametrize("pickled", [False, True])
def test_both_layouts_give_the_same_tensors(
    native: Path, weights: dict[str, Tensor], tmp_path: Path, pickled: bool
) -> None:
    ours, made = parts(florence2.load(save_old(tmp_path / "old", weights, pickled), config(), CPU))
    theirs, published = parts(florence2.load(native, config(), CPU))
    expected, found = theirs.state_dict(), ours.state_dict()
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []
    assert ours.config.image_token_id == theirs.config.image_token_id == WORDS
    assert made.num_image_tokens == published.num_image_tokens == 17
    signs = [*FLORENCE_MARKS, "<image>", "<s>", "</s>", "<pad>"]
    assert made.tokenizer.convert_tokens_to_ids(signs) == published.tokenizer.convert_tokens_to_ids(signs)
    assert ours.generation_config.to_diff_dict() == theirs.generation_config.to_diff_dict()


@pytest.mark.parametrize("beams", [1, 3])
def test_both_layouts_give_the_same_captions(native: Path, legacy: Path, beams: int) -> None:
    said = texts(florence2.load(native, config(beams), CPU))
    assert texts(florence2.load(legacy, config(beams), CPU)) == said
    assert len(set(said)) == len(said)


def test_generation_is_as_published_where_the_folder_says_nothing(legacy: Path) -> None:
    model, _ = parts(florence2.load(legacy, config(), CPU))
    assert {name: getattr(model.generation_config, name) for name in FLORENCE_GENERATION} == FLORENCE_GENERATION


@pytest.mark.parametrize("kept", EMBEDDINGS)
def test_any_one_copy_of_the_embeddings_will_do(
    native: Path, weights: dict[str, Tensor], tmp_path: Path, kept: str
) -> None:
    alone = {name: tensor for name, tensor in weights.items() if name not in EMBEDDINGS or name == kept}
    model, _ = parts(florence2.load(save_old(tmp_path / "old", alone), config(), CPU))
    table = model.get_input_embeddings().weight
    assert torch.equal(table[:WORDS], weights[kept])
    assert model.lm_head.weight is table
    assert model.model.language_model.decoder.embed_tokens.weight is table


def test_shared_embeddings_win_over_copies_that_differ(
    weights: dict[str, Tensor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = {**weights, **{name: torch.zeros_like(weights[name]) for name in EMBEDDINGS[1:]}}
    with caplog.at_level(logging.WARNING):
        model, _ = parts(florence2.load(save_old(tmp_path / "old", odd), config(), CPU))
    assert torch.equal(model.lm_head.weight[:WORDS], weights[EMBEDDINGS[0]])
    assert "embeddings of this file differ" in caplog.text


def test_marks_that_a_tokenizer_holds_keep_their_places(native: Path, legacy: Path) -> None:
    expected = make_tokenizer(legacy).convert_tokens_to_ids([*FLORENCE_MARKS, "<image>"])
    assert expected == list(range(WORDS_OF_BART, WORDS + 1))
    assert make_tokenizer(native).convert_tokens_to_ids([*FLORENCE_MARKS, "<image>"]) == expected


def test_a_picture_of_768_becomes_577_tokens() -> None:
    from transformers import Florence2Config

    assert image_tokens(768, 768, Florence2Config()) == 577


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_projection": None}, "missing"),
        ({"vision_tower.convs.0.proj.bias": None}, "missing"),
        ({"language_model.model.extra": torch.zeros(1)}, "not known"),
        ({"image_projection": torch.zeros(48, 32)}, "another size"),
        ({"language_model.final_logits_bias": torch.ones(1, WORDS)}, "final_logits_bias"),
        (dict.fromkeys(EMBEDDINGS), "embeddings"),
        (dict.fromkeys(EMBEDDINGS, torch.zeros(WORDS - 1, 48)), "words"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    weights: dict[str, Tensor], tmp_path: Path, change: dict[str, Tensor | None], said: str
) -> None:
    changed = {**weights, **change}
    folder = save_old(tmp_path / "old", {name: one.clone() for name, one in changed.items() if one is not None})
    with pytest.raises(AtelierError, match=said):
        florence2.load(folder, config(), CPU)


def test_a_native_folder_without_a_weight_is_refused(native: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(native, tmp_path / "native"))
    state = load_file(folder / "model.safetensors")
    del state["model.vision_tower.convs.0.conv.bias"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(AtelierError, match=r"missing.*convs\.0\.conv\.bias"):
        florence2.load(folder, config(), CPU)


def test_a_model_that_is_not_tied_is_refused(native: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(native, tmp_path / "native"))
    state = load_file(folder / "model.safetensors")
    state["lm_head.weight"] = torch.zeros_like(state["model.language_model.shared.weight"])
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(AtelierError, match="not tied"):
        florence2.load(folder, config(), CPU)


def test_a_pickle_that_holds_more_than_tensors_is_refused(weights: dict[str, Tensor], tmp_path: Path) -> None:
    folder = save_old(tmp_path / "old", {}, pickled=True)
    torch.save({**weights, "path": Path("/")}, folder / "pytorch_model.bin")
    with pytest.raises(AtelierError, match="more than tensors"):
        florence2.load(folder, config(), CPU)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.json", None, "config.json"),
        ("config.json", b'{"model_type": "blip"}', "kind 'blip'"),
        ("model.safetensors", None, "model.safetensors"),
        ("model.safetensors", b"no weights", "cannot be opened"),
        ("preprocessor_config.json", None, "cannot be opened"),
    ],
)
def test_folders_that_are_not_whole_are_refused_with_a_remedy(
    legacy: Path, tmp_path: Path, file: str, content: bytes | None, said: str
) -> None:
    folder = Path(shutil.copytree(legacy, tmp_path / "old"))
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(AtelierError, match=said) as refused:
        florence2.load(folder, config(), CPU)
    assert refused.value.hint


def test_ways_to_read_pictures_that_are_not_known_are_refused(legacy: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(legacy, tmp_path / "old"))
    changed = copy.deepcopy(old_config())
    changed["vision_config"]["image_feature_source"] = ["last_frame"]
    (folder / "config.json").write_text(json.dumps(changed))
    with pytest.raises(AtelierError, match="last_frame"):
        florence2.load(folder, config(), CPU)
