"""Pictures of reports: one look for each variant, the runs one by one, and how figures are shown and kept.

Imported by name, as the plotting library is.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dcbh_core import figures

from .latex import latex_figure
from .suite import REPEATS, SHALLOW, Suite, point_text
from .tables import at_point
from .writing import plain

LEAST_SPAN = 0.02  # of an axis of metrics, so that what hardly differs looks so

MARKERS = "osD^vP*Xp<>hHd8" * 3
DASHES: tuple[Any, ...] = ("-", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))


class Look(NamedTuple):
    """How a variant looks in every figure: matplotlib's color, marker and linestyle."""

    color: Any
    marker: str
    linestyle: Any


def looks(variants: Iterable[str]) -> dict[str, Look]:
    """A look for each variant. More than nine share colors that all eyes tell apart; markers and dashes differ, too."""
    grey = 7  # is left to what is no variant
    colors = [color for place, color in enumerate(sns.color_palette("colorblind", 10)) if place != grey]
    return {
        variant: Look(colors[i % 9], MARKERS[i % len(MARKERS)], DASHES[i // 9 % len(DASHES)])
        for i, variant in enumerate(variants)
    }


@contextlib.contextmanager
def plain_text() -> Iterator[None]:
    """In which a figure is drawn that shows names: a $ in one is no formula."""
    with plt.rc_context({"text.parse_math": False}):
        yield


class Album:
    """The figures of a report: shown one after another and, where it has a directory, kept there as files.

    Args:
        suite: Whose figures they are.
        directory: Of the report; None keeps nothing.
    """

    def __init__(self, suite: Suite, directory: str | os.PathLike[str] | None = None):
        self.suite = suite
        self.directory = None if directory is None else Path(directory) / "figures"
        self.kept: dict[str, str] = {}

    def show(self, fig: Figure | None, name: str, said: str) -> None:
        """Show a figure with its caption, and keep it as ``figures/NAME`` .pdf, .svg and, for ``\\input``, .tex.

        Args:
            fig: The figure, which is closed then; for None one line says that it cannot be drawn.
            name: Of its files.
            said: Its caption in plain text, without the suite's title; also what is read aloud in its place.
        """
        from IPython.display import Markdown, display

        if fig is None:
            display(Markdown(f"*Left out, as these runs have not kept what it needs:* {plain(said)}"))
            return
        # No date and no random names, so that equal figures are equal files.
        with plt.rc_context({"text.parse_math": False, "svg.hashsalt": "dcbh", "pdf.fonttype": 42}):
            bundle: dict[str, Any] = {}
            fig.draw_without_rendering()
            fig.set_layout_engine("none")  # laid out once, and not again for each file
            if self.directory is not None:
                self.directory.mkdir(exist_ok=True)
                svg = io.StringIO()
                fig.savefig(svg, format="svg", bbox_inches="tight", metadata={"Date": None})
                path = self.directory / name
                fig.savefig(f"{path}.pdf", bbox_inches="tight", metadata={"CreationDate": None})
                Path(f"{path}.svg").write_text(svg.getvalue(), "utf-8")
                Path(f"{path}.tex").write_text(latex_figure(self.suite, name, f"{self.suite.title}. {said}"), "utf-8")
                self.kept[name] = said
                bundle["image/svg+xml"] = svg.getvalue()
            bundle["image/png"] = figures.compact(fig).data
        display(bundle, raw=True, metadata={kind: {"alt": said} for kind in bundle})
        file = f" (`figures/{name}.pdf`)" if self.directory is not None else ""
        display(Markdown(f"*{plain(said)}*{file}"))


@plain_text()
def values_by_run(runs: pd.DataFrame, suite: Suite, metric: str, title: str, baseline: float | None = None) -> Figure:
    """A dot for each run, a bar for their mean, side by side for the variants at each grid point.

    The axis fits the runs; a baseline that lies outside is named at its edge.

    Args:
        runs: From ``collect`` or ``recorded``.
        suite: Whose runs they are.
        metric: One of its columns.
        title: Of the axis of values.
        baseline: A value for a dashed line: raw pixels.
    """
    points, variants = suite.points(without=REPEATS), looks(suite.variants)
    width = 0.8 / len(variants)
    size = min(max(6.0, 0.28 * len(points) * len(variants) + 3), 12)
    fig, ax = plt.subplots(figsize=(size, 3.4), layout="constrained")
    for place, point in enumerate(points):
        here = at_point(runs, point)
        for number, (variant, look) in enumerate(variants.items()):
            values = here.loc[here["variant"] == variant, metric].dropna()
            if len(values):
                x = place + (number - (len(variants) - 1) / 2) * width
                ax.plot([x] * len(values), values, linestyle="", marker="o", color=look.color, alpha=0.7, markersize=5)
                ax.hlines(values.mean(), x - 0.4 * width, x + 0.4 * width, color=look.color, linewidth=2.5)
    _fit(ax, runs[metric])
    if baseline is not None:
        low, high = ax.get_ylim()
        if low <= baseline <= high:
            ax.axhline(baseline, color="grey", linestyle="--", linewidth=1, zorder=0)
        else:
            at, arrow = ("top", "↑") if baseline > high else ("bottom", "↓")
            text = f"{arrow} raw pixels {baseline:.3f}"
            note: dict[str, Any] = {"va": at, "color": "0.35", "fontsize": "small", "transform": ax.transAxes}
            ax.text(0.01, 0.98 if at == "top" else 0.02, text, **note)
    ax.set_xticks(range(len(points)), [point_text(point) for point in points])
    ax.set(xlim=(-0.5, len(points) - 0.5), ylabel=title)
    ax.grid(False, axis="x")
    add_legend(fig, variants, lines=False)
    return fig


@plain_text()
def seen_against_unseen(statistics: pd.DataFrame) -> Figure:
    """MAP among people of the training set against MAP among unseen ones, with the half-widths of 95 % intervals.

    Args:
        statistics: From ``tables.seen_and_unseen``; there is a panel for each ``point``, and in it a cross for each
            ``variant``. Shallow methods are grey.
    """
    points = list(dict.fromkeys(statistics["point"]))
    size = (3.4 * len(points) + 2.6, 3.6) if len(points) > 1 else (8.2, 4.8)
    fig, axes = plt.subplots(1, len(points), figsize=size, squeeze=False, sharey=True)
    methods = list(dict.fromkeys(statistics["variant"]))
    styles = looks(method for method in methods if method not in SHALLOW)
    greys = sns.color_palette("Greys", len(SHALLOW) + 3)[3:]
    styles |= {
        method: Look(grey, marker, "")
        for method, grey, marker in zip([m for m in methods if m in SHALLOW], greys, "<>dXP*h", strict=False)
    }
    for ax, point in zip(axes[0], points, strict=True):
        here = statistics[statistics["point"] == point].set_index("variant")
        for method in methods:
            row, look = here.loc[method], styles[method]
            arms = {"xerr": [row["seen_half_width"]], "yerr": [row["unseen_half_width"]], "elinewidth": 1}
            dot = {"color": look.color, "marker": look.marker, "linestyle": ""}
            ax.errorbar([row["seen"]], [row["unseen"]], **arms, **dot, label=method)
        ax.set(xlabel="MAP, seen people", title=point)
    axes[0][0].set_ylabel("MAP, unseen people")
    axes[0][-1].legend(bbox_to_anchor=(1.02, 1), loc="upper left", fontsize="small")
    fig.tight_layout()
    return fig


def add_legend(fig: Figure, variants: dict[str, Look], lines: bool = True) -> None:
    """Name the variants to the right of all panels, where they hide nothing."""
    handles = [
        Line2D([], [], color=look.color, linestyle=look.linestyle if lines else "", marker="" if lines else "o")
        for look in variants.values()
    ]
    fig.legend(handles, list(variants), loc="outside right upper", fontsize="small", frameon=False)


def _fit(ax: Axes, values: pd.Series) -> None:
    """Limits of the axis of values that show where they differ, and not more than that."""
    low, high = values.min(), values.max()
    margin = max(0.12 * (high - low), (LEAST_SPAN - (high - low)) / 2)
    ax.set_ylim(low - margin, high + margin)
