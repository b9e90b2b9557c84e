"""The facts of a report: what was run, what each variant is and costs, and metrics beside MAP."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ablations.facts import MORE, facts, more_metrics, ties, what_was_run, with_map_at
from ablations.suite import Suite, load_suite
from ablations.tables import tables
from tests.made_details import made_runs
from tests.stub_suite import write_suite


@pytest.fixture
def suite(small: str) -> Suite:
    return load_suite(small)


def said(runs: pd.DataFrame, details: list, suite: Suite) -> dict[str, str]:
    return dict(what_was_run(runs, details, suite).itertuples(index=False, name=None))


def test_what_was_run_is_said_first(suite: Suite) -> None:
    runs, details = made_runs(suite, [0, 1, 2], unseen=True)
    rows = said(runs, details, suite)
    assert list(rows)[:5] == ["data set", "people", "gallery", "queries", "recipe"]
    expected = {
        **{"data set": "orl", "people": "4 in training, 4 kept out of it", "gallery": "20, and 20 of unseen people"},
        **{"queries": "12, and 12 of unseen people", "recipe": "modern", "epochs": "60", "batch size": "64"},
        **{"learning rate": "0.001", "width": "0.25", "bits": "12, 48", "seeds": "0, 1, 2", "threads": "1"},
        **{"machine": "2-core x86-64 CPU", "torch": "2.13", "runs": "12"},
    }
    assert {what: rows[what] for what in expected} == expected


def test_what_variants_do_not_share_is_said_of_each(tmp_path: Path) -> None:
    variants = {"full": {}, "long": {"epochs": 90}, "longer": {"epochs": 90, "width": 0.5}, "csq": {"objective": "csq"}}
    path = write_suite(tmp_path / "s.yaml", base={"dataset": "orl"}, variants=variants)
    suite = load_suite(path)
    runs, details = made_runs(suite, [0])
    rows = said(runs, details, suite)
    assert rows["epochs"] == "60; 90 (long, longer)"
    assert rows["width"] == "1.0; 0.5 (longer)"
    assert rows["block size"] == "6; none (csq)"


def test_runs_that_have_left_nothing_are_described_as_far_as_they_can_be(suite: Suite) -> None:
    runs, _ = made_runs(suite, [0, 1, 2])
    nothing: list = [None] * len(runs)
    rows = said(runs.assign(gallery=280.0)[1:], nothing[1:], suite)
    assert "people" not in rows and "queries" not in rows
    assert (rows["gallery"], rows["runs"]) == ("280", "11 of 12")
    table = facts(runs, nothing, suite, {"bits": 48}, tables(runs, suite))
    assert set(table["parameters"]) == set(table["epochs"]) == {"–"}


def test_a_row_of_facts_takes_the_table_over(suite: Suite) -> None:
    runs, details = made_runs(suite, [0, 1, 2])
    runs.loc[runs["variant"] == "no_center", "map"] -= 5  # surely worse
    text = tables(runs, suite)
    table = facts(runs, details, suite, {"bits": 48}, text).set_index("variant")
    entries = text.set_index("variant")["48 bits"]
    assert table["48 bits"].tolist() == [entries["full"], entries["no_center"]]
    assert table["− full"].tolist() == ["", entries["no_center − full"]]
    assert entries["no_center − full"].endswith("★")
    assert table["what its resolved config changes"].tolist() == ["the reference", "center_weight = 0.0"]
    assert table[["parameters", "epochs", "images/s"]].to_numpy().tolist() == [["1,282", "3", "101"]] * 2
    assert table["seconds"].tolist() == ["1", "1"]


def test_the_point_of_a_row_of_facts_is_the_one_asked_for(tmp_path: Path) -> None:
    """Not one whose name begins alike."""
    suite = load_suite(write_suite(tmp_path / "s.yaml", grid={"bits": [120, 12], "seed": [0]}))
    runs, details = made_runs(suite, [0])
    table = facts(runs, details, suite, {"bits": 12}, tables(runs, suite))
    assert "12 bits" in table


def test_metrics_beside_map_have_a_column_for_each_question(suite: Suite) -> None:
    runs, _ = made_runs(suite, [0, 1])
    kind = "precision_at_50"
    assert kind in MORE
    assert more_metrics(runs, suite, kind) is None
    runs = runs.assign(**{kind: runs["map"] / 2, f"unseen_{kind}": 0.25})
    table = more_metrics(runs, suite, kind)
    assert table is not None
    row = table.set_index("variant").loc["no_center 48 bits"]
    own = runs[(runs["variant"] == "no_center") & (runs["bits"] == 48)]
    assert row.to_dict() == {"seen": " / ".join(f"{value:.3f}" for value in own[kind]), "unseen": "0.250 / 0.250"}


def test_map_of_the_nearest_is_made_from_codes(suite: Suite) -> None:
    """For every question with so large a gallery, which here has 20 faces, and 11 other queries."""
    runs, details = made_runs(suite, [0, 1])
    details[3] = None
    measured = with_map_at(runs, details, 12)
    assert list(measured)[-1] == "map_at_12" and "held_out_map_at_12" not in measured
    for one, value in zip(details, measured["map_at_12"], strict=True):
        evaluation = None if one is None else next(iter(one.evaluations.values()))
        assert np.isnan(value) if evaluation is None else value == evaluation.map_at(12)
    both = with_map_at(runs, details, 11)
    assert {"map_at_11", "held_out_map_at_11"} <= set(both)


def test_ties_are_between_the_worst_and_the_best_order(suite: Suite) -> None:
    runs, _ = made_runs(suite, [0, 1])
    runs = runs.assign(map_worst=0.5, map_best=0.75, held_out_map_worst=0.25, held_out_map_best=0.3)
    row = ties(runs, suite).set_index("variant").loc["full 12 bits"]
    assert row.to_dict() == {"seen": "0.500 to 0.750 (0.250)", "held out": "0.250 to 0.300 (0.050)"}
