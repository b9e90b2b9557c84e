"""Does every bit earn its place? How balanced the bits of each variant are, which are dead, what they share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .details import Details
from .figures import looks, plain_text
from .suite import REPEATS, Suite, point_text
from .tables import at_point

DEAD = 0.02  # a bit is dead where fewer of the faces have the one of its two values
SAME = 0.9  # correlation above which a bit repeats an earlier one
ACROSS = 5  # panels in a row


class Bits(NamedTuple):
    """The bits of one run over its known people's gallery and queries.

    Attributes:
        ones: Share of faces with a 1 in each bit, (bits,).
        correlation: Of the bits that are not dead, (alive, alive).
    """

    ones: np.ndarray
    correlation: np.ndarray

    @property
    def dead(self) -> np.ndarray:
        """Which bits are the same for nearly everybody, (bits,)."""
        return np.minimum(self.ones, 1 - self.ones) < DEAD

    @property
    def repeated(self) -> int:
        """How many bits say, or deny, what an earlier one says."""
        return int(np.triu(np.abs(self.correlation) > SAME, 1).any(0).sum())

    @property
    def effective(self) -> float:
        """How many uncorrelated bits would spread the faces as evenly: (sum l)^2 / sum l^2 over eigenvalues l."""
        if not len(self.correlation):
            return 0.0
        return float(np.trace(self.correlation) ** 2 / (self.correlation**2).sum())

    @property
    def mean_correlation(self) -> float:
        """Of two different bits, without its sign."""
        pairs = np.abs(self.correlation[np.triu_indices(len(self.correlation), 1)])
        return float(pairs.mean()) if len(pairs) else math.nan


def bits_of(details: Details | None) -> Bits | None:
    """The bits of a run, None where it has kept no codes."""
    if details is None or not {"gallery", "queries"} <= set(details.codes):
        return None
    codes = np.concatenate([details.codes["gallery"], details.codes["queries"]]).astype(float)
    ones = codes.mean(0)
    alive = codes[:, np.minimum(ones, 1 - ones) >= DEAD]
    return Bits(ones, np.atleast_2d(np.corrcoef(alive.T)) if alive.shape[1] else np.zeros((0, 0)))


def bits_table(runs: pd.DataFrame, details: Sequence[Details | None], suite: Suite) -> pd.DataFrame | None:
    """Balance, dead and repeated bits, effective number and correlation, as means over runs in words.

    Returns:
        A row for each grid point and variant; None where no run has codes.
    """
    rows = []
    for point in suite.points(without=REPEATS):
        own = _at(runs, details, point)
        for variant in suite.variants:
            if variant in own:
                label = " ".join(filter(None, (variant, point_text(point))))
                rows.append({"variant": label, **_row(own[variant])})
    return pd.DataFrame(rows) if rows else None


def _at(runs: pd.DataFrame, details: Sequence[Details | None], point: dict[str, Any]) -> dict[str, list[Bits]]:
    """The bits of the runs at a grid point that have codes, by variant."""
    there = at_point(runs.assign(number=range(len(runs))), point)
    found: dict[str, list[Bits]] = {}
    for variant, number in zip(there["variant"], there["number"], strict=True):
        if (own := bits_of(details[number])) is not None:
            found.setdefault(variant, []).append(own)
    return found


def _row(own: list[Bits]) -> dict[str, str]:
    """The columns of ``bits_table`` for the runs of one variant at one point."""
    lowest, highest = min(one.ones.min() for one in own), max(one.ones.max() for one in own)
    return {
        "share of ones": f"{np.mean([one.ones.mean() for one in own]):.2f}",
        "of single bits": f"{lowest:.2f} to {highest:.2f}",
        "dead": f"{np.mean([one.dead.sum() for one in own]):.1f}",
        "repeated": f"{np.mean([one.repeated for one in own]):.1f}",
        "effective number": f"{np.mean([one.effective for one in own]):.1f}",
        "mean correlation": f"{np.mean([one.mean_correlation for one in own]):.2f}",
    }


@plain_text()
def balance_figure(
    runs: pd.DataFrame, details: Sequence[Details | None], suite: Suite, point: dict[str, Any]
) -> Figure | None:
    """The share of ones of each bit of each run at a grid point, in the order of the share, a line for each run."""
    own = _at(runs, details, point)
    variants = {name: look for name, look in looks(suite.variants).items() if name in own}
    if not variants:
        return None
    columns = min(len(variants), ACROSS)
    rows = math.ceil(len(variants) / columns)
    shape: dict[str, Any] = {"squeeze": False, "sharey": True, "sharex": True, "layout": "constrained"}
    fig, axes = plt.subplots(rows, columns, figsize=(2.2 * columns + 0.6, 2.1 * rows + 0.2), **shape)
    for ax, (variant, look) in zip(axes.flat, variants.items(), strict=False):
        for one in own[variant]:
            ax.plot(np.arange(1, len(one.ones) + 1), np.sort(one.ones), color=look.color, alpha=0.8, linewidth=1.4)
        ax.axhline(0.5, color="0.3", linestyle="--", linewidth=1)
        ax.set_title(variant, fontsize="small")
        ax.set_ylim(-0.03, 1.03)
    for ax in axes.flat[len(variants) :]:
        ax.set_axis_off()
    fig.supylabel("share of faces with a 1", fontsize="small")
    fig.supxlabel("bits, from the rarest to the most frequent", fontsize="small")
    return fig


@plain_text()
def correlation_figure(
    runs: pd.DataFrame, details: Sequence[Details | None], suite: Suite, point: dict[str, Any]
) -> Figure | None:
    """The correlations of the bits of each variant's first run at a grid point that are not dead."""
    own = _at(runs, details, point)
    variants = [name for name in suite.variants if name in own]
    if not variants:
        return None
    columns = min(len(variants), ACROSS)
    rows = math.ceil(len(variants) / columns)
    shape: dict[str, Any] = {"squeeze": False, "layout": "constrained"}
    fig, axes = plt.subplots(rows, columns, figsize=(2.1 * columns + 0.9, 2.2 * rows), **shape)
    for ax in axes.flat:
        ax.set_axis_off()
    image = None
    for ax, variant in zip(axes.flat, variants, strict=False):
        first = own[variant][0]
        matrix = first.correlation
        ax.set_title(f"{variant}\n{len(matrix)} of {len(first.ones)} bits alive", fontsize="small")
        if len(matrix):
            image = ax.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    if image is not None:
        fig.colorbar(image, ax=axes, label="correlation", shrink=0.8)
    return fig
