"""Curves of a report: precision and recall over everything that they are drawn over, and losses over epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from dcbh_core import Evaluation
from dcbh_core.figures import TERM_TITLES

from .details import Details
from .figures import Look, add_legend, looks, plain_text
from .run_directory import QUESTIONS
from .suite import REPEATS, Suite, point_text
from .tables import at_point

ASKED = QUESTIONS[:3]  # the open ones would double the figures
RECALLS = np.linspace(0, 1, 101)
MOST = 1000  # items from the top
RADIUS = "Hamming radius"
BAND = ["mean", "low", "high"]


class Kind(NamedTuple):
    """A kind of curve.

    Attributes:
        x: What it is over.
        y: What it shows.
    """

    x: str
    y: str


KINDS = {
    "precision_recall": Kind("recall", "precision"),
    "precision_at_n": Kind("N, faces from the top", "precision at N"),
    "precision_by_radius": Kind(RADIUS, "precision"),
    "recall_by_radius": Kind(RADIUS, "recall"),
}


def curves(runs: pd.DataFrame, details: Sequence[Details | None], suite: Suite) -> pd.DataFrame | None:
    """The curves of all runs, put together over seeds and splits.

    Precision over recall is a line through the radii of ``Evaluation.pr_curve``, from the smallest recall that all runs
    of a variant reach.

    Args:
        runs: From ``collect``.
        details: Of each run.
        suite: Whose runs they are.

    Returns:
        A row for each ``curve`` (of ``KINDS``), ``question``, ``point`` (in words), ``variant`` and ``x``, with the
        ``mean`` over runs and the ``low``est and ``high``est run; None where no run has codes.
    """
    parts = []
    for row, detail in zip(runs.to_dict("records"), details, strict=True):
        for question in ASKED if detail is not None else ():
            assert detail is not None
            evaluation = detail.evaluations[question]
            if evaluation is None:
                continue
            point = point_text({field: row[field] for field in suite.grid if field not in REPEATS})
            for curve, (x, y) in _of_evaluation(evaluation).items():
                place = {"curve": curve, "question": question.title, "point": point, "variant": row["variant"]}
                parts.append(pd.DataFrame({**place, "x": x, "y": y}))
    if not parts:
        return None
    keys = ["curve", "question", "point", "variant"]
    together = pd.concat(parts).groupby([*keys, "x"], sort=False)["y"].agg(["mean", "min", "max", "count"])
    together = together.set_axis([*BAND, "count"], axis=1).reset_index()
    whole = together["count"] == together.groupby(keys)["count"].transform("max")
    return together[whole].drop(columns="count").reset_index(drop=True)


def _of_evaluation(evaluation: Evaluation) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Each kind of curve of one run: x and y."""
    radii, curve = np.arange(evaluation.bits + 1), evaluation.pr_curve()
    numbers = np.unique(np.geomspace(1, min(MOST, int(evaluation.retrieved[0].sum())), 40).round().astype(int))
    return {
        "precision_recall": (RECALLS, np.interp(RECALLS, curve.recall, curve.precision, left=math.nan)),
        "precision_at_n": (numbers, np.array([evaluation.precision_at(int(n)) for n in numbers])),
        "precision_by_radius": (radii, curve.precision),
        "recall_by_radius": (radii, curve.recall),
    }


@plain_text()
def curves_figure(table: pd.DataFrame | None, curve: str, suite: Suite) -> Figure | None:
    """One kind of curve: a row of panels for each question, a column for each grid point, a band for each variant.

    Args:
        table: From ``curves``.
        curve: Of ``KINDS``.
        suite: Whose curves they are.
    """
    if table is None:
        return None
    own, kind = table[table["curve"] == curve], KINDS[curve]
    questions, points = (list(dict.fromkeys(own[field])) for field in ("question", "point"))
    points = [point for point in map(point_text, suite.points(without=REPEATS)) if point in points]
    shape = {"squeeze": False, "sharey": True, "layout": "constrained"}
    size = (2.7 * len(points) + 1.5, 2.1 * len(questions) + 0.5)
    fig, axes = plt.subplots(len(questions), len(points), figsize=size, **shape)  # type: ignore[call-overload]
    variants = looks(suite.variants)
    for row, question in zip(axes, questions, strict=True):
        for ax, point in zip(row, points, strict=True):
            here = own[(own["question"] == question) & (own["point"] == point)]
            for variant, look in variants.items():
                _band(ax, here[here["variant"] == variant], look)
            ax.set_title(", ".join(text for text in (point, question) if text), fontsize="small")
            ax.set_ylim(-0.03, 1.03)
            if curve == "precision_at_n":
                _logarithmic(ax.xaxis, ax.set_xscale, (1,))
            elif kind.x == RADIUS:
                ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        row[0].set_ylabel(kind.y)
    for ax in axes[-1]:
        ax.set_xlabel(kind.x)
    add_legend(fig, variants)
    return fig


def losses(
    runs: pd.DataFrame, details: Sequence[Details | None], suite: Suite, point: dict[str, Any]
) -> pd.DataFrame | None:
    """The training curves at a grid point, put together over seeds and splits.

    Args:
        runs: From ``collect``.
        details: Of each run.
        suite: Whose runs they are.
        point: Without ``REPEATS``.

    Returns:
        A row for each ``term`` of the losses, ``variant`` and ``epoch``, with ``mean``, ``low`` and ``high`` over
        runs; None where no run has a history.
    """
    there = at_point(runs.assign(number=range(len(runs))), point)
    parts = []
    for variant, number in zip(there["variant"], there["number"], strict=True):
        detail = details[number]
        if detail is not None and detail.history is not None:
            parts.append(detail.history.melt("epoch", var_name="term", value_name="value").assign(variant=variant))
    if not parts:
        return None
    together = pd.concat(parts).groupby(["term", "variant", "epoch"], sort=False)["value"].agg(["mean", "min", "max"])
    return together.set_axis(BAND, axis=1).reset_index()


@plain_text()
def losses_figure(table: pd.DataFrame | None, suite: Suite) -> Figure | None:
    """A panel for each term of the losses over epochs, before its weight, with a band for each variant that has it."""
    if table is None:
        return None
    terms = list(dict.fromkeys(table["term"]))
    columns = min(len(terms), 3)
    rows = math.ceil(len(terms) / columns)
    size = (2.6 * columns + 1.5, 2.2 * rows + 0.3)
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    variants = looks(suite.variants)
    for ax, term in zip(axes.flat, terms, strict=False):
        own = table[table["term"] == term]
        for variant, look in variants.items():
            _band(ax, own[own["variant"] == variant].rename(columns={"epoch": "x"}), look)
        if own["low"].min() > 0 and own["high"].max() > 30 * own["low"].min():
            _logarithmic(ax.yaxis, ax.set_yscale, (1, 2, 5))
        ax.set_title(TERM_TITLES.get(term, term), fontsize="small")
        ax.set_xlabel("epoch")
    for ax in axes.flat[len(terms) :]:
        ax.set_axis_off()
    add_legend(fig, variants)
    return fig


def _band(ax: Axes, table: pd.DataFrame, look: Look) -> None:
    """A line for the means of a variant, and a band from its lowest run to its highest."""
    if len(table):
        x, mean, low, high = (table[column].to_numpy(float) for column in ("x", *BAND))
        ax.fill_between(x, low, high, color=look.color, alpha=0.2, linewidth=0)
        ax.plot(x, mean, color=look.color, linestyle=look.linestyle, linewidth=1.6)


def _logarithmic(axis: Any, set_scale: Any, marked: Sequence[int]) -> None:
    """A logarithmic axis with ticks at ``marked`` in each decade, written out, as powers would be formulas."""
    set_scale("log")
    axis.set_major_locator(LogLocator(subs=marked, numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
