"""Qwen-VL through its native classes: tiny models in the layouts that are published, with random weights."""

from __future__ import annotations

import gc
import json
import shutil
import sys
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.quantizers.quantizers_utils import should_convert_module

from captioners import qwen_vl
from captioners.base import Request, Result, Runtime, StopAskedError
from captioners.config import CaptionConfig
from captioners.qwen_vl import QwenVL, load
from trainers.errors import AtelierError, ConfigError, MissingPackageError

KINDS = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
PROMPT = "Describe the picture in one sentence."
# what the published templates write of a system turn and a user's turn with a picture
TEMPLATE = """{%- for message in messages -%}
{%- if loop.first and message.role != 'system' and default_system -%}<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif -%}
<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content -%}
{%- if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}
{%- endfor %}{% endif %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% endif %}{% endif -%}"""
OLDER_TEMPLATE = TEMPLATE.replace("default_system", "true").partition("{% if enable_thinking")[0] + "{% endif -%}"


# --------------------------------------------------------------------------- folders as they are published


def make_tokenizer(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([PROMPT, "You are a helpful assistant."], trainer)
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    facts = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    write(folder / "tokenizer_config.json", facts)
    return tokenizer


def write(file: Path, facts: dict[str, Any]) -> None:
    file.write_text(json.dumps(facts), encoding="utf-8")


def make_config(kind: str, tokenizer: Tokenizer) -> dict[str, Any]:
    """config.json: that of Qwen2 and Qwen2.5 is flat, as it was before text_config."""
    text: dict[str, Any] = {"vocab_size": tokenizer.get_vocab_size(), "hidden_size": 32, "intermediate_size": 48}
    text |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.3}
    text |= {"bos_token_id": None, "eos_token_id": tokenizer.token_to_id("<|im_end|>"), "pad_token_id": None}
    rope: dict[str, Any] = {"mrope_section": [2, 1, 1]}
    vision: dict[str, Any] = {"depth": 2, "num_heads": 2, "spatial_merge_size": 2, "temporal_patch_size": 2}
    if kind == "qwen2_vl":
        vision |= {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2, "patch_size": 14}
    else:
        vision |= {"hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 32, "initializer_range": 0.3}
    if kind == "qwen2_5_vl":
        vision |= {"patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1]}
    if kind == "qwen3_vl":
        vision |= {"patch_size": 16, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
        rope |= {"rope_type": "default", "mrope_interleaved": True}
        text |= {"head_dim": 8}
    names = ("image_pad", "vision_start", "vision_end")
    ids = {f"{name.removesuffix('_pad')}_token_id": tokenizer.token_to_id(f"<|{name}|>") for name in names}
    facts = {"model_type": kind, "vision_config": vision, **ids, "video_token_id": tokenizer.token_to_id("<think>")}
    if kind == "qwen3_vl":
        return facts | {"text_config": text | {"rope_scaling": rope}, "tie_word_embeddings": True}
    return facts | text | {"rope_scaling": rope | {"type": "mrope"}, "tie_word_embeddings": False}


def make_weights(kind: str, folder: Path) -> None:
    """In two shards, with the older names of Qwen2 and Qwen2.5; a tied head is in no file."""
    torch.manual_seed(3)
    model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if kind == "qwen3_vl":
        del state["lm_head.weight"]
    else:
        older = {"model.visual.": "visual.", "model.language_model.": "model."}
        for new, old in older.items():
            state = {name.replace(new, old): tensor for name, tensor in state.items()}
    shards = {f"model-0000{number}-of-00002.safetensors": sorted(state)[number - 1 :: 2] for number in (1, 2)}
    for file, names in shards.items():
        save_file({name: state[name] for name in names}, folder / file, metadata={"format": "pt"})
    places = {name: file for file, names in shards.items() for name in names}
    write(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": places})


def publish(kind: str, folder: Path) -> Path:
    folder.mkdir()
    tokenizer = make_tokenizer(folder)
    write(folder / "config.json", make_config(kind, tokenizer))
    make_weights(kind, folder)
    ends = [tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")]
    settings = {"eos_token_id": ends, "pad_token_id": ends[1], "do_sample": True, "temperature": 0.1, "top_k": 1}
    write(folder / "generation_config.json", settings | {"repetition_penalty": 1.05})
    eyes: dict[str, Any] = {"image_processor_type": "Qwen2VLImageProcessor", "merge_size": 2, "temporal_patch_size": 2}
    if kind == "qwen3_vl":
        eyes |= {"patch_size": 16, "size": {"longest_edge": 16777216, "shortest_edge": 4096}}
        (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    else:
        eyes |= {"patch_size": 14, "min_pixels": 3136, "max_pixels": 12845056}
        write(folder / "chat_template.json", {"chat_template": OLDER_TEMPLATE})
    write(folder / "preprocessor_config.json", eyes)
    write(folder / "video_preprocessor_config.json", eyes)
    return folder


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(request.param, tmp_path_factory.mktemp("published") / request.param)


# --------------------------------------------------------------------------- loading and asking


def config_of(temperature: float = 0.0, max_tokens: int = 12, **prompt: Any) -> CaptionConfig:
    drawing = {"temperature": temperature, "top_p": 0.95, "top_k": 50, "beams": 1, "max_tokens": max_tokens}
    return CaptionConfig.model_validate({"generate": drawing, "prompt": prompt})


def runtime(**changes: Any) -> Runtime:
    return Runtime(**{"device": torch.device("cpu"), "dtype": torch.float32, **changes})


def opened(folder: Path, *, stop_asked: Any = lambda: False, **config: Any) -> QwenVL:
    return load(folder, config_of(**config), runtime(stop_asked=stop_asked))


@pytest.fixture(scope="module")
def greedy(folder: Path) -> QwenVL:
    return opened(folder)


@pytest.fixture(scope="module")
def drawn(folder: Path) -> QwenVL:
    return opened(folder, temperature=1.0)


def picture(width: int, height: int, seed: int) -> Image.Image:
    pixels = torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(pixels.to(torch.uint8).numpy())


REQUESTS = (
    Request(picture(64, 64, 1), PROMPT, 1),
    Request(picture(180, 90, 2), "Describe.", 2),
    Request(picture(70, 150, 3), PROMPT + " And say what is the weather like.", 3),
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Tensor]]]:
    """What the model was given; it answers with the text in `answers`, or nothing."""
    inputs_of: list[dict[str, Tensor]] = []

    def listen(model: Any, inputs: dict[str, Tensor], *rest: Any) -> Tensor:
        inputs_of.append(inputs)
        return inputs["input_ids"]

    monkeypatch.setattr(qwen_vl, "generate", listen)
    yield inputs_of


def answering(captioner: QwenVL, text: str, monkeypatch: pytest.MonkeyPatch) -> Result:
    """What becomes of a text that the model writes."""

    def answer(model: Any, inputs: dict[str, Tensor], *rest: Any) -> Tensor:
        return torch.cat([inputs["input_ids"], captioner._tokenizer(text, return_tensors="pt").input_ids], 1)

    monkeypatch.setattr(qwen_vl, "generate", answer)
    return captioner.caption(REQUESTS[:1])[0]


def texts(results: Sequence[Result]) -> list[str]:
    return [result.text for result in results]


def chat_of(captioner: QwenVL, inputs: dict[str, Tensor]) -> str:
    return str(captioner._tokenizer.decode(inputs["input_ids"][0]))


# --------------------------------------------------------------------------- captions


@pytest.mark.parametrize("how", ["greedy", "drawn"])
def test_batch_of_unequal_pictures_equals_single_results(how: str, greedy: QwenVL, drawn: QwenVL) -> None:
    captioner = greedy if how == "greedy" else drawn
    alone = [captioner.caption([one])[0] for one in REQUESTS]
    assert captioner.caption(REQUESTS) == alone
    assert captioner.caption(REQUESTS[::-1]) == alone[::-1]
    assert len(set(texts(alone))) == len(alone), "otherwise a swap would not be seen"


def test_padding_changes_no_caption_whatever_the_repetition_penalty(folder: Path) -> None:
    """The published settings have one, and padding is no word that was written."""
    captioner = opened(folder)
    captioner._model.generation_config.repetition_penalty = 5.0
    alone = [captioner.caption([one])[0] for one in REQUESTS]
    assert captioner.caption(REQUESTS) == alone


def test_picture_decides_the_caption(greedy: QwenVL) -> None:
    pictures = [picture(112, 112, seed) for seed in range(4)]
    assert len(set(texts([greedy.caption([Request(one, PROMPT)])[0] for one in pictures]))) > 1


def test_positions_of_the_picture_have_rows_and_columns(greedy: QwenVL) -> None:
    """h x w merged patches take max(h, w) positions of the text, so those after them are so many fewer."""
    side = 2 * greedy._processor.patch_size
    greedy.caption([Request(picture(6 * side, 4 * side, 5), PROMPT)])
    assert greedy._model.model.rope_deltas.tolist() == [[6 - 6 * 4]]


def test_same_seed_same_text_other_seed_other_text(drawn: QwenVL) -> None:
    one = REQUESTS[0].image
    first, again, other = (drawn.caption([Request(one, PROMPT, seed)])[0].text for seed in (7, 7, 8))
    assert first == again != other


def test_prompt_is_never_in_the_caption(greedy: QwenVL) -> None:
    for result in greedy.caption(REQUESTS):
        assert result.text and not any(word in result.text for word in ("Describe", "assistant", "user", *SPECIAL))


def test_longest_length_is_told(greedy: QwenVL, monkeypatch: pytest.MonkeyPatch) -> None:
    long = answering(greedy, "a red house, a red house, a red house", monkeypatch)
    short = answering(greedy, "ok<|im_end|><|endoftext|>", monkeypatch)
    assert long.truncated and not short.truncated and short.text == "ok"


def test_stop_ends_within_a_token(folder: Path) -> None:
    steps = []

    def stop_asked() -> bool:
        steps.append(1)
        return len(steps) > 2

    captioner = opened(folder, max_tokens=500, stop_asked=stop_asked)
    with pytest.raises(StopAskedError):
        captioner.caption(REQUESTS[:1])
    assert len(steps) <= 5


# --------------------------------------------------------------------------- what the model is given


def test_tokens_of_a_picture_are_its_merged_patches(greedy: QwenVL, asked: list[dict[str, Tensor]]) -> None:
    greedy.caption(REQUESTS)
    (inputs,) = asked
    is_picture = inputs["input_ids"] == greedy._model.config.image_token_id
    merged = inputs["image_grid_thw"].prod(-1) // 4
    assert is_picture.sum(1).tolist() == merged.tolist() and len(set(merged.tolist())) > 1
    assert inputs["pixel_values"].shape[0] == 4 * int(merged.sum())
    assert torch.equal(inputs["mm_token_type_ids"].bool(), is_picture)


def test_padding_is_on_the_left_and_masked(greedy: QwenVL, asked: list[dict[str, Tensor]]) -> None:
    greedy.caption(REQUESTS)
    for request in REQUESTS:
        greedy.caption([request])
    together, *alone = asked
    for row, (one,) in enumerate(inputs["input_ids"] for inputs in alone):
        mask = together["attention_mask"][row].bool()
        assert torch.equal(together["input_ids"][row][mask], one)
        assert mask[-len(one) :].all() and int(mask.sum()) == len(one)


def test_large_picture_is_capped_to_a_megapixel(greedy: QwenVL, asked: list[dict[str, Tensor]]) -> None:
    greedy.caption([Request(Image.new("RGB", (3000, 2000)), PROMPT)])
    (inputs,) = asked
    patch = greedy._processor.patch_size
    _, rows, columns = inputs["image_grid_thw"][0].tolist()
    assert 0.9 * qwen_vl.MOST_PIXELS < rows * columns * patch**2 <= qwen_vl.MOST_PIXELS
    assert columns / rows == pytest.approx(1.5, rel=0.05), "its shape is kept"
    assert int(inputs["mm_token_type_ids"].sum()) <= 1280


def test_smaller_limit_of_the_weights_is_kept(folder: Path, tmp_path: Path, asked: list[dict[str, Tensor]]) -> None:
    shutil.copytree(folder, tmp_path / "small")
    file = tmp_path / "small/preprocessor_config.json"
    facts = {key: value for key, value in json.loads(file.read_text()).items() if not key.endswith("_pixels")}
    write(file, facts | {"size": {"longest_edge": 20000, "shortest_edge": 4096}})
    opened(tmp_path / "small").caption([Request(Image.new("RGB", (640, 640)), PROMPT)])
    assert int(asked[0]["image_grid_thw"].prod()) * facts["patch_size"] ** 2 <= 20000


@pytest.mark.parametrize("size", [(4000, 6), (3, 2000), (1, 1), (201, 1)])
def test_narrow_and_tiny_pictures_are_captioned(size: tuple[int, int], greedy: QwenVL) -> None:
    assert greedy.caption([Request(Image.new("RGB", size), PROMPT)])[0].text


def test_bf16_writes_captions(folder: Path) -> None:
    captioner = load(folder, config_of(), runtime(dtype=torch.bfloat16))
    assert {one.dtype for one in captioner._model.parameters()} == {torch.bfloat16}
    assert all(texts(captioner.caption(REQUESTS)))


def test_only_pixels_are_cast(folder: Path, asked: list[dict[str, Tensor]]) -> None:
    load(folder, config_of(), runtime(dtype=torch.bfloat16)).caption(REQUESTS[:1])
    kinds = {name: tensor.dtype for name, tensor in asked[0].items()}
    assert kinds.pop("pixel_values") == torch.bfloat16 and set(kinds.values()) == {torch.int64}


def test_chat_is_that_of_the_folder(greedy: QwenVL, folder: Path, asked: list[dict[str, Tensor]]) -> None:
    greedy.caption(REQUESTS[:1])
    chat = chat_of(greedy, asked[0])
    user = chat[chat.index("<|im_start|>user") :].replace("<|image_pad|>", "")
    assert user.startswith(
        f"<|im_start|>user\n<|vision_start|><|vision_end|>{PROMPT}<|im_end|>\n<|im_start|>assistant\n"
    )
    assert ("You are a helpful assistant." in chat) == (folder.name != "qwen3_vl")


def test_system_prompt_takes_the_place_of_the_usual_one(folder: Path, asked: list[dict[str, Tensor]]) -> None:
    captioner = opened(folder, system="Be brief.")
    captioner.caption(REQUESTS[:1])
    chat = chat_of(captioner, asked[0])
    assert chat.startswith("<|im_start|>system\nBe brief.<|im_end|>\n") and "helpful" not in chat


def test_token_of_the_picture_in_the_prompt_is_refused(greedy: QwenVL) -> None:
    with pytest.raises(ConfigError, match=r"prompt\.text.*2 places for the picture"):
        greedy.caption([Request(REQUESTS[0].image, "What is <|image_pad|>?")])


# --------------------------------------------------------------------------- thoughts


def test_thinking_is_switched_off_where_the_template_can(
    greedy: QwenVL, folder: Path, asked: list[dict[str, Tensor]]
) -> None:
    greedy.caption(REQUESTS[:1])
    assert chat_of(greedy, asked[0]).endswith("</think>\n\n") == (folder.name == "qwen3_vl")


def test_thoughts_are_no_part_of_the_caption(greedy: QwenVL, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("<think>a cat, or a dog?</think>\n\nA cat.<|im_end|>", "or a dog?</think>A cat."):
        assert answering(greedy, text, monkeypatch).text == "A cat."


def test_thought_without_end_is_a_fault(folder: Path, monkeypatch: pytest.MonkeyPatch, greedy: QwenVL) -> None:
    result = answering(greedy, "<think>a cat, or a dog, or a cow, or", monkeypatch)
    assert (result.text, result.fault, result.truncated) == ("", "empty", True) and "max_tokens" in result.why
    always = OLDER_TEMPLATE.replace("assistant\n{% endif -%}", "assistant\n<think>\n{% endif -%}")
    monkeypatch.setattr(greedy, "_template", always)
    assert answering(greedy, "a cat, or a dog, or", monkeypatch).fault == "empty"
    assert answering(greedy, "a cat?</think>A cat.", monkeypatch).text == "A cat."


def test_text_without_letters_is_a_fault(greedy: QwenVL, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answering(greedy, "!!!!!!!!", monkeypatch).fault == "empty"


# --------------------------------------------------------------------------- loading


def test_weights_are_those_of_the_files(folder: Path) -> None:
    held = opened(folder)._model.state_dict()
    found = [load_file(file) for file in sorted(folder.glob("*.safetensors"))]
    older = {"visual.": "model.visual.", "model.": "model.language_model.", "lm_head.": "lm_head."}
    for name, tensor in (pair for shard in found for pair in shard.items()):
        head = next(prefix for prefix in older if name.startswith(prefix))
        new = name if folder.name == "qwen3_vl" else older[head] + name.removeprefix(head)
        assert torch.equal(held[new], tensor), name


def test_fp16_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"captioner\.precision.*Use bf16 or fp32"):
        load(folder, config_of(), runtime(dtype=torch.float16))


def test_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "config.json", {"model_type": "llava"})
    with pytest.raises(AtelierError, match="of the kind 'llava', not qwen"):
        opened(tmp_path)


def test_missing_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "broken")
    index = tmp_path / "broken/model.safetensors.index.json"
    places = json.loads(index.read_text())["weight_map"]
    lost = next(name for name in places if "visual" in name)
    file = tmp_path / "broken" / places[lost]
    save_file({key: tensor for key, tensor in load_file(file).items() if key != lost}, file, metadata={"format": "pt"})
    with pytest.raises(AtelierError, match="1 are missing"):
        opened(tmp_path / "broken")


def test_only_the_language_model_is_quantised(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the very function with which transformers chooses the layers."""
    told: dict[str, Any] = {}

    def note(runtime: Runtime, keep: tuple[str, ...]) -> dict[str, Any]:
        told["keep"] = list(keep)
        return {}

    monkeypatch.setattr(qwen_vl, "quantization", note)
    monkeypatch.setattr(qwen_vl, "check_quantized", lambda model, runtime, inside: told.update(inside=inside))
    model = opened(folder)._model
    linear = {name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    chosen = {name for name in linear if should_convert_module(name, told["keep"])}
    assert chosen == {name for name in linear if name.startswith(f"{told['inside']}.")} != set()
    assert {name.split(".")[1] for name in linear - chosen - {"lm_head"}} == {"visual"}


def test_quantising_names_the_package_that_it_needs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingPackageError, match="bitsandbytes"):
        load(folder, config_of(), runtime(quantize="nf4"))


def test_captioner_that_is_let_go_frees_its_model(folder: Path) -> None:
    captioner = opened(folder)
    captioner.caption(REQUESTS[:1])
    model = weakref.ref(captioner._model)
    del captioner
    gc.collect()
    assert model() is None
