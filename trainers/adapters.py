"""The small set of weights that is trained: PEFT layers on the frozen denoiser."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file
from torch import Tensor, nn

from trainers.config import Adapter as AdapterConfig
from trainers.errors import ConfigError
from trainers.randomness import seed_of

NAME = "default"


class Adapter:
    """A LoRA on a model. Its weights are fp32 whatever the base is, so that small updates are not lost.

    At the start lora_B is zero: the model with the adapter draws exactly what it draws without.
    """

    def __init__(self, model: nn.Module, config: AdapterConfig, targets: str | list[str], seed: int) -> None:
        """Attach to the layers of `model` that `targets` means. Raises ConfigError when there are none."""
        lora = LoraConfig(
            r=int(config.rank),
            lora_alpha=float(config.alpha),  # type: ignore[arg-type]  # PEFT divides it only
            lora_dropout=config.dropout,
            target_modules=targets,
            init_lora_weights=True,
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed_of(seed, "adapter"))
            try:
                inject_adapter_in_model(lora, model, adapter_name=NAME)
            except ValueError as error:
                message = f"{config.targets!r} matches no layer of the model."
                raise ConfigError("adapter.targets", message, "Choose a named set, or check the endings.") from error
        self.model, self.rank = model, int(config.rank)
        self.scale = float(config.alpha) / self.rank
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        for parameter in self._parameters:
            parameter.data = parameter.data.float()

    def parameters(self) -> list[nn.Parameter]:
        return self._parameters

    def layers(self) -> list[BaseTunerLayer]:
        return [module for module in self.model.modules() if isinstance(module, BaseTunerLayer)]

    def state(self) -> dict[str, Tensor]:
        """`MODULE.lora_A.weight` [r,in] and `MODULE.lora_B.weight` [out,r], fp32, not scaled."""
        return dict(get_peft_model_state_dict(self.model, adapter_name=NAME))

    def load(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave. Raises ValueError when names or shapes differ."""
        mine = {name: tensor.shape for name, tensor in self.state().items()}
        theirs = {name: tensor.shape for name, tensor in state.items()}
        if mine != theirs:
            odd = sorted({name for name, shape in (mine.items() ^ theirs.items())})
            raise ValueError(f"{len(odd)} tensors do not fit, first {odd[0]}")
        set_peft_model_state_dict(self.model, state, adapter_name=NAME)

    @contextlib.contextmanager
    def disabled(self) -> Iterator[None]:
        """The base alone, bit for bit."""
        layers = self.layers()
        for layer in layers:
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer in layers:
                layer.enable_adapters(True)


def initial_weights(path: str, names: dict[str, str], adapter: Adapter) -> dict[str, Tensor]:
    """Weights of a LoRA file in our layout, for `adapter` to start with. Raises ConfigError when they do not fit.

    names: name in the file -> name in the adapter.
    """
    tensors: dict[str, Tensor] = load_file(path)
    # the file holds the scale inside lora_B; the adapter multiplies by it again
    state = {
        names.get(name, name): tensor.float() / (adapter.scale if ".lora_B." in name else 1)
        for name, tensor in tensors.items()
    }
    mine = {name: tensor.shape for name, tensor in adapter.state().items()}
    if {name: tensor.shape for name, tensor in state.items()} != mine:
        ranks = {tensor.shape[0] for name, tensor in state.items() if ".lora_A." in name}
        found = f"rank {ranks.pop()}" if len(ranks) == 1 else "other layers"
        raise ConfigError(
            "adapter.resume_from",
            f"{path} has {len(state)} tensors ({found}); this adapter has {len(mine)} (rank {adapter.rank}).",
            "Set adapter.rank and adapter.targets as in the run that made it.",
        )
    return state
