"""Train the sandbox captioner from nothing, on drawn scenes.

    python -m captioners.sandbox.build --out assets/sandbox/captioner --work DIR

Real classes with small sizes: SiglipVisionModel and LlamaModel in LlavaForConditionalGeneration, LlavaProcessor, and a
tokenizer made here. Each step draws its pictures from its own number, and --work keeps a checkpoint, so a build that
was cut off goes on as if it had not been. `docs/sandbox.md` has the time and the quality of the shipped build.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    SiglipVisionConfig,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from captioners.sandbox import PROMPT, combinations, fresh_scenes, wear
from trainers.sandbox import scenes

log = logging.getLogger(__name__)

SEED = 20261122
STEPS, BATCH, LEARNING_RATE = 2500, 32, 2e-3
PATCH = 8  # pixels: 64 patches, and so many image tokens
CHECKPOINT_EVERY = 100
IGNORED = -100  # label of tokens that no loss is taken of

# <answer> stands between prompt and caption: nothing that the tokenizer could merge with the caption's first word
PAD, START, END, IMAGE, ANSWER = SPECIAL = ("<pad>", "<s>", "</s>", "<image>", "<answer>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<image>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<answer>{% endif %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-pair tokenizer: every word of the captions and the prompt is one token, anything else falls into bytes.

    A word is merged letter by letter from its beginning. Trained merges would not do: ties between pairs are broken
    by hash order, so that two builds differ.
    """
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = [_caption(*parts) for parts in combinations()]
    words = sorted({piece for text in [PROMPT, *texts] for piece, _ in split.pre_tokenize_str(text)})
    merges = list(dict.fromkeys((word[:end], word[end]) for word in words for end in range(1, len(word))))
    tokens = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(left + right for left, right in merges)]
    backend = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    backend.pre_tokenizer, backend.decoder = split, decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        bos_token=START,
        eos_token=END,
        extra_special_tokens={"image_token": IMAGE, "answer_token": ANSWER},
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=256,
    )


def _caption(shape: str, colour: str, place: str, background: str) -> str:
    return scenes.caption(scenes.Scene(shape, colour, place, background, 0, 0, 0))


def make_processor() -> LlavaProcessor:
    side = {"height": scenes.SIZE, "width": scenes.SIZE}  # pictures of other shapes are squashed
    return LlavaProcessor(
        SiglipImageProcessorPil(size=side, image_mean=[0.5] * 3, image_std=[0.5] * 3),
        make_tokenizer(),
        patch_size=PATCH,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    """Untrained, from torch's random state."""
    vision = SiglipVisionConfig(
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=scenes.SIZE,
        patch_size=PATCH,
        vision_use_head=False,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        initializer_range=0.08,  # about 1 / sqrt(width); the 0.02 of wide models needs more than twice the steps
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(scenes.SIZE // PATCH) ** 2,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        tie_word_embeddings=True,
    )
    return LlavaForConditionalGeneration(config)


def training_batch(processor: LlavaProcessor, step: int, batch: int) -> dict[str, Tensor]:
    """Fresh worn pictures and their captions; the same step always gives the same."""
    rng = np.random.default_rng([SEED, step])
    drawn = fresh_scenes(batch, rng)
    turn = [{"role": "user", "content": PROMPT}]
    prompt = processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    inputs = processor(
        images=[wear(scenes.draw(scene), rng) for scene in drawn],
        text=[prompt + scenes.caption(scene) + END for scene in drawn],
        padding=True,
        return_tensors="pt",
    )
    return {**inputs, "labels": answers_only(inputs["input_ids"], processor.tokenizer)}


def answers_only(ids: Tensor, tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """Labels [B, L]: the caption and its end, behind <answer>. What stands before it teaches nothing."""
    answer = ids == tokenizer.convert_tokens_to_ids(ANSWER)
    behind = answer.cumsum(dim=1).bool() & ~answer
    return ids.where(behind, torch.full_like(ids, IGNORED))


def train(steps: int, checkpoint: Path | None = None, stop_after: int | None = None) -> tuple[Any, list[float]]:
    """The model, and the loss of each step of this call. stop_after: leave off early, on the same schedule."""
    torch.manual_seed(SEED)
    processor = make_processor()
    model = make_model(processor.tokenizer).train()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    state = {"model": model, "optimizer": optimizer, "schedule": schedule}
    first = _load(checkpoint, state) if checkpoint and checkpoint.exists() else 0
    losses: list[float] = []
    begun = time.monotonic()
    for step in range(first + 1, (stop_after or steps) + 1):
        loss = model(**training_batch(processor, step, BATCH)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        losses.append(loss.item())
        if step % CHECKPOINT_EVERY == 0:
            recent = np.mean(losses[-CHECKPOINT_EVERY:])
            log.info("step %d: loss %.4f, %.0f s", step, recent, time.monotonic() - begun)
            if checkpoint:
                _save(checkpoint, state, step)
    return model.eval(), losses


def _load(file: Path, state: dict[str, Any]) -> int:
    saved = torch.load(file, weights_only=True)
    for name, part in state.items():
        part.load_state_dict(saved[name])
    return int(saved["step"])


def _save(file: Path, state: dict[str, Any], step: int) -> None:
    torch.save({name: part.state_dict() for name, part in state.items()} | {"step": step}, file.with_suffix(".part"))
    os.replace(file.with_suffix(".part"), file)


def build(out: Path, work: Path | None, steps: int) -> dict[str, Any]:
    """Train, write the model's folder in fp16, return its size and the time that this call took."""
    if work:
        work.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    model, _ = train(steps, work / "captioner.pt" if work else None)
    model.to(torch.float16).save_pretrained(out)
    make_processor().save_pretrained(out)  # a new one: the tokenizer of one that was used keeps its padding
    return {
        "parameters": model.num_parameters(),
        "bytes": sum(file.stat().st_size for file in out.iterdir()),
        "seconds": round(time.monotonic() - begun),
        "seed": SEED,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("assets/sandbox/captioner"))
    parser.add_argument("--work", type=Path, help="folder for the checkpoint; without it a build does not go on")
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print(json.dumps(build(args.out, args.work, args.steps), indent=1))


if __name__ == "__main__":
    main()
