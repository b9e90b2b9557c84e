"""Training speed and size of each method of the suite methods_lfw under its settings, and what a memory costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch

from ablations.run_directory import MEMORY
from ablations.suite import load_suite
from dcbh_core import DCBH, Config, Faces
from dcbh_core.training import Training

from .measuring import Measurement, by_turns, rates
from .training import synthetic_faces

FACES, PEOPLE = 512, 118  # three quarters of LFW's 158 people with at least 10 photographs


def measure(device: str, repeats: int) -> Iterator[Measurement]:
    suite = load_suite("methods_lfw").where({"split_seed": 0, "seed": 0})
    faces = synthetic_faces(FACES, PEOPLE)
    trainings = {}
    for run in suite.runs():
        trainings[run.variant] = Training(dataclasses.replace(run.config, device=device).resolved(), faces)
    all_times = by_turns(repeats, *(training.run_epoch for training in trainings.values()))
    for (variant, training), times in zip(trainings.items(), all_times, strict=True):
        network, beside = (sum(p.numel() for p in part.parameters()) for part in (training.model, training.objective))
        name = f"training, {variant}, width {training.config.width:g}, 48 bits, {training.config.dtype}: "
        yield Measurement(name + f"{network:,} parameters and {beside:,} of its loss", "images/s", rates(FACES, times))
    yield _remembering(Config(width=0.5, device=device), faces, repeats)


def _remembering(config: Config, faces: Faces, repeats: int) -> Measurement:
    """Encoding with a memory, which one more matrix product per batch asks for all of its people."""
    models = []
    for memory in (0.0, MEMORY):
        model = DCBH(dataclasses.replace(config, memory=memory), faces.num_identities)
        model = model.to(config.resolved().device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        models.append(model.eval())
    without, times = by_turns(repeats, *(lambda model=model: model.encode(faces.images) for model in models))
    name = f"encoding with a memory of {PEOPLE} people, width 0.5, 48 bits, {config.resolved().dtype}"
    return Measurement(name, "images/s", rates(FACES, times), rates(FACES, without), "without")
