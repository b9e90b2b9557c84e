"""The run directory: what was trained, and how well it retrieves. The unit of every ablation."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from dcbh_core import DCBH, Config, Evaluation, Faces, Split, evaluate
from dcbh_core.memory import NOBODY, Memory
from dcbh_core.metrics import evaluate_asymmetric, evaluate_chance, evaluate_vectors
from dcbh_core.saving import write_atomically
from dcbh_core.shallow import LinearHash, class_number, itq, lda_itq, lsh
from dcbh_core.training import History

TOP = 50  # precision of the top 50, as in the paper
RADIUS = 2  # lookup radius, as in the paper
MEMORY = 1.0  # weight of the memory that every run is measured with too; chosen on validation parts
PARTS = ("queries", "gallery", "new_queries", "new_gallery")


class Question(NamedTuple):
    """Who is sought among whom.

    Attributes:
        prefix: In front of the names of its metrics.
        title: In a word or two.
        queries: The part of the split whose faces are sought.
        galleries: The parts among which they are sought; none are the other queries.
    """

    prefix: str
    title: str
    queries: str
    galleries: tuple[str, ...]


# The first is the field's own. The second asks a network that has learnt its gallery by heart about photographs that
# training has not seen; the third about people whom it has not seen; the last two about both kinds, as in life.
QUESTIONS = (
    Question("", "seen", "queries", ("gallery",)),
    Question("held_out_", "held out", "queries", ()),
    Question("unseen_", "unseen", "new_queries", ("new_gallery",)),
    Question("open_", "open, known", "queries", ("gallery", "new_gallery")),
    Question("open_unseen_", "open, unseen", "new_queries", ("gallery", "new_gallery")),
)


class Encoded(NamedTuple):
    """Faces as the network sees them; each has passed it once."""

    images: np.ndarray  # (n, 3, 32, 32) uint8
    labels: np.ndarray  # (n,) int64
    descriptors: np.ndarray  # (n, d) float32
    relaxed: np.ndarray  # (n, bits) float32
    codes: np.ndarray  # (n, bits) bool


class Measured(NamedTuple):
    """What a trained model does on a split.

    Attributes:
        metrics: By name; see ``measure``.
        evaluation: Of the first question.
        arrays: What ``evaluation.npz`` holds: for each metric that is a MAP ``ap_METRIC`` (queries,) float64, for each
            part of the split, as ``queries_codes``, codes (n, bits) bool, labels (n,) int64 and, where it is known,
            the file that each face is from, text (n,), and the names of the people that ``queries`` and
            ``new_queries`` show, (people,), as ``queries_names``.
        faces: ``Split.fingerprint`` of what was measured on.
    """

    metrics: dict[str, float]
    evaluation: Evaluation
    arrays: dict[str, np.ndarray]
    faces: str


def measure(model: DCBH, split: Split) -> Measured:
    """All metrics of a run.

    Their names: ``map``, ``map_worst``, ``map_best``, ``precision_at_50`` (only for galleries that large),
    ``precision_radius_2``, ``recall_radius_2``; how many faces are in the ``gallery``, and how many of them are
    ``relevant`` to a query on average; the baselines ``chance`` and ``pixels``, MAP of a random ranking and of
    raw pixels by Euclidean distance; and what binarisation cost: ``descriptor`` and ``descriptor_cosine``, MAP of the
    model's own descriptors, and ``asymmetric``, MAP of queries that are not binarised against codes. Of a model without
    a memory also ``memory``, MAP of the codes that it gives with one of weight ``MEMORY``.

    On an objective that the shallow methods are measured with (``Objective.shallow``) also these, with as many bits,
    fitted to the training faces: ``lsh_pixels``, ``itq_pixels``, ``lda_itq_pixels``, ``lsh_descriptor``,
    ``itq_descriptor``, ``lda_itq_descriptor`` (ITQ only where there are faces enough, LDA where there are people
    enough); and ``class_number``, the answer of the code classifier as a code.

    They are of the first of ``QUESTIONS``. The others have theirs with a prefix in front, where the split can ask them:
    where each known person has two queries, and where there are unseen people.
    """
    parts = encode_parts(model, split)
    encoders = _shallow(model, parts["training"]) if model.config.objective_class.shallow else {}
    if model.memory is None:
        encoders["memory"] = memory_encoder(model, parts["training"], MEMORY)
    metrics: dict[str, float] = {}
    ap: dict[str, np.ndarray] = {}
    evaluations = []
    for question, queries, gallery in questions(parts):
        evaluation, found, average_precisions = _metrics(queries, gallery, encoders)
        evaluations.append(evaluation)
        metrics |= {f"{question.prefix}{name}": value for name, value in found.items()}
        ap |= {f"ap_{question.prefix}{name}": values for name, values in average_precisions.items()}
    arrays = dict(ap)
    for name in PARTS:
        if (part := parts.get(name)) is None:
            continue
        arrays |= {f"{name}_codes": part.codes, f"{name}_labels": part.labels}
        faces = getattr(split, name)
        if faces.files is not None:
            arrays[f"{name}_files"] = faces.files
        if name.endswith("queries"):
            arrays[f"{name}_names"] = np.array(faces.names)
    return Measured(metrics, evaluations[0], arrays, split.fingerprint())


def encode_parts(model: DCBH, split: Split) -> dict[str, Encoded]:
    """Each of ``PARTS`` that the split has, and ``training``, by name."""
    passed: dict[int, Encoded] = {}  # the gallery is the training part too

    def encoded(faces: Faces) -> Encoded:
        if id(faces) not in passed:
            f = model.describe(faces.images)
            passed[id(faces)] = Encoded(faces.images, faces.labels, f, model.relax(f), model.binarize(f))
        return passed[id(faces)]

    return {name: encoded(part) for name in ("training", *PARTS) if (part := getattr(split, name)) is not None}


def questions(parts: dict[str, Encoded]) -> Iterator[tuple[Question, Encoded, Encoded | None]]:
    """Each of ``QUESTIONS`` that the parts can answer: the queries, and the gallery, which is None for other queries.

    For that everybody has to have two queries. No label is that of two people.
    """
    known = parts["training"].labels.max() + 1
    own = {
        name: part._replace(labels=part.labels + known) if name.startswith("new_") else part
        for name, part in parts.items()
    }
    for question in QUESTIONS:
        if {question.queries, *question.galleries} <= set(own):
            queries = own[question.queries]
            if question.galleries:
                yield question, queries, _joined([own[name] for name in question.galleries])
            elif (np.bincount(queries.labels) != 1).all():
                yield question, queries, None


def memory_encoder(
    model: DCBH, training: Encoded, weight: float, nobody: float = NOBODY
) -> Callable[[Encoded], np.ndarray]:
    """The codes that a model without a memory gives with one: from faces to bool (n, bits).

    Args:
        model: The model.
        training: The faces that it was trained on.
        weight: Of the memory.
        nobody: How far away nobody is, see ``dcbh_core.memory``.
    """
    memory = Memory(model.num_identities, model.config.bits, weight, nobody)
    memory.learn(torch.from_numpy(training.relaxed), torch.from_numpy(training.labels))
    return lambda faces: memory(torch.from_numpy(faces.relaxed)).numpy() >= 0


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
    one's own that head, objective or recipe come from is put beside.

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


def read_arrays(directory: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """``Measured.arrays``, as ``write_run`` has kept them in a run directory.

    Raises:
        OSError: There is no ``evaluation.npz``.
        ValueError: It is damaged.
    """
    path = Path(directory) / "evaluation.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except OSError:
        raise
    except Exception as error:  # of zipfile, zlib or NumPy, whatever they say of a damaged file
        raise ValueError(f"{path} cannot be read: {type(error).__name__}: {error}") from None


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


def _joined(parts: Sequence[Encoded]) -> Encoded:
    """The faces of all parts."""
    return parts[0] if len(parts) == 1 else Encoded(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _shallow(model: DCBH, training: Encoded) -> dict[str, Callable[[Encoded], np.ndarray]]:
    """The shallow methods, on pixels and on the model's descriptors: metric -> from faces to their codes."""
    bits, seed = model.config.bits, model.config.seed
    encoders: dict[str, Callable[[Encoded], np.ndarray]] = {}
    for source, vectors_of in (("pixels", _pixels), ("descriptor", _descriptors)):
        vectors = vectors_of(training)
        encoders[f"lsh_{source}"] = _encoder(vectors_of, lsh(vectors, bits, seed))
        with contextlib.suppress(ValueError):  # fewer faces, or shorter vectors, than bits
            encoders[f"itq_{source}"] = _encoder(vectors_of, itq(vectors, bits, seed))
        with contextlib.suppress(ValueError):  # or fewer people
            encoders[f"lda_itq_{source}"] = _encoder(vectors_of, lda_itq(vectors, training.labels, bits, seed))
    if model.code_classifier is not None:
        encoders["class_number"] = lambda faces: class_number(model.classify(faces.descriptors), model.num_identities)
    return encoders


def _encoder(vectors_of: Callable[[Encoded], np.ndarray], fitted: LinearHash) -> Callable[[Encoded], np.ndarray]:
    return lambda faces: fitted.encode(vectors_of(faces))


def _pixels(faces: Encoded) -> np.ndarray:
    return faces.images.reshape(len(faces.images), -1).astype(np.float32)


def _descriptors(faces: Encoded) -> np.ndarray:
    return faces.descriptors


def _metrics(
    queries: Encoded, gallery: Encoded | None, encoders: dict[str, Callable[[Encoded], np.ndarray]]
) -> tuple[Evaluation, dict[str, float], dict[str, np.ndarray]]:
    """The evaluation of queries against a gallery or each other, all metrics of theirs, and AP where one is a MAP."""
    among = None if gallery is None else gallery.labels
    size = len(queries.labels) - 1 if gallery is None else len(gallery.labels)

    def evaluated(encode: Callable[[Encoded], np.ndarray]) -> Evaluation:
        return evaluate(encode(queries), queries.labels, None if gallery is None else encode(gallery), among)

    def ranked(vectors_of: Callable[[Encoded], np.ndarray], metric: str = "euclidean") -> np.ndarray:
        vectors = None if gallery is None else vectors_of(gallery)
        return evaluate_vectors(vectors_of(queries), queries.labels, vectors, among, metric)

    evaluation = evaluated(lambda faces: faces.codes)
    metrics = {"map_worst": evaluation.map_worst, "map_best": evaluation.map_best}
    metrics |= {"gallery": float(size), "relevant": float(evaluation.relevant.sum(1).mean())}
    if size >= TOP:
        metrics[f"precision_at_{TOP}"] = evaluation.precision_at(TOP)
    if evaluation.bits >= RADIUS:
        metrics[f"precision_radius_{RADIUS}"] = evaluation.precision_radius(RADIUS)
        metrics[f"recall_radius_{RADIUS}"] = evaluation.recall_radius(RADIUS)
    ap = {
        "map": evaluation.ap,
        "chance": evaluate_chance(queries.labels, among),
        "pixels": ranked(_pixels),
        "descriptor": ranked(_descriptors),
        "descriptor_cosine": ranked(_descriptors, "cosine"),
        "asymmetric": evaluate_asymmetric(queries.relaxed, queries.labels, (gallery or queries).codes, among),
        **{name: evaluated(encode).ap for name, encode in encoders.items()},
    }
    return evaluation, {name: float(values.mean()) for name, values in ap.items()} | metrics, ap
