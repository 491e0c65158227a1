"""Small pipelines in the real classes with random weights, for tests. Built in a second, nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from trainers.sandbox import build

WIDTH = 32  # of the text encoders of the UNet families
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def make_flux(folder: Path, *, guidance_embeds: bool = True, dynamic_shift: bool = True, seed: int = 0) -> Path:
    """A FLUX.1 folder: guidance_embeds as in dev, without as in schnell."""
    torch.manual_seed(seed)
    clip_tokenizer, clip, t5_tokenizer, t5 = build.make_text_encoders()
    t5_tokenizer.model_max_length = 512
    transformer = FluxTransformer2DModel(
        in_channels=64,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=t5.config.d_model,
        pooled_projection_dim=clip.config.hidden_size,
        guidance_embeds=guidance_embeds,
        axes_dims_rope=(4, 6, 6),
    )
    scheduler = build.make_scheduler() if dynamic_shift else FlowMatchEulerDiscreteScheduler(shift=1.0)
    vae = _vae(16, shift_factor=0.1159, scaling_factor=0.3611)
    return _save(FluxPipeline(scheduler, vae, clip, clip_tokenizer, t5, t5_tokenizer, transformer), folder)


def make_sd15(folder: Path, *, prediction: str = "epsilon", seed: int = 0) -> Path:
    """A Stable Diffusion 1.5 folder: four levels, 1x1 convolutions around its transformers."""
    torch.manual_seed(seed)
    tokenizer, *_ = build.make_text_encoders()
    tokenizer.model_max_length = 77
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64, 64, 64),
        layers_per_block=2,
        cross_attention_dim=WIDTH,
        attention_head_dim=8,
        norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    )
    scheduler = PNDMScheduler(
        **NOISE, steps_offset=1, skip_prk_steps=True, set_alpha_to_one=False, prediction_type=prediction
    )
    pipe = StableDiffusionPipeline(
        _vae(4, scaling_factor=0.18215),
        _clip(tokenizer),
        tokenizer,
        unet,
        scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return _save(pipe, folder)


def make_sdxl(folder: Path, *, prediction: str = "epsilon", zero_snr: bool = False, seed: int = 0) -> Path:
    """An SDXL folder: three levels, two encoders; the second pads with another token, as published."""
    torch.manual_seed(seed)
    tokenizer, *_ = build.make_text_encoders()
    other, *_ = build.make_text_encoders()
    for one in (tokenizer, other):
        one.model_max_length = 77
    other.pad_token = "!"
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64, 64),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 1, 2),
        projection_class_embeddings_input_dim=6 * 8 + WIDTH,
        cross_attention_dim=2 * WIDTH,
        norm_num_groups=8,
    )
    scheduler = EulerDiscreteScheduler(
        **NOISE,
        steps_offset=1,
        timestep_spacing="trailing" if zero_snr else "leading",
        prediction_type=prediction,
        rescale_betas_zero_snr=zero_snr,
    )
    pipe = StableDiffusionXLPipeline(
        _vae(4, scaling_factor=0.13025, force_upcast=True),
        _clip(tokenizer),
        _clip(other, projection=WIDTH, act="gelu"),
        tokenizer,
        other,
        unet,
        scheduler,
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )
    return _save(pipe, folder)


def make_sd3(folder: Path, *, newer: bool = True, seed: int = 0) -> Path:
    """An SD3 folder; newer as 3.5 medium: normalised queries and keys, and a second attention in the first block."""
    torch.manual_seed(seed)
    tokenizer, _, t5_tokenizer, t5 = build.make_text_encoders()
    other, *_ = build.make_text_encoders()
    for one in (tokenizer, other):
        one.model_max_length = 77
    other.pad_token = "!"
    t5_tokenizer.model_max_length = 512
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=3,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=2 * WIDTH,
        caption_projection_dim=32,
        pooled_projection_dim=2 * WIDTH,
        pos_embed_max_size=24,
        **({"qk_norm": "rms_norm", "dual_attention_layers": (0,)} if newer else {}),
    )
    pipe = StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(16, shift_factor=0.0609, scaling_factor=1.5305),
        text_encoder=_clip(tokenizer, projection=WIDTH),
        text_encoder_2=_clip(other, projection=WIDTH, act="gelu"),
        text_encoder_3=t5,
        tokenizer=tokenizer,
        tokenizer_2=other,
        tokenizer_3=t5_tokenizer,
    )
    return _save(pipe, folder)


MAKERS: dict[str, Callable[..., Path]] = {"flux": make_flux, "sd15": make_sd15, "sdxl": make_sdxl, "sd3": make_sd3}


def _vae(channels: int, **config: Any) -> AutoencoderKL:
    """quant convolutions as in the 4-channel models; those with 16 channels have none."""
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=4,
        use_quant_conv=channels == 4,
        use_post_quant_conv=channels == 4,
        **config,
    )


def _clip(tokenizer: Any, *, projection: int = 0, act: str = "quick_gelu") -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=77,
        hidden_act=act,
        projection_dim=projection or WIDTH,
        bos_token_id=0,
        eos_token_id=2,  # as published: the place of the end mark is then that of the highest id
        pad_token_id=1,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def _save(pipe: DiffusionPipeline, folder: Path) -> Path:
    pipe.save_pretrained(folder)
    return folder
