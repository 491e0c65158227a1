"""Tiny Florence-2, BLIP and BLIP-2 of the real classes, with random weights and tokenizers trained on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BartConfig,
    BartTokenizer,
    BertTokenizer,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    CLIPImageProcessor,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    Florence2VisionConfig,
    GenerationConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
    T5Config,
)

WORDS = [
    "What does the image describe? Describe in detail what is shown in the image.",
    "Describe with a paragraph what is shown in the image. Locate the objects with category name in the image.",
    "a photo of a red square on a blue ground, a green circle, two cats sitting on a couch, car, wheel, door",
]
LOCATIONS = [f"<loc_{place}>" for place in range(1000)]
FLORENCE_MARKS = [
    *("<od>", "</od>", "<ocr>", "</ocr>"),
    *LOCATIONS,
    *("<cap>", "</cap>", "<ncap>", "</ncap>", "<dcap>", "</dcap>", "<grounding>", "</grounding>"),
    *("<seg>", "</seg>", "<sep>", "<region_cap>", "</region_cap>", "<region_to_desciption>"),
    *("</region_to_desciption>", "<proposal>", "</proposal>", "<poly>", "</poly>", "<and>"),
]
FLORENCE_SIDE, BLIP_SIDE, WORDS_OF_BART = 64, 32, 350
FLORENCE_GENERATION = {
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
    "decoder_start_token_id": 2,
    "forced_bos_token_id": 0,
    "forced_eos_token_id": 2,
    "no_repeat_ngram_size": 3,
    "early_stopping": True,
    "num_beams": 3,
}


def pictures(count: int = 3) -> list[Image.Image]:
    """Noise of several sizes: no two of them alike."""
    random = np.random.default_rng(0)
    sides = [(40, 60), (64, 64), (90, 30), (50, 50)]
    return [Image.fromarray(random.integers(0, 255, (*sides[index % 4], 3), dtype=np.uint8)) for index in range(count)]


def spread(model: torch.nn.Module, seed: int, scale: float) -> None:
    """Weights so far apart that greedy choices are clear, and differ from picture to picture."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
            elif not name.endswith("bias"):
                weight.fill_(1.0)


def byte_level(marks: list[str]) -> tuple[dict[str, int], list[str]]:
    """Vocabulary and merges of a BPE tokenizer over bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS_OF_BART,
        special_tokens=marks,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(WORDS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def bart_tokenizer() -> BartTokenizer:
    vocabulary, merges = byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return BartTokenizer(vocab=vocabulary, merges=merges)


def florence_tokenizer(folder: Path) -> BartTokenizer:
    """As transformers' own files have it: the marks, then the word for the picture. Saved to the folder."""
    tokenizer = bart_tokenizer()
    tokenizer.add_tokens([*FLORENCE_MARKS, "<image>"], special_tokens=True)
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    declared = {**json.loads(file.read_text()), "extra_special_tokens": {"image_token": "<image>"}}
    file.write_text(json.dumps(declared))
    return BartTokenizer.from_pretrained(folder)


def florence_config(words: int, image_token: int) -> Florence2Config:
    vision = Florence2VisionConfig(
        depths=[1, 2],
        patch_size=[7, 3],
        patch_stride=[8, 2],
        patch_padding=[3, 1],
        patch_prenorm=[False, True],
        embed_dim=[16, 32],
        num_heads=[2, 4],
        num_groups=[2, 4],
        window_size=4,
        projection_dim=48,
        max_temporal_embeddings=10,
        max_position_embeddings=16,
    )
    text = BartConfig(
        vocab_size=words,
        d_model=48,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=256,
    )
    return Florence2Config(vision_config=vision, text_config=text, image_token_id=image_token)


def save_florence(folder: Path) -> Florence2ForConditionalGeneration:
    """A folder in the layout of transformers: table of words padded to 64, with the mean in rows that no word has."""
    tokenizer = florence_tokenizer(folder)
    words = len(tokenizer) - 1  # without <image>
    model = Florence2ForConditionalGeneration(florence_config(-(-len(tokenizer) // 64) * 64, words))
    spread(model, 1, 0.3)
    table = model.get_input_embeddings().weight
    with torch.no_grad():
        table[WORDS_OF_BART:words] *= 0.1  # so that it writes words, and few places
        table[words:] = table[:words].mean(0)
    model.generation_config = GenerationConfig(**FLORENCE_GENERATION)
    model.save_pretrained(folder)
    side = {"height": FLORENCE_SIDE, "width": FLORENCE_SIDE}
    images = CLIPImageProcessor(size=side, do_center_crop=False, image_seq_length=17)
    answers: dict[str, Any] = {"pure_text": {}, "description_with_bboxes": {}}
    Florence2Processor(images, tokenizer, post_processor_config=answers).save_pretrained(folder)
    return model.eval()


def save_blip(folder: Path) -> BlipForConditionalGeneration:
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
    words = sorted({word for line in WORDS for word in line.lower().replace(",", "").replace(".", "").split()})
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys([*letters, *words]), "[DEC]"]
    tokenizer = BertTokenizer(vocab={name: place for place, name in enumerate(names)})
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        **sizes,
        "vocab_size": len(names),
        "encoder_hidden_size": 32,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "sep_token_id": 3,
        "eos_token_id": 3,
        "bos_token_id": len(names) - 1,
    }
    vision = {**sizes, "image_size": BLIP_SIDE, "patch_size": 8}
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision, projection_dim=32))
    spread(model, 2, 0.4)
    model.save_pretrained(folder)
    side = {"height": BLIP_SIDE, "width": BLIP_SIDE}
    BlipProcessor(BlipImageProcessor(size=side), tokenizer).save_pretrained(folder)
    return model.eval()


def save_blip2(
    folder: Path, language: str, declare_image: bool = False, starts: bool = True
) -> Blip2ForConditionalGeneration:
    """language: "opt" or "t5". declare_image: the tokenizer names its word for pictures, as newer files do; starts: it
    puts the start token in front."""
    vocabulary, merges = byte_level(["<s>", "<pad>", "</s>", "<unk>"])
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    single = "</s> $A" if language == "opt" else "$A </s>"
    if not starts:
        single = "$A"
    raw.post_processor = processors.TemplateProcessing(single=single, special_tokens=[("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", bos_token="</s>")
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    tokenizer.save_pretrained(folder)
    if declare_image:
        file = folder / "tokenizer_config.json"
        file.write_text(
            json.dumps({**json.loads(file.read_text()), "extra_special_tokens": {"image_token": "<image>"}})
        )
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = Blip2VisionConfig(**sizes, image_size=BLIP_SIDE, patch_size=8)
    former = Blip2QFormerConfig(**sizes, vocab_size=50, max_position_embeddings=32, cross_attention_frequency=1)
    text: Any
    if language == "opt":
        text = OPTConfig(
            vocab_size=384,
            hidden_size=64,  # of 4 bits a block has 64
            ffn_dim=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=96,
            word_embed_proj_dim=64,
        )
    else:
        text = T5Config(vocab_size=384, d_model=64, d_kv=32, d_ff=64, num_layers=1, num_heads=2, pad_token_id=1)
        text.eos_token_id, text.decoder_start_token_id, text.bos_token_id = 2, 1, 2
    config = Blip2Config(
        vision_config=vision, qformer_config=former, text_config=text, num_query_tokens=4, image_token_index=350
    )
    model = Blip2ForConditionalGeneration(config)
    spread(model, 3, 0.4)
    model.save_pretrained(folder)
    BlipImageProcessor(size={"height": BLIP_SIDE, "width": BLIP_SIDE}).save_pretrained(folder)
    return model.eval()
