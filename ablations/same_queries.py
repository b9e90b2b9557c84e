"""The same queries under each variant: what all get wrong, on what they differ, with the faces if they are there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dcbh_core import Config, Split, load_split
from dcbh_core.figures import QUERY, RIGHT, WRONG, show_face

from .details import Details
from .figures import plain_text
from .run_directory import QUESTIONS
from .suite import Suite
from .tables import at_point

SEEN = QUESTIONS[0]
PRIVATE = ("folder",)  # data sets whose faces nobody has published


class Answers(NamedTuple):
    """What each variant answers to the same queries, at one grid point and on one split.

    Attributes:
        ap: Average precision of each query, mean over seeds: a row per query, a column per variant.
        wrong: Share of the seeds in which the nearest gallery face, or one of those that tie for it, shows somebody
            else, in the same shape.
        nearest: The gallery face found first by each variant's first seed, of somebody else if one ties for it, as a
            position in the gallery.
        people: Labels of the people on the queries, (queries,).
        names: Of the people, by label.
        faces: ``Split.fingerprint`` of the faces, by which they are found again.
    """

    ap: pd.DataFrame
    wrong: pd.DataFrame
    nearest: pd.DataFrame
    people: np.ndarray
    names: list[str]
    faces: str

    def wrong_for_all(self, count: int) -> list[int]:
        """Queries that every variant gets wrong in most seeds, those first on which even the best is worst."""
        best = self.ap.max(axis=1)[(self.wrong > 0.5).all(axis=1)]
        return [int(query) for query in best.sort_values(kind="stable").index[:count]]

    def most_different(self, count: int) -> list[int]:
        """Queries on which the best and the worst variant lie farthest apart, these first."""
        apart = self.ap.max(axis=1) - self.ap.min(axis=1)
        return [int(query) for query in apart[apart > 0].sort_values(ascending=False, kind="stable").index[:count]]


def answers(
    runs: pd.DataFrame, details: Sequence[Details | None], suite: Suite, point: dict[str, Any]
) -> Answers | None:
    """What the variants answer to the queries of the first question, on the first split of a grid point.

    Returns:
        It, or None where runs have no codes, or the variants have other faces.
    """
    there = at_point(runs.assign(number=range(len(runs))), point)
    if "split_seed" in there:
        there = there[there["split_seed"] == there["split_seed"].min()]
    ap: dict[str, list[np.ndarray]] = {}
    wrong: dict[str, list[np.ndarray]] = {}
    nearest: dict[str, np.ndarray] = {}
    last = None
    for variant, number in zip(there["variant"], there["number"], strict=True):
        detail = details[number]
        evaluation = None if detail is None else detail.evaluations[SEEN]
        if detail is None or evaluation is None:
            continue
        ap.setdefault(variant, []).append(evaluation.ap)
        index, mistaken = _nearest(detail)
        wrong.setdefault(variant, []).append(mistaken)
        nearest.setdefault(variant, index)
        last = detail
    if last is None or there["faces"].nunique() != 1 or "queries" not in last.names:
        return None
    variants = [variant for variant in suite.variants if variant in ap]
    return Answers(
        pd.DataFrame({variant: np.mean(ap[variant], 0) for variant in variants}),
        pd.DataFrame({variant: np.mean(wrong[variant], 0) for variant in variants}),
        pd.DataFrame({variant: nearest[variant] for variant in variants}),
        last.labels["queries"],
        last.names["queries"],
        there["faces"].iloc[0],
    )


def _nearest(details: Details) -> tuple[np.ndarray, np.ndarray]:
    """Position of the gallery face found first for each query, and whether it, or one that ties, is wrong."""
    index, wrong = [], []
    for code, person in zip(details.codes["queries"], details.labels["queries"], strict=True):
        distance = (details.codes["gallery"] != code).sum(1)
        first = np.flatnonzero(distance == distance.min())
        others = first[details.labels["gallery"][first] != person]
        index.append(others[0] if len(others) else first[0])
        wrong.append(len(others) > 0)
    return np.array(index), np.array(wrong)


def may_show(config: Config, wanted: bool | None = None) -> bool:
    """Whether faces and names of a data set are to be shown; where None is wanted: unless it is one's own."""
    return config.dataset not in PRIVATE if wanted is None else wanted


def faces_at_hand(config: Config, fingerprint: str, wanted: bool | None = None) -> Split | None:
    """The faces of runs, if they are on this machine and have not changed; nothing is downloaded.

    Args:
        config: Says where the faces lie.
        fingerprint: ``Split.fingerprint`` of the faces that the runs have seen.
        wanted: As ``may_show`` takes it.
    """
    if not may_show(config, wanted) or (config.dataset == "lfw" and not _lfw_is_here()):
        return None
    try:
        split = load_split(config)
    except (ImportError, OSError, ValueError):
        return None
    return split if split.fingerprint() == fingerprint else None


def _lfw_is_here() -> bool:
    """Whether scikit-learn would find LFW without a download."""
    home = os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")  # as its get_data_home, which makes it
    return (Path(home).expanduser() / "lfw_home" / "lfw_funneled").is_dir()


def answers_table(found: Answers, queries: Sequence[int], named: bool) -> pd.DataFrame:
    """The average precision of queries under each variant, in words.

    Args:
        found: From ``answers``.
        queries: Positions of those that are shown.
        named: Whether people are named; else they have numbers.
    """
    rows = []
    for query in queries:
        label = int(found.people[query])
        who = found.names[label] if named else f"person {label + 1}"
        marks = {name: "✗" if found.wrong[name][query] > 0.5 else "✓" for name in found.ap}
        row = {name: f"{found.ap[name][query]:.2f} {marks[name]}" for name in found.ap}
        rows.append({"query": f"{query}, {who}", **row})
    return pd.DataFrame(rows)


@plain_text()
def answers_figure(found: Answers, queries: Sequence[int], split: Split | None) -> Figure | None:
    """A row for each query: its face, then for each variant the gallery face found first, with the query's AP.

    Right and wrong people differ by the colour of the frame and by a mark.

    Args:
        found: From ``answers``.
        queries: Positions of those that are shown.
        split: The faces; None draws nothing.
    """
    if split is None or not len(queries):
        return None
    variants = list(found.ap)
    columns = len(variants) + 1
    size = (1.25 * columns + 0.9, 1.35 * len(queries) + 0.2)
    fig, axes = plt.subplots(len(queries), columns, figsize=size, squeeze=False, layout="constrained")
    for line, (row, query) in enumerate(zip(axes, queries, strict=True)):
        person = found.people[query]
        show_face(row[0], split.queries.images[query], f"query {query}", QUERY)
        row[0].set_ylabel(found.names[person], rotation=0, ha="right", va="center", fontsize="small")
        for ax, variant in zip(row[1:], variants, strict=True):
            index = found.nearest[variant][query]
            right = split.gallery.labels[index] == person
            title = f"{'✓' if right else '✗'} AP {found.ap[variant][query]:.2f}"
            title = f"{variant}\n{title}" if line == 0 else title
            show_face(ax, split.gallery.images[index], title, RIGHT if right else WRONG)
    return fig
