"""One file per architecture. `load_family` is the only way in: nobody else imports a family by name."""

from __future__ import annotations

import importlib

from trainers import catalog
from trainers.config import TrainConfig
from trainers.families.base import ModelFamily, Runtime


def load_family(config: TrainConfig, runtime: Runtime) -> ModelFamily:
    """The family of a resolved config; no weights are loaded yet."""
    spec = catalog.FAMILIES[config.model.family]
    module = importlib.import_module(spec.module)
    model = catalog.model_of(config.model.base, config.model.family)
    return module.Family(config, spec, model, runtime)
