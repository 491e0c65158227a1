"""Small folders of JoyCaption in the real classes with random weights: as Llava, and as the older three folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from captioners.base import Request, Runtime
from captioners.config import CaptionConfig, Generate

BEGIN, END, PAD = "<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>"
HEADER, HEADER_END, TURN_END = "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"
IMAGE_START, IMAGE, IMAGE_END = (f"<|reserved_special_token_{number}|>" for number in (70, 69, 71))
SPECIAL = (BEGIN, END, PAD, HEADER, HEADER_END, TURN_END, IMAGE_START, IMAGE, IMAGE_END)

# as Llama 3.1 has it, with the picture in front of the user's words where the folder is a Llava
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{% if message['role'] == 'user' %}PICTURE{% endif %}{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
LLAVA_TEMPLATE = TEMPLATE.replace("PICTURE", IMAGE_START + IMAGE + IMAGE_END)
LLAMA_TEMPLATE = TEMPLATE.replace("PICTURE", "")

SIZE, PATCH, WIDTH = 28, 14, 64  # of 64 weights each: a block of 4-bit quantisation


def make_tokenizer(template: str, pad: str | None = PAD) -> PreTrainedTokenizerFast:
    """One token for each byte, beside those of Llama 3.1 that JoyCaption uses. It adds <|begin_of_text|> itself."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*letters, *SPECIAL])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", pair=f"{BEGIN} $A {BEGIN} $B", special_tokens=[(BEGIN, vocabulary[BEGIN])]
    )
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=TURN_END, pad_token=pad)
    made.chat_template = template
    return made


def _llama(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.3,  # wide enough for texts that depend on what the model is shown
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def _siglip() -> SiglipVisionConfig:
    return SiglipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=PATCH,
        initializer_range=0.3,
    )


def _ends(tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
    """As published: with sampling that callers have to overrule."""
    ends = tokenizer.convert_tokens_to_ids([END, TURN_END])
    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=ends, do_sample=True, temperature=0.6, top_p=0.9
    )


def make_llava(folder: Path, *, pad: str | None = PAD, seed: int = 0) -> LlavaForConditionalGeneration:
    """A folder in the layout that JoyCaption is published in: older names of weights, two shards with an index, a chat
    template of the processor. The model that was written is returned."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(LLAVA_TEMPLATE, pad)
    config = LlavaConfig(
        vision_config=_siglip(),
        text_config=_llama(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(SIZE // PATCH) ** 2,
        vision_feature_select_strategy="full",
        architectures=["LlavaForConditionalGeneration"],
    )
    model = LlavaForConditionalGeneration(config).eval()
    nn.init.normal_(model.lm_head.weight, std=0.3)
    model.generation_config = _ends(tokenizer)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").unlink()
    _write(folder / "chat_template.json", {"chat_template": LLAVA_TEMPLATE})
    config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    _write(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "SiglipImageProcessor",
            "size": {"height": SIZE, "width": SIZE},
            "image_mean": [0.5] * 3,
            "image_std": [0.5] * 3,
            "rescale_factor": 1 / 255,
            "resample": 2,
        },
    )
    _write(
        folder / "processor_config.json",
        {
            "processor_class": "LlavaProcessor",
            "image_token": IMAGE,
            "patch_size": PATCH,
            "vision_feature_select_strategy": "full",
        },
    )
    write_shards(folder, {older_name(name): tensor for name, tensor in model.state_dict().items()})
    return model


def older_name(name: str) -> str:
    """The name that a weight of Llava had before transformers 4.52."""
    for new, old in (
        ("model.vision_tower.", "vision_tower.vision_model."),
        ("model.multi_modal_projector.", "multi_modal_projector."),
        ("model.language_model.", "language_model.model."),
        ("lm_head.", "language_model.lm_head."),
    ):
        if name.startswith(new):
            return old + name.removeprefix(new)
    raise ValueError(name)


def write_shards(folder: Path, tensors: dict[str, Tensor]) -> None:
    names = sorted(tensors)
    shards = {1: names[: len(names) // 2], 2: names[len(names) // 2 :]}
    places = {}
    for number, part in shards.items():
        file = f"model-{number:05}-of-00002.safetensors"
        save_file({name: tensors[name].contiguous() for name in part}, folder / file, {"format": "pt"})
        places |= dict.fromkeys(part, file)
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    _write(folder / "model.safetensors.index.json", index)


class Adapter(nn.Module):
    """The part between SigLIP and Llama, under the names of its published file."""

    def __init__(self, width: int, wider: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(width, wider), nn.Linear(wider, wider)
        self.other_tokens = nn.Embedding(3, wider)


def make_folders(root: Path, seed: int = 0) -> tuple[SiglipVisionModel, Adapter, nn.Module, PreTrainedTokenizerFast]:
    """The older layout of Alpha Two: joy-caption-alpha-two/, clip/ and llm/. Returned is what was written, Llama with
    its LoRA as PEFT runs it."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(LLAMA_TEMPLATE)
    vision, adapter = SiglipVisionModel(_siglip()).eval(), Adapter(WIDTH, WIDTH)
    language = LlamaForCausalLM(_llama(tokenizer)).eval()
    language.generation_config = _ends(tokenizer)
    checkpoint = root / "joy-caption-alpha-two" / "cgrkzexw-599808"
    checkpoint.mkdir(parents=True)
    torch.save(
        {f"_orig_mod.module.{name}": tensor for name, tensor in vision.state_dict().items()},
        checkpoint / "clip_model.pt",
    )
    torch.save(adapter.state_dict(), checkpoint / "image_adapter.pt")
    SiglipConfig(text_config={"num_hidden_layers": 1}, vision_config=_siglip().to_dict()).save_pretrained(
        root / "clip" / "siglip-so400m-patch14-384"
    )
    language.save_pretrained(root / "llm" / "Meta-Llama-3.1-8B-Instruct")
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    tuned = get_peft_model(language, lora)
    for name, weight in tuned.named_parameters():
        if "lora_" in name:
            nn.init.normal_(weight, std=0.3)
    tuned.save_pretrained(checkpoint / "text_model")
    file = checkpoint / "text_model" / "adapter_config.json"
    _write(file, json.loads(file.read_text("utf-8")) | {"base_model_name_or_path": "unsloth/Meta-Llama-3.1-8B"})
    tokenizer.save_pretrained(checkpoint / "text_model")
    return vision, adapter, tuned.eval(), tokenizer


def caption_config(**generate: float) -> CaptionConfig:
    """A resolved one, greedy unless told otherwise."""
    values = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "beams": 1, "max_tokens": 12}
    return CaptionConfig(generate=Generate.model_validate(values | generate))


def cpu(**more: Any) -> Runtime:
    return Runtime(torch.device("cpu"), torch.float32, **more)


def noise_pictures(count: int, seed: int = 0) -> list[Image.Image]:
    """Pictures of different sizes, none of them square."""
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 256, (40 + place, 50, 3), dtype=np.uint8)) for place in range(count)]


def requests_for(prompts: Sequence[str], seed: int = 0) -> list[Request]:
    """A picture and a seed of its own for each prompt."""
    pictures = noise_pictures(len(prompts), seed)
    return [
        Request(picture, prompt, seed + place)
        for place, (picture, prompt) in enumerate(zip(pictures, prompts, strict=True))
    ]


def _write(file: Path, values: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values), "utf-8")
