"""What can be known of a job before anything loads: address, weights, packages, number format. Light."""

from __future__ import annotations

from captioners import plan, resolve
from captioners.catalog import CaptionerSpec
from captioners.config import CaptionConfig
from captioners.packages import BITSANDBYTES, ONNXRUNTIME, is_installed, remedy
from captioners.server_endpoint import checked_url
from captioners.weights import place_of
from trainers.errors import ConfigError
from trainers.weights.hub import is_offline


def check(config: CaptionConfig) -> None:
    """config: resolved. Raises ConfigError with the remedy for what would end the job after it started."""
    spec = resolve.spec_of(config)
    plan.targets(config)
    if spec.kind == "server":
        checked_url(config.server.url)
        return
    if spec.kind == "qwen_vl" and config.captioner.precision == "fp16":
        raise overflows()
    if package := missing_package(spec):
        raise ConfigError("captioner.name", f"{spec.title} needs the package {package}.", remedy(package))
    if config.captioner.quantize != "none" and not is_installed(BITSANDBYTES):
        raise ConfigError("captioner.quantize", f"it needs the package {BITSANDBYTES}.", remedy(BITSANDBYTES))
    if place_of(config, spec) is None and is_offline():
        source = config.captioner.source or spec.source
        what = f"{source} is not on this machine, and downloads are switched off (HF_HUB_OFFLINE)."
        raise ConfigError("captioner.source", what, "Unset HF_HUB_OFFLINE, or give a folder.")


def overflows() -> ConfigError:
    what = "Qwen-VL overflows in fp16, and writes nothing but exclamation marks."
    return ConfigError("captioner.precision", what, "Use bf16 or fp32.")


def missing_package(spec: CaptionerSpec) -> str:
    """The package that this captioner needs and that is not installed; "" for none."""
    return ONNXRUNTIME if spec.kind == "wd" and not is_installed(ONNXRUNTIME) else ""
