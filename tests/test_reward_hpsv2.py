"""HPS v2.1: the published preprocessing to the pixel, open_clip's model in transformers' classes, one load."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, scaled_dot_product_attention

from tests.tiny_rewards import CPU, SHAPES, open_clip_state, pictures
from trainers.data.tokens import shared
from trainers.errors import AtelierError
from trainers.preferences import scorers
from trainers.preferences.rewards import hpsv2
from trainers.preferences.rewards.base import Runtime
from trainers.preferences.rewards.clip_models import token_ids
from trainers.preferences.rewards.hpsv2 import Hpsv2, clean
from trainers.preferences.rewards.pixels import CLIP_MEAN, CLIP_STD, cropped_to_square, normalised, padded_to_square

PROMPTS = ["a red circle", "A photo of two CATS, sitting on a couch", "", "1girl, solo, " * 60]
START, END = 49406, 49407


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hps") / "HPS_v2.1_compressed.pt"
    torch.save({"epoch": 1, "state_dict": open_clip_state()}, path)
    return path


@pytest.fixture(scope="module")
def scorer(checkpoint: Path) -> Hpsv2:
    return hpsv2.load({"weights": checkpoint}, CPU, "1")


# --------------------------------------------------------------------------- preprocessing


def by_pillow(image: Image.Image, side: int) -> np.ndarray:
    """The same by Pillow, on numbers: each channel resized, then put into the middle of noughts. [side, side, 3]."""
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    channels = [Image.fromarray(np.asarray(band, np.float32)) for band in image.split()]
    small = np.stack([np.asarray(one.resize((width, height), Image.Resampling.BICUBIC)) for one in channels], -1)
    canvas = np.zeros((side, side, 3), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    canvas[top : top + height, left : left + width] = small / 255
    return canvas


@pytest.mark.parametrize("shape", [*SHAPES, (448, 301), (301, 448), (1024, 90), (9, 91)])
@pytest.mark.parametrize("side", [224, 28])
def test_whole_picture_lies_in_the_middle_of_black(shape: tuple[int, int], side: int) -> None:
    (image,) = pictures([shape])
    found = padded_to_square(image, side).permute(1, 2, 0).numpy()
    assert np.abs(found - by_pillow(image, side)).max() < 2e-5


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        ((224, 224), (0, 0, 224, 224)),
        ((448, 224), (0, 56, 224, 112)),
        ((224, 448), (56, 0, 112, 224)),
        ((224, 101), (0, 61, 224, 101)),  # 123 rows of padding: 61 above, 62 below
        ((101, 224), (61, 0, 101, 224)),
        ((447, 200), (0, 62, 224, 100)),  # 200 * 224 / 447 = 100.2
        ((3, 2), (0, 37, 224, 149)),  # 149.33 rows; 75 of padding, the odd one below
    ],
)
def test_padding_is_centred_and_its_odd_pixel_goes_down_and_right(
    shape: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    """A white picture: what is not black is where it lies. box: left, top, width, height."""
    pixels = padded_to_square(Image.new("RGB", shape, "white"), 224)[0].numpy()
    rows, columns = np.nonzero(pixels)
    left, top, width, height = box
    assert (columns.min(), rows.min()) == (left, top)
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == (width, height)
    assert pixels[top : top + height, left : left + width] == pytest.approx(1, abs=1e-5)


def test_picture_of_the_right_size_keeps_its_bytes() -> None:
    (image,) = pictures([(224, 224)])
    assert torch.equal(padded_to_square(image, 224) * 255, torch.from_numpy(np.array(image)).permute(2, 0, 1).float())


def test_padding_is_black_before_normalising_not_after() -> None:
    pixels = normalised(padded_to_square(Image.new("RGB", (20, 10), "white"), 20))
    expected = [-mean / std for mean, std in zip(CLIP_MEAN, CLIP_STD, strict=True)]
    assert pixels[:, 0, 0].tolist() == pytest.approx(expected) and pixels[:, -1, -1].tolist() == pytest.approx(expected)


def test_a_centre_crop_would_score_otherwise(scorer: Hpsv2) -> None:
    (wide,) = pictures([(90, 40)])
    whole = scorer._clip.cosines([padded_to_square(wide, 28)], ["red"]).item()
    cropped = scorer._clip.cosines([cropped_to_square(wide, 28)], ["red"]).item()
    assert scorer.score([wide], ["red"]) == [whole] and abs(whole - cropped) > 1e-3


def test_modes_and_transparency_do_not_stop_it(scorer: Hpsv2) -> None:
    (image,) = pictures([(40, 30)])
    scores = scorer.score([image.convert(mode) for mode in ("RGB", "RGBA", "CMYK", "L", "P")], ["red"] * 5)
    assert scores[0] == pytest.approx(scores[1], abs=1e-6) and all(math.isfinite(score) for score in scores if score)


# --------------------------------------------------------------------------- text


def test_text_is_lower_cased_between_start_and_end() -> None:
    tokenizer = shared("clip")
    ids = token_ids("A Red CIRCLE")
    assert ids == token_ids("a red circle") and len(ids) == 77
    words = [tokenizer.token_to_id(word) for word in ("a</w>", "red</w>", "circle</w>")]
    assert ids[:5] == [START, *words, END]


def test_a_long_text_keeps_its_end() -> None:
    ids = token_ids("red " * 200)
    assert len(ids) == 77 and ids[0] == START and ids[-1] == END and END not in ids[:-1]


def test_marks_in_a_prompt_do_not_end_it() -> None:
    assert token_ids("red <|endoftext|> circle") == token_ids("red circle")


def test_prompts_from_web_pages_are_unescaped() -> None:
    assert clean(" cats &amp;amp; dogs ") == "cats & dogs"


# --------------------------------------------------------------------------- the model


def attention(state: dict[str, Tensor], block: str, x: Tensor, heads: int, causal: bool) -> Tensor:
    batch, length, width = x.shape
    packed = x @ state[f"{block}.attn.in_proj_weight"].T + state[f"{block}.attn.in_proj_bias"]
    query, key, value = (one.reshape(batch, length, heads, -1).transpose(1, 2) for one in packed.split(width, dim=-1))
    mixed = (
        scaled_dot_product_attention(query, key, value, is_causal=causal).transpose(1, 2).reshape(batch, length, width)
    )
    return mixed @ state[f"{block}.attn.out_proj.weight"].T + state[f"{block}.attn.out_proj.bias"]


def normed(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return layer_norm(x, (x.shape[-1],), state[f"{name}.weight"], state[f"{name}.bias"], 1e-5)


def tower(state: dict[str, Tensor], prefix: str, x: Tensor, causal: bool) -> Tensor:
    """open_clip's residual blocks, two heads."""
    for layer in range(2):
        block = f"{prefix}transformer.resblocks.{layer}"
        x = x + attention(state, block, normed(state, f"{block}.ln_1", x), 2, causal)
        inner = (
            normed(state, f"{block}.ln_2", x) @ state[f"{block}.mlp.c_fc.weight"].T + state[f"{block}.mlp.c_fc.bias"]
        )
        x = x + gelu(inner) @ state[f"{block}.mlp.c_proj.weight"].T + state[f"{block}.mlp.c_proj.bias"]
    return x


def open_clip(state: dict[str, Tensor], pixels: Tensor, ids: Tensor) -> Tensor:
    """open_clip's CLIP, written out: cosines [B]. pixels are normalised."""
    patches = torch.nn.functional.conv2d(pixels, state["visual.conv1.weight"], stride=14).flatten(2).transpose(1, 2)
    first = state["visual.class_embedding"].expand(len(pixels), 1, -1)
    x = torch.cat([first, patches], dim=1) + state["visual.positional_embedding"]
    x = tower(state, "visual.", normed(state, "visual.ln_pre", x), causal=False)
    seen = normed(state, "visual.ln_post", x[:, 0]) @ state["visual.proj"]
    words = state["token_embedding.weight"][ids] + state["positional_embedding"]
    words = normed(state, "ln_final", tower(state, "", words, causal=True))
    read = words[torch.arange(len(ids)), ids.argmax(dim=-1)] @ state["text_projection"]
    return torch.nn.functional.cosine_similarity(seen, read)


def test_scores_are_those_of_open_clip(scorer: Hpsv2) -> None:
    state, images = open_clip_state(), pictures(SHAPES[:4])
    pixels = torch.stack([normalised(padded_to_square(image, 28)) for image in images])
    ids = torch.tensor([token_ids(prompt) for prompt in PROMPTS])
    ids[0, 5:] = 0  # what open_clip pads with
    expected = open_clip(state, pixels, ids).tolist()
    assert scorer.score(images, PROMPTS) == pytest.approx(expected, abs=1e-5)
    assert np.ptp(expected) > 0.1


def test_no_factor_is_applied_to_the_cosine(scorer: Hpsv2) -> None:
    """logit_scale is 4.6: its factor would be 99."""
    assert all(abs(score) <= 1 for score in scorer.score(pictures(), ["red"] * len(SHAPES)) if score is not None)


def test_a_batch_scores_as_each_picture_alone(scorer: Hpsv2) -> None:
    images = pictures(SHAPES[:4])
    together = scorer.score(images, PROMPTS)
    alone = [scorer.score([image], [prompt])[0] for image, prompt in zip(images, PROMPTS, strict=True)]
    assert together == pytest.approx(alone, abs=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_scores_nearly_the_same(checkpoint: Path, scorer: Hpsv2, precision: str) -> None:
    half = hpsv2.load({"weights": checkpoint}, Runtime("cpu", precision), "1")  # type: ignore[arg-type]
    images = pictures(SHAPES[:4])
    assert half.score(images, PROMPTS) == pytest.approx(scorer.score(images, PROMPTS), abs=0.03)


def test_architecture_is_read_from_the_published_shapes() -> None:
    """ViT-H-14: a picture of 224, 32 layers of 16 heads, 24 of 16 for the text."""
    with torch.device("meta"):
        shapes = {
            "token_embedding.weight": (49408, 1024),
            "positional_embedding": (77, 1024),
            "text_projection": (1024, 1024),
            "visual.conv1.weight": (1280, 3, 14, 14),
            "visual.positional_embedding": (257, 1280),
            "transformer.resblocks.0.mlp.c_fc.weight": (4096, 1024),
            "transformer.resblocks.23.ln_1.weight": (1024,),
            "visual.transformer.resblocks.0.mlp.c_fc.weight": (5120, 1280),
            "visual.transformer.resblocks.31.ln_1.weight": (1280,),
        }
        config = hpsv2.config_of({name: torch.empty(shape) for name, shape in shapes.items()})
    vision, text = config.vision_config, config.text_config
    assert (vision.image_size, vision.num_hidden_layers, vision.num_attention_heads) == (224, 32, 16)
    assert (text.num_hidden_layers, text.num_attention_heads, config.projection_dim) == (24, 16, 1024)
    assert vision.hidden_act == text.hidden_act == "gelu"


@pytest.mark.parametrize("change", ["lacks", "has more", "another size"])
def test_every_weight_is_accounted_for(tmp_path: Path, change: str) -> None:
    state = open_clip_state()
    if change == "lacks":
        del state["visual.transformer.resblocks.1.mlp.c_proj.bias"]
    elif change == "has more":
        state["visual.attn_pool.query"] = torch.zeros(3)
    else:
        state["ln_final.weight"] = torch.ones(7)
    torch.save({"state_dict": state}, tmp_path / "other.pt")
    with pytest.raises(AtelierError, match="are not those of this scorer"):
        hpsv2.load({"weights": tmp_path / "other.pt"}, CPU, "1")


def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    (tmp_path / "torn.pt").write_bytes(b"PK\x03\x04 nothing")
    torch.save({"state_dict": {"a": Evil()}}, tmp_path / "evil.pt")
    torch.save({"state_dict": {"a": torch.ones(1)}}, tmp_path / "other.pt")
    for name in ("torn.pt", "evil.pt", "other.pt", "missing.pt"):
        with pytest.raises(AtelierError):
            hpsv2.load({"weights": tmp_path / name}, CPU, "1")
    assert not (tmp_path / "ran").exists()


def test_checkpoint_is_read_once(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published package reads four gigabytes again for every picture."""
    reads: list[Path] = []
    read = hpsv2.read_state
    monkeypatch.setattr(hpsv2, "read_state", lambda path: reads.append(path) or read(path))
    opened = scorers.open_scorer("hpsv2.1", {"weights": checkpoint}, CPU)
    checkpoint_bytes = checkpoint.read_bytes()
    checkpoint.unlink()
    try:
        for image in pictures(SHAPES[:3]):
            opened.score([image], ["red"])
    finally:
        checkpoint.write_bytes(checkpoint_bytes)
    assert reads == [checkpoint] and opened.name == "hpsv2.1"
