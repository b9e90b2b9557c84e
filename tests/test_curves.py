"""Curves say what counting says, with a band over runs, and each variant looks the same in all of them."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ablations.curves import KINDS, curves, curves_figure, losses, losses_figure
from ablations.figures import looks
from ablations.suite import Suite, load_suite
from tests.made_details import HISTORY, made_details, made_runs


@pytest.fixture
def suite(small: str) -> Suite:
    return load_suite(small)


def part(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def test_radii_and_the_first_n_are_counted(suite: Suite) -> None:
    one = suite.with_settings({"seed": 0, "bits": 12})
    runs, details = made_runs(one, [0])
    table = curves(runs, details, one)
    here = {"variant": "no_center", "question": "seen", "point": "12 bits"}
    own = details[1]
    assert own is not None
    precision, recall, first = np.zeros(13), np.zeros(13), 0.0
    for code, person in zip(own.codes["queries"], own.labels["queries"], strict=True):
        distance = [sum(a != b for a, b in zip(code, other, strict=True)) for other in own.codes["gallery"]]
        right = [label == person for label in own.labels["gallery"]]
        for radius in range(13):
            found = [hit for hit, apart in zip(right, distance, strict=True) if apart <= radius]
            precision[radius] += sum(found) / max(len(found), 1) / 12
            recall[radius] += sum(found) / sum(right) / 12
        nearest = [hit for hit, apart in zip(right, distance, strict=True) if apart == min(distance)]
        first += sum(nearest) / len(nearest) / 12
    assert part(table, curve="precision_by_radius", **here)["mean"].tolist() == pytest.approx(precision.tolist())
    assert part(table, curve="recall_by_radius", **here)["mean"].tolist() == pytest.approx(recall.tolist())
    at_n = part(table, curve="precision_at_n", **here).set_index("x")["mean"]
    assert (at_n[1], at_n[20]) == pytest.approx((first, 5 / 20))
    line = part(table, curve="precision_recall", **here)
    assert line["mean"].to_numpy() == pytest.approx(np.interp(line["x"], recall, precision))


def test_a_band_reaches_from_the_lowest_run_to_the_highest(suite: Suite) -> None:
    runs, details = made_runs(suite, [0, 1, 2])
    together = curves(runs, details, suite)
    here = {"curve": "recall_by_radius", "variant": "full", "question": "held out", "point": "48 bits"}
    alone = []
    for seed in (0, 1, 2):
        chosen = (runs["seed"] == seed).tolist()
        one = curves(runs[chosen], [d for d, c in zip(details, chosen, strict=True) if c], suite)
        alone.append(part(one, **here)["mean"].to_numpy())
    own = part(together, **here)
    for column, of in (("mean", np.mean), ("low", np.min), ("high", np.max)):
        assert own[column].to_numpy() == pytest.approx(of(alone, axis=0))
    assert (own["low"] < own["high"]).any()


def test_precision_over_recall_begins_where_all_runs_have_begun(suite: Suite) -> None:
    runs, details = made_runs(suite, [0, 1, 2])
    table = part(curves(runs, details, suite), curve="precision_recall", question="seen", point="12 bits")
    firsts = []
    for row, detail in zip(runs.to_dict("records"), details, strict=True):
        if (row["variant"], row["bits"]) == ("full", 12):
            evaluation = next(iter(detail.evaluations.values()))
            firsts.append(evaluation.recall_radius(0))
    assert min(firsts) < max(firsts) - 0.05
    assert 0 <= part(table, variant="full")["x"].min() - max(firsts) < 0.01


def test_runs_without_codes_are_left_out(suite: Suite) -> None:
    runs, details = made_runs(suite, [0, 1])
    assert curves(runs, [None] * len(runs), suite) is None
    some = [None if row["seed"] == 1 else one for row, one in zip(runs.to_dict("records"), details, strict=True)]
    first = (runs["seed"] == 0).tolist()
    alone = curves(runs[first], [one for one in some if one is not None], suite)
    assert curves(runs, some, suite).equals(alone)
    assert curves_figure(None, "precision_recall", suite) is None


@pytest.mark.parametrize("curve", KINDS)
def test_a_figure_has_a_panel_for_each_question_and_point_and_the_same_colors(suite: Suite, curve: str) -> None:
    runs, details = made_runs(suite, [0, 1], unseen=True)
    fig = curves_figure(curves(runs, details, suite), curve, suite)
    assert fig is not None
    fig.canvas.draw()
    titles = [f"{bits} bits, {question}" for question in ("seen", "held out", "unseen") for bits in (12, 48)]
    assert [ax.get_title() for ax in fig.axes] == titles
    for ax in fig.axes:
        assert [line.get_color() for line in ax.lines] == [look.color for look in looks(suite.variants).values()]
        assert len(ax.collections) == 2  # bands
        assert not any("$" in text.get_text() for text in ax.get_xticklabels())
    plt.close(fig)


def test_losses_are_put_together_by_term(suite: Suite) -> None:
    runs, details = made_runs(suite, [0, 1, 2])
    table = losses(runs, details, suite, {"bits": 48})
    own = part(table, term="total", variant="full").set_index("epoch")
    assert own["mean"].tolist() == pytest.approx((HISTORY["total"] + 1).tolist())
    assert own["low"].tolist() == pytest.approx(HISTORY["total"].tolist())
    assert own["high"].tolist() == pytest.approx((HISTORY["total"] + 2).tolist())
    fig = losses_figure(table, suite)
    assert fig is not None
    assert [ax.get_title().split("\n")[0] for ax in fig.axes] == ["classifier on codes", "total"]
    plt.close(fig)
    assert losses(runs, [None] * len(runs), suite, {"bits": 48}) is None
    assert losses_figure(None, suite) is None


def test_losses_over_decades_are_drawn_over_a_logarithm_and_others_not(suite: Suite) -> None:
    runs, details = made_runs(suite, [0])
    steep = HISTORY.assign(code=[300.0, 10.0, 1.0])
    for detail in details:
        object.__setattr__(detail, "history", steep)
    fig = losses_figure(losses(runs, details, suite, {"bits": 12}), suite)
    assert fig is not None
    assert [ax.get_yscale() for ax in fig.axes] == ["log", "linear"]
    fig.canvas.draw()
    assert "100" in [text.get_text() for text in fig.axes[0].get_yticklabels()]
    plt.close(fig)


def test_more_variants_than_colors_still_look_different() -> None:
    found = looks(f"v{i}" for i in range(35))
    assert len({(look.color, look.linestyle) for look in found.values()}) == 35
    assert all(len({found[f"v{a}"].color, found[f"v{b}"].color}) == 2 for a, b in pairwise(range(10)))


def test_curves_of_codes_without_noise_are_perfect(suite: Suite) -> None:
    one = suite.with_settings({"seed": 0, "bits": 48})
    runs, _ = made_runs(one, [0])
    details = [made_details(noise=0.0, bits=48) for _ in range(len(runs))]
    table = part(curves(runs, details, one), variant="full", question="seen")
    assert part(table, curve="recall_by_radius")["mean"].tolist() == [1.0] * 49
    assert part(table, curve="precision_by_radius")["mean"].iloc[0] == 1.0
