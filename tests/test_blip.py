"""BLIP and BLIP-2: what they write with and without a beginning, from folders as they are published."""

from __future__ import annotations

import gc
import json
import shutil
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Blip2ForConditionalGeneration, BlipForConditionalGeneration

from captioners import blip, blip2
from captioners.base import Captioner, Request, Runtime, StopAskedError
from captioners.blip import without_artefacts
from captioners.config import CaptionConfig
from tests.tiny_captioners_florence import pictures, save_blip, save_blip2
from trainers.errors import AtelierError

CPU = Runtime(torch.device("cpu"), torch.float32)
PROMPTS = ["", "a photo of", "", "a red square"]
MODULES: dict[str, Any] = {"blip": blip, "opt": blip2, "t5": blip2}


def config(beams: int = 1, max_tokens: int = 8) -> CaptionConfig:
    drawn = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "beams": beams, "max_tokens": max_tokens}
    return CaptionConfig.model_validate({"generate": drawn})


def requests(prompts: list[str] = PROMPTS) -> list[Request]:
    return [Request(picture, prompt) for picture, prompt in zip(pictures(len(prompts)), prompts, strict=True)]


def texts(captioner: Captioner, prompts: list[str] = PROMPTS) -> list[str]:
    return [result.text for result in captioner.caption(requests(prompts))]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {name: tmp_path_factory.mktemp(name) for name in MODULES}
    save_blip(made["blip"])
    save_blip2(made["opt"], "opt")
    save_blip2(made["t5"], "t5")
    return made


def loaded(folders: dict[str, Path], name: str, *settings: int, runtime: Runtime = CPU) -> Any:
    return MODULES[name].load(folders[name], config(*settings), runtime)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("name", MODULES)
def test_a_caption_does_not_depend_on_its_batch(folders: dict[str, Path], name: str, beams: int) -> None:
    captioner = loaded(folders, name, beams)
    together = captioner.caption(requests())
    assert [captioner.caption([request])[0] for request in requests()] == together
    assert len({result.text for result in together}) == len(PROMPTS)


@pytest.mark.parametrize("name", MODULES)
def test_without_a_prompt_the_model_gets_what_transformers_gives_it(folders: dict[str, Path], name: str) -> None:
    captioner = loaded(folders, name, 1, 8)
    seen = []
    language = captioner._model.text_decoder if name == "blip" else captioner._model.language_model
    language.register_forward_pre_hook(lambda _, args, kwargs: seen.append((args, kwargs)), with_kwargs=True)
    captioner.caption(requests([""]))
    ours = seen[0]
    seen.clear()
    if name == "blip":
        pixels = captioner._processor.image_processor(pictures(1), return_tensors="pt")["pixel_values"]
        captioner._model.generate(pixels, max_new_tokens=1)
    else:
        pixels = captioner._pictures(pictures(1), return_tensors="pt")["pixel_values"]
        captioner._model.generate(pixels, max_new_tokens=1)
    key = {"blip": "input_ids", "opt": "inputs_embeds", "t5": "decoder_input_ids"}[name]
    assert torch.equal(ours[1][key], seen[0][1][key])


def test_a_prompt_of_blip_begins_its_caption(folders: dict[str, Path]) -> None:
    said = texts(loaded(folders, "blip"), ["a photo of", "a red square"])
    assert [text.startswith(begin) for text, begin in zip(said, ["a photo of", "a red square"], strict=True)] == [
        True
    ] * 2
    assert not any("[" in text for text in said)


@pytest.mark.parametrize("name", ["opt", "t5"])
def test_a_prompt_of_blip2_is_not_in_its_answer(folders: dict[str, Path], name: str) -> None:
    captioner = loaded(folders, name)
    for text in texts(captioner, ["a photo of", "a red square"]):
        assert text
        assert not any(sign in text for sign in ("a photo of", "a red square", "</s>", "<image>", "<pad>"))
    assert texts(captioner, ["a photo of"]) != texts(captioner, [""])


def test_every_picture_has_its_say(folders: dict[str, Path]) -> None:
    for name in MODULES:
        assert len(set(texts(loaded(folders, name), [""] * 4))) == 4


@pytest.mark.parametrize("language", ["opt", "t5"])
def test_a_tokenizer_may_declare_its_word_for_pictures(folders: dict[str, Path], tmp_path: Path, language: str) -> None:
    save_blip2(tmp_path, language, declare_image=True)
    assert texts(blip2.load(tmp_path, config(), CPU)) == texts(loaded(folders, language))


@pytest.mark.parametrize("language", ["opt", "t5"])
def test_older_files_name_no_word_for_pictures(folders: dict[str, Path], tmp_path: Path, language: str) -> None:
    folder = Path(shutil.copytree(folders[language], tmp_path / "old"))
    known = json.loads((folder / "config.json").read_text())
    del known["image_token_index"]
    (folder / "config.json").write_text(json.dumps(known))
    (folder / "generation_config.json").unlink(missing_ok=True)
    old, new = blip2.load(folder, config(), CPU), loaded(folders, language)
    assert torch.equal(read_by_language_model(old), read_by_language_model(new))
    assert all(result.text for result in old.caption(requests()))


def test_opt_gets_its_start_token_from_every_tokenizer(folders: dict[str, Path], tmp_path: Path) -> None:
    save_blip2(tmp_path, "opt", starts=False)
    bare = blip2.load(tmp_path, config(), CPU)
    assert torch.equal(read_by_language_model(bare), read_by_language_model(loaded(folders, "opt")))


def read_by_language_model(captioner: Any) -> torch.Tensor:
    """Embeddings [1, P, D] of a picture and a prompt."""
    language, read = captioner._model.language_model, []
    original = language.generate
    language.generate = lambda **all: read.append(all["inputs_embeds"]) or original(**all)
    captioner.caption([Request(pictures(1)[0], "a photo of")])
    language.generate = original
    return read[0]


@pytest.mark.parametrize("name", MODULES)
def test_what_reached_the_longest_length_is_cut_off(folders: dict[str, Path], name: str) -> None:
    captioner = loaded(folders, name, 1, 5)
    ends = captioner._model.config.text_config.sep_token_id if name == "blip" else 2
    for request in requests():
        result = captioner.caption([request])[0]
        rows = []
        original = captioner._model.generate
        captioner._model.generate = lambda original=original, rows=rows, **all: rows.append(original(**all)) or rows[0]
        assert captioner.caption([request])[0] == result
        captioner._model.generate = original
        assert result.truncated == (ends not in rows[0][0, -5:].tolist())


@pytest.mark.parametrize("name", MODULES)
def test_weights_that_do_not_fit_are_refused(folders: dict[str, Path], tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(folders[name], tmp_path / "copy"))
    state = load_file(folder / "model.safetensors")
    gone = next(key for key in state if key.startswith("vision_model") and key.endswith("fc1.weight"))
    for change, said in (
        ({gone: None}, "missing"),
        ({"vision_model.more": torch.zeros(1)}, "not known"),
        ({gone: torch.zeros(3, 3)}, "another size"),
    ):
        changed = {key: one for key, one in {**state, **change}.items() if one is not None}
        save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(AtelierError, match=said):
            MODULES[name].load(folder, config(), CPU)


@pytest.mark.parametrize("name", MODULES)
def test_another_kind_of_model_is_refused(folders: dict[str, Path], name: str) -> None:
    other = folders["opt" if name == "blip" else "blip"]
    with pytest.raises(AtelierError, match="model of the kind"):
        MODULES[name].load(other, config(), CPU)


@pytest.mark.parametrize("name", MODULES)
def test_stop_is_heard_within_a_token(folders: dict[str, Path], name: str) -> None:
    asked = []

    def stop_asked() -> bool:
        asked.append(1)
        return len(asked) > 2

    runtime = Runtime(torch.device("cpu"), torch.float32, "none", stop_asked)
    with pytest.raises(StopAskedError):
        loaded(folders, name, 3, 50, runtime=runtime).caption(requests())
    assert len(asked) <= 4


@pytest.mark.parametrize("name", MODULES)
def test_a_captioner_that_is_dropped_frees_its_model(folders: dict[str, Path], name: str) -> None:
    captioner = loaded(folders, name)
    captioner.caption(requests())
    model = weakref.ref(captioner._model)
    del captioner
    gc.collect()
    assert model() is None


@pytest.mark.parametrize("name", MODULES)
def test_half_precision_casts_the_pictures_alone(folders: dict[str, Path], name: str) -> None:
    captioner = loaded(folders, name, runtime=Runtime(torch.device("cpu"), torch.bfloat16))
    assert next(captioner._model.vision_model.parameters()).dtype == torch.bfloat16
    assert len(captioner.caption(requests())) == len(PROMPTS)


@pytest.mark.parametrize("language", ["opt", "t5"])
@pytest.mark.parametrize("quantize", ["int8", "nf4"])
def test_only_the_language_model_is_quantised(folders: dict[str, Path], language: str, quantize: Any) -> None:
    captioner = loaded(folders, language, runtime=Runtime(torch.device("cpu"), torch.bfloat16, quantize))
    kinds = {name: type(module) for name, module in captioner._model.named_modules() if isinstance(module, nn.Linear)}
    whole = {name for name, kind in kinds.items() if kind is nn.Linear}
    assert {name for name in kinds if not name.startswith("language_model.")} < whole
    inside = {name for name in whole if name.startswith("language_model.")}
    assert {name.rpartition(".")[2] for name in inside} == ({"lm_head"} if language == "opt" else {"lm_head", "wo"})
    assert len(kinds) > len(whole)
    assert len(captioner.caption(requests())) == len(PROMPTS)


@pytest.mark.parametrize("language", ["opt", "t5"])
def test_each_name_that_is_kept_whole_is_a_module(folders: dict[str, Path], language: str) -> None:
    names = [name for name, _ in loaded(folders, language)._model.named_modules()]
    assert all(any(name == kept or name.endswith(f".{kept}") for name in names) for kept in blip2.KEEP)


def test_captions_need_no_torchvision(folders: dict[str, Path]) -> None:
    for name in MODULES:
        assert texts(loaded(folders, name))
    assert not any(name.partition(".")[0] == "torchvision" for name in sys.modules)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("arafed woman in a red dress", "woman in a red dress"),
        ("an arafed man with a hat", "a man with a hat"),
        ("a araffe image of two cats", "an image of two cats"),
        ("there are two araffes standing", "there are two standing"),
        ("Yasser Arafat and a giraffe", "Yasser Arafat and a giraffe"),
        ("a man with an arafed", "a man with"),
        ("araffe", ""),
    ],
)
def test_words_that_mean_nothing_are_taken_out(written: str, kept: str) -> None:
    assert without_artefacts(written) == kept


def test_models_are_of_the_classes_that_are_published(folders: dict[str, Path]) -> None:
    assert isinstance(loaded(folders, "blip")._model, BlipForConditionalGeneration)
    assert isinstance(loaded(folders, "opt")._model, Blip2ForConditionalGeneration)
