"""Small pipelines in the real classes with random weights, for tests. Built in a second, nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

from trainers.sandbox import build


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
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.1159,
        scaling_factor=0.3611,
    )
    scheduler = build.make_scheduler() if dynamic_shift else FlowMatchEulerDiscreteScheduler(shift=1.0)
    pipe = FluxPipeline(scheduler, vae, clip, clip_tokenizer, t5, t5_tokenizer, transformer)
    pipe.save_pretrained(folder)
    return folder
