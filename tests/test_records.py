"""Recorded results come back as they were, and no run is recorded twice."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ablations import records
from ablations.per_query import PerQuery
from ablations.records import record, recorded
from ablations.report import collect
from ablations.suite import load_suite
from ablations.tables import PER_QUERY, summary
from ablations.tuning import tuning_suite
from ablations.writing import notes
from tests.stub_suite import OWN, made_up, run_small, write_suite


def test_recorded_metrics_come_back(small: str, tmp_path: Path) -> None:
    suite = load_suite(small)
    frame = made_up(suite, [0, 1, 2])
    path = record(suite, frame, "python -m ablations run small")
    assert path.read_text().splitlines()[:4] == [
        "# title: A small suite",
        "# command: python -m ablations run small",
        "# seeds: 0, 1, 2",
        "# machine: 2-core x86-64 CPU, float32, torch 2.13, 1 thread",
    ]
    back = recorded("small", tmp_path)
    columns = ["variant", "seed", "bits", "map", "chance", "pixels", "descriptor", "seconds"]
    pd.testing.assert_frame_equal(back[columns], frame[columns].round(6))
    assert list(back.columns) == [*columns, "machine"]
    assert set(back["machine"]) == {"2-core x86-64 CPU, float32, torch 2.13, 1 thread"}
    numbers = ["mean", "half_width", "difference", "difference_half_width"]
    pd.testing.assert_frame_equal(summary(back, suite)[numbers], summary(frame, suite)[numbers], atol=1e-5)


def test_files_of_ones_own_on_an_axis_are_recorded_by_their_names(small: str, fast: list, tmp_path: Path) -> None:
    (tmp_path / "pull.py").write_text(OWN)
    grid = {"objective": ["dcbh", "pull.py:Pull"], "seed": [0, 1, 2]}
    path = write_suite(Path(small), variants={"full": {}}, reference="full", grid=grid)
    run_small(path, tmp_path / "runs")
    suite = load_suite(path)
    frame = collect(suite, tmp_path / "runs")
    written = record(suite, frame, "command").read_text()
    assert "pull.py:Pull" in written
    assert str(tmp_path) not in written
    statistics = summary(recorded("small", tmp_path), suite)
    assert set(statistics["objective"]) == {"dcbh", "pull.py:Pull"}
    assert (statistics["n"] == 3).all()


def with_ap(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with AP of five queries for each run, whose mean is its MAP."""
    rng = np.random.default_rng(0)
    people = np.array(["Ann", "Ann", "Bob", "Cid", "Cid"])
    runs = []
    for _ in range(len(frame)):
        ap = {"map": rng.random(5), "pixels": rng.random(5), "descriptor": rng.random(5)}
        runs.append(PerQuery({**ap, "memory": ap["map"] / 2}, {"queries": people}))
    return frame.assign(**{PER_QUERY: runs, "map": [one.ap["map"].mean() for one in runs]})


def test_ap_of_each_query_is_kept_beside_and_comes_back_of_all_parts(small: str, tmp_path: Path) -> None:
    suite = load_suite(small)
    frame = with_ap(made_up(suite, [0, 1, 2]))
    for bits, part in ((12, ""), (48, "long")):
        record(suite.with_settings({"bits": [bits]}), frame[frame["bits"] == bits], "command", part)
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == ["small.long.npz", "small.npz"]
    back = recorded("small", tmp_path).sort_values(["bits", "seed", "variant"], ignore_index=True)
    frame = frame.sort_values(["bits", "seed", "variant"], ignore_index=True)
    for kept, own in zip(back[PER_QUERY], frame[PER_QUERY], strict=True):
        assert set(kept.ap) == {"map", "memory", "pixels"}  # what the tables of MAP show
        np.testing.assert_allclose(kept.ap["map"], own.ap["map"], atol=1e-5)
    numbers = ["mean", "half_width", "difference", "difference_half_width"]
    pd.testing.assert_frame_equal(summary(back, suite)[numbers], summary(frame, suite)[numbers], atol=0.02)
    alone = summary(back.drop(columns=PER_QUERY), suite)
    assert not np.allclose(alone["half_width"].dropna(), summary(back, suite)["half_width"].dropna()[:4])


def test_a_part_without_ap_is_read_beside_one_that_has_it(small: str, tmp_path: Path) -> None:
    """Such as one from before AP was kept: at its points intervals are over seeds, and only there."""
    suite = load_suite(small)
    frame = with_ap(made_up(suite, [0, 1, 2]))
    for bits, part, columns in ((12, "", []), (48, "long", [PER_QUERY])):
        own = frame[frame["bits"] == bits].drop(columns=columns)
        record(suite.with_settings({"bits": [bits]}), own, "command", part)
    back = recorded("small", tmp_path)
    statistics, alone = summary(back, suite), summary(back.drop(columns=PER_QUERY), suite)
    for bits, same in ((12, False), (48, True)):
        one, other = (part[(part["variant"] == "no_center") & (part["bits"] == bits)] for part in (statistics, alone))
        assert np.allclose(one[["half_width", "p"]], other[["half_width", "p"]]) == same


def test_ap_of_a_record_that_is_replaced_goes_with_it(small: str, tmp_path: Path) -> None:
    suite = load_suite(small)
    frame = with_ap(made_up(suite, [0, 1, 2]))
    record(suite, frame, "command")
    assert (tmp_path / "small.npz").is_file()
    some = [one if i else None for i, one in enumerate(frame[PER_QUERY])]
    record(suite, frame.assign(**{PER_QUERY: some}), "command")
    assert not (tmp_path / "small.npz").exists()
    assert PER_QUERY not in recorded("small", tmp_path)


def test_an_incomplete_suite_is_not_recorded(small: str, tmp_path: Path) -> None:
    suite = load_suite(small)
    with pytest.raises(ValueError, match="missing runs: no_center 48 bits seed 2"):
        record(suite, made_up(suite, [0, 1, 2]).iloc[:-1], "command")
    assert not (tmp_path / "small.csv").exists()


def test_parts_of_a_suite_come_back_together(small: str, tmp_path: Path) -> None:
    suite = load_suite(small)
    whole = made_up(suite, [0, 1, 2])
    whole["machine"] = whole["bits"].map({12: "a GPU", 48: "a CPU"})
    for bits, part in ((12, ""), (48, "long")):
        record(suite.with_settings({"bits": [bits]}), whole[whole["bits"] == bits], "command", part)
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == ["small.csv", "small.long.csv"]
    (tmp_path / "small_tuning.csv").write_text("variant,map\nfull,0.5\n")  # no part of it
    back = recorded("small", tmp_path)
    pd.testing.assert_frame_equal(summary(back, suite), summary(whole.round(6), suite))
    assert {bits: set(rows["machine"]) for bits, rows in back.groupby("bits")} == {
        12: {"a GPU, float32, torch 2.13, 1 thread"},
        48: {"a CPU, float32, torch 2.13, 1 thread"},
    }
    assert "These runs are from machines of different kinds: a CPU, float32, torch 2.13, 1 thread; a GPU" in " ".join(
        notes(suite, back)
    )


def test_a_record_does_not_lose_runs_to_one_of_fewer(small: str, tmp_path: Path) -> None:
    suite = load_suite(small)
    frame = with_ap(made_up(suite, [0, 1, 2]))
    record(suite, frame, "command")
    before = [(path.name, path.read_bytes()) for path in sorted(tmp_path.glob("small.*"))]
    with pytest.raises(ValueError, match=r"small\.csv holds 6 runs that are not among these; record these as a part"):
        record(suite.with_settings({"bits": [48]}), frame[frame["bits"] == 48], "command")
    assert [(path.name, path.read_bytes()) for path in sorted(tmp_path.glob("small.*"))] == before
    (tmp_path / "small.csv").unlink()
    record(suite.with_settings({"bits": [48]}), frame[frame["bits"] == 48], "command")
    assert len(recorded("small", tmp_path)) == 6


def test_no_run_is_recorded_in_two_parts(small: str, tmp_path: Path) -> None:
    suite = load_suite(small)
    frame = made_up(suite, [0, 1, 2])
    record(suite, frame, "command")
    record(suite, frame, "command")  # the same part again takes its place
    with pytest.raises(ValueError, match=r"two recorded parts of suite 'small' hold one run \(variant full, "):
        record(suite, frame, "command", "again")
    assert [path.name for path in tmp_path.glob("*.csv")] == ["small.csv"]


def test_nothing_recorded_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown recorded suite 'orl'"):
        recorded("orl", tmp_path)


def test_recorded_names_are_texts(small: str, tmp_path: Path) -> None:
    """Those that look like numbers, like nothing, or like a comment as well."""
    variants = {"6": {}, "None": {"center_weight": 0}, "3 # 4": {"block_size": 3}, "# 5": {"block_size": 5}}
    suite = load_suite(write_suite(Path(small), variants=variants))
    record(suite, made_up(suite, [0, 1, 2]), "command")
    assert recorded("small", tmp_path)["variant"].unique().tolist() == list(variants)


def test_a_title_of_two_lines_does_not_break_a_recorded_file(small: str, tmp_path: Path) -> None:
    suite = dataclasses.replace(load_suite(small), title="One\nvariant,seed,\n# machine: none")
    record(suite, made_up(suite, [0, 1, 2]).assign(threads="4"), "command")
    back = recorded("small", tmp_path)
    assert len(back) == 12
    assert set(back["machine"]) == {"2-core x86-64 CPU, float32, torch 2.13, 4 threads"}


def test_committed_results_fit_their_suites() -> None:
    for path in records.RESULTS.glob("*.csv"):
        name = path.stem.split(".")[0]
        frame = recorded(name)
        suite = load_suite(name.removesuffix("_tuning").removesuffix("_validation"))
        if name.endswith("_tuning"):
            suite = tuning_suite(suite)
        assert set(frame["variant"]) <= set(suite.variants)
        assert frame["map"].between(0, 1).all()
        if path.with_suffix(".npz").is_file():
            assert path.with_suffix(".npz").stat().st_size < 1_000_000
            for one, mean in zip(frame[PER_QUERY].dropna(), frame.dropna(subset=[PER_QUERY])["map"], strict=True):
                assert one.ap["map"].mean() == pytest.approx(mean, abs=2e-5)
