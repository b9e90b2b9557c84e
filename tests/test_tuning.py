"""Tuning and validation: what is tried, that queries are never touched, and that a second start does not run again."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ablations import identity, tuning
from ablations.__main__ import main
from ablations.suite import load_suite
from ablations.tuning import best, results_path, run_trials, score, tuning_text, tuning_trials, validation_trials
from dcbh_core import Config, evaluate, load_split, train
from dcbh_core.faces import validation_split
from dcbh_core.training import TrainingDiverged
from tests.conftest import synthetic_faces

TINY = {"width": 0.05, "epochs": 1, "device": "cpu", "dtype": "float32"}


def test_each_method_is_tuned_by_three_learning_rates_times_three_values():
    suite = load_suite("peers_lfw")
    trials = tuning_trials(suite)
    for variant in suite.variants:
        rows = [trial.row for trial in trials if trial.row["variant"] == variant]
        assert len(rows) == 9
        assert len({(row["learning_rate"], row["value"]) for row in rows}) == 9
        assert len({row["field"] for row in rows}) == 1
    assert {trial.config.bits for trial in trials} == {48}


def test_a_trial_differs_from_its_variant_in_what_is_tuned_alone():
    suite = load_suite("peers_lfw")
    for trial in tuning_trials(suite):
        plain = Config.from_dict({**suite.base, **suite.variants[trial.row["variant"]], "bits": 48, "seed": 0})
        tried = {"learning_rate": trial.row["learning_rate"], trial.row["field"]: trial.row["value"]}
        assert trial.config == dataclasses.replace(plain, **tried)


@pytest.mark.parametrize("name", ["peers_lfw", "peers_orl"])
def test_the_values_written_out_in_a_suite_are_among_those_tried(name):
    suite = load_suite(name)
    assert suite.tuning is not None
    for variant, own in suite.tuning.own.items():
        assert suite.field(variant, "learning_rate") in suite.tuning.learning_rate
        [(field, values)] = own.items()
        assert suite.field(variant, field) in values


@pytest.mark.parametrize("name", ["peers_lfw", "peers_orl"])
def test_the_values_written_out_in_a_suite_are_the_best_of_its_table(name):
    suite = load_suite(name)
    path = results_path(suite, "tuning")
    if not path.exists():
        pytest.skip("not tuned yet")
    frame = pd.read_csv(path)
    assert len(frame) == len(tuning_trials(suite))
    for variant, settings in best(frame).items():
        assert {field: suite.field(variant, field) for field in settings} == settings


def test_validation_trials_are_the_suites_cells():
    suite = load_suite("ingredients_orl")
    trials = validation_trials(suite, ["no_*"])
    assert len(trials) == 2 * 5
    assert {trial.row["variant"] for trial in trials} == {"no_center", "no_quantization"}
    assert trials[0].row == {"variant": "no_center", "bits": 48, "seed": 0}


def test_a_validation_split_holds_no_query_and_parts_that_do_not_meet():
    split = load_split(Config(new_people=0.25))
    inner = validation_split(split.training)
    parts = [inner.training, inner.queries, inner.new_gallery, inner.new_queries]
    images = [{image.tobytes() for image in part.images} for part in parts]
    training = {image.tobytes() for image in split.training.images}
    assert set().union(*images) == training
    assert sum(len(part) for part in images) == len(training)  # disjoint
    names = [set(part.names) for part in parts]
    assert names[0] == names[1] and names[2] == names[3] and not names[0] & names[2]
    assert (len(names[0]), len(names[2])) == (22, 8)
    assert all((np.bincount(part.labels) == 2).all() for part in (inner.queries, inner.new_queries))


def test_a_validation_split_needs_photographs_enough():
    with pytest.raises(ValueError, match=r"person 0 has 2, .* queries_per_identity=2 needs at least 3 of each person"):
        validation_split(synthetic_faces(8, 2))


def test_a_score_is_that_of_a_training_on_the_validation_split():
    config = Config(bits=8, new_people=0.25, **TINY)
    split = validation_split(load_split(config).training)
    model, _ = train(config, split.training)
    maps = []
    for queries, gallery in ((split.queries, split.gallery), (split.new_queries, split.new_gallery)):
        codes = model.encode(queries.images), model.encode(gallery.images)
        maps.append(evaluate(codes[0], queries.labels, codes[1], gallery.labels).map)
    result = score(config)
    assert [result["map"], result["new_map"], result["score"]] == pytest.approx([*maps, sum(maps) / 2])


def test_a_training_that_diverges_scores_nan(monkeypatch):
    def diverge(config, faces):
        raise TrainingDiverged("the loss became nan")

    monkeypatch.setattr(tuning, "train", diverge)
    result = score(Config(bits=8, **TINY))
    assert math.isnan(result["map"]) and math.isnan(result["new_map"]) and math.isnan(result["score"])


def made_up() -> pd.DataFrame:
    rows = [
        ("csq", 1e-3, "quantization_weight", 1e-4, 0.5),
        ("csq", 1e-3, "quantization_weight", 1e-2, 0.7),
        ("csq", 2e-3, "quantization_weight", 1e-2, 0.7),
        ("dcdh", 1e-3, "scale", 0.5, math.nan),
        ("dcdh", 2e-3, "scale", 0.5, 0.1),
        ("softmax", 1e-3, "quantization_weight", 0.1, math.nan),
    ]
    return pd.DataFrame(rows, columns=["variant", "learning_rate", "field", "value", "score"])


def test_the_best_setting_is_the_first_of_the_highest_score():
    assert best(made_up()) == {
        "csq": {"learning_rate": 1e-3, "quantization_weight": 1e-2},
        "dcdh": {"learning_rate": 2e-3, "scale": 0.5},
    }
    assert tuning_text(made_up()).splitlines()[0] == "csq: {learning_rate: 0.001, quantization_weight: 0.01}"


@pytest.fixture
def quiet_core(tmp_path: Path, monkeypatch):
    """A core that nobody edits meanwhile, as its code is part of a trial's identity."""
    monkeypatch.setattr(identity, "CORE", tmp_path)


@pytest.mark.usefixtures("quiet_core")
def test_trials_run_once_and_their_table_is_kept(tmp_path: Path, monkeypatch):
    suite = load_suite("ingredients_orl").with_settings({**TINY, "bits": 8, "seed": [0, 1]})
    path = tmp_path / "new" / "table.csv"
    first = run_trials(validation_trials(suite, ["direct"])[:1], path)
    both = run_trials(validation_trials(suite, ["direct"]), path, jobs=2)
    assert both["seed"].tolist() == [0, 1]
    pd.testing.assert_frame_equal(both.iloc[:1], first.round(6), atol=1e-6)
    assert list(both.columns) == ["variant", "bits", "seed", "map", "new_map", "score", "seconds", "identity"]
    monkeypatch.setattr(tuning.ProcessPoolExecutor, "submit", lambda *arguments: pytest.fail("trained again"))
    pd.testing.assert_frame_equal(run_trials(validation_trials(suite, ["direct"]), path), pd.read_csv(path))


@pytest.mark.usefixtures("quiet_core")
def test_rows_of_another_config_are_not_taken_over(tmp_path: Path):
    suite = load_suite("ingredients_orl").with_settings({**TINY, "bits": 8, "seed": 0})
    trials = validation_trials(suite, ["direct"])
    path = tmp_path / "table.csv"
    run_trials(trials, path)
    other = [dataclasses.replace(trials[0], config=dataclasses.replace(trials[0].config, epochs=2))]
    before = pd.read_csv(path)
    after = run_trials(other, path)
    assert after["identity"].tolist() != before["identity"].tolist()
    assert len(pd.read_csv(path)) == 1


def test_commands_print_their_tables(tmp_path: Path, monkeypatch, capsys):
    def run_trials(trials, path, jobs, threads):
        return pd.DataFrame(
            [{**t.row, "map": 0.8, "new_map": 0.2, "score": 0.5, "seconds": 1.0, "identity": "x"} for t in trials]
        )

    monkeypatch.setattr("ablations.__main__.run_trials", run_trials)
    assert main(["tune", "peers_orl", "--csv", str(tmp_path / "t.csv")]) == 0
    printed = capsys.readouterr().out
    assert "csq: {learning_rate: 0.0005, quantization_weight: 0.0001}" in printed
    assert f"table: {tmp_path / 't.csv'}" in printed
    assert main(["validate", "ingredients_orl", "--only", "direct", "soft", "--jobs", "3"]) == 0
    printed = capsys.readouterr().out
    assert "| variant | 48 bits, seen | 48 bits, new |" in printed
    assert "| direct − soft | +0.000 ± 0.000 | +0.000 ± 0.000 |" in printed
    assert "raw pixels" not in printed
    assert "ingredients_orl_validation.csv" in printed


def test_a_suite_without_tuning_is_refused(capsys):
    assert main(["tune", "orl_quick"]) == 2
    assert "suite 'orl_quick' has no tuning section" in capsys.readouterr().err
