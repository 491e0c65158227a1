"""The one declaration of every training parameter: name, type, bounds, unit, help, default, level.

Presets, forms, the command line, stored runs and the parameter docs all read `TrainConfig`. Values that
say "auto" are filled by `trainers.resolve` from the catalog and the machine before a run starts.
"""

from __future__ import annotations

from trainers.config.data import Captions, Crop, Data, DataSet, sides
from trainers.config.model import Model, Run
from trainers.config.outcome import Sample, Save, Validation
from trainers.config.section import Level, Section
from trainers.config.training import Adapter, Memory, Noise, Objective, Optimizer, Schedule

__all__ = [
    "SCHEMA_VERSION",
    "Adapter",
    "Captions",
    "Crop",
    "Data",
    "DataSet",
    "Level",
    "Memory",
    "Model",
    "Noise",
    "Objective",
    "Optimizer",
    "Run",
    "Sample",
    "Save",
    "Schedule",
    "Section",
    "TrainConfig",
    "Validation",
    "sides",
]

SCHEMA_VERSION = 1


class TrainConfig(Section):
    """Everything that a training run depends on."""

    schema_version: int = SCHEMA_VERSION
    run: Run = Run()
    model: Model = Model()
    data: Data = Data()
    captions: Captions = Captions()
    adapter: Adapter = Adapter()
    objective: Objective = Objective()
    noise: Noise = Noise()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    memory: Memory = Memory()
    sample: Sample = Sample()
    validation: Validation = Validation()
    save: Save = Save()
