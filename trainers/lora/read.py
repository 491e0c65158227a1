"""A LoRA file of any program, as layers of a model. What does not fit is refused, never passed over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from trainers import catalog
from trainers.lora.facts import LoraFacts, facts_of
from trainers.lora.fuse import split, swap_halves
from trainers.lora.keys import LoraError, Part, group_keys
from trainers.lora.layers import Layers, LoraLayer
from trainers.lora.names import Naming
from trainers.lora.scales import Declared, declared_scales
from trainers.lora.shapes import Shapes, layer_shapes, naming_of

Keys = dict[Part, str]
MAKE_ANEW = "Save it again with the program that made it."
HALVES: dict[Part, str] = {"down": "first half (lora_down or lora_A)", "up": "second half (lora_up or lora_B)"}


def read_lora(path: Path, skeleton: dict[str, nn.Module]) -> Layers:
    """The layers of a file, fp32, for the model whose modules without weights `skeleton` has by component.

    Raises LoraError with the cause and a remedy for files of other models and kinds, unknown keys, halves of a pair,
    shapes that do not fit, a layer given twice, and a strength that is unclear.
    """
    facts = facts_of(path)
    naming, shapes = naming_of(skeleton), layer_shapes(skeleton)
    _refuse_other_models(path, facts, naming.family)
    tensors = load_file(path)
    groups = group_keys(tensors)
    _refuse_unknown(path, groups, naming)
    scales = _Scales(path, facts, declared_scales(facts.metadata))
    layers: Layers = {}
    given: dict[str, str] = {}  # layer -> the stem that it came from
    for stem, keys in groups.items():
        layer = _layer(path, stem, keys, tensors, scales.of(stem, keys, tensors))
        for name, own in _by_name(path, stem, layer, naming, shapes).items():
            if name in layers:
                raise LoraError(f"{path.name} gives {name} twice: as {given[name]} and as {stem}.", MAKE_ANEW)
            layers[name], given[name] = own, stem
    return layers


def _refuse_other_models(path: Path, facts: LoraFacts, family: str) -> None:
    if facts.title and facts.family != family:
        base = catalog.FAMILIES[family].title
        raise LoraError(f"{path.name} is a LoRA for {facts.title}; the base is {base}.", "Choose a base of its family.")


def _refuse_unknown(path: Path, groups: dict[str, Keys], naming: Naming) -> None:
    unknown = [stem for stem in groups if stem not in naming.known_stems]
    if not unknown:
        return
    if all(stem.startswith(("lora_te2_", "lora_te3_", "text_encoder_2.", "text_encoder_3.")) for stem in unknown):
        message = f"{path.name} changes a text encoder that takes no adapter here: {unknown[0]}."
        raise LoraError(message, "Remove those layers with the program that made it.")
    title = catalog.FAMILIES[naming.family].title
    raise LoraError(
        f"{path.name} has {len(unknown)} of {len(groups)} layers that {title} does not have, first {unknown[0]}.",
        "Check that it was made for this base.",
    )


@dataclass(frozen=True)
class _Scales:
    """What the strength of each layer is, from its alpha or the file's metadata."""

    path: Path
    facts: LoraFacts
    declared: Declared

    def of(self, stem: str, keys: Keys, tensors: dict[str, Tensor]) -> float:
        rank = tensors[keys["down"]].shape[0] if "down" in keys else 1
        if "alpha" not in keys:
            if keys.get("down", "").endswith("lora_down.weight"):
                self._refuse_lost_alpha(stem)
            return self.declared.scale(stem, rank)
        if self.declared:
            message = f"{self.path.name} gives the strength of {stem} twice: as alpha and in lora_adapter_metadata."
            raise LoraError(message, MAKE_ANEW)
        alpha = tensors[keys["alpha"]].float().item()
        if not alpha:
            raise LoraError(f"{self.path.name} has alpha 0 for {stem}: it would change nothing.", MAKE_ANEW)
        return alpha / rank

    def _refuse_lost_alpha(self, stem: str) -> None:
        """Programs take a missing alpha for the rank; the file itself may know better."""
        said = {key: self.facts.metadata.get(f"ss_network_{key}", "") for key in ("alpha", "dim")}
        try:
            lost = float(said["alpha"]) != float(said["dim"])
        except ValueError:
            return
        if lost:
            raise LoraError(
                f"{self.path.name} has no alpha for {stem}, but was trained with alpha {said['alpha']} at rank "
                f"{said['dim']}: its strength is lost.",
                MAKE_ANEW,
            )


def _layer(path: Path, stem: str, keys: Keys, tensors: dict[str, Tensor], scale: float) -> LoraLayer:
    for part, half in HALVES.items():
        if part not in keys:
            raise LoraError(f"{path.name} lacks the {half} of {stem}.", MAKE_ANEW)
    down, up = tensors[keys["down"]].float(), tensors[keys["up"]].float()
    if up.dim() != down.dim() or up.shape[1] != down.shape[0] or up[0, 0].numel() != 1:
        raise LoraError(f"{path.name}: the halves of {stem} do not fit, {_size(down)} and {_size(up)}.", MAKE_ANEW)
    magnitude = _magnitude(path, keys["magnitude"], tensors, len(up)) if "magnitude" in keys else None
    return LoraLayer(down, up, scale, magnitude)


def _magnitude(path: Path, key: str, tensors: dict[str, Tensor], outputs: int) -> Tensor:
    """[out], from [out], [out,1], [out,1,1,1], or [1,out,1,1] as PEFT has it for convolutions."""
    given = tensors[key].float()
    along_inputs = key.endswith(".dora_scale") and given.dim() > 1 and given.shape[0] == 1 < outputs
    if along_inputs or given.numel() != outputs:
        raise LoraError(
            f"{path.name} is a DoRA with magnitudes along the inputs ({key}); only those along the outputs are read.",
            "Train anew with wd_on_output, or save it as a plain LoRA with the program that made it.",
        )
    return given.flatten()


def _by_name(path: Path, stem: str, layer: LoraLayer, naming: Naming, shapes: Shapes) -> Layers:
    """The layer that a stem means, or those that are one in the original."""
    names = naming.known_stems[stem]
    rows = [shapes[name][0] for name in names]
    wanted = (sum(rows), *shapes[names[0]][1:])
    layer = _with_axes(layer, len(wanted))
    if layer.shape != wanted:
        raise LoraError(
            f"{path.name}: {stem} is for a layer of {' x '.join(map(str, layer.shape))}; here it is "
            f"{' x '.join(map(str, wanted))}.",
            "It was made for a model of another size.",
        )
    if len(names) > 1:
        return {name: own for name, own in zip(names, split(layer, rows), strict=True) if own is not None}
    original = naming.originals.get(names[0])
    if original and original.swapped and stem.replace(".", "_").endswith(original.name.replace(".", "_")):
        layer = swap_halves(layer)
    return {names[0]: layer}


def _with_axes(layer: LoraLayer, axes: int) -> LoraLayer:
    """A 1 x 1 convolution is a linear layer, and some programs write it as one, or the other way round."""
    down, up = layer.down, layer.up
    if down.dim() < axes:
        return replace(layer, down=down[..., None, None], up=up[..., None, None])
    if down.dim() > axes and down[0, 0].numel() == 1:
        return replace(layer, down=down.flatten(1), up=up.flatten(1))
    return layer


def _size(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
