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
from typing import Any

import numpy as np
import torch

from dcbh_core import DCBH, Config, Faces, Report, Split, evaluate
from dcbh_core.metrics import evaluate_chance, evaluate_vectors
from dcbh_core.model import write_atomically
from dcbh_core.shallow import LinearHash, itq, lsh
from dcbh_core.training import History

TOP = 50  # precision of the top 50, as in the paper
RADIUS = 2  # lookup radius, as in the paper
Encoder = Callable[[np.ndarray], np.ndarray]


def measure(model: DCBH, split: Split) -> tuple[dict[str, float], Report]:
    """All figures of a run, and the report on the people in training from which most of them come.

    Keys: ``map``, ``map_worst``, ``map_best``, ``precision_at_50`` (only for galleries that large),
    ``precision_radius_2``, ``recall_radius_2``; floors ``chance`` and ``pixels``, and the ceiling ``descriptor``: MAP
    of a random ranking, of raw pixels and of the descriptor before binarisation, both by Euclidean distance. With new
    people in the split the same again with ``new_`` in front.

    On the objective ``softmax`` also the shallow methods with as many bits, fitted to the training faces:
    ``lsh_pixels``, ``itq_pixels``, ``lsh_descriptor``, ``itq_descriptor`` (ITQ only where there are faces enough).
    """
    report = evaluate(*_codes(model, split.queries), *_codes(model, split.gallery))
    shallow = _shallow(model, split.training) if model.config.objective == "softmax" else {}
    metrics = _figures(model, report, split.queries, split.gallery, shallow)
    if split.new_queries is not None and split.new_gallery is not None:
        new = evaluate(*_codes(model, split.new_queries), *_codes(model, split.new_gallery))
        figures = _figures(model, new, split.new_queries, split.new_gallery, shallow)
        metrics |= {f"new_{name}": value for name, value in figures.items()}
    return metrics, report


def write_run(
    directory: str | os.PathLike[str],
    config: Config,
    split: Split,
    model: DCBH,
    history: History,
    metrics: dict[str, float],
    report: Report,
    timings: dict[str, float],
) -> None:
    """Write ``model/``, ``history.csv``, ``evaluation.npz`` (codes, labels and AP per query) and ``result.json``.

    ``metrics`` and ``report`` are those of ``measure``.

    ``result.json`` (config, metrics, environment, timings) comes last: where it is, the rest is.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "result.json").unlink(missing_ok=True)
    model.save(directory / "model")
    rows = io.StringIO()
    writer = csv.DictWriter(rows, ["epoch", *history[0]])
    writer.writeheader()
    writer.writerows({"epoch": epoch, **means} for epoch, means in enumerate(history, 1))
    write_atomically(directory / "history.csv", rows.getvalue().encode())
    arrays = {"ap": report.ap}
    for name in ("queries", "gallery", "new_queries", "new_gallery"):
        part = getattr(split, name)
        if part is not None:
            arrays[f"{name}_codes"], arrays[f"{name}_labels"] = _codes(model, part)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(directory / "evaluation.npz", buffer.getvalue())
    result = {
        "config": config.resolved().to_dict(),
        "metrics": metrics,
        "environment": environment(config),
        "timings": timings,
    }
    write_atomically(directory / "result.json", (json.dumps(result, indent=2) + "\n").encode())
    (directory / "checkpoint.pt").unlink(missing_ok=True)


def environment(config: Config) -> dict[str, Any]:
    """What the figures of a run may depend on besides its config."""
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


def _codes(model: DCBH, faces: Faces) -> tuple[np.ndarray, np.ndarray]:
    return model.encode(faces.images), faces.labels


def _shallow(model: DCBH, training: Faces) -> dict[str, Encoder]:
    """The shallow methods, on pixels and on the model's descriptors: images to codes."""
    bits, seed = model.config.bits, model.config.seed
    encoders: dict[str, Encoder] = {}
    for source, vectors_of in (("pixels", _pixels), ("descriptor", model.describe)):
        vectors = vectors_of(training.images)
        encoders[f"lsh_{source}"] = _encoder(vectors_of, lsh(vectors, bits, seed))
        with contextlib.suppress(ValueError):  # fewer faces, or shorter vectors, than bits
            encoders[f"itq_{source}"] = _encoder(vectors_of, itq(vectors, bits, seed))
    return encoders


def _encoder(vectors_of: Encoder, fitted: LinearHash) -> Encoder:
    return lambda images: fitted.encode(vectors_of(images))


def _pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32)


def _figures(
    model: DCBH, report: Report, queries: Faces, gallery: Faces, shallow: dict[str, Encoder]
) -> dict[str, float]:
    figures = {"map": report.map, "map_worst": report.map_worst, "map_best": report.map_best}
    if len(gallery) >= TOP:
        figures[f"precision_at_{TOP}"] = report.precision_at(TOP)
    if report.bits >= RADIUS:
        figures[f"precision_radius_{RADIUS}"] = report.precision_radius(RADIUS)
        figures[f"recall_radius_{RADIUS}"] = report.recall_radius(RADIUS)
    labels = queries.labels, gallery.labels
    figures["chance"] = evaluate_chance(*labels)
    for name, function in (("pixels", np.asarray), ("descriptor", model.describe)):
        figures[name] = evaluate_vectors(function(queries.images), labels[0], function(gallery.images), labels[1])
    for name, encode in shallow.items():
        figures[name] = evaluate(encode(queries.images), labels[0], encode(gallery.images), labels[1]).map
    return figures
