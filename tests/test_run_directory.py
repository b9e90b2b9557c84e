import csv
import dataclasses
import json

import numpy as np
import pytest

from ablations.run_directory import measure, write_run
from dcbh_core import DCBH, Config, Split, evaluate, train
from dcbh_core.shallow import itq, lsh
from tests.conftest import synthetic_faces

CONFIG = Config(width=0.05, bits=8, epochs=2, batch_size=8, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def trained():
    faces, new = synthetic_faces(4, 6), synthetic_faces(2, 5, seed=1)
    queries = np.arange(len(faces)) % 3 == 0
    new_queries = np.arange(len(new)) % 5 == 0
    gallery = faces.select(~queries)
    split = Split(gallery, gallery, faces.select(queries), new.select(~new_queries), new.select(new_queries))
    return split, *train(CONFIG, gallery)


def test_measure_reports_known_and_new_people(trained):
    split, model, _ = trained
    metrics, report = measure(model, split)
    new = [model.encode(split.new_queries.images), split.new_queries.labels]
    new += [model.encode(split.new_gallery.images), split.new_gallery.labels]
    assert metrics["map"] == report.map
    assert metrics["new_map"] == evaluate(*new).map
    assert {"chance", "pixels", "descriptor", "new_chance", "new_pixels", "new_descriptor"} <= set(metrics)


def test_precision_of_the_top_50_needs_a_gallery_of_50(trained):
    split, model, _ = trained
    assert "precision_at_50" not in measure(model, split)[0]
    large = synthetic_faces(4, 20)
    assert "precision_at_50" in measure(model, dataclasses.replace(split, gallery=large))[0]


def test_softmax_measures_the_shallow_methods_fitted_to_the_training_faces(trained):
    split, _, _ = trained
    model, _ = train(dataclasses.replace(CONFIG, objective="softmax"), split.training)
    metrics, _ = measure(model, split)
    assert not {name for name in measure(trained[1], split)[0] if "lsh" in name or "itq" in name}
    for source, vectors_of in (
        ("pixels", lambda faces: faces.images.reshape(len(faces), -1).astype(np.float32)),
        ("descriptor", lambda faces: model.describe(faces.images)),
    ):
        for name, method in (("lsh", lsh), ("itq", itq)):
            fitted = method(vectors_of(split.training), model.config.bits, model.config.seed)
            for prefix in ("", "new_"):
                queries, gallery = getattr(split, f"{prefix}queries"), getattr(split, f"{prefix}gallery")
                codes = fitted.encode(vectors_of(queries)), fitted.encode(vectors_of(gallery))
                expected = evaluate(codes[0], queries.labels, codes[1], gallery.labels).map
                assert metrics[f"{prefix}{name}_{source}"] == pytest.approx(expected)


def test_itq_is_left_out_where_there_are_fewer_faces_than_bits(trained):
    split, _, _ = trained
    model, _ = train(
        dataclasses.replace(CONFIG, objective="softmax", bits=len(split.training), epochs=1), split.training
    )
    metrics, _ = measure(model, split)
    assert {name for name in metrics if "itq" in name} == set()
    assert {name for name in metrics if "lsh" in name} == {
        *("lsh_pixels", "lsh_descriptor", "new_lsh_pixels", "new_lsh_descriptor")
    }


def test_a_written_run_reads_back(trained, tmp_path):
    split, model, history = trained
    metrics, report = measure(model, split)
    (tmp_path / "checkpoint.pt").touch()
    write_run(tmp_path, CONFIG, split, model, history, metrics, report, {"train_s": 1.0})
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["metrics"] == metrics
    assert Config.from_dict(result["config"]) == CONFIG.resolved()
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["total"]) for row in rows] == [means["total"] for means in history]
    with np.load(tmp_path / "evaluation.npz") as arrays:
        np.testing.assert_array_equal(arrays["ap"], report.ap)
        np.testing.assert_array_equal(arrays["queries_codes"], model.encode(split.queries.images))
    loaded = DCBH.load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(loaded.encode(split.gallery.images), model.encode(split.gallery.images))
    assert not (tmp_path / "checkpoint.pt").exists()
