"""Tables say what the runs of a suite show together: means, differences, how sure they are, and what holds."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from ablations import figures
from ablations.intervals import Bootstrap, Sample, estimate, holm
from ablations.latex import latex_table
from ablations.per_query import PerQuery
from ablations.run_directory import MEMORY
from ablations.suite import Suite, load_suite
from ablations.tables import (
    BEFORE,
    PER_QUERY,
    STAR,
    along,
    before_binarisation,
    caption,
    entry,
    remembering,
    seen_and_unseen,
    summary,
    table,
    tables,
    what_changes,
    with_memory,
)
from ablations.writing import markdown, write_tables
from tests.stub_suite import GRIDS, made_up, write_suite


def test_a_table_counts_the_seeds_of_each_point(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path / "s.yaml", grid=GRIDS))
    frame = pd.DataFrame(
        [
            {"variant": run.variant, **run.point, "map": 0.5, "chance": 0.1, "pixels": 0.2, "descriptor": 0.6}
            for run in suite.runs()
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


def test_a_difference_over_seeds_is_welchs(small: str) -> None:
    """Without the AP of queries there is nothing to be paired: the seeds of two variants have nothing in common."""
    suite = load_suite(small)
    frame = made_up(suite, [0, 1, 2])
    row = row_of(summary(frame.sample(frac=1, random_state=0), suite), "no_center", 12)
    test = scipy.stats.ttest_ind(values_of(frame, "no_center", 12), values_of(frame, "full", 12), equal_var=False)
    low, high = test.confidence_interval(0.95)
    half_width = row["difference_half_width"]
    assert (row["difference"] - half_width, row["difference"] + half_width) == pytest.approx((low, high))
    assert row["p"] == pytest.approx(test.pvalue)


def test_baselines_come_from_the_reference(small: str) -> None:
    suite = load_suite(small)
    statistics = summary(made_up(suite, [0, 1, 2]), suite)
    assert list(statistics["variant"].unique()) == ["chance", "raw pixels", "full", "no_center"]
    row = row_of(statistics, "raw pixels", 12)
    assert row["mean"] == pytest.approx(0.31)
    assert math.isnan(row["half_width"]) and math.isnan(row["difference"])


def test_fewer_than_three_seeds_show_points_and_no_interval(small: str) -> None:
    suite = load_suite(small).with_settings({"seed": [0, 1]})
    frame = made_up(suite, [0, 1])
    statistics = summary(frame, suite)
    assert statistics[["half_width", "difference_half_width"]].isna().all(axis=None)
    text = table(statistics, suite).set_index("variant").loc["no_center", "12 bits, seeds 0 / 1"]
    assert text == " / ".join(f"{value:.3f}" for value in values_of(frame, "no_center", 12))


def test_a_metric_that_is_not_there_is_named(small: str) -> None:
    suite = load_suite(small)
    with pytest.raises(ValueError, match="unknown metric 'mpa'; did you mean 'map'"):
        summary(made_up(suite, [0]), suite, "mpa")


@pytest.fixture
def fixed() -> tuple[Suite, pd.DataFrame]:
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
        "| no_center − full | −0.100 ± 0.227 |",
    ]


def test_a_table_with_missing_seeds_says_so(fixed) -> None:
    suite, frame = fixed
    text = table(summary(frame.iloc[:-1], suite), suite).set_index("variant")["12 bits"]
    assert text["no_center"] == "0.400 / 0.500 (2 of 3 runs)"


def seen_and_unseen_metrics() -> tuple[Suite, pd.DataFrame]:
    """Two methods at two lengths, one of them with shallow methods; unseen people are twice as hard."""
    suite = load_suite("methods_orl").with_settings({"seed": [0, 1, 2], "bits": [12, 48], "split_seed": 0})
    variants = {name: suite.variants[name] for name in ("dcbh", "softmax")}
    suite = dataclasses.replace(suite, variants=variants, tuning=None)
    rows = []
    for run in suite.runs():
        score = 0.6 + run.point["bits"] / 1000 + 0.1 * (run.variant == "softmax") + run.point["seed"] / 100
        metrics = {"map": score, "chance": 0.1, "pixels": 0.2, "descriptor": 0.9}
        if run.variant == "softmax":
            metrics |= {"lsh_pixels": 0.3, "itq_pixels": 0.4, "lsh_descriptor": 0.5, "itq_descriptor": score - 0.05}
        unseen = {f"unseen_{name}": value / 2 for name, value in metrics.items()}
        rows.append({"variant": run.variant, **run.point, **metrics, **unseen})
    return suite, pd.DataFrame(rows)


def test_shallow_methods_are_rows_from_the_softmax_variants_runs() -> None:
    suite, frame = seen_and_unseen_metrics()
    statistics = summary(frame, suite, "unseen_map")
    assert statistics[statistics["bits"] == 12]["variant"].tolist() == [
        *("chance", "raw pixels", "LSH on pixels", "ITQ on pixels"),
        *("LSH on softmax descriptors", "ITQ on softmax descriptors", "dcbh", "softmax"),
    ]
    row = row_of(statistics, "ITQ on softmax descriptors", 48)
    softmax = values_of(frame, "softmax", 48, "unseen_map")
    dcbh = values_of(frame, "dcbh", 48, "unseen_map")
    assert row["values"] == pytest.approx([value - 0.025 for value in softmax])
    assert row["difference"] == pytest.approx(np.mean(softmax) - 0.025 - np.mean(dcbh))


def test_the_questions_stand_side_by_side() -> None:
    suite, frame = seen_and_unseen_metrics()
    frame = frame.assign(held_out_map=frame["map"] - 0.1)
    text = tables(frame, suite)
    titles = {"map": "seen", "held_out_map": "held out", "unseen_map": "unseen"}
    assert list(text.columns) == [
        "variant",
        *(f"{bits} bits, {title}" for bits in (12, 48) for title in titles.values()),
    ]
    for metric, title in titles.items():
        alone = table(summary(frame, suite, metric), suite).set_index("variant")
        for bits in ("12 bits", "48 bits"):
            beside = text.set_index("variant")[f"{bits}, {title}"].str.removesuffix(f" {STAR}")
            for label, value in alone[bits].str.removesuffix(f" {STAR}").items():
                assert beside[label] == value


def test_a_metric_of_one_question_is_a_table_of_that_question() -> None:
    suite, frame = seen_and_unseen_metrics()
    expected = table(summary(frame, suite, "unseen_map"), suite)
    pd.testing.assert_frame_equal(tables(frame, suite, "unseen_map"), expected)


def test_without_unseen_people_there_is_one_column_for_each_point(small: str) -> None:
    suite = load_suite(small)
    frame = made_up(suite, [0, 1, 2])
    pd.testing.assert_frame_equal(tables(frame, suite), table(summary(frame, suite), suite))


def test_the_figure_of_seen_against_unseen_shows_every_method_but_the_baselines() -> None:
    suite, frame = seen_and_unseen_metrics()
    rows = seen_and_unseen(frame, suite)
    there = ("LSH on pixels", "ITQ on pixels", "LSH on softmax descriptors", "ITQ on softmax descriptors")
    assert set(rows["variant"]) == {"dcbh", "softmax", *there}
    assert rows["point"].unique().tolist() == ["12 bits", "48 bits"]
    row = next(r for _, r in rows.iterrows() if r["variant"] == "dcbh" and r["point"] == "48 bits")
    of_dcbh = row_of(summary(frame, suite, "unseen_map"), "dcbh", 48)
    assert (row["unseen"], row["unseen_half_width"]) == (of_dcbh["mean"], of_dcbh["half_width"])
    assert row["seen"] == pytest.approx(2 * row["unseen"])
    panels = figures.seen_against_unseen(rows).axes
    assert [ax.get_title() for ax in panels] == ["12 bits", "48 bits"]
    assert all(len(ax.containers) == 6 for ax in panels)


def test_the_caption_says_over_what_and_how_many(small: str) -> None:
    suite, frame = seen_and_unseen_metrics()
    rest = "below the variants, their differences to dcbh, with a star where they hold together by Holm's procedure"
    over = "MAP (mean over 3 runs ± half-width of its 95 % interval over"
    assert caption(suite, frame) == f"{over} seeds); {rest}"
    frame[PER_QUERY] = [per_query({"map": [0.5, 0.6]}) for _ in range(len(frame))]
    assert caption(suite, frame) == f"{over} people and seeds); {rest}"
    two = load_suite(small).with_settings({"seed": [0, 1]})
    assert caption(two, made_up(two, [0, 1]), "descriptor") == (
        "descriptor (fewer than three runs: their values one after another, and no interval); below the variants, "
        "their differences to full"
    )


def test_pairs_of_values_are_named_by_what_varies(small: str) -> None:
    """A seed or a split, in the order of the values; three values need no names, nor does one."""
    suite = load_suite(small)
    columns = {}
    for name, settings in {
        "seeds": {"seed": [3, 1]},
        "splits": {"seed": 0, "split_seed": [5, 4]},
        "one": {"seed": 0},
        "four": {"seed": [0, 1], "split_seed": [0, 1]},
    }.items():
        own = suite.with_settings({**settings, "bits": 12})
        frame = pd.DataFrame([{"variant": r.variant, **r.point, "map": 0.1 + r.point["seed"]} for r in own.runs()])
        text = table(summary(frame.assign(chance=0.1, pixels=0.2), own), own)
        columns[name] = text.columns[1]
        if name == "seeds":
            assert text.set_index("variant").loc["full"].tolist() == ["1.100 / 3.100"]
    assert columns == {
        "seeds": "12 bits, seeds 1 / 3",
        "splits": "12 bits, split seeds 4 / 5",
        "one": "12 bits",
        "four": "12 bits",
    }


def test_columns_of_numbers_stand_to_the_right_and_texts_to_the_left() -> None:
    frame = pd.DataFrame({"a": ["x"] * 3, "b": ["0.1 / 0.2", "–", ""], "c": ["orl", "3", ""], "d": ["−1", "+2 ★", "3"]})
    assert markdown(frame).splitlines()[1] == "| --- | ---: | --- | ---: |"


def test_what_a_variant_changes_is_said_in_words(tmp_path: Path) -> None:
    variants = {"dcbh": {}, "csq": {"objective": "csq"}, "direct": {"head": "direct"}}
    words = what_changes(load_suite(write_suite(tmp_path / "s.yaml", variants=variants)))
    assert words["variant"].tolist() == list(variants)
    assert words["what"].tolist() == [
        "the reference",
        "head = direct, block_size = none, objective = csq, feature_weight = none, quantization_weight = 0.0001, "
        "quantization_target = none, center_weight = none",
        "head = direct, block_size = none",
    ]


def test_variants_without_the_reference_are_shown_without_differences(small: str) -> None:
    suite = load_suite(small)
    frame = made_up(suite, [0, 1, 2])
    statistics = summary(frame[frame["variant"] != "full"], suite)
    assert (row_of(statistics, "full", 12)["n"], row_of(statistics, "no_center", 12)["n"]) == (0, 3)
    assert math.isnan(row_of(statistics, "no_center", 12)["difference"])


def test_written_tables_hold_seen_and_unseen(tmp_path: Path) -> None:
    suite, frame = seen_and_unseen_metrics()
    write_tables(tmp_path, frame, suite)
    assert markdown(tables(frame, suite)) in (tmp_path / "table.md").read_text()
    assert latex_table(frame, suite) == (tmp_path / "table.tex").read_text()
    rows = pd.read_csv(tmp_path / "summary.csv")
    assert rows["question"].unique().tolist() == ["seen", "unseen"]
    assert len(rows) == 2 * len(summary(frame, suite))


# With the AP of queries.


def per_query(ap: dict[str, list[float]]) -> PerQuery:
    """AP of queries, two of each person."""
    people = np.array([f"person {i // 2}" for i in range(max(map(len, ap.values())))])
    return PerQuery(
        {metric: np.array(values) for metric, values in ap.items()}, {"queries": people, "new_queries": people}
    )


@pytest.fixture
def by_query() -> tuple[Suite, pd.DataFrame]:
    """`full` and three others on two splits with three seeds: +0.1 on each query, +-0.3 by person, and the same."""
    suite = load_suite("orl_quick").with_settings({"bits": 12, "seed": [0, 1, 2], "split_seed": [0, 1]})
    variants = {"full": {}, "above": {"center_weight": 0}, "mixed": {"head": "fc"}, "equal": {"width": 0.5}}
    suite = dataclasses.replace(suite, variants=variants, base={**suite.base, "width": 0.25})
    rng = np.random.default_rng(0)
    hard = {split: rng.uniform(0.2, 0.6, 60) for split in (0, 1)}
    rows = []
    for run in suite.runs():
        split = run.point["split_seed"]
        ap = hard[split] + rng.normal(0, 0.01, 60)
        ap += {"above": 0.1, "mixed": np.repeat(rng.choice([-0.3, 0.3], 30), 2) * 0.3}.get(run.variant, 0.0)
        after = ap + (0.05 if run.variant == "mixed" else 0.0)
        row = {
            "variant": run.variant,
            **run.point,
            "map": ap.mean(),
            "memory": after.mean(),
            "chance": 0.1,
            "pixels": 0.2,
        }
        baselines = {"chance": [0.05, 0.15] * 30, "pixels": [0.1, 0.3] * 30}
        rows.append({**row, PER_QUERY: per_query({"map": ap.tolist(), "memory": after.tolist(), **baselines})})
    return suite, pd.DataFrame(rows)


def test_intervals_are_the_bootstraps_where_there_is_ap(by_query) -> None:
    suite, frame = by_query
    row = row_of(summary(frame, suite), "above", 12)
    assert row["n"] == 6
    mean = {variant: np.mean(values_of(frame, variant, 12)) for variant in ("full", "above")}
    assert row["mean"] == pytest.approx(mean["above"])
    assert row["difference"] == pytest.approx(mean["above"] - mean["full"])
    samples = {
        name: [
            Sample(one["split_seed"], one["map"], *one[PER_QUERY].of("map"))
            for one in frame[frame["variant"] == name].sort_values(["split_seed", "seed"]).to_dict("records")
        ]
        for name in mean
    }
    bootstrap = Bootstrap([f"person {i}" for i in range(30)], seed=1)
    draws = {name: bootstrap.means(own) for name, own in samples.items()}
    other = estimate(samples["above"], samples["full"], draws["above"] - draws["full"])
    assert row["difference_half_width"] == pytest.approx(other.half_width, rel=0.05)  # by other draws
    assert row["half_width"] > 3 * row["difference_half_width"]  # other people are harder for all


@pytest.mark.parametrize("columns", [[], [PER_QUERY]], ids=["by query", "over seeds"])
def test_a_difference_is_over_the_splits_that_both_have(by_query, columns: list[str]) -> None:
    suite, frame = by_query
    frame = frame.drop(columns=columns)
    both = summary(frame[frame["split_seed"] == 0], suite)
    part = summary(frame[(frame["split_seed"] == 0) | (frame["variant"] != "full")], suite)
    row, expected = row_of(part, "above", 12), row_of(both, "above", 12)
    assert (row["n"], row_of(part, "full", 12)["n"]) == (6, 3)
    assert row["difference"] == pytest.approx(expected["difference"])
    assert row["difference_half_width"] == pytest.approx(expected["difference_half_width"], rel=0.1)  # other draws
    assert row["mean"] == pytest.approx(np.mean(values_of(frame, "above", 12)))
    elsewhere = summary(frame[(frame["split_seed"] == 0) == (frame["variant"] == "full")], suite)
    assert math.isnan(row_of(elsewhere, "above", 12)["difference"])


def test_pixels_are_as_uncertain_as_people_and_chance_is_not(by_query) -> None:
    suite, frame = by_query
    statistics = summary(frame, suite)
    assert math.isnan(row_of(statistics, "chance", 12)["half_width"])
    assert not math.isnan(row_of(statistics, "raw pixels", 12)["half_width"])
    assert math.isnan(row_of(statistics, "raw pixels", 12)["difference"])


def test_a_star_is_at_what_holds(by_query) -> None:
    suite, frame = by_query
    text = table(summary(frame, suite), suite).set_index("variant")["12 bits"]
    assert [text[f"{name} − full"].endswith(STAR) for name in ("above", "mixed", "equal")] == [True, False, False]
    assert not any(text[name].endswith(STAR) for name in ("full", "above"))
    statistics = summary(frame, suite)
    expected = holm(statistics["p"].tolist())
    assert [bool(held) for held in expected] == [label == "above" for label in statistics["variant"]]


def test_holm_counts_all_columns_of_a_table(by_query) -> None:
    """What holds alone may not hold beside many other comparisons."""
    suite, frame = by_query
    statistics = summary(frame, suite)
    one = statistics.assign(p=[0.04 if label == "above" else math.nan for label in statistics["variant"]], question="a")
    other = one.assign(p=[0.5 if label == "above" else math.nan for label in statistics["variant"]], question="b")
    alone = table(one, suite).set_index("variant").loc["above − full", "12 bits, a"]
    beside = table(pd.concat([one, other]), suite).set_index("variant").loc["above − full", "12 bits, a"]
    assert alone == f"{beside} {STAR}"


def test_where_some_runs_have_no_ap_intervals_are_over_seeds(by_query) -> None:
    """As where one recorded part is from before AP was kept; nothing is there, or what pandas puts there."""
    suite, frame = by_query
    expected = summary(frame.drop(columns=PER_QUERY), suite)
    for nothing in (None, math.nan):
        frame[PER_QUERY] = [nothing if row["seed"] == 0 else row[PER_QUERY] for _, row in frame.iterrows()]
        pd.testing.assert_frame_equal(summary(frame, suite), expected)
        assert "interval over seeds)" in caption(suite, frame)


def test_a_variant_with_a_memory_of_its_own_changes_nothing_by_one(by_query) -> None:
    suite, frame = by_query
    others = [name for name in suite.variants if name != "above"]
    before = with_memory(frame, suite)
    frame.loc[frame["variant"] == "above", "memory"] = math.nan
    text = with_memory(frame, suite)
    assert text is not None and before is not None
    seen, whole = (one.set_index("variant")["seen"] for one in (text, before))
    assert seen["above 12 bits"] == "–"
    assert [seen[f"{name} 12 bits"] for name in others] == [whole[f"{name} 12 bits"] for name in others]


def test_what_a_memory_changes_is_measured_within_each_run(by_query) -> None:
    suite, frame = by_query
    text = with_memory(frame, suite)
    assert text is not None
    seen = text.set_index("variant")["seen"]
    mean = np.mean(values_of(frame, "mixed", 12, "memory"))
    assert seen["mixed 12 bits"] == f"{mean:.3f} (+0.050 ± 0.000) {STAR}"  # on each query, whoever is drawn
    assert seen["full 12 bits"].endswith("(+0.000 ± 0.000)")
    assert with_memory(frame.drop(columns="memory"), suite) is None


def test_along_an_axis_each_variant_is_compared_with_itself(by_query) -> None:
    suite, frame = by_query
    widths = dict(zip(suite.variants, (0.1, 0.2, 0.3, 0.4), strict=True))
    grid = {**suite.grid, "width": list(widths.values())}
    one = dataclasses.replace(suite, variants={"full": {}}, grids=[grid], base={"dataset": "orl"})
    changes = along(frame.assign(width=frame["variant"].map(widths), variant="full"), one, "width")
    assert list(changes["variant"]) == [f"full 12 bits width {width}" for width in (0.2, 0.3, 0.4)]
    for name, text in zip(("above", "mixed", "equal"), changes["seen"], strict=True):
        expected = row_of(summary(frame, suite), name, 12)
        assert text.startswith(f"{expected['mean']:.3f} ({expected['difference']:+.3f} ± ".replace("-", "−"))
        assert text.endswith(STAR) == (name == "above")


def test_with_a_memory_each_variant_stands_once_more_and_is_compared_as_any_other(by_query) -> None:
    suite, frame = by_query
    both, twice = remembering(frame, suite)
    assert list(twice.variants) == [*suite.variants, *(f"{name} with memory" for name in suite.variants)]
    assert twice.variants["mixed with memory"]["memory"] == MEMORY
    statistics = summary(both, twice)
    for name in suite.variants:
        assert row_of(statistics, name, 12)["mean"] == pytest.approx(row_of(summary(frame, suite), name, 12)["mean"])
        row = row_of(statistics, f"{name} with memory", 12)
        assert sorted(row["values"]) == sorted(values_of(frame, name, 12, "memory"))
    row, own = (row_of(statistics, name, 12) for name in ("mixed with memory", "mixed"))
    assert row["difference"] == pytest.approx(own["difference"] + 0.05)
    assert row["difference_half_width"] == pytest.approx(own["difference_half_width"], rel=0.1)  # by other draws
    with pytest.raises(ValueError, match="memory"):
        remembering(frame.drop(columns="memory"), suite)
    with pytest.raises(ValueError, match="variant 'above with memory' has the name of another one with a memory"):
        remembering(both, twice)


def test_with_a_memory_runs_may_have_asked_different_questions(by_query) -> None:
    """As where ``new_people`` is an axis: those without such people have no AP of theirs."""
    suite, frame = by_query
    some = frame["variant"] != "above"
    frame.loc[some, ["unseen_map", "unseen_memory"]] = frame.loc[some, ["map", "memory"]].to_numpy() / 2
    both, _ = remembering(frame, suite)
    assert both["unseen_map"].notna().sum() == 2 * some.sum()


def test_what_rounds_to_nothing_has_no_minus() -> None:
    assert entry((1.0,) * 3, -0.0001, 0.002) == "0.000 ± 0.002"


def test_what_binarisation_costs_is_a_row_for_each_variant(small: str) -> None:
    suite = load_suite(small)
    frame = made_up(suite, [0, 1, 2])
    assert before_binarisation(frame, suite) is None
    frame = frame.assign(asymmetric=frame["map"] + 0.1, descriptor_cosine=0.7)
    text = before_binarisation(frame, suite)
    assert text is not None
    row = text.set_index("variant").loc["no_center 48 bits"]
    means = [np.mean(values_of(frame, "no_center", 48, column)) for column in BEFORE.values()]
    assert row.tolist() == [f"{mean:.3f}" for mean in means]
    assert list(row.index) == [f"seen: {title}" for title in BEFORE]
