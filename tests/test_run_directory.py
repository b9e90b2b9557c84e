"""A run is measured on all parts of its split, each face passing the network once, and reads back as it was written."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from ablations.run_directory import measure, write_run
from dcbh_core import DCBH, Config, Split, evaluate, train
from dcbh_core.shallow import itq, lsh
from dcbh_core.training import History
from tests.conftest import synthetic_faces
from tests.stub_suite import OWN

CONFIG = Config(width=0.05, bits=8, epochs=2, batch_size=8, device="cpu", dtype="float32")
Trained = tuple[Split, DCBH, History]


@pytest.fixture(scope="module")
def trained() -> Trained:
    faces, unseen = synthetic_faces(4, 6), synthetic_faces(2, 5, seed=1)
    queries = np.arange(len(faces)) % 3 == 0
    new_queries = np.arange(len(unseen)) % 5 == 0
    gallery = faces.select(~queries)
    split = Split(gallery, gallery, faces.select(queries), unseen.select(~new_queries), unseen.select(new_queries))
    return split, *train(CONFIG, gallery)


def test_seen_and_unseen_people_are_measured(trained: Trained) -> None:
    split, model, _ = trained
    measured = measure(model, split)
    unseen = [model.encode(split.new_queries.images), split.new_queries.labels]
    unseen += [model.encode(split.new_gallery.images), split.new_gallery.labels]
    assert measured.metrics["map"] == measured.evaluation.map
    assert measured.metrics["unseen_map"] == evaluate(*unseen).map
    baselines = {"chance", "pixels", "descriptor", "unseen_chance", "unseen_pixels", "unseen_descriptor"}
    assert baselines <= set(measured.metrics)


def test_without_unseen_people_nothing_of_them_is_measured(trained: Trained) -> None:
    split, model, _ = trained
    measured = measure(model, dataclasses.replace(split, new_gallery=None, new_queries=None))
    assert [name for name in [*measured.metrics, *measured.arrays] if "unseen" in name or "new" in name] == []


def test_each_face_passes_the_network_once(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the gallery is the training part, as the shallow methods are fitted to it."""
    split, _, _ = trained
    model, _ = train(dataclasses.replace(CONFIG, objective="softmax"), split.training)
    passed = []
    honest = model.features
    monkeypatch.setattr(model, "features", lambda images: passed.append(len(images)) or honest(images))
    measure(model, split)
    parts = (split.gallery, split.queries, split.new_gallery, split.new_queries)
    assert sum(passed) == sum(len(part) for part in parts)


def test_precision_of_the_top_50_needs_a_gallery_of_50(trained: Trained) -> None:
    split, model, _ = trained
    assert "precision_at_50" not in measure(model, split).metrics
    large = synthetic_faces(4, 20)
    assert "precision_at_50" in measure(model, dataclasses.replace(split, gallery=large)).metrics


def test_softmax_measures_the_shallow_methods_fitted_to_the_training_faces(trained: Trained) -> None:
    split, _, _ = trained
    model, _ = train(dataclasses.replace(CONFIG, objective="softmax"), split.training)
    metrics = measure(model, split).metrics
    for source, vectors_of in (
        ("pixels", lambda faces: faces.images.reshape(len(faces), -1).astype(np.float32)),
        ("descriptor", lambda faces: model.describe(faces.images)),
    ):
        for name, method in (("lsh", lsh), ("itq", itq)):
            fitted = method(vectors_of(split.training), model.config.bits, model.config.seed)
            for metric, part in (("", ""), ("unseen_", "new_")):
                queries, gallery = getattr(split, f"{part}queries"), getattr(split, f"{part}gallery")
                codes = fitted.encode(vectors_of(queries)), fitted.encode(vectors_of(gallery))
                expected = evaluate(codes[0], queries.labels, codes[1], gallery.labels).map
                assert metrics[f"{metric}{name}_{source}"] == pytest.approx(expected)


def test_other_objectives_do_not_measure_the_shallow_methods(trained: Trained) -> None:
    split, model, _ = trained
    assert [name for name in measure(model, split).metrics if "lsh" in name or "itq" in name] == []


def test_itq_is_left_out_where_there_are_fewer_faces_than_bits(trained: Trained) -> None:
    split, _, _ = trained
    config = dataclasses.replace(CONFIG, objective="softmax", bits=len(split.training), epochs=1)
    metrics = measure(train(config, split.training)[0], split).metrics
    assert {name for name in metrics if "itq" in name} == set()
    assert {name for name in metrics if "lsh" in name} == {
        *("lsh_pixels", "lsh_descriptor", "unseen_lsh_pixels", "unseen_lsh_descriptor")
    }


def test_the_arrays_are_the_codes_and_labels_of_each_part(trained: Trained) -> None:
    split, model, _ = trained
    measured = measure(model, split)
    parts = ("queries", "gallery", "new_queries", "new_gallery")
    assert list(measured.arrays) == ["ap", *(f"{part}_{what}" for part in parts for what in ("codes", "labels"))]
    np.testing.assert_array_equal(measured.arrays["ap"], measured.evaluation.ap)
    for part in parts:
        faces = getattr(split, part)
        np.testing.assert_array_equal(measured.arrays[f"{part}_codes"], model.encode(faces.images))
        np.testing.assert_array_equal(measured.arrays[f"{part}_labels"], faces.labels)


def test_a_written_run_reads_back(trained: Trained, tmp_path: Path) -> None:
    split, model, history = trained
    measured = measure(model, split)
    (tmp_path / "checkpoint.pt").touch()
    write_run(tmp_path, CONFIG, model, history, measured, {"train_s": 1.0})
    names = ["evaluation.npz", "history.csv", "model", "result.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names  # no checkpoint
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["metrics"] == measured.metrics
    assert result["faces"] == split.fingerprint()
    assert Config.from_dict(result["config"]) == CONFIG.resolved()
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["total"]) for row in rows] == [means["total"] for means in history]
    with np.load(tmp_path / "evaluation.npz") as arrays:
        assert arrays.files == list(measured.arrays)
        for name, array in measured.arrays.items():
            np.testing.assert_array_equal(arrays[name], array)
    loaded = DCBH.load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(loaded.encode(split.gallery.images), model.encode(split.gallery.images))


def test_a_file_of_ones_own_is_copied_beside_the_result(trained: Trained, tmp_path: Path) -> None:
    split, _, _ = trained
    (tmp_path / "pull.py").write_text(OWN)
    config = dataclasses.replace(CONFIG, objective=f"{tmp_path}/pull.py:Pull", constants=(("tau", 0.25),), epochs=1)
    model, history = train(config, split.training)
    directory = tmp_path / "run"
    write_run(directory, config, model, history, measure(model, split), {})
    assert (directory / "pull.py").read_text() == OWN
    written = json.loads((directory / "result.json").read_text())["config"]
    assert (written["objective"], written["tau"]) == ("pull.py:Pull", 0.25)
