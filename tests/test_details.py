"""What a run has left is read as far as it is there, and nothing else of it is needed."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ablations.details import Details, details_of, last_point, read_details
from ablations.run_directory import QUESTIONS, measure, write_run
from ablations.suite import load_suite
from dcbh_core import Config, Split, train
from tests.conftest import synthetic_faces
from tests.made_details import leave, made_details
from tests.stub_suite import made_up, write_suite


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "result.json").write_text(json.dumps({"config": {"bits": 12}, "timings": {"train_s": 1.0}}))
    leave(tmp_path, made_details(unseen=True))
    return tmp_path


def test_a_real_run_is_read_and_scores_as_it_did(tmp_path: Path) -> None:
    faces, new = synthetic_faces(4, 6), synthetic_faces(3, 6, seed=1)
    parts = [part.select(np.arange(len(part)) % 6 < 4) for part in (faces, new)]
    queries = [part.select(np.arange(len(part)) % 6 >= 4) for part in (faces, new)]
    split = Split(parts[0], parts[0], queries[0], parts[1], queries[1])
    config = Config(bits=12, width=0.05, epochs=2, device="cpu")
    model, history = train(config, split.training)
    measured = measure(model, split)
    write_run(tmp_path, config, model, history, measured, {"train_s": 1.0})
    found = read_details(tmp_path)
    assert found is not None and found.history is not None
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert found.history["total"].tolist() == pytest.approx([means["total"] for means in history])
    for question in QUESTIONS:
        evaluation = found.evaluations[question]
        assert evaluation is not None
        assert evaluation.map == pytest.approx(measured.metrics[f"{question.prefix}map"])


def test_what_a_run_lacks_is_left_out(directory: Path) -> None:
    for name in ("evaluation.npz", "history.csv", "model/README.md"):
        (directory / name).unlink()
    found = read_details(directory)
    assert found is not None
    assert (found.codes, found.history, found.parameters) == ({}, None, None)
    assert set(found.evaluations.values()) == {None}


@pytest.mark.parametrize("name", ["evaluation.npz", "history.csv"])
def test_what_is_damaged_is_left_out_and_the_rest_is_read(directory: Path, name: str) -> None:
    (directory / name).write_bytes(b"\x00\xff damaged")
    found = read_details(directory)
    assert found is not None
    assert (found.codes == {}, found.history is None) == (name == "evaluation.npz", name == "history.csv")


def test_runs_that_are_in_no_directory_have_left_nothing(small: str, tmp_path: Path) -> None:
    runs = made_up(load_suite(small), [0])
    assert details_of(runs, tmp_path) == [None] * 4
    assert details_of(runs.assign(run="gone"), tmp_path) == [None] * 4


def test_questions_that_cannot_be_asked_have_no_evaluation() -> None:
    seen, held_out, *unseen = made_details().evaluations.values()
    assert seen is not None and held_out is not None
    assert unseen == [None] * 3
    alone = made_details()
    once = np.arange(0, 12, 3)  # one query of each person: nothing to be found among the others
    codes = {**alone.codes, "queries": alone.codes["queries"][once]}
    labels = {**alone.labels, "queries": alone.labels["queries"][once]}
    found = Details({}, {}, None, None, codes, labels, alone.names)
    assert [found.evaluations[question] is None for question in QUESTIONS[:2]] == [False, True]


def test_what_is_shown_of_one_point_is_shown_of_the_last_that_has_runs(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path / "s.yaml"))
    runs = made_up(suite, [0])
    assert last_point(runs, suite) == {"bits": 48}
    assert last_point(runs[runs["bits"] == 12], suite) == {"bits": 12}
    assert last_point(pd.DataFrame(columns=runs.columns), suite) == {"bits": 48}
