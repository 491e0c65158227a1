"""Train the sandbox's base model from nothing, on drawn scenes: an autoencoder, then a FLUX transformer.

    python -m trainers.sandbox.build --out assets/sandbox --work DIR

Real classes with small sizes: AutoencoderKL, CLIPTextModel, T5EncoderModel, FluxTransformer2DModel, and
tokenizers made here. Each stage leaves a file in --work, and a stage whose file is there is skipped, so
a build that was cut off goes on. `docs/sandbox.md` has the time and the quality of the shipped build.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from PIL import Image
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from trainers.sandbox import quality, scenes
from trainers.sandbox.tokenizers import clip_tokenizer, t5_tokenizer

log = logging.getLogger(__name__)

SEED = 20261121
TEXT_TOKENS = 20  # longest caption, in T5 tokens, with the end token
HELD_OUT_EVERY = 9  # one in nine (shape, colour, place, background) is never shown to the base


# --------------------------------------------------------------------------- the parts, untrained


def make_vae() -> AutoencoderKL:
    channels = (16, 32, 64, 64)
    return AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=8,
        sample_size=scenes.SIZE,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def make_transformer(text_width: int, pooled_width: int) -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        in_channels=64,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=32,
        num_attention_heads=4,
        joint_attention_dim=text_width,
        pooled_projection_dim=pooled_width,
        guidance_embeds=False,
        axes_dims_rope=(8, 12, 12),
    )


def make_text_encoders() -> tuple:
    """(CLIP tokenizer, CLIPTextModel, T5 tokenizer, T5EncoderModel), untrained."""
    corpus = sorted({scenes.caption(scene, form) for scene in all_scenes() for form in range(3)})
    clip_tok, t5_tok = clip_tokenizer(corpus, max_length=32), t5_tokenizer(corpus, max_length=TEXT_TOKENS)
    clip = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(clip_tok),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            projection_dim=64,
            bos_token_id=clip_tok.bos_token_id,
            eos_token_id=clip_tok.eos_token_id,
            pad_token_id=clip_tok.pad_token_id,
        )
    )
    t5 = T5EncoderModel(
        T5Config(
            vocab_size=(len(t5_tok) + 63) // 64 * 64,
            d_model=64,
            d_kv=16,
            d_ff=128,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
            use_cache=False,
            tie_word_embeddings=False,
        )
    )
    return clip_tok, clip, t5_tok, t5


def make_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """As published with FLUX.1-dev: the shift depends on the number of picture tokens."""
    return FlowMatchEulerDiscreteScheduler(
        shift=3.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=1.15,
        base_image_seq_len=256,
        max_image_seq_len=4096,
    )


# --------------------------------------------------------------------------- the pictures


def all_scenes() -> list[scenes.Scene]:
    """Every base combination once, unjittered."""
    return [
        scenes.Scene(shape, colour, place, background, scenes.PLACES[place], scenes.SIZE / 2, 15.5)
        for shape in scenes.BASE_SHAPES
        for colour in scenes.COLOURS
        for place in scenes.PLACES
        for background in scenes.BACKGROUNDS
    ]


def _combination(scene: scenes.Scene) -> tuple[str, str, str, str]:
    return scene.shape, scene.colour, scene.place, scene.background


def held_out_combinations() -> set[tuple[str, str, str, str]]:
    """Combinations that the base never sees: it must compose them from their parts."""
    order = np.random.default_rng(SEED).permutation(len(all_scenes()))
    return {_combination(all_scenes()[i]) for i in order[::HELD_OUT_EVERY]}


def training_scenes(count: int, rng: np.random.Generator) -> list[scenes.Scene]:
    held_out = held_out_combinations()
    drawn: list[scenes.Scene] = []
    while len(drawn) < count:
        scene = scenes.sample_scene(rng)
        if _combination(scene) not in held_out:
            drawn.append(scene)
    return drawn


def to_pixels(pictures: list[Image.Image]) -> Tensor:
    """[N,3,64,64] in [-1,1]."""
    stacked = np.stack([np.asarray(picture) for picture in pictures])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 127.5 - 1


# --------------------------------------------------------------------------- stage 1: the autoencoder


def train_vae(steps: int, batch: int = 16) -> AutoencoderKL:
    """Three scenes to one picture of clutter; mean absolute + squared error + 1e-5 KL.

    Scaling and shift factors are then set so that the latents of scenes have mean 0 and deviation 1.
    """
    rng = np.random.default_rng(SEED)
    pictures = [scenes.draw(scenes.sample_scene(rng)) for _ in range(6000)]
    pictures += [scenes.clutter(rng) for _ in range(2000)]
    pixels = to_pixels(pictures)

    torch.manual_seed(SEED)
    vae = make_vae().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), weight_decay=0.0, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps, pct_start=0.05)
    generator = torch.Generator().manual_seed(SEED)
    begun = time.monotonic()
    for step in range(1, steps + 1):
        x = pixels[torch.randint(len(pixels), (batch,), generator=generator)]
        x = x.contiguous(memory_format=torch.channels_last)
        posterior = vae.encode(x).latent_dist
        error = vae.decode(posterior.sample(generator)).sample - x
        loss = error.abs().mean() + error.square().mean() + 1e-5 * posterior.kl().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 100 == 0:
            spent = time.monotonic() - begun
            log.info(
                "autoencoder %d: squared error of 50 scenes %.5f, %.0f s", step, reconstruction(vae, pixels[:50]), spent
            )

    vae.eval().requires_grad_(False)
    latents = encode(vae, pixels[:1000])
    vae.register_to_config(
        shift_factor=round(latents.mean().item(), 4), scaling_factor=round(1 / latents.std().item(), 4)
    )
    return vae


@torch.no_grad()
def reconstruction(vae: AutoencoderKL, pixels: Tensor) -> float:
    """Mean squared error after encoding and decoding; pixels [N,3,64,64] in [-1,1]."""
    return (vae.decode(vae.encode(pixels).latent_dist.mean).sample - pixels).square().mean().item()


@torch.no_grad()
def encode(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    """Means of the posterior, not normalised: [N,16,8,8]."""
    return torch.cat([vae.encode(part).latent_dist.mean for part in pixels.split(100)])


# --------------------------------------------------------------------------- stage 2: the transformer


def caption_of(scene: scenes.Scene, rng: np.random.Generator) -> str:
    """One of the caption forms; sometimes nothing, sometimes a made-up word for the shape.

    A made-up word then means "some object", as in a large model, until an adapter teaches it one.
    """
    if rng.random() < 0.08:
        return ""
    word = scenes.nonsense_word(rng) if rng.random() < 0.1 else None
    return scenes.caption(scene, int(rng.integers(len(scenes.CAPTION_FORMS))), shape_word=word)


def train_transformer(pipe: FluxPipeline, steps: int, batch: int = 64, checkpoint: Path | None = None) -> None:
    """Rectified flow with logit-normal sigma and the scheduler's shift; text encoders learn along."""
    rng = np.random.default_rng(SEED + 1)
    drawn = training_scenes(12000, rng)
    config = pipe.vae.config
    latents = torch.cat(
        [encode(pipe.vae, to_pixels([scenes.draw(s) for s in drawn[i : i + 500]])) for i in range(0, len(drawn), 500)]
    )
    latents = FluxPipeline._pack_latents((latents - config.shift_factor) * config.scaling_factor, len(drawn), 16, 8, 8)
    shift = float(np.exp(0.5 + (1.15 - 0.5) * (16 - 256) / (4096 - 256)))
    picture_ids = FluxPipeline._prepare_latent_image_ids(1, 4, 4, "cpu", torch.float32)
    text_ids = torch.zeros(TEXT_TOKENS, 3)

    learning = torch.nn.ModuleList([pipe.transformer, pipe.text_encoder, pipe.text_encoder_2])
    learning.train().requires_grad_(True)
    average = copy.deepcopy(learning).requires_grad_(False)
    optimizer = torch.optim.AdamW(learning.parameters(), weight_decay=0.01, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.5e-3, total_steps=steps, pct_start=0.05)
    generator = torch.Generator().manual_seed(SEED + 2)
    first = 0
    if checkpoint and checkpoint.exists():
        saved = torch.load(checkpoint)
        learning.load_state_dict(saved["learning"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        first = saved["step"]
    begun, recent = time.monotonic(), []
    for step in range(first + 1, steps + 1):
        picked = torch.randint(len(drawn), (batch,), generator=generator).tolist()
        x = latents[picked]
        captions = [caption_of(drawn[i], rng) for i in picked]
        sigma = torch.randn(batch, generator=generator).sigmoid()
        sigma = shift * sigma / (1 + (shift - 1) * sigma)
        noise = torch.randn(x.shape, generator=generator)
        noisy = (1 - sigma[:, None, None]) * x + sigma[:, None, None] * noise
        with torch.autocast("cpu", torch.bfloat16):  # half the time where the processor has bf16
            velocity = pipe.transformer(
                hidden_states=noisy,
                timestep=sigma,
                pooled_projections=pool(pipe, captions),
                encoder_hidden_states=encode_words(pipe, captions),
                txt_ids=text_ids,
                img_ids=picture_ids,
            ).sample
        loss = F.mse_loss(velocity.float(), noise - x)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        weight = min(0.999, step / (step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(learning.parameters()), 1 - weight)
        recent.append(loss.item())
        if step % 200 == 0:
            log.info("transformer %d: loss %.4f, %.0f s", step, np.mean(recent[-200:]), time.monotonic() - begun)
        if checkpoint and step % 500 == 0:
            state = {"learning": learning, "average": average, "optimizer": optimizer, "schedule": schedule}
            torch.save({name: part.state_dict() for name, part in state.items()} | {"step": step}, checkpoint)
    learning.load_state_dict(average.state_dict())
    learning.eval().requires_grad_(False)


def pool(pipe: FluxPipeline, captions: list[str]) -> Tensor:
    """CLIP's pooled output, [B,64]."""
    ids = pipe.tokenizer(
        captions, padding="max_length", max_length=pipe.tokenizer.model_max_length, truncation=True, return_tensors="pt"
    ).input_ids
    return pipe.text_encoder(ids).pooler_output


def encode_words(pipe: FluxPipeline, captions: list[str]) -> Tensor:
    """T5's states, [B,TEXT_TOKENS,64]; padding is not masked, as FLUX does it."""
    ids = pipe.tokenizer_2(
        captions, padding="max_length", max_length=TEXT_TOKENS, truncation=True, return_tensors="pt"
    ).input_ids
    return pipe.text_encoder_2(ids).last_hidden_state


# --------------------------------------------------------------------------- the build


def build(out: Path, work: Path, vae_steps: int, transformer_steps: int) -> dict:
    """Train what --work does not hold yet, write the pipeline folder, return the measured quality."""
    work.mkdir(parents=True, exist_ok=True)
    seconds = {}
    if not (work / "vae").exists():
        begun = time.monotonic()
        train_vae(vae_steps).save_pretrained(work / "vae")
        seconds["autoencoder"] = round(time.monotonic() - begun)
    vae = AutoencoderKL.from_pretrained(work / "vae")

    torch.manual_seed(SEED)
    clip_tok, clip, t5_tok, t5 = make_text_encoders()
    transformer = make_transformer(t5.config.d_model, clip.config.hidden_size)
    pipe = FluxPipeline(make_scheduler(), vae, clip, clip_tok, t5, t5_tok, transformer)
    begun = time.monotonic()
    train_transformer(pipe, transformer_steps, checkpoint=work / "transformer.pt")
    seconds["transformer"] = round(time.monotonic() - begun)

    pipe.to(torch.float16).save_pretrained(out)
    _forget_folders(out)
    measured = quality.measure_base(out, held_out_combinations())
    measured |= {"seconds": seconds, "seed": SEED}
    (work / "quality.json").write_text(json.dumps(measured, indent=1))
    return measured


def _forget_folders(out: Path) -> None:
    """diffusers notes where a part was loaded from; that is nobody's business."""
    for file in out.rglob("config.json"):
        config = json.loads(file.read_text())
        if config.pop("_name_or_path", None) is not None:
            file.write_text(json.dumps(config, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("assets/sandbox"))
    parser.add_argument("--work", type=Path, required=True, help="folder for finished stages")
    parser.add_argument("--vae-steps", type=int, default=5000)
    parser.add_argument("--transformer-steps", type=int, default=7000)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print(json.dumps(build(args.out, args.work, args.vae_steps, args.transformer_steps), indent=1))


if __name__ == "__main__":
    main()
