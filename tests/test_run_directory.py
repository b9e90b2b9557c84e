"""A run is measured on all parts of its split, each face passing the network once, and reads back as it was written."""

import csv
import dataclasses
import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from ablations.run_directory import MEMORY, QUESTIONS, Question, measure, write_run
from dcbh_core import DCBH, Config, Faces, Split, evaluate, train
from dcbh_core.metrics import evaluate_asymmetric, evaluate_vectors
from dcbh_core.shallow import itq, lda_itq, lsh
from dcbh_core.training import History
from tests.conftest import synthetic_faces
from tests.stub_suite import OWN

CONFIG = Config(width=0.05, bits=8, epochs=2, batch_size=8, device="cpu", dtype="float32")
Trained = tuple[Split, DCBH, History]


@pytest.fixture(scope="module")
def trained() -> Trained:
    faces, unseen = synthetic_faces(4, 6), synthetic_faces(2, 5, seed=1)
    queries = np.arange(len(faces)) % 3 == 0
    new_queries = np.arange(len(unseen)) % 5 < 2
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


class Softmax(NamedTuple):
    """A model that the shallow methods are measured with, and what it was measured to do."""

    split: Split
    model: DCBH
    metrics: dict[str, float]
    passed: int  # faces, while it was measured


@pytest.fixture(scope="module")
def softmax() -> Softmax:
    """Faces and people enough for every metric; measured once, as the principal directions of pixels take seconds."""
    known, unseen = synthetic_faces(4, 24), synthetic_faces(2, 50, seed=1)
    queries, new_queries = np.arange(len(known)) % 3 == 0, np.arange(len(unseen)) % 5 < 2
    gallery = known.select(~queries)
    split = Split(gallery, gallery, known.select(queries), unseen.select(~new_queries), unseen.select(new_queries))
    model, _ = train(dataclasses.replace(CONFIG, objective="softmax", bits=3), gallery)
    passed, honest = [], model.features
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "features", lambda images: passed.append(len(images)) or honest(images))
        metrics = measure(model, split).metrics
    return Softmax(split, model, metrics, sum(passed))


def pixels(faces: Faces) -> np.ndarray:
    return faces.images.reshape(len(faces), -1).astype(np.float32)


def test_each_face_passes_the_network_once(softmax: Softmax) -> None:
    """Also where the gallery is the training part, as the shallow methods and the memory are fitted to it."""
    split = softmax.split
    parts = (split.gallery, split.queries, split.new_gallery, split.new_queries)
    assert softmax.passed == sum(len(part) for part in parts)


@pytest.mark.parametrize("source", ["pixels", "descriptor"])
def test_softmax_measures_the_shallow_methods_fitted_to_the_training_faces(softmax: Softmax, source: str) -> None:
    split, model = softmax.split, softmax.model
    vectors_of = pixels if source == "pixels" else lambda faces: model.describe(faces.images)
    training, seed = vectors_of(split.training), model.config.seed
    fitted = {
        "lsh": lsh(training, 3, seed),
        "itq": itq(training, 3, seed),
        "lda_itq": lda_itq(training, split.training.labels, 3, seed),
    }
    for name, method in fitted.items():
        for metric, part in (("", ""), ("unseen_", "new_")):
            queries, gallery = getattr(split, f"{part}queries"), getattr(split, f"{part}gallery")
            codes = method.encode(vectors_of(queries)), method.encode(vectors_of(gallery))
            expected = evaluate(codes[0], queries.labels, codes[1], gallery.labels).map
            assert softmax.metrics[f"{metric}{name}_{source}"] == pytest.approx(expected)


def test_a_classifiers_answer_is_measured_as_a_code(softmax: Softmax) -> None:
    split, model = softmax.split, softmax.model
    assert model.code_classifier is not None
    written = []
    for part in (split.queries, split.gallery):
        with torch.inference_mode():
            q = torch.tanh(model.head(model.features(torch.from_numpy(part.images))))
            answers = (q @ model.code_classifier.weight.T + model.code_classifier.bias).argmax(1).tolist()
        written.append(np.array([[number // 2**bit % 2 == 1 for bit in range(2)] for number in answers]))
    expected = evaluate(written[0], split.queries.labels, written[1], split.gallery.labels).map
    assert softmax.metrics["class_number"] == pytest.approx(expected)


def test_the_metrics_are_those_that_are_described(softmax: Softmax) -> None:
    """Of each question."""
    described = set(re.findall(r"``([a-z]\w*)``", measure.__doc__ or ""))
    assert {"map", "recall_radius_2", "class_number"} < described
    for question in QUESTIONS:
        others = tuple(one.prefix for one in QUESTIONS if len(one.prefix) > len(question.prefix))
        own = {name for name in softmax.metrics if name.startswith(question.prefix) and not name.startswith(others)}
        enough = {"precision_at_50"} if softmax.metrics[f"{question.prefix}gallery"] >= 50 else set()
        assert {name.removeprefix(question.prefix) for name in own} == described - {"precision_at_50"} | enough


def test_precision_of_the_top_50_needs_a_gallery_of_50(trained: Trained) -> None:
    split, model, _ = trained
    assert "precision_at_50" not in measure(model, split).metrics
    large = synthetic_faces(4, 20)
    assert "precision_at_50" in measure(model, dataclasses.replace(split, gallery=large)).metrics


def test_other_objectives_do_not_measure_the_shallow_methods(trained: Trained) -> None:
    split, model, _ = trained
    assert [name for name in measure(model, split).metrics if "lsh" in name or "itq" in name] == []


def test_shallow_methods_are_left_out_where_there_are_too_few_faces_or_people(trained: Trained) -> None:
    split, _, _ = trained
    config = dataclasses.replace(CONFIG, objective="softmax", bits=len(split.training), epochs=1)
    metrics = measure(train(config, split.training)[0], split).metrics
    shallow = {name for name in metrics if "itq" in name or "lsh" in name}
    assert shallow == {
        f"{question.prefix}lsh_{source}" for question in QUESTIONS for source in ("pixels", "descriptor")
    }


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.title)
def test_each_question_equals_a_query_by_query_construction(trained: Trained, question: Question) -> None:
    """Each query alone against a gallery that is laid out face by face."""
    split, model, _ = trained
    measured = measure(model, split)
    known = list(zip(split.gallery.images, split.gallery.labels, strict=True))
    unseen = list(zip(split.new_gallery.images, split.new_gallery.labels + 100, strict=True))
    asked = split.queries if question.queries == "queries" else split.new_queries
    who = asked.labels + (100 if question.queries == "new_queries" else 0)
    ap, sizes, relevant = [], set(), []
    for i, (image, person) in enumerate(zip(asked.images, who, strict=True)):
        among = {"seen": known, "unseen": unseen}.get(question.title, [*known, *unseen])
        if question.title == "held out":
            among = [(other, who[j]) for j, other in enumerate(asked.images) if j != i]
        codes = model.encode(np.stack([other for other, _ in among]))
        people = np.array([label for _, label in among])
        ap.append(evaluate(model.encode(image[None]), np.array([person]), codes, people).map)
        sizes.add(len(among))
        relevant.append((people == person).sum())
    np.testing.assert_allclose(measured.arrays[f"ap_{question.prefix}map"], ap)
    assert measured.metrics[f"{question.prefix}map"] == pytest.approx(np.mean(ap))
    assert {measured.metrics[f"{question.prefix}gallery"]} == sizes
    assert measured.metrics[f"{question.prefix}relevant"] == pytest.approx(np.mean(relevant))


def test_where_somebody_has_one_query_nobody_is_asked_for_held_out_photographs(trained: Trained) -> None:
    split, model, _ = trained
    fewer = split.queries.select(np.arange(len(split.queries)) > 0)  # of two queries of the first person one is left
    metrics = measure(model, dataclasses.replace(split, queries=fewer)).metrics
    assert [name for name in metrics if name.startswith("held_out")] == []
    assert "open_map" in metrics


def test_what_binarisation_costs_is_measured_on_ones_own_descriptors(trained: Trained) -> None:
    split, model, _ = trained
    metrics = measure(model, split).metrics
    queries, gallery = (model.describe(part.images) for part in (split.queries, split.gallery))
    labels = split.queries.labels, split.gallery.labels
    for name, metric in (("descriptor", "euclidean"), ("descriptor_cosine", "cosine")):
        expected = evaluate_vectors(queries, labels[0], gallery, labels[1], metric).mean()
        assert metrics[name] == pytest.approx(expected)
    expected = evaluate_asymmetric(model.relax(queries), labels[0], model.binarize(gallery), labels[1]).mean()
    assert metrics["asymmetric"] == pytest.approx(expected)


def test_a_model_without_a_memory_is_measured_with_one_and_one_with_as_it_is(trained: Trained) -> None:
    split, model, _ = trained
    metrics = measure(model, split).metrics
    own, _ = train(dataclasses.replace(CONFIG, memory=MEMORY), split.training)
    with_memory = measure(own, split).metrics
    for question in QUESTIONS:
        assert metrics[f"{question.prefix}memory"] == pytest.approx(with_memory[f"{question.prefix}map"])
    assert [name for name in with_memory if "memory" in name] == []


def test_without_unseen_people_known_ones_are_asked_for_all_the_same(trained: Trained) -> None:
    split, model, _ = trained
    whole = measure(model, split).metrics
    metrics = measure(model, dataclasses.replace(split, new_gallery=None, new_queries=None)).metrics
    own = {name for name in whole if not name.startswith(("unseen_", "open_"))}
    assert metrics == {name: whole[name] for name in own}
    assert {"map", "held_out_map"} < own


def test_the_arrays_are_ap_codes_labels_and_names(trained: Trained) -> None:
    split, model, _ = trained
    measured = measure(model, split)
    assert measured.arrays["ap_map"].tolist() == measured.evaluation.ap.tolist()
    of_queries = {name.removeprefix("ap_") for name in measured.arrays if name.startswith("ap_")}
    for name in of_queries:
        assert measured.metrics[name] == pytest.approx(measured.arrays[f"ap_{name}"].mean())
    assert {f"{question.prefix}{name}" for question in QUESTIONS for name in ("map", "memory", "pixels")} <= of_queries
    for part in ("queries", "gallery", "new_queries", "new_gallery"):
        faces = getattr(split, part)
        np.testing.assert_array_equal(measured.arrays[f"{part}_codes"], model.encode(faces.images))
        np.testing.assert_array_equal(measured.arrays[f"{part}_labels"], faces.labels)
        if part.endswith("queries"):
            assert measured.arrays[f"{part}_names"].tolist() == faces.names


def test_each_face_of_a_run_is_named_by_its_file_where_that_is_known(trained: Trained) -> None:
    split, model, _ = trained
    assert [name for name in measure(model, split).arrays if name.endswith("_files")] == []
    parts = ("queries", "gallery", "new_queries", "new_gallery")
    files = {part: np.array([f"{part}/{i}.png" for i in range(len(getattr(split, part)))]) for part in parts}
    named = {part: dataclasses.replace(getattr(split, part), files=files[part]) for part in parts}
    measured = measure(model, dataclasses.replace(split, training=named["gallery"], **named))
    for part in parts:
        np.testing.assert_array_equal(measured.arrays[f"{part}_files"], files[part])
    assert measured.faces == split.fingerprint()


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
