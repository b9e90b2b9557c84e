"""Recorded results come back as they were, and no cell is recorded twice."""

import re
from pathlib import Path

import pandas as pd
import pytest

from ablations import records
from ablations.records import record, recorded
from ablations.report import notes, summary
from ablations.suite import load_suite
from tests.stub_suite import made_up


def test_recorded_figures_come_back(small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    suite = load_suite(small)
    frame = made_up(suite, [0, 1, 2])
    path = record(suite, frame, "python -m ablations run small")
    assert path.read_text().splitlines()[:4] == [
        "# title: A small suite",
        "# command: python -m ablations run small",
        "# seeds: 0, 1, 2",
        "# machine: 2-core x86-64 CPU, float32, torch 2.13",
    ]
    back = recorded("small")
    columns = ["variant", "seed", "bits", "map", "chance", "pixels", "descriptor", "seconds"]
    pd.testing.assert_frame_equal(back[columns], frame[columns].round(6))
    assert list(back.columns) == [*columns, "machine"]
    assert set(back["machine"]) == {"2-core x86-64 CPU, float32, torch 2.13"}
    numbers = ["mean", "half_width", "difference", "difference_half_width"]
    pd.testing.assert_frame_equal(summary(back, suite)[numbers], summary(frame, suite)[numbers], atol=1e-5)


def test_an_incomplete_suite_is_not_recorded(small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    suite = load_suite(small)
    with pytest.raises(ValueError, match="missing cells: no_center 48 bits seed 2"):
        record(suite, made_up(suite, [0, 1, 2]).iloc[:-1], "command")
    assert not (tmp_path / "small.csv").exists()


def test_parts_of_a_suite_come_back_together(small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    suite = load_suite(small)
    whole = made_up(suite, [0, 1, 2])
    whole["machine"] = whole["bits"].map({12: "a GPU", 48: "a CPU"})
    for bits, part in ((12, ""), (48, "long")):
        record(suite.with_settings({"bits": [bits]}), whole[whole["bits"] == bits], "command", part)
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == ["small.csv", "small.long.csv"]
    (tmp_path / "small_tuning.csv").write_text("variant,map\nfull,0.5\n")  # no part of it
    back = recorded("small")
    pd.testing.assert_frame_equal(summary(back, suite), summary(whole.round(6), suite))
    assert {bits: set(rows["machine"]) for bits, rows in back.groupby("bits")} == {
        12: {"a GPU, float32, torch 2.13"},
        48: {"a CPU, float32, torch 2.13"},
    }
    assert "These cells were run on machines of different kinds: a CPU, float32, torch 2.13; a GPU" in " ".join(
        notes(suite, back)
    )


def test_no_cell_is_recorded_in_two_parts(small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    suite = load_suite(small)
    frame = made_up(suite, [0, 1, 2])
    record(suite, frame, "command")
    record(suite, frame, "command")  # the same part again takes its place
    with pytest.raises(ValueError, match=r"two recorded parts of suite 'small' hold one cell \(variant full, "):
        record(suite, frame, "command", "again")
    assert [path.name for path in tmp_path.glob("*.csv")] == ["small.csv"]


def test_nothing_recorded_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    with pytest.raises(ValueError, match="unknown recorded suite 'orl'"):
        recorded("orl")


def test_committed_results_fit_their_suites() -> None:
    for path in records.RESULTS.glob("*.csv"):
        name = path.stem.split(".")[0]
        frame = recorded(name)
        suite = load_suite(re.sub("_(tuning|validation)$", "", name))
        assert set(frame["variant"]) <= set(suite.variants)
        assert frame["map"].between(0, 1).all()
