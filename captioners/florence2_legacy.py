"""Florence-2 as Microsoft published it: other names of settings and weights than those of the class in transformers.

The layout of `microsoft/Florence-2-*` and of models made from it (PromptGen, CogFlorence, the copy without flash
attention). Its own code does not run on transformers 5; the mapping is that of transformers' conversion script.
"""

from __future__ import annotations

import logging
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AddedToken,
    BartTokenizer,
    CLIPImageProcessor,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    GenerationConfig,
)

from captioners.base import Runtime
from captioners.folders import AGAIN
from captioners.loading import check_complete
from trainers.errors import AtelierError

log = logging.getLogger(__name__)

IMAGE_TOKEN = "<image>"
ROWS = 64  # the table of embeddings is padded to a multiple of so many
SAME_VISION = (
    *("depths", "patch_size", "patch_stride", "patch_padding", "patch_prenorm", "num_heads", "num_groups"),
    *("window_size", "drop_path_rate", "mlp_ratio", "qkv_bias", "projection_dim"),
)
SAME_TEXT = (
    *("vocab_size", "max_position_embeddings", "encoder_layers", "encoder_ffn_dim", "encoder_attention_heads"),
    *("decoder_layers", "decoder_ffn_dim", "decoder_attention_heads", "activation_function", "d_model", "dropout"),
    *("attention_dropout", "activation_dropout", "scale_embedding", "pad_token_id", "bos_token_id", "eos_token_id"),
    "decoder_start_token_id",
)
FEATURES = ["spatial_avg_pool", "temporal_avg_pool"]  # the only ones that the class knows
# its own processor adds these to BART's vocabulary, in this order; the published tokenizers do not hold them
MARKS = (
    *("<od>", "</od>", "<ocr>", "</ocr>"),
    *(f"<loc_{place}>" for place in range(1000)),
    *("<cap>", "</cap>", "<ncap>", "</ncap>", "<dcap>", "</dcap>", "<grounding>", "</grounding>", "<seg>", "</seg>"),
    *("<sep>", "<region_cap>", "</region_cap>", "<region_to_desciption>", "</region_to_desciption>"),
    *("<proposal>", "</proposal>", "<poly>", "</poly>", "<and>"),
)
# how answers are read; a kind that is not named here is refused by the processor
ANSWERS: dict[str, dict[str, Any]] = {"pure_text": {}, "description_with_bboxes": {}}
SHIPPED_GENERATION = {
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "forced_bos_token_id": 0,
    "forced_eos_token_id": 2,
    "no_repeat_ngram_size": 3,
    "early_stopping": True,
    "num_beams": 3,
}
SHARED = "model.language_model.shared.weight"
TIED = (
    "model.language_model.encoder.embed_tokens.weight",
    "model.language_model.decoder.embed_tokens.weight",
    "lm_head.weight",
)
NO_BIAS = "language_model.final_logits_bias"
RULES = [
    (re.compile(pattern), new)
    for pattern, new in (
        (r"^vision_tower\.(convs\.\d+)\.proj\.", r"model.vision_tower.\1.conv."),
        (r"^vision_tower\.blocks\.", "model.vision_tower.blocks."),
        (r"\.(conv[12])\.fn\.dw\.", r".\1."),
        (r"\.(?:window|channel)_attn\.norm\.", ".norm1."),
        (r"\.(window|channel)_attn\.fn\.(qkv|proj)\.", r".\1_attn.\2."),
        (r"\.ffn\.norm\.", ".norm2."),
        (r"\.ffn\.fn\.net\.(fc[12])\.", r".ffn.\1."),
        (r"^image_projection$", "model.multi_modal_projector.image_projection.weight"),
        (r"^image_proj_norm\.", "model.multi_modal_projector.image_proj_norm."),
        (r"^image_pos_embed\.", "model.multi_modal_projector.image_position_embed."),
        (r"^visual_temporal_embed\.", "model.multi_modal_projector.visual_temporal_embed."),
        (r"^language_model\.model\.", "model.language_model."),
        (r"^language_model\.lm_head\.", "lm_head."),
    )
]


def is_legacy(config: dict[str, Any]) -> bool:
    """config: of the folder. The kind of its vision part may be "davit" or empty."""
    return config.get("text_config", {}).get("model_type") == "florence2_language" or "dim_embed" in config.get(
        "vision_config", {}
    )


def load_legacy(source: Path, old: dict[str, Any], runtime: Runtime) -> tuple[Any, Any]:
    """Model on the CPU, and processor. old: the folder's config. Raises AtelierError for what does not fit."""
    config = convert_config(old)
    tokenizer = make_tokenizer(source)
    state = convert_weights(read_weights(source))
    if SHARED not in state:
        raise AtelierError(f"The weights in {source} hold no embeddings.", AGAIN)
    words, known = tokenizer.image_token_id, state[SHARED].shape[0]
    if words > known:
        raise AtelierError(f"The tokenizer in {source} has {words} words, the weights {known}.", AGAIN)
    state[SHARED] = _with_rows(state[SHARED], len(tokenizer))
    config.text_config.vocab_size = state[SHARED].shape[0]
    config.image_token_id = tokenizer.image_token_id
    model, info = Florence2ForConditionalGeneration.from_pretrained(
        None,
        config=config,
        state_dict=state,
        dtype=runtime.dtype,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # it then tells of them, instead of stopping with an error of its own
    )
    check_complete(info, source)
    return model, _processor(source, tokenizer, config)


def convert_config(old: dict[str, Any]) -> Florence2Config:
    """Only what the class knows is taken over: old files also hold what their own code and old versions wrote."""
    vision, text = old["vision_config"], old["text_config"]
    features = vision.get("image_feature_source", FEATURES)
    if features != FEATURES:
        raise AtelierError(f"This Florence-2 reads pictures in a way that is not known: {', '.join(features)}.")
    new = {name: vision[name] for name in SAME_VISION if name in vision}
    new["embed_dim"] = vision["dim_embed"]
    if "visual_temporal_embedding" in vision:
        new["max_temporal_embeddings"] = vision["visual_temporal_embedding"]["max_temporal_embeddings"]
    if "image_pos_embed" in vision:
        new["max_position_embeddings"] = vision["image_pos_embed"]["max_pos_embeddings"]
    words = {name: text[name] for name in SAME_TEXT if name in text}
    return Florence2Config(vision_config=new, text_config={"model_type": "bart", **words})


def read_weights(source: Path) -> dict[str, Tensor]:
    """All tensors of a folder, on the CPU; those of safetensors where there are both."""
    files = sorted(source.glob("model*.safetensors"))
    read: Any = load_file
    if not files:
        files = sorted(source.glob("pytorch_model*.bin"))
        read = _read_pickle
    if not files:
        raise AtelierError(f"{source} holds neither model.safetensors nor pytorch_model.bin.", AGAIN)
    return {name: tensor for file in files for name, tensor in read(file).items()}


def _read_pickle(file: Path) -> dict[str, Tensor]:
    if not zipfile.is_zipfile(file):
        raise AtelierError(f"{file} is damaged.", AGAIN)
    try:
        tensors: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise AtelierError(
            f"{file} holds more than tensors: {error}", "Get these weights as model.safetensors."
        ) from error
    return tensors


def convert_weights(old: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by their new names, the embeddings once. Raises AtelierError for a bias that the class does not have."""
    state = {}
    for name, tensor in old.items():
        if name == NO_BIAS:
            if tensor.any():
                raise AtelierError(f"{NO_BIAS} of these weights is not zero, which no known Florence-2 has.")
        elif name == "image_projection":
            state[_renamed(name)] = tensor.T.contiguous()  # was a factor on the right, is the weight of a Linear
        else:
            state[_renamed(name)] = tensor
    return _tied(state)


def _renamed(name: str) -> str:
    for pattern, new in RULES:
        name = pattern.sub(new, name)
    return name


def _tied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """One table of embeddings: safetensors keeps any one of the four names that it has."""
    copies = [state.pop(name) for name in (SHARED, *TIED) if name in state]
    if not copies:
        return state
    if any(not torch.equal(copies[0], other) for other in copies[1:]):
        log.warning("the embeddings of this file differ; the shared ones are taken, as the model's own code ties them")
    return {**state, SHARED: copies[0]}


def _with_rows(table: Tensor, words: int) -> Tensor:
    """table [V, D] with rows for all words, padded. New rows are the mean: their logit is never the largest."""
    rows = -(-max(words, table.shape[0]) // ROWS) * ROWS
    more = table.float().mean(0, keepdim=True).to(table.dtype).expand(rows - table.shape[0], -1)
    return torch.cat([table, more])


def make_tokenizer(source: Path) -> Any:
    """BART's, with the marks and the word for the picture behind them; a mark that is there keeps its place."""
    tokenizer = BartTokenizer.from_pretrained(source)
    tokenizer.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS], special_tokens=True)
    tokenizer.add_tokens([AddedToken(IMAGE_TOKEN, special=True, normalized=False)], special_tokens=True)
    tokenizer.image_token = IMAGE_TOKEN
    tokenizer.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    return tokenizer


def generation_of(source: Path) -> GenerationConfig:
    """That of the folder; without a file, the one that all of Microsoft's models were published with."""
    if (source / "generation_config.json").is_file():
        return GenerationConfig.from_pretrained(source)
    return GenerationConfig(**SHIPPED_GENERATION)


def _processor(source: Path, tokenizer: Any, config: Florence2Config) -> Florence2Processor:
    pictures = CLIPImageProcessor.from_pretrained(source)
    pictures.image_seq_length = image_tokens(pictures.size["height"], pictures.size["width"], config)
    return Florence2Processor(pictures, tokenizer, post_processor_config=ANSWERS)


def image_tokens(height: int, width: int, config: Florence2Config) -> int:
    """How many tokens a picture becomes: one a place of the last stage, and their mean. 577 for 768 x 768."""
    vision = config.vision_config
    for size, stride, padding in zip(vision.patch_size, vision.patch_stride, vision.patch_padding, strict=True):
        height, width = ((side + 2 * padding - size) // stride + 1 for side in (height, width))
    return height * width + 1
