"""Small multiples of the code map: one for each variant, with the same people in the same colours."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.linalg import orthogonal_procrustes

from dcbh_core.figures import sample, tsne

from .details import Details
from .figures import plain_text
from .run_directory import QUESTIONS, Question
from .suite import Suite
from .tables import at_point

MOST = 600  # faces on a map
COLORED = 10  # people; more colors are not told apart
ACROSS = 4  # maps in a row
ASKED = {"seen": QUESTIONS[0], "unseen": QUESTIONS[2]}


class Maps(NamedTuple):
    """The maps of the same faces by several variants.

    Attributes:
        places: Variant -> places in the plane, (n, 2), turned so that they lie as those of the first variant do.
        labels: The person on each face, (n,).
        is_query: Which faces are queries, bool (n,).
        shown: Labels of the people in colour, from the one whose queries are the hardest to the easiest.
        names: Of the people, by label.
        scores: Variant -> MAP of the run on the map.
    """

    places: dict[str, np.ndarray]
    labels: np.ndarray
    is_query: np.ndarray
    shown: list[int]
    names: list[str]
    scores: dict[str, float]


def code_maps(
    runs: pd.DataFrame, details: Sequence[Details | None], suite: Suite, point: dict[str, Any], question: Question
) -> Maps | None:
    """t-SNE of the codes of each variant's first run at a grid point.

    Args:
        runs: From ``collect``.
        details: Of each run.
        suite: Whose runs they are.
        point: Without ``REPEATS``.
        question: Whose queries and gallery are on the maps, of ``ASKED``.

    Returns:
        The maps; None where the runs have no codes of such people, or of other faces each.
    """
    parts = (*question.galleries, question.queries)
    there = at_point(runs.assign(number=range(len(runs))), point).sort_values("seed", kind="stable")
    first: dict[str, tuple[Details, dict[Hashable, Any]]] = {}
    for row in there.to_dict("records"):
        detail = details[row["number"]]
        if detail is not None and set(parts) <= set(detail.codes) and row["variant"] not in first:
            first[row["variant"]] = detail, row
    if not first or len({row["faces"] for _, row in first.values()}) > 1:
        return None
    one = next(iter(first.values()))[0]
    gallery, queries = (sample(one.labels[part], MOST // 2) for part in parts)
    labels = np.concatenate([one.labels[parts[0]][gallery], one.labels[parts[1]][queries]])
    places: dict[str, np.ndarray] = {}
    for variant in (name for name in suite.variants if name in first):
        codes = first[variant][0].codes
        own = tsne(np.concatenate([codes[parts[0]][gallery], codes[parts[1]][queries]]))
        places[variant] = _turned(own, next(iter(places.values()), own))
    return Maps(
        places,
        labels,
        np.arange(len(labels)) >= len(gallery),
        _shown([detail for detail, _ in first.values()], question),
        one.names.get(parts[1], []),
        {variant: float(row[f"{question.prefix}map"]) for variant, (_, row) in first.items()},
    )


def _turned(places: np.ndarray, like: np.ndarray) -> np.ndarray:
    """A map turned and mirrored to lie as another one does. Distances stay, and a map has no up or down."""
    own, other = (part - part.mean(0) for part in (places, like))
    return own @ orthogonal_procrustes(own, other)[0]


def _shown(details: Sequence[Details], question: Question) -> list[int]:
    """People from the hardest to the easiest in equal steps, by AP of their queries, mean over the variants."""
    evaluations = [one for detail in details if (one := detail.evaluations[question]) is not None]
    labels = details[0].labels[question.queries]
    if not evaluations:
        return [int(person) for person in np.unique(labels)[:COLORED]]
    ap = pd.Series(np.mean([evaluation.ap for evaluation in evaluations], 0)).groupby(labels).mean()
    order = ap.sort_values(kind="stable").index
    return [int(order[i]) for i in np.linspace(0, len(order) - 1, min(COLORED, len(order))).astype(int)]


@plain_text()
def maps_figure(maps: Maps | None, named: bool) -> Figure | None:
    """A panel for each variant: dots for the gallery, triangles for queries; the people in no colour are grey.

    Args:
        maps: From ``code_maps``.
        named: Whether people are named; else they have numbers.
    """
    if maps is None:
        return None
    columns = min(len(maps.places), ACROSS)
    rows = math.ceil(len(maps.places) / columns)
    size = (2.5 * columns + 1.3, 2.6 * rows)
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    palette = dict(zip(maps.shown, sns.color_palette("tab10", COLORED), strict=False))
    colors = np.array([palette.get(int(label), (0.8, 0.8, 0.8)) for label in maps.labels])
    on_top = np.isin(maps.labels, maps.shown)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (variant, places) in zip(axes.flat, maps.places.items(), strict=False):
        ax.set_axis_on()
        for order, part in enumerate((~on_top, on_top)):
            for query, marker, edge, width in ((False, "o", "none", 0.0), (True, "^", "black", 0.5)):
                which = part & (maps.is_query == query)
                look = {"s": 22 if query else 14, "linewidths": width if order else 0.0, "edgecolors": edge}
                ax.scatter(*places[which].T, c=colors[which], marker=marker, zorder=2 + order, **look)
        ax.set_title(f"{variant}, MAP {maps.scores[variant]:.3f}", fontsize="small")
        ax.set(xticks=[], yticks=[])
        ax.set_aspect("equal", adjustable="datalim")
    handles = [Line2D([], [], color=palette[label], marker="o", linestyle="") for label in maps.shown]
    texts = [maps.names[label] if named and maps.names else f"person {label + 1}" for label in maps.shown]
    handles += [Line2D([], [], color="0.8", marker="o", linestyle="")]
    handles += [Line2D([], [], color="w", marker="^", markeredgecolor="black", linestyle="")]
    fig.legend(handles, [*texts, "others", "query"], loc="outside right upper", fontsize="small", frameon=False)
    return fig
