"""Training speed and size of each method that the suite peers_lfw compares, under its settings: 48 bits, 118 people."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from ablations.suite import load_suite
from dcbh_core.training import Training

from .measuring import Measurement, by_turns, rates
from .training import synthetic_faces

FACES, PEOPLE = 512, 118  # three quarters of LFW's 158 people with at least 10 photographs


def measure(device: str, repeats: int) -> Iterator[Measurement]:
    suite = load_suite("peers_lfw").where({"bits": 48, "seed": 0})
    faces = synthetic_faces(FACES, PEOPLE)
    trainings = {}
    for run in suite.runs():
        trainings[run.variant] = Training(dataclasses.replace(run.config, device=device).resolved(), faces)
    all_times = by_turns(repeats, *(training.run_epoch for training in trainings.values()))
    for (variant, training), times in zip(trainings.items(), all_times, strict=True):
        network, beside = (sum(p.numel() for p in part.parameters()) for part in (training.model, training.objective))
        name = f"training, {variant}, width {training.config.width:g}, 48 bits, {training.config.dtype}: "
        yield Measurement(name + f"{network:,} parameters and {beside:,} of its loss", "images/s", rates(FACES, times))
