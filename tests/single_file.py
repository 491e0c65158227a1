"""Diffusers folders written as the single files that people have: original names, fused layers, bundles, fp8.

The names follow the original code of each model, and are turned round here once more, apart from the program.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

State = dict[str, Tensor]
FP8_MAX = 448.0  # of float8_e4m3fn


def component(folder: Path, name: str) -> State:
    (file,) = (folder / name).glob("*.safetensors")
    return load_file(file)


def below(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def write(path: Path, *states: State, metadata: dict[str, str] | None = None) -> Path:
    merged = {name: tensor.contiguous().clone() for state in states for name, tensor in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(merged, path, metadata)
    return path


# ------------------------------------------------------------------ whole files


def sd15_file(folder: Path, path: Path, **more: Tensor) -> Path:
    return write(
        path,
        below("model.diffusion_model.", unet(component(folder, "unet"), layers=2)),
        below("first_stage_model.", vae(component(folder, "vae"))),
        below("cond_stage_model.transformer.text_model.", component(folder, "text_encoder")),
        {"cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None]},
        {"alphas_cumprod": torch.ones(3)},
        more,
    )


def sdxl_file(folder: Path, path: Path, metadata: dict[str, str] | None = None, **more: Tensor) -> Path:
    return write(
        path,
        below("model.diffusion_model.", unet(component(folder, "unet"), layers=2)),
        below("first_stage_model.", vae(component(folder, "vae"))),
        below("conditioner.embedders.0.transformer.text_model.", component(folder, "text_encoder")),
        below("conditioner.embedders.1.model.", open_clip(component(folder, "text_encoder_2"))),
        {"conditioner.embedders.1.model.logit_scale": torch.ones(())},
        more,
        metadata=metadata,
    )


def sd3_file(folder: Path, path: Path, *, bundled: bool) -> Path:
    encoders = {
        "text_encoders.clip_l.transformer.": without(component(folder, "text_encoder"), "text_projection.weight"),
        "text_encoders.clip_g.transformer.": component(folder, "text_encoder_2"),
        "text_encoders.t5xxl.transformer.": t5(component(folder, "text_encoder_3")),
    }
    bundle = [below(prefix, state) for prefix, state in encoders.items()]
    return write(
        path,
        below("model.diffusion_model.", sd3(component(folder, "transformer"))),
        below("first_stage_model.", vae(component(folder, "vae"))),
        *(bundle if bundled else []),
    )


def flux_file(folder: Path, path: Path, *, prefix: str = "", bundled: bool = False) -> Path:
    bundle = [
        below("vae.", vae(component(folder, "vae"))),
        below("text_encoders.clip_l.transformer.text_model.", component(folder, "text_encoder")),
        {"text_encoders.clip_l.logit_scale": torch.ones(())},
        below("text_encoders.t5xxl.transformer.", t5(component(folder, "text_encoder_2"))),
    ]
    return write(path, below(prefix, flux(component(folder, "transformer"))), *(bundle if bundled else []))


def without(state: State, name: str) -> State:
    return {key: tensor for key, tensor in state.items() if key != name}


# ------------------------------------------------------------------ one component


def _renamed(state: State, *rules: tuple[str, str | Callable[[re.Match[str]], str]]) -> State:
    """Each name with all rules applied, in order."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, new in rules:
            name = re.sub(pattern, new, name)
        renamed[name] = tensor
    return renamed


def unet(state: State, layers: int) -> State:
    """layers: of a block; the original numbers layers and samplers of all blocks in one row."""
    row = layers + 1

    def up_sampler(match: re.Match[str]) -> str:
        block = int(match[1])
        behind = 2 if f"up_blocks.{block}.attentions.0.norm.weight" in state else 1
        return f"output_blocks.{block * row + layers}.{behind}.conv."

    return _renamed(
        state,
        (r"^down_blocks\.(\d)\.resnets\.(\d)\.", lambda m: f"input_blocks.{1 + int(m[1]) * row + int(m[2])}.0."),
        (r"^down_blocks\.(\d)\.attentions\.(\d)\.", lambda m: f"input_blocks.{1 + int(m[1]) * row + int(m[2])}.1."),
        (
            r"^down_blocks\.(\d)\.downsamplers\.0\.conv\.",
            lambda m: f"input_blocks.{1 + int(m[1]) * row + layers}.0.op.",
        ),
        (r"^up_blocks\.(\d)\.resnets\.(\d)\.", lambda m: f"output_blocks.{int(m[1]) * row + int(m[2])}.0."),
        (r"^up_blocks\.(\d)\.attentions\.(\d)\.", lambda m: f"output_blocks.{int(m[1]) * row + int(m[2])}.1."),
        (r"^up_blocks\.(\d)\.upsamplers\.0\.conv\.", up_sampler),
        (r"^mid_block\.resnets\.(\d)\.", lambda m: f"middle_block.{2 * int(m[1])}."),
        (r"^mid_block\.attentions\.0\.", "middle_block.1."),
        (r"(put_blocks\.\d+\.0|middle_block\.[02])\.norm1", r"\1.in_layers.0"),
        (r"(put_blocks\.\d+\.0|middle_block\.[02])\.conv1", r"\1.in_layers.2"),
        (r"(put_blocks\.\d+\.0|middle_block\.[02])\.norm2", r"\1.out_layers.0"),
        (r"(put_blocks\.\d+\.0|middle_block\.[02])\.conv2", r"\1.out_layers.3"),
        (r"time_emb_proj", "emb_layers.1"),
        (r"conv_shortcut", "skip_connection"),
        (r"^time_embedding\.linear_1", "time_embed.0"),
        (r"^time_embedding\.linear_2", "time_embed.2"),
        (r"^add_embedding\.linear_1", "label_emb.0.0"),
        (r"^add_embedding\.linear_2", "label_emb.0.2"),
        (r"^conv_in\.", "input_blocks.0.0."),
        (r"^conv_norm_out\.", "out.0."),
        (r"^conv_out\.", "out.2."),
    )


def vae(state: State, levels: int = 4) -> State:
    renamed = _renamed(
        state,
        (r"down_blocks\.(\d)\.resnets\.", r"down.\1.block."),
        (r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample."),
        (r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{levels - 1 - int(m[1])}.block."),
        (r"up_blocks\.(\d)\.upsamplers\.0\.", lambda m: f"up.{levels - 1 - int(m[1])}.upsample."),
        (r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}"),
        (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
        (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
        (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
        (r"conv_shortcut", "nin_shortcut"),
        (r"conv_norm_out", "norm_out"),
    )
    # the original's attention is made of 1 x 1 convolutions
    return {
        name: tensor[:, :, None, None] if ".attn_1." in name and tensor.ndim == 2 else tensor
        for name, tensor in renamed.items()
    }


def open_clip(state: State) -> State:
    """CLIP-G as SDXL checkpoints hold it: one fused layer for queries, keys and values."""
    renamed = _renamed(
        state,
        (r"^text_model\.", ""),
        (r"^encoder\.layers\.", "transformer.resblocks."),
        (r"layer_norm([12])", r"ln_\1"),
        (r"mlp\.fc1", "mlp.c_fc"),
        (r"mlp\.fc2", "mlp.c_proj"),
        (r"self_attn", "attn"),
        (r"^embeddings\.token_embedding", "token_embedding"),
        (r"^embeddings\.position_embedding\.weight", "positional_embedding"),
        (r"^final_layer_norm", "ln_final"),
    )
    renamed["text_projection"] = renamed.pop("text_projection.weight").T
    return fused(renamed, r"(.*\.attn)\.([qkv])_proj\.(weight|bias)", "qkv", r"\1.in_proj_\3")


def fused(state: State, pattern: str, order: str, new: str) -> State:
    """Layers whose second group is of `order`, one behind the other as a single one."""
    joined: State = {}
    pieces: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        if match := re.fullmatch(pattern, name):
            pieces.setdefault(match.expand(new), {})[match[2]] = tensor
        else:
            joined[name] = tensor
    return joined | {name: torch.cat([parts[key] for key in order]) for name, parts in pieces.items()}


def t5(state: State) -> State:
    """The words are written once."""
    return without(state, "encoder.embed_tokens.weight")


def flux(state: State) -> State:
    renamed = _renamed(
        state,
        (r"^transformer_blocks\.", "double_blocks."),
        (r"^single_transformer_blocks\.", "single_blocks."),
        (r"(single_blocks\.\d+)\.norm\.linear", r"\1.modulation.lin"),
        (r"(single_blocks\.\d+)\.attn\.norm_q\.weight", r"\1.norm.query_norm.scale"),
        (r"(single_blocks\.\d+)\.attn\.norm_k\.weight", r"\1.norm.key_norm.scale"),
        (r"(single_blocks\.\d+)\.proj_out", r"\1.linear2"),
        (r"(single_blocks\.\d+)\.(?:attn\.to_)?(q|k|v|proj_mlp)\.", lambda m: f"{m[1]}.linear1.{m[2][-1]}."),
        (r"(double_blocks\.\d+)\.norm1\.linear", r"\1.img_mod.lin"),
        (r"(double_blocks\.\d+)\.norm1_context\.linear", r"\1.txt_mod.lin"),
        (r"(double_blocks\.\d+)\.attn\.norm_q\.weight", r"\1.img_attn.norm.query_norm.scale"),
        (r"(double_blocks\.\d+)\.attn\.norm_k\.weight", r"\1.img_attn.norm.key_norm.scale"),
        (r"(double_blocks\.\d+)\.attn\.norm_added_q\.weight", r"\1.txt_attn.norm.query_norm.scale"),
        (r"(double_blocks\.\d+)\.attn\.norm_added_k\.weight", r"\1.txt_attn.norm.key_norm.scale"),
        (r"(double_blocks\.\d+)\.attn\.to_([qkv])\.", r"\1.img_attn.\2."),
        (r"(double_blocks\.\d+)\.attn\.add_([qkv])_proj\.", r"\1.txt_attn.\2."),
        (r"\.attn\.to_out\.0", ".img_attn.proj"),
        (r"\.attn\.to_add_out", ".txt_attn.proj"),
        (r"\.ff\.net\.0\.proj", ".img_mlp.0"),
        (r"\.ff\.net\.2", ".img_mlp.2"),
        (r"\.ff_context\.net\.0\.proj", ".txt_mlp.0"),
        (r"\.ff_context\.net\.2", ".txt_mlp.2"),
        (r"^time_text_embed\.timestep_embedder", "time_in"),
        (r"^time_text_embed\.text_embedder", "vector_in"),
        (r"^time_text_embed\.guidance_embedder", "guidance_in"),
        (r"_in\.linear_1", "_in.in_layer"),
        (r"_in\.linear_2", "_in.out_layer"),
        (r"^x_embedder", "img_in"),
        (r"^context_embedder", "txt_in"),
        (r"^proj_out", "final_layer.linear"),
        (r"^norm_out\.linear", "final_layer.adaLN_modulation.1"),
    )
    renamed = _halves_swapped(renamed, "final_layer.adaLN_modulation.1")
    renamed = fused(renamed, r"(.*_attn)\.([qkv])\.(weight|bias)", "qkv", r"\1.qkv.\3")
    return fused(renamed, r"(.*\.linear1)\.([qkvp])\.(weight|bias)", "qkvp", r"\1.\3")


def sd3(state: State) -> State:
    last = max(int(match[1]) for name in state if (match := re.match(r"transformer_blocks\.(\d+)", name)))
    renamed = _renamed(
        state,
        (r"^transformer_blocks\.", "joint_blocks."),
        (r"\.norm1\.linear", ".x_block.adaLN_modulation.1"),
        (r"\.norm1_context\.linear", ".context_block.adaLN_modulation.1"),
        (r"\.(attn2?)\.norm_([qk])\.", r".x_block.\1.ln_\2."),
        (r"\.attn\.norm_added_([qk])\.", r".context_block.attn.ln_\1."),
        (r"\.(attn2?)\.to_([qkv])\.", r".x_block.\1.\2."),
        (r"\.attn\.add_([qkv])_proj\.", r".context_block.attn.\1."),
        (r"\.(attn2?)\.to_out\.0", r".x_block.\1.proj"),
        (r"\.attn\.to_add_out", ".context_block.attn.proj"),
        (r"\.ff\.net\.0\.proj", ".x_block.mlp.fc1"),
        (r"\.ff\.net\.2", ".x_block.mlp.fc2"),
        (r"\.ff_context\.net\.0\.proj", ".context_block.mlp.fc1"),
        (r"\.ff_context\.net\.2", ".context_block.mlp.fc2"),
        (r"^pos_embed\.pos_embed", "pos_embed"),
        (r"^pos_embed\.proj", "x_embedder.proj"),
        (r"^time_text_embed\.timestep_embedder\.linear_1", "t_embedder.mlp.0"),
        (r"^time_text_embed\.timestep_embedder\.linear_2", "t_embedder.mlp.2"),
        (r"^time_text_embed\.text_embedder\.linear_1", "y_embedder.mlp.0"),
        (r"^time_text_embed\.text_embedder\.linear_2", "y_embedder.mlp.2"),
        (r"^proj_out", "final_layer.linear"),
        (r"^norm_out\.linear", "final_layer.adaLN_modulation.1"),
    )
    for layer in ("final_layer.adaLN_modulation.1", f"joint_blocks.{last}.context_block.adaLN_modulation.1"):
        renamed = _halves_swapped(renamed, layer)
    return fused(renamed, r"(.*_block\.attn2?)\.([qkv])\.(weight|bias)", "qkv", r"\1.qkv.\3")


def _halves_swapped(state: State, layer: str) -> State:
    """The original keeps shift before scale."""
    swapped = {f"{layer}.{kind}": torch.cat(state[f"{layer}.{kind}"].chunk(2)[::-1]) for kind in ("weight", "bias")}
    return state | swapped


# ------------------------------------------------------------------ 8 bits


def cast_to_fp8(file: Path, path: Path) -> Path:
    """Every matrix as plain float8, as Comfy-Org's fp8 files have it."""
    return write(path, {n: t.to(torch.float8_e4m3fn) if t.ndim > 1 else t for n, t in load_file(file).items()})


def scaled_to_fp8(file: Path, path: Path, scale: str = "scale_weight", mark: str = "scaled_fp8") -> Path:
    """Every matrix divided by a scale of its own that lies beside it, as ComfyUI's scaled fp8 has it."""
    state: State = {mark: torch.empty(2, dtype=torch.float8_e4m3fn)} if mark else {}
    for name, tensor in load_file(file).items():
        if tensor.ndim < 2 or not name.endswith(".weight"):
            state[name] = tensor
            continue
        factor = tensor.abs().max().clamp(min=1e-12) / FP8_MAX
        state[name] = (tensor / factor).to(torch.float8_e4m3fn)
        state[name.removesuffix("weight") + scale] = factor
        state[name.removesuffix("weight") + "scale_input"] = torch.ones(())
    return write(path, state)
