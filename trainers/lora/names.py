"""What each layer is called in the files of other programs.

A layer of diffusers has its own name in the original code of a model, where several may be one: q, k and v as "qkv".
Sources: sd-scripts networks/convert_flux_lora.py and library/sdxl_model_util.py, diffusers
scripts/convert_sd3_to_diffusers.py, ComfyUI comfy/utils.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from trainers import catalog

TEXT = "text_encoder"  # what the names of text encoders begin with


class Original(NamedTuple):
    """Where a layer lies in the original model.

    slot: which of the layers that are one there, in the order of their rows; swapped: its two halves of rows, shift and
    scale, are the other way round there.
    """

    name: str
    slot: int = 0
    swapped: bool = False


# rules: pattern of a whole module name in diffusers -> name in the original, with the groups of the match
_Rules = tuple[tuple[str, str, int], ...]


def _fused(block: str, original: str, *names: str) -> _Rules:
    return tuple((block + name, original, slot) for slot, name in enumerate(names))


def _embedder(diffusers: str, original: str, first: str, second: str) -> _Rules:
    begin = rf"time_text_embed\.{diffusers}\."
    return ((f"{begin}linear_1", f"{original}.{first}", 0), (f"{begin}linear_2", f"{original}.{second}", 0))


_QKV = (r"to_q", r"to_k", r"to_v")
_ADDED = (r"add_q_proj", r"add_k_proj", r"add_v_proj")
_DOUBLE, _SINGLE = r"transformer_blocks\.(\d+)\.", r"single_transformer_blocks\.(\d+)\."

_FLUX: _Rules = (
    *_fused(rf"{_DOUBLE}attn\.", r"double_blocks.\1.img_attn.qkv", *_QKV),
    *_fused(rf"{_DOUBLE}attn\.", r"double_blocks.\1.txt_attn.qkv", *_ADDED),
    (rf"{_DOUBLE}attn\.to_out\.0", r"double_blocks.\1.img_attn.proj", 0),
    (rf"{_DOUBLE}attn\.to_add_out", r"double_blocks.\1.txt_attn.proj", 0),
    (rf"{_DOUBLE}ff\.net\.0\.proj", r"double_blocks.\1.img_mlp.0", 0),
    (rf"{_DOUBLE}ff\.net\.2", r"double_blocks.\1.img_mlp.2", 0),
    (rf"{_DOUBLE}ff_context\.net\.0\.proj", r"double_blocks.\1.txt_mlp.0", 0),
    (rf"{_DOUBLE}ff_context\.net\.2", r"double_blocks.\1.txt_mlp.2", 0),
    (rf"{_DOUBLE}norm1\.linear", r"double_blocks.\1.img_mod.lin", 0),
    (rf"{_DOUBLE}norm1_context\.linear", r"double_blocks.\1.txt_mod.lin", 0),
    *_fused(_SINGLE, r"single_blocks.\1.linear1", r"attn\.to_q", r"attn\.to_k", r"attn\.to_v", "proj_mlp"),
    (rf"{_SINGLE}proj_out", r"single_blocks.\1.linear2", 0),
    (rf"{_SINGLE}norm\.linear", r"single_blocks.\1.modulation.lin", 0),
    ("x_embedder", "img_in", 0),
    ("context_embedder", "txt_in", 0),
    *_embedder("timestep_embedder", "time_in", "in_layer", "out_layer"),
    *_embedder("text_embedder", "vector_in", "in_layer", "out_layer"),
    *_embedder("guidance_embedder", "guidance_in", "in_layer", "out_layer"),
    (r"norm_out\.linear", "final_layer.adaLN_modulation.1", 0),
    ("proj_out", "final_layer.linear", 0),
)

_SD3: _Rules = (
    *_fused(rf"{_DOUBLE}attn\.", r"joint_blocks.\1.x_block.attn.qkv", *_QKV),
    *_fused(rf"{_DOUBLE}attn2\.", r"joint_blocks.\1.x_block.attn2.qkv", *_QKV),
    *_fused(rf"{_DOUBLE}attn\.", r"joint_blocks.\1.context_block.attn.qkv", *_ADDED),
    (rf"{_DOUBLE}(attn2?)\.to_out\.0", r"joint_blocks.\1.x_block.\2.proj", 0),
    (rf"{_DOUBLE}attn\.to_add_out", r"joint_blocks.\1.context_block.attn.proj", 0),
    (rf"{_DOUBLE}ff\.net\.0\.proj", r"joint_blocks.\1.x_block.mlp.fc1", 0),
    (rf"{_DOUBLE}ff\.net\.2", r"joint_blocks.\1.x_block.mlp.fc2", 0),
    (rf"{_DOUBLE}ff_context\.net\.0\.proj", r"joint_blocks.\1.context_block.mlp.fc1", 0),
    (rf"{_DOUBLE}ff_context\.net\.2", r"joint_blocks.\1.context_block.mlp.fc2", 0),
    (rf"{_DOUBLE}norm1\.linear", r"joint_blocks.\1.x_block.adaLN_modulation.1", 0),
    (rf"{_DOUBLE}norm1_context\.linear", r"joint_blocks.\1.context_block.adaLN_modulation.1", 0),
    (r"pos_embed\.proj", "x_embedder.proj", 0),
    ("context_embedder", "context_embedder", 0),
    *_embedder("timestep_embedder", "t_embedder.mlp", "0", "2"),
    *_embedder("text_embedder", "y_embedder.mlp", "0", "2"),
    (r"norm_out\.linear", "final_layer.adaLN_modulation.1", 0),
    ("proj_out", "final_layer.linear", 0),
)

_RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_UNET_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_UNET_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


@dataclass(frozen=True)
class Naming:
    """The names of one model's layers in all layouts. layers: "COMPONENT.MODULE" of everything that can be adapted."""

    family: str
    layers: tuple[str, ...]

    @property
    def denoiser(self) -> str:
        return catalog.FAMILIES[self.family].denoiser

    @cached_property
    def originals(self) -> dict[str, Original]:
        """Of each layer of the denoiser that the original has too."""
        begin = f"{self.denoiser}."
        modules = [name.removeprefix(begin) for name in self.layers if name.startswith(begin)]
        find = _unet_originals if self.denoiser == "unet" else self._transformer_originals
        return {begin + module: original for module, original in find(modules).items()}

    def _transformer_originals(self, modules: Iterable[str]) -> dict[str, Original]:
        rules = _FLUX if self.family == "flux" else _SD3
        found = {}
        for module in modules:
            for pattern, original, slot in rules:
                if match := re.fullmatch(pattern, module):
                    found[module] = Original(match.expand(original), slot)
                    break
        return {module: one._replace(swapped=self._is_swapped(module, found)) for module, one in found.items()}

    def _is_swapped(self, module: str, found: dict[str, Original]) -> bool:
        """The last normalisations are told scale and shift in diffusers, shift and scale in the original: the
        model's last, and that of the words in SD3's last block, which has no output for them."""
        if module == "norm_out.linear":
            return True
        block, _, rest = module.rpartition(".norm1_context.")
        return self.family == "sd3" and rest == "linear" and f"{block}.attn.to_add_out" not in found

    @cached_property
    def members(self) -> dict[str, tuple[str, ...]]:
        """Name in the original -> the layers that it holds, in the order of their rows."""
        together: dict[str, dict[int, str]] = {}
        for name, original in self.originals.items():
            together.setdefault(original.name, {})[original.slot] = name
        return {name: tuple(slots[slot] for slot in sorted(slots)) for name, slots in together.items()}

    # ------------------------------------------------------------------ files

    def stem(self, name: str, layout: catalog.Layout) -> str:
        """What a file of this layout calls a layer. Raises KeyError for a layer that the original does not have."""
        component, _, module = name.partition(".")
        if component.startswith(TEXT):
            full = _in_text_model(module)
            return self._text_prefix(component) + full.replace(".", "_") if layout == "kohya" else f"{component}.{full}"
        if layout == "diffusers":
            return name
        if layout == "comfyui":
            return f"diffusion_model.{self.originals[name].name}"
        # sd-scripts trains SD 1.x on the UNet of diffusers, all others on the original code
        known = module if self.family == "sd15" else self.originals[name].name
        return "lora_unet_" + known.replace(".", "_")

    def together(self, name: str, layout: catalog.Layout) -> tuple[str, ...]:
        """The layers that are one in this layout, this one among them."""
        if layout == "diffusers" or name not in self.originals or (layout == "kohya" and self.family == "sd15"):
            return (name,)
        return self.members[self.originals[name].name]

    def _text_prefix(self, component: str) -> str:
        if self.family == "sd15":
            return "lora_te_"
        return "lora_te2_" if component.endswith("_2") else "lora_te1_"

    @cached_property
    def known_stems(self) -> dict[str, tuple[str, ...]]:
        """Every stem that is understood -> the layers that it means; several where they are one there."""
        known: dict[str, tuple[str, ...]] = {}
        for name in self.layers:
            component, _, module = name.partition(".")
            known.update(dict.fromkeys(self._text_stems(component, module), (name,)))
            if component == self.denoiser:
                known.update(dict.fromkeys(_diffusers_stems(component, module), (name,)))
        for original, members in self.members.items():
            known.update(dict.fromkeys(_original_stems(original), members))
        return known

    def _text_stems(self, component: str, module: str) -> list[str]:
        if not component.startswith(TEXT):
            return []
        full = _in_text_model(module)
        flat = full.replace(".", "_")
        prefixes = ["lora_te2_"] if component.endswith("_2") else ["lora_te_", "lora_te1_"]
        return [f"{component}.{full}", f"{component}.{module}", *(prefix + flat for prefix in prefixes)]


def _in_text_model(module: str) -> str:
    """Files always name this level; transformers 5 has it in some classes only."""
    return module if module.startswith(("text_model.", "text_projection")) else f"text_model.{module}"


def _diffusers_stems(component: str, module: str) -> list[str]:
    flat = module.replace(".", "_")
    dotted = [f"{prefix}{module}" for prefix in ("", f"{component}.", "diffusion_model.", "base_model.model.")]
    return [*dotted, *(f"{prefix}{flat}" for prefix in ("lora_unet_", f"lora_{component}_", "lycoris_"))]


def _original_stems(original: str) -> list[str]:
    dotted = [f"{prefix}{original}" for prefix in ("diffusion_model.", "model.diffusion_model.", "")]
    return [*dotted, "lora_unet_" + original.replace(".", "_")]


def _unet_originals(modules: Iterable[str]) -> dict[str, Original]:
    """Generic in the number of layers of a block, which all blocks share."""
    modules = list(modules)
    per_block = len({match[1] for one in modules if (match := re.match(r"down_blocks\.0\.resnets\.(\d+)\.", one))})
    attended = {one.split(".attentions.")[0] for one in modules if ".attentions." in one}
    names = ((module, _unet_original(module, per_block, attended)) for module in modules)
    return {module: Original(name) for module, name in names if name}


def _unet_original(module: str, per_block: int, attended: set[str]) -> str:
    """Empty for a module that the original has not. attended: blocks with attention, whose upsampling comes third."""
    if module in _UNET_ENDS:
        return _UNET_ENDS[module]
    if match := _UNET_MIDDLE.fullmatch(module):
        kind, index, rest = match.groups()
        place = 1 if kind == "attentions" else 2 * int(index)
        return f"middle_block.{place}.{_RESNET.get(rest, rest)}"
    if not (match := _UNET_BLOCK.fullmatch(module)):
        return ""
    way, block, kind, index, rest = match.groups()
    first = int(block) * (per_block + 1)
    if kind == "downsamplers":
        return f"input_blocks.{first + per_block + 1}.0.op"
    if kind == "upsamplers":
        place = 2 if f"up_blocks.{block}" in attended else 1
        return f"output_blocks.{first + per_block}.{place}.{rest}"
    begin = f"input_blocks.{1 + first + int(index)}" if way == "down" else f"output_blocks.{first + int(index)}"
    return f"{begin}.{1 if kind == 'attentions' else 0}.{_RESNET.get(rest, rest)}"
