"""The small set of weights that is trained: PEFT layers on the frozen denoiser, and on text encoders."""

from __future__ import annotations

import contextlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer as PeftLayer
from torch import Tensor, nn

from trainers.config import Adapter as AdapterConfig
from trainers.errors import AtelierError, ConfigError
from trainers.lora.layers import Layers, LoraLayer
from trainers.lora.merge import Merged, combined
from trainers.randomness import seed_of

NAME = "default"
TEXT = "text_encoder"  # what the names of text encoders begin with
Targets = dict[str, str | list[str]]


class Adapter:
    """A LoRA or DoRA on one or several modules. Its weights are fp32 whatever the base is, so that small updates
    are not lost.

    At the start lora_B is zero, and a magnitude is the length that the weight has: the model with the adapter draws
    exactly what it draws without.
    """

    def __init__(
        self,
        modules: dict[str, nn.Module],
        config: AdapterConfig,
        targets: Targets,
        seed: int,
        like: Layers | None = None,
        below: Merged | None = None,
    ) -> None:
        """Attach to the layers of each module that `targets` means, by the name of the component.

        like: attach to exactly these layers instead, with their ranks, scales and weights; another alpha than theirs
        divides the weights, so that they do the same. below: a LoRA that is in the weights of the modules already, and
        belongs into the file. Raises ConfigError when there is nothing to attach to, or the storage of the base does
        not allow it.
        """
        self.below = below
        self.kind = "dora" if config.kind == "dora" or _any_magnitude(like) else "lora"
        if self.kind == "dora":
            _refuse_packed(modules)
        with torch.random.fork_rng():
            torch.manual_seed(seed_of(seed, "adapter"))
            for component, module in modules.items():
                chosen = _only(component, like) if like is not None else {}
                if chosen:
                    _inject(module, _config_like(chosen, config, self.kind), "adapter.resume_from")
                elif like is None:
                    _inject(module, _fresh_config(config, targets[component], self.kind), "adapter.targets")
        self._tuners = {
            f"{component}.{name}": tuner
            for component, module in modules.items()
            for name, tuner in module.named_modules()
            if isinstance(tuner, PeftLayer)
        }
        self._modules, self._strength = modules, 1.0
        self._start: list[Tensor] = []
        self._scales = {name: tuner.scaling[NAME] for name, tuner in self._tuners.items()}
        for parameter in self.parameters():
            parameter.data = parameter.data.float()
        if like is not None:
            self._take_over(like, _rescaling(config, like))
        if self.kind == "dora":
            self._start_magnitudes(like or {})

    def _take_over(self, like: Layers, factor: float) -> None:
        if lost := sorted(like.keys() - self._tuners.keys()):
            raise AtelierError(
                f"{len(lost)} layers of the LoRA are of parts that take no adapter here, first {lost[0]}.",
                "Set adapter.text_encoders = true to train them too.",
            )
        for name, layer in like.items():
            tuner = self._tuners[name]
            self._scales[name] = tuner.scaling[NAME] = layer.scale * factor
            with torch.no_grad():
                tuner.lora_A[NAME].weight.copy_(layer.down)
                tuner.lora_B[NAME].weight.copy_(layer.up / factor)

    def replace(self, like: Layers) -> bool:
        """Put other weights on the same layers; False, and nothing is changed, where layers, ranks or kind differ."""
        mine = self.layers()
        same = mine.keys() == like.keys() and all(
            layer.down.shape == like[name].down.shape and layer.magnitude is None and like[name].magnitude is None
            for name, layer in mine.items()
        )
        if same:
            self._take_over(like, 1.0)
            self.set_strength(self._strength)
        return same

    def _start_magnitudes(self, like: Layers) -> None:
        """PEFT measures in the base's number format; a length that is not the very one its forward pass computes
        would change the picture from the start."""
        for name, tuner in self._tuners.items():
            dora = tuner.lora_magnitude_vector[NAME]
            dora.get_weight_norm = _in_fp32(dora.get_weight_norm)
            given = like[name].magnitude if name in like else None
            with torch.no_grad():
                if given is None:
                    change = self.layer(name).product() / self._scales[name]
                    given = dora.get_weight_norm(self.weight(name), change, self._scales[name])
                dora.weight.data = given.float().reshape(dora.weight.shape).to(dora.weight.device)
            tuner.register_forward_hook(self._weaken)

    # ------------------------------------------------------------------ what is trained

    def parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.parameter_groups().values() for parameter in group]

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """ "denoiser" and "text": weights with a learning rate of their own; either may be empty."""
        groups: dict[str, list[nn.Parameter]] = {"denoiser": [], "text": []}
        for name, tuner in self._tuners.items():
            group = groups["text" if name.startswith(TEXT) else "denoiser"]
            group += [part.weight for part in _parts(tuner).values()]
        return groups

    def state(self) -> dict[str, Tensor]:
        """`COMPONENT.MODULE.lora_A.weight` [r,in], `.lora_B.weight` [out,r] and `.lora_magnitude_vector`, fp32, not
        scaled; four axes on convolutions."""
        return {
            f"{name}.{part}": module.weight.detach()
            for name, tuner in self._tuners.items()
            for part, module in _parts(tuner).items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave. Raises ValueError when names or shapes differ."""
        mine = self.state()
        shapes, theirs = ({name: tensor.shape for name, tensor in part.items()} for part in (mine, state))
        if shapes != theirs:
            odd = sorted({name for name, shape in shapes.items() ^ theirs.items()})
            raise ValueError(f"{len(odd)} tensors do not fit, first {odd[0]}")
        for name, tensor in mine.items():
            tensor.copy_(state[name])

    # ------------------------------------------------------------------ what it does

    def names(self) -> list[str]:
        """`COMPONENT.MODULE` of every layer with an adapter."""
        return list(self._tuners)

    def layer(self, name: str) -> LoraLayer:
        """The adapter of one layer as it is now, at full strength."""
        parts = {part: module.weight.detach() for part, module in _parts(self._tuners[name]).items()}
        magnitude = parts.get("lora_magnitude_vector")
        return LoraLayer(
            parts["lora_A.weight"],
            parts["lora_B.weight"],
            self._scales[name],
            None if magnitude is None else magnitude.flatten(),
        )

    def layers(self) -> Layers:
        return {name: self.layer(name) for name in self._tuners}

    def for_file(self) -> Layers:
        """The layers as a file needs them that is loaded on the plain base: with those that lie below."""
        return self.layers() if self.below is None else combined(self.below, self.layers(), self.weight)

    def weight(self, name: str) -> Tensor:
        """The base's weight of any layer of the modules, with an adapter or without, [out,in] or [out,in,kh,kw]."""
        component, _, module = name.partition(".")
        layer = self._modules[component].get_submodule(module)
        weight: Tensor = (layer.get_base_layer() if isinstance(layer, PeftLayer) else layer).weight.detach()
        return weight

    def delta(self, name: str) -> Tensor:
        """The change of one layer's weight at full strength, fp32."""
        return self.layer(name).delta(self.weight(name))

    @contextlib.contextmanager
    def disabled(self) -> Iterator[None]:
        """The base alone, bit for bit, in all components."""
        try:
            for tuner in self._tuners.values():
                tuner.enable_adapters(False)
            yield
        finally:
            for tuner in self._tuners.values():
                tuner.enable_adapters(True)

    def keep_start(self) -> None:
        """Keep a copy of the weights as they are now, for `as_at_start`. It is in no file."""
        self._start = [parameter.detach().clone() for parameter in self.parameters()]

    @contextlib.contextmanager
    def as_at_start(self) -> Iterator[None]:
        """The model with the weights that were kept; after it the trained ones are back, bit for bit.

        Only for passes without a gradient: the weights of a backward pass must be those of its forward pass.
        """
        trained = [parameter.data for parameter in self.parameters()]
        try:
            for parameter, kept in zip(self.parameters(), self._start, strict=True):
                parameter.data = kept
            yield
        finally:
            for parameter, mine in zip(self.parameters(), trained, strict=True):
                parameter.data = mine

    def set_strength(self, strength: float) -> None:
        """Multiply the change of every layer: 0 is the base, 1 the adapter as trained."""
        self._strength = strength
        if self.kind == "lora":  # a magnitude is not linear in the scale: see `_weaken`
            for name, tuner in self._tuners.items():
                tuner.scaling[NAME] = self._scales[name] * strength

    @contextlib.contextmanager
    def strength(self, strength: float) -> Iterator[None]:
        """The same for a while."""
        before = self._strength
        self.set_strength(strength)
        try:
            yield
        finally:
            self.set_strength(before)

    def _weaken(self, tuner: PeftLayer, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        if self._strength == 1:
            return output
        plain = tuner.get_base_layer()(*inputs)
        return plain + self._strength * (output - plain)


def _parts(tuner: PeftLayer) -> dict[str, nn.Module]:
    parts = {"lora_A.weight": tuner.lora_A[NAME], "lora_B.weight": tuner.lora_B[NAME]}
    if NAME in tuner.lora_magnitude_vector:
        parts["lora_magnitude_vector"] = tuner.lora_magnitude_vector[NAME]
    return parts


def _in_fp32(measure: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Under autocast PEFT would measure convolutions in half precision, which is off by up to 1/256."""

    def precise(weight: Tensor, lora_weight: Tensor, scaling: float, adapter_name: str | None = None) -> Tensor:
        return measure(weight.float(), lora_weight.float(), scaling)

    return precise


def _any_magnitude(like: Layers | None) -> bool:
    return any(layer.magnitude is not None for layer in (like or {}).values())


def _rescaling(config: AdapterConfig, like: Layers) -> float:
    """What takes the scale of most layers to that of the configuration."""
    if config.alpha == "auto" or config.rank == "auto":
        return 1.0
    usual = Counter(layer.scale for layer in like.values()).most_common(1)[0][0]
    factor = float(config.alpha) / int(config.rank) / usual
    return 1.0 if math.isclose(factor, 1.0, rel_tol=1e-3) else factor


def _only(component: str, like: Layers) -> Layers:
    """The layers of one component, by the names of its modules."""
    begin = f"{component}."
    return {name.removeprefix(begin): layer for name, layer in like.items() if name.startswith(begin)}


def _fresh_config(config: AdapterConfig, targets: str | list[str], kind: str) -> LoraConfig:
    return LoraConfig(
        r=int(config.rank),
        lora_alpha=float(config.alpha),  # type: ignore[arg-type]  # PEFT divides it only
        lora_dropout=config.dropout,
        target_modules=targets,
        init_lora_weights=True,
        use_dora=kind == "dora",
    )


def _config_like(layers: Layers, config: AdapterConfig, kind: str) -> LoraConfig:
    """The ranks of `layers`, one pattern for each; their scales are set afterwards."""
    by_rank: dict[int, list[str]] = {}
    for name, layer in layers.items():
        by_rank.setdefault(layer.rank, []).append(name)
    usual = max(by_rank, key=lambda rank: len(by_rank[rank]))
    return LoraConfig(
        r=usual,
        lora_alpha=usual,
        # PEFT lets a pattern begin at any dot of a name; the mark of the beginning forbids that
        rank_pattern={f"^{_any_of(names)}": rank for rank, names in by_rank.items() if rank != usual},
        lora_dropout=config.dropout,
        target_modules=_any_of(list(layers)),
        init_lora_weights=True,
        use_dora=kind == "dora",
    )


def _any_of(names: list[str]) -> str:
    return f"({'|'.join(re.escape(name) for name in names)})"


def _inject(module: nn.Module, lora: LoraConfig, field: str) -> None:
    try:
        inject_adapter_in_model(lora, module, adapter_name=NAME)
    except ValueError as error:
        if "not supported" in str(error):
            message = "names a layer that takes no adapter: only linear layers and convolutions do."
        else:
            message = f"{str(lora.target_modules)[:80]!r} matches no layer of the model."
        raise ConfigError(field, message, "Choose a named set, or check the endings.") from error


def _refuse_packed(modules: dict[str, nn.Module]) -> None:
    """A DoRA measures the base's weights, and 8-bit numbers are not those that are computed with."""
    if any(p.dtype.itemsize == 1 for module in modules.values() for p in module.parameters()):
        message = "a DoRA cannot be trained or drawn on a base stored in 8 bits: it needs the lengths of the weights."
        raise ConfigError("memory.quantize", message, "Set memory.quantize = none, or adapter.kind = lora.")
