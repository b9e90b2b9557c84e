"""The run directory: what was trained, and how well it retrieves. The unit of every ablation."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from dcbh_core import DCBH, Config, Evaluation, Faces, Split, evaluate
from dcbh_core.metrics import evaluate_chance, evaluate_vectors
from dcbh_core.model import write_atomically
from dcbh_core.shallow import LinearHash, itq, lsh
from dcbh_core.training import History

TOP = 50  # precision of the top 50, as in the paper
RADIUS = 2  # lookup radius, as in the paper
PARTS = ("queries", "gallery", "new_queries", "new_gallery")


class Encoded(NamedTuple):
    """A part of a split as the network sees it; each face has passed it once."""

    images: np.ndarray  # (n, 3, 32, 32) uint8
    labels: np.ndarray  # (n,) int64
    descriptors: np.ndarray  # (n, d) float32
    codes: np.ndarray  # (n, bits) bool


class Measured(NamedTuple):
    """What a trained model does on a split.

    Attributes:
        metrics: By name; see ``measure``.
        evaluation: On the people of the training set.
        arrays: What ``evaluation.npz`` holds: ``ap`` (queries,), and of each part of the split, as ``queries_codes``,
            codes (n, bits) bool and labels (n,) int64.
        faces: ``Split.fingerprint`` of what was measured on.
    """

    metrics: dict[str, float]
    evaluation: Evaluation
    arrays: dict[str, np.ndarray]
    faces: str


def measure(model: DCBH, split: Split) -> Measured:
    """All metrics of a run.

    Their names: ``map``, ``map_worst``, ``map_best``, ``precision_at_50`` (only for galleries that large),
    ``precision_radius_2``, ``recall_radius_2``; the baselines ``chance`` and ``pixels``, MAP of a random ranking and of
    raw pixels by Euclidean distance; and ``descriptor``, MAP of the descriptor before binarisation, likewise. With
    people kept out of training in the split the same among them with ``unseen_`` in front.

    On an objective that the shallow methods are measured with (``Objective.shallow``) also these, with as many bits,
    fitted to the training faces: ``lsh_pixels``, ``itq_pixels``, ``lsh_descriptor``, ``itq_descriptor`` (ITQ only where
    there are faces enough).
    """
    passed: dict[int, Encoded] = {}  # the gallery is the training part too

    def encoded(faces: Faces) -> Encoded:
        if id(faces) not in passed:
            descriptors = model.describe(faces.images)
            passed[id(faces)] = Encoded(faces.images, faces.labels, descriptors, model.binarize(descriptors))
        return passed[id(faces)]

    parts = {name: encoded(part) for name in PARTS if (part := getattr(split, name)) is not None}
    shallow = _shallow(model, encoded(split.training)) if model.config.objective_class.shallow else {}
    evaluation, metrics = _metrics(parts["queries"], parts["gallery"], shallow)
    if "new_queries" in parts:
        _, unseen = _metrics(parts["new_queries"], parts["new_gallery"], shallow)
        metrics |= {f"unseen_{name}": value for name, value in unseen.items()}
    arrays = {"ap": evaluation.ap}
    for name, part in parts.items():
        arrays |= {f"{name}_codes": part.codes, f"{name}_labels": part.labels}
    return Measured(metrics, evaluation, arrays, split.fingerprint())


def write_run(
    directory: str | os.PathLike[str],
    config: Config,
    model: DCBH,
    history: History,
    measured: Measured,
    timings: dict[str, float],
) -> None:
    """Write ``model/``, ``history.csv``, ``evaluation.npz`` and ``result.json``.

    ``result.json`` (config, metrics, environment, timings) comes last: where it is, the rest is. A copy of a file of
    one's own that head or objective come from is put beside.

    Args:
        directory: The run directory.
        config: What was trained.
        model: The trained model.
        history: From ``train``.
        measured: From ``measure``.
        timings: Of the run, such as ``train_s``, its training in seconds.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "result.json").unlink(missing_ok=True)
    model.save(directory / "model")
    for name, path in config.own_files().items():
        write_atomically(directory / name, path.read_bytes())
    rows = io.StringIO()
    writer = csv.DictWriter(rows, ["epoch", *history[0]])
    writer.writeheader()
    writer.writerows({"epoch": epoch, **means} for epoch, means in enumerate(history, 1))
    write_atomically(directory / "history.csv", rows.getvalue().encode())
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **measured.arrays)
    write_atomically(directory / "evaluation.npz", buffer.getvalue())
    result = {
        "config": config.resolved().portable(),
        "faces": measured.faces,
        "metrics": measured.metrics,
        "environment": environment(config),
        "timings": timings,
    }
    write_atomically(directory / "result.json", (json.dumps(result, indent=2) + "\n").encode())
    (directory / "checkpoint.pt").unlink(missing_ok=True)


def environment(config: Config) -> dict[str, Any]:
    """What the metrics of a run may depend on besides its config: versions, device, threads, machine."""
    resolved = config.resolved()
    if resolved.device == "cuda":
        machine = torch.cuda.get_device_name()
    else:
        machine = f"{platform.machine()} CPU, {os.cpu_count()} cores"
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": resolved.device,
        "dtype": resolved.dtype,
        "threads": torch.get_num_threads(),
        "machine": machine,
    }


def _shallow(model: DCBH, training: Encoded) -> dict[str, Callable[[Encoded], np.ndarray]]:
    """The shallow methods, on pixels and on the model's descriptors: metric -> from a part of a split to its codes."""
    bits, seed = model.config.bits, model.config.seed
    encoders: dict[str, Callable[[Encoded], np.ndarray]] = {}
    for source, vectors_of in (("pixels", _pixels), ("descriptor", _descriptors)):
        vectors = vectors_of(training)
        encoders[f"lsh_{source}"] = _encoder(vectors_of, lsh(vectors, bits, seed))
        with contextlib.suppress(ValueError):  # fewer faces, or shorter vectors, than bits
            encoders[f"itq_{source}"] = _encoder(vectors_of, itq(vectors, bits, seed))
    return encoders


def _encoder(vectors_of: Callable[[Encoded], np.ndarray], fitted: LinearHash) -> Callable[[Encoded], np.ndarray]:
    return lambda part: fitted.encode(vectors_of(part))


def _pixels(part: Encoded) -> np.ndarray:
    return part.images.reshape(len(part.images), -1).astype(np.float32)


def _descriptors(part: Encoded) -> np.ndarray:
    return part.descriptors


def _metrics(
    queries: Encoded, gallery: Encoded, shallow: dict[str, Callable[[Encoded], np.ndarray]]
) -> tuple[Evaluation, dict[str, float]]:
    """The evaluation of queries against a gallery, and all metrics of theirs."""
    evaluation = evaluate(queries.codes, queries.labels, gallery.codes, gallery.labels)
    metrics = {"map": evaluation.map, "map_worst": evaluation.map_worst, "map_best": evaluation.map_best}
    if len(gallery.labels) >= TOP:
        metrics[f"precision_at_{TOP}"] = evaluation.precision_at(TOP)
    if evaluation.bits >= RADIUS:
        metrics[f"precision_radius_{RADIUS}"] = evaluation.precision_radius(RADIUS)
        metrics[f"recall_radius_{RADIUS}"] = evaluation.recall_radius(RADIUS)
    metrics["chance"] = evaluate_chance(queries.labels, gallery.labels)
    metrics["pixels"] = evaluate_vectors(queries.images, queries.labels, gallery.images, gallery.labels)
    metrics["descriptor"] = evaluate_vectors(queries.descriptors, queries.labels, gallery.descriptors, gallery.labels)
    for name, encode in shallow.items():
        metrics[name] = evaluate(encode(queries), queries.labels, encode(gallery), gallery.labels).map
    return evaluation, metrics
