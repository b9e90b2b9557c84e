"""Bits that are independent, equal, opposite or dead are told apart, by closed forms."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.linalg import hadamard

from ablations.bits import balance_figure, bits_of, bits_table, correlation_figure
from ablations.details import Details
from ablations.suite import load_suite
from tests.made_details import made_runs


def with_codes(codes: np.ndarray) -> Details:
    """A run with these codes, half of them of the gallery."""
    parts = dict(zip(("gallery", "queries"), np.array_split(codes, 2), strict=True))
    labels = {part: np.zeros(len(own), int) for part, own in parts.items()}
    return Details({}, {}, None, None, parts, labels, {"queries": ["Ann"]})


def test_independent_bits_are_all_effective() -> None:
    found = bits_of(with_codes(hadamard(16)[:, 1:] > 0))  # each pair agrees on half of the faces
    assert found is not None
    assert (found.effective, found.mean_correlation, found.repeated) == pytest.approx((15, 0, 0))
    assert found.ones.tolist() == [0.5] * 15
    assert not found.dead.any()


def test_bits_that_say_the_same_or_the_opposite_are_one() -> None:
    bit = hadamard(16)[:, 3] > 0
    found = bits_of(with_codes(np.stack([bit, bit, ~bit], 1)))
    assert found is not None
    assert (found.effective, found.mean_correlation, found.repeated) == pytest.approx((1, 1, 2))


def test_the_effective_number_is_that_of_the_eigenvalues() -> None:
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) > 0
    found = bits_of(with_codes(codes))
    assert found is not None
    spectrum = np.linalg.eigvalsh(np.corrcoef(codes.T))
    assert found.effective == pytest.approx(spectrum.sum() ** 2 / (spectrum**2).sum())


@pytest.mark.parametrize("rare", [0, 1, 99, 100])
def test_a_bit_that_is_the_same_for_nearly_everybody_is_dead(rare: int) -> None:
    codes = np.random.default_rng(0).random((100, 4)) < 0.5
    codes[:, 2] = np.arange(100) < rare
    found = bits_of(with_codes(codes))
    assert found is not None
    assert found.dead.tolist() == [False, False, True, False]
    assert found.correlation.shape == (3, 3)
    codes[:, 2] = np.arange(100) < 2
    alive = bits_of(with_codes(codes))
    assert alive is not None and not alive.dead.any()


def test_codes_that_are_all_the_same_have_no_effective_bit() -> None:
    found = bits_of(with_codes(np.ones((10, 4), bool)))
    assert found is not None
    assert (found.effective, found.dead.sum(), np.isnan(found.mean_correlation)) == (0, 4, True)


def test_the_table_has_a_row_for_each_variant_and_point(small: str) -> None:
    suite = load_suite(small)
    runs, details = made_runs(suite, [0, 1])
    table = bits_table(runs, details, suite)
    assert table is not None
    assert table["variant"].tolist() == ["full 12 bits", "no_center 12 bits", "full 48 bits", "no_center 48 bits"]
    own = [bits_of(one) for row, one in zip(runs.to_dict("records"), details, strict=True) if row["bits"] == 48]
    means = [np.mean([one.effective for one in own[i::2] if one]) for i in (0, 1)]
    assert table["effective number"].tolist()[2:] == [f"{mean:.1f}" for mean in means]
    assert bits_table(runs, [None] * len(runs), suite) is None


def test_figures_have_a_panel_for_each_variant_and_a_line_for_each_run(small: str) -> None:
    suite = load_suite(small)
    runs, details = made_runs(suite, [0, 1, 2])
    balance, correlation = (draw(runs, details, suite, {"bits": 48}) for draw in (balance_figure, correlation_figure))
    assert balance is not None and correlation is not None
    assert [(ax.get_title(), len(ax.lines)) for ax in balance.axes] == [("full", 4), ("no_center", 4)]  # and one dashed
    assert [ax.get_title().split("\n")[0] for ax in correlation.axes[:2]] == ["full", "no_center"]
    for fig in (balance, correlation):
        plt.close(fig)
    nothing = [None] * len(runs)
    assert balance_figure(runs, nothing, suite, {"bits": 48}) is None
    assert correlation_figure(runs, nothing, suite, {"bits": 48}) is None


def test_a_figure_of_dead_codes_can_be_drawn(small: str) -> None:
    suite = load_suite(small)
    runs, _ = made_runs(suite, [0])
    fig = correlation_figure(runs, [with_codes(np.ones((10, 4), bool))] * len(runs), suite, {"bits": 12})
    assert fig is not None
    assert fig.axes[0].get_title() == "full\n0 of 4 bits alive"
    plt.close(fig)
