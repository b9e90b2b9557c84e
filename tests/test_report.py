"""Reports summarise the cells of a suite, and refuse to mix what must not be compared."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import scipy.stats

from ablations import identity, report
from ablations import suite as suites
from ablations.report import collect, markdown, missing_cells, notes, summary, table
from ablations.runner import plan, run
from ablations.suite import load_suite
from dcbh_core import figures
from tests.stub_suite import GRIDS, STUB, edit, made_up, run_small, write_notebook, write_suite


def test_a_table_counts_the_seeds_of_each_point(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path / "s.yaml", grid=GRIDS))
    frame = pd.DataFrame(
        [
            {"variant": cell.variant, **cell.point, "map": 0.5, "chance": 0.1, "pixels": 0.2, "descriptor": 0.6}
            for cell in suite.cells()
        ]
    )
    full = table(summary(frame, suite), suite).set_index("variant").loc["full"]
    assert full.tolist() == ["0.500 ± 0.000", "0.500 / 0.500", "0.500 / 0.500"]


def values_of(frame: pd.DataFrame, variant: str, bits: int, column: str = "map") -> list[float]:
    return [row[column] for _, row in frame.iterrows() if row["variant"] == variant and row["bits"] == bits]


def row_of(statistics: pd.DataFrame, variant: str, bits: int) -> pd.Series:
    return next(row for _, row in statistics.iterrows() if row["variant"] == variant and row["bits"] == bits)


def test_summary_gives_mean_and_t_interval(small: str) -> None:
    suite = load_suite(small)
    frame = made_up(suite, [0, 1, 2])
    row, values = row_of(summary(frame, suite), "no_center", 48), values_of(frame, "no_center", 48)
    low, high = scipy.stats.t.interval(0.95, 2, loc=sum(values) / 3, scale=scipy.stats.sem(values))
    assert row["n"] == 3
    assert (row["mean"] - row["half_width"], row["mean"] + row["half_width"]) == pytest.approx((low, high))


def test_summary_gives_paired_differences(small: str) -> None:
    suite = load_suite(small)
    frame = made_up(suite, [0, 1, 2])
    row = row_of(summary(frame.sample(frac=1, random_state=0), suite), "no_center", 12)
    pairs = scipy.stats.ttest_rel(values_of(frame, "no_center", 12), values_of(frame, "full", 12))
    low, high = pairs.confidence_interval(0.95)
    half_width = row["difference_half_width"]
    assert (row["difference"] - half_width, row["difference"] + half_width) == pytest.approx((low, high))


def test_differences_are_over_the_seeds_that_both_have(small: str) -> None:
    suite = load_suite(small).with_settings({"seed": [0, 1, 2, 3]})
    frame = made_up(suite, [0, 1, 2, 3])
    frame = frame[~((frame["variant"] == "full") & (frame["seed"] == 1))]
    full, other = values_of(frame, "full", 12), values_of(frame, "no_center", 12)
    del other[1]
    differences = row_of(summary(frame, suite), "no_center", 12)["differences"]
    assert differences == pytest.approx([b - a for a, b in zip(full, other, strict=True)])


def test_floor_and_ceiling_come_from_the_reference(small: str) -> None:
    suite = load_suite(small)
    frame = made_up(suite, [0, 1, 2])
    statistics = summary(frame, suite)
    assert list(statistics["variant"].unique()) == [
        "chance",
        "raw pixels",
        "full",
        "no_center",
        "descriptor, not binarised",
    ]
    assert row_of(statistics, "raw pixels", 12)["mean"] == pytest.approx(0.31)
    ceiling = row_of(statistics, "descriptor, not binarised", 12)
    assert ceiling["mean"] == pytest.approx(sum(values_of(frame, "full", 12, "descriptor")) / 3)


def test_fewer_than_three_seeds_show_points_and_no_interval(small: str) -> None:
    suite = load_suite(small).with_settings({"seed": [0, 1]})
    frame = made_up(suite, [0, 1])
    statistics = summary(frame, suite)
    assert statistics[["half_width", "difference_half_width"]].isna().all(axis=None)
    text = table(statistics, suite).set_index("variant").loc["no_center", "12 bits"]
    assert text == " / ".join(f"{value:.3f}" for value in values_of(frame, "no_center", 12))


def test_a_metric_that_is_not_there_is_named(small: str) -> None:
    suite = load_suite(small)
    with pytest.raises(ValueError, match="unknown metric 'mpa'; did you mean 'map'"):
        summary(made_up(suite, [0]), suite, "mpa")


@pytest.fixture
def fixed() -> tuple[suites.Suite, pd.DataFrame]:
    """One code length, MAP 0.5, 0.6, 0.7 of `full`, and 0.1 less for `no_center`."""
    suite = load_suite("orl_quick").with_settings({"bits": 12})
    suite = dataclasses.replace(suite, variants={name: suite.variants[name] for name in ("full", "no_center")})
    rows = [
        {"variant": variant, "bits": 12, "seed": s, "map": m + s / 10, "chance": 0.05, "pixels": 0.3, "descriptor": 0.8}
        for variant, m in (("full", 0.5), ("no_center", 0.4))
        for s in (0, 1, 2)
    ]
    return suite, pd.DataFrame(rows)


def test_table_as_markdown(fixed) -> None:
    suite, frame = fixed
    assert markdown(table(summary(frame, suite), suite)).splitlines() == [
        "| variant | 12 bits |",
        "| --- | ---: |",
        "| chance | 0.050 |",
        "| raw pixels | 0.300 |",
        "| full | 0.600 ± 0.248 |",
        "| no_center | 0.500 ± 0.248 |",
        "| descriptor, not binarised | 0.800 ± 0.000 |",
        "| no_center − full | −0.100 ± 0.000 |",
        "| descriptor, not binarised − full | +0.200 ± 0.248 |",
    ]


def test_table_as_latex(fixed) -> None:
    suite, frame = fixed
    text = report.latex(table(summary(frame, suite), suite))
    assert r"no\_center & 0.500 $\pm$ 0.248 \\" in text
    assert r"no\_center $-$ full & $-$0.100 $\pm$ 0.000 \\" in text
    assert r"\toprule" in text
    assert text.isascii()


def test_a_table_with_missing_seeds_says_so(fixed) -> None:
    suite, frame = fixed
    text = table(summary(frame.iloc[:-1], suite), suite).set_index("variant")["12 bits"]
    assert text["no_center"] == "0.400 / 0.500 (2 of 3 seeds)"


def seen_and_new_figures() -> tuple[suites.Suite, pd.DataFrame]:
    """Two methods at two lengths, one of them with shallow methods; new people are 0.5 harder."""
    suite = load_suite("peers_orl").with_settings({"seed": [0, 1, 2], "bits": [12, 48]})
    suite = dataclasses.replace(
        suite, variants={name: suite.variants[name] for name in ("dcbh", "softmax")}, tuning=None
    )
    rows = []
    for cell in suite.cells():
        score = 0.6 + cell.point["bits"] / 1000 + 0.1 * (cell.variant == "softmax") + cell.point["seed"] / 100
        figures = {"map": score, "chance": 0.1, "pixels": 0.2, "descriptor": 0.9}
        if cell.variant == "softmax":
            figures |= {"lsh_pixels": 0.3, "itq_pixels": 0.4, "lsh_descriptor": 0.5, "itq_descriptor": score - 0.05}
        new = {f"new_{name}": value / 2 for name, value in figures.items()}
        rows.append({"variant": cell.variant, **cell.point, **figures, **new})
    return suite, pd.DataFrame(rows)


def test_shallow_methods_are_rows_from_the_softmax_variants_runs() -> None:
    suite, frame = seen_and_new_figures()
    statistics = summary(frame, suite, "new_map")
    assert statistics[statistics["bits"] == 12]["variant"].tolist() == [
        *("chance", "raw pixels", "LSH on pixels", "ITQ on pixels"),
        *("LSH on softmax descriptors", "ITQ on softmax descriptors", "dcbh", "softmax", "descriptor, not binarised"),
    ]
    row = row_of(statistics, "ITQ on softmax descriptors", 48)
    softmax = values_of(frame, "softmax", 48, "new_map")
    dcbh = values_of(frame, "dcbh", 48, "new_map")
    assert row["values"] == pytest.approx([value - 0.025 for value in softmax])
    assert row["differences"] == pytest.approx([value - 0.025 - d for value, d in zip(softmax, dcbh, strict=True)])


def test_seen_and_new_stand_side_by_side() -> None:
    suite, frame = seen_and_new_figures()
    tables = {metric: table(summary(frame, suite, metric), suite) for metric in ("map", "new_map")}
    text = report.side_by_side(tables)
    assert list(text.columns) == ["variant", "12 bits, seen", "12 bits, new", "48 bits, seen", "48 bits, new"]
    for metric, name in (("map", "seen"), ("new_map", "new")):
        for bits in ("12 bits", "48 bits"):
            assert text[f"{bits}, {name}"].tolist() == tables[metric][bits].tolist()
    assert report.side_by_side({"map": tables["map"]}) is tables["map"]


def test_the_figure_of_seen_against_new_shows_every_method_but_the_floors() -> None:
    suite, frame = seen_and_new_figures()
    rows = report.seen_and_new(frame, suite)
    assert set(rows["variant"]) == {"dcbh", "softmax", *report.SHALLOW, "descriptor, not binarised"}
    assert rows["point"].unique().tolist() == ["12 bits", "48 bits"]
    row = next(r for _, r in rows.iterrows() if r["variant"] == "dcbh" and r["point"] == "48 bits")
    of_dcbh = row_of(summary(frame, suite, "new_map"), "dcbh", 48)
    assert (row["new"], row["new_half_width"]) == (of_dcbh["mean"], of_dcbh["half_width"])
    assert row["seen"] == pytest.approx(2 * row["new"])
    panels = figures.seen_against_new(rows).axes
    assert [ax.get_title() for ax in panels] == ["12 bits", "48 bits"]
    assert all(len(ax.containers) == 7 for ax in panels)


def test_collect_gives_one_row_per_complete_cell(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path, bits=12, seed=[0, 1])
    frame = collect(load_suite(small), tmp_path)
    assert frame[["variant", "bits", "seed", "map", "device", "seconds"]].to_numpy().tolist() == [
        ["full", 12, 0, pytest.approx(0.53), "cpu", 1.5],
        ["no_center", 12, 0, pytest.approx(0.43), "cpu", 1.5],
        ["full", 12, 1, pytest.approx(0.57), "cpu", 1.5],
        ["no_center", 12, 1, pytest.approx(0.47), "cpu", 1.5],
    ]


def test_missing_cells_are_named(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path, bits=12)
    suite = load_suite(small).with_settings({"seed": 0})
    assert notes(suite, collect(suite, tmp_path)) == [
        "Missing cells (2 of 4): full 48 bits seed 0, no_center 48 bits seed 0."
    ]


def test_cells_of_different_dtype_are_not_mixed(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path)
    path = tmp_path / "cells" / plan(load_suite(small), tmp_path)[1].identity.name / "result.json"
    edit(path, "environment", {"device": "cpu", "dtype": "bfloat16", "machine": "a CPU", "torch": "2.13"})
    message = r"different dtype .*full 12 bits seed 0 \(float32\) and no_center 12 bits seed 0 \(bfloat16\)"
    with pytest.raises(ValueError, match=message):
        collect(load_suite(small), tmp_path)


def test_a_suite_about_dtypes_may_mix_them(small: str, fast: list, tmp_path: Path) -> None:
    path = write_suite(Path(small), variants={"full": {}, "half": {"dtype": "bfloat16"}})
    run_small(path, tmp_path)
    assert collect(load_suite(path), tmp_path)["dtype"].nunique() == 2


def test_machines_of_different_kinds_are_noted(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path)
    path = tmp_path / "cells" / plan(load_suite(small), tmp_path)[1].identity.name / "result.json"
    edit(path, "environment", {"device": "cpu", "dtype": "float32", "machine": "another CPU", "torch": "2.13"})
    suite = load_suite(small)
    assert notes(suite, collect(suite, tmp_path)) == [
        "These cells were run on machines of different kinds: a CPU; another CPU."
    ]


def change_code() -> None:
    path = identity.notebook(identity.TRAINING_NOTEBOOK)
    write_notebook(path, "run_dir = None", "changed = True", STUB)


def test_cells_of_different_code_are_not_mixed(small: str, fast: list, tmp_path: Path) -> None:
    suite = load_suite(small)
    run(suite, tmp_path, jobs=1, only=["full"])
    change_code()
    run(suite, tmp_path, jobs=1, only=["no_center"])
    with pytest.raises(ValueError, match=r"different code .*full 12 bits seed 0 .* and no_center 12 bits seed 0"):
        collect(suite, tmp_path)


def test_cells_of_older_code_are_shown_with_a_note(small: str, fast: list, tmp_path: Path) -> None:
    run_small(small, tmp_path)
    change_code()
    frame = collect(load_suite(small), tmp_path)
    assert len(frame) == 12
    assert notes(load_suite(small), frame) == ["The code has changed since these cells were run."]


def test_cells_of_the_present_code_are_preferred(small: str, fast: list, tmp_path: Path) -> None:
    old = identity.notebook(identity.TRAINING_NOTEBOOK).read_text()
    run_small(small, tmp_path)
    change_code()
    run_small(small, tmp_path)
    identity.notebook(identity.TRAINING_NOTEBOOK).write_text(old)
    assert notes(load_suite(small), collect(load_suite(small), tmp_path)) == []


def test_two_reports_at_a_time_do_not_mix(small: str, fast: list, tmp_path: Path, monkeypatch) -> None:
    run_small(small, tmp_path)
    nbformat.write(nbformat.v4.new_notebook(), identity.NOTEBOOKS / identity.REPORT_NOTEBOOK)
    both = threading.Barrier(2)

    def execute(source, output, parameters) -> None:
        cell = nbformat.v4.new_markdown_cell(f"bits {parameters['settings']['bits']}")
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), output)
        both.wait(30)

    monkeypatch.setattr(report, "execute", execute)
    with ThreadPoolExecutor(2) as executor:
        list(executor.map(lambda bits: report.build_report(small, tmp_path, {"bits": bits}), (12, 48)))
    directory = tmp_path / "reports" / "small"
    bits = {int(value) for value in pd.read_csv(directory / "cells.csv")["bits"]}
    assert len(bits) == 1
    assert f"bits {bits.pop()}" in (directory / "report.html").read_text()
    assert sorted(path.name for path in directory.parent.iterdir()) == [".small.lock", "small"]


def test_missing_cells_of_an_empty_frame_are_all(small: str, tmp_path: Path) -> None:
    suite = load_suite(small)
    assert len(missing_cells(suite, collect(suite, tmp_path))) == 12
