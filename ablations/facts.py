"""The facts of a report in words: what was run, what each variant is and costs, and the metrics beside MAP."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from .details import Details
from .run_directory import QUESTIONS, RADIUS, TOP
from .suite import REPEATS, Suite, as_yaml, point_text
from .tables import at_point, entry, metrics_of, missing_runs, summary, what_changes

# Of the config, what a reader wants to know first.
SETTINGS = ("recipe", "epochs", "batch_size", "learning_rate", "weight_decay", "augment", "width", "block_size")
# Metrics beside MAP, and their titles.
MORE = {
    f"map_at_{TOP}": f"MAP of the {TOP} nearest",
    f"precision_at_{TOP}": f"precision at {TOP}",
    f"precision_radius_{RADIUS}": f"precision within Hamming radius {RADIUS}",
    f"recall_radius_{RADIUS}": f"recall within Hamming radius {RADIUS}",
}


def what_was_run(runs: pd.DataFrame, details: Sequence[Details | None], suite: Suite) -> pd.DataFrame:
    """Data, people, faces, settings, seeds and machine, each in a row: ``what`` and ``value``.

    A setting that variants do not share is listed with them.
    """
    configs = [(run.variant, run.config.resolved().portable()) for run in suite.runs()]
    names = ("dataset", "scored_on", *SETTINGS)
    settings = {name: _shared([(variant, config.get(name)) for variant, config in configs]) for name in names}
    rows = {"data set": settings["dataset"]}
    known = [one for one in details if one is not None and one.labels]
    if known:
        rows["people"] = _range(len(one.names.get("queries", ())) for one in known) + " in training"
        if any("new_queries" in one.names for one in known):
            rows["people"] += f", {_range(len(one.names.get('new_queries', ())) for one in known)} kept out of it"
        for part, title in (("gallery", "gallery"), ("queries", "queries")):
            rows[title] = _range(len(one.labels[part]) for one in known if part in one.labels)
            unseen = [len(one.labels[f"new_{part}"]) for one in known if f"new_{part}" in one.labels]
            rows[title] += f", and {_range(unseen)} of unseen people" if unseen else ""
    elif "gallery" in runs:
        rows["gallery"] = _range(runs["gallery"].dropna().astype(int))
    if settings["scored_on"] != "queries":
        rows["scored on"] = settings["scored_on"]
    rows |= {name.replace("_", " "): settings[name] for name in SETTINGS}
    for field, values in suite.grid.items():
        rows[{"seed": "seeds", "split_seed": "split seeds"}.get(field, field)] = ", ".join(map(str, values))
    for column in ("threads", "dtype", "machine", "torch"):
        if column in runs:
            rows[column] = "; ".join(sorted(runs[column].astype(str).unique()))
    missing = len(missing_runs(suite, runs))
    rows["runs"] = f"{len(runs)}" + (f" of {len(suite)}" if missing else "")
    if "seconds" in runs:
        rows["training in all"] = f"{runs['seconds'].sum() / 60:.1f} minutes"
    return pd.DataFrame([(what, value) for what, value in rows.items() if value], columns=["what", "value"])


def facts(
    runs: pd.DataFrame, details: Sequence[Details | None], suite: Suite, point: dict[str, Any], text: pd.DataFrame
) -> pd.DataFrame:
    """A row for each variant: what its config changes, what it costs, and how well it does at a grid point.

    Args:
        runs: From ``collect`` or ``recorded``.
        details: Of each run.
        suite: Whose runs they are.
        point: The point that is shown, without ``REPEATS``.
        text: From ``tables``, whose first column of this point is taken over, with its intervals and stars.
    """
    numbered = runs.assign(number=range(len(runs)))
    points = suite.points(without=REPEATS)
    text = text.set_index("variant")
    column = text.columns[points.index(point) * (len(text.columns) // len(points))]
    rows = []
    for variant, what in what_changes(suite).itertuples(index=False, name=None):
        own = at_point(numbered, point)
        own = own[own["variant"] == variant]
        there = [one for number in own["number"] if (one := details[number]) is not None]
        above = f"{variant} − {suite.reference}"
        row = {
            "variant": variant,
            "what its resolved config changes": what,
            "parameters": _range(one.parameters for one in there if one.parameters is not None),
            "epochs": _range(len(one.history) for one in there if one.history is not None),
            "seconds": _mean(own.get("seconds", []), "{:,.0f}"),
            "images/s": _mean([one.timings.get("images_per_s", math.nan) for one in there], "{:,.0f}"),
            str(column): text.loc[variant, column],
            f"− {suite.reference}": text.loc[above, column] if above in text.index else "",
        }
        rows.append(row)
    return pd.DataFrame(rows)


def more_metrics(runs: pd.DataFrame, suite: Suite, kind: str) -> pd.DataFrame | None:
    """One metric beside MAP for all questions, with intervals over runs.

    Args:
        runs: From ``collect`` or ``recorded``.
        suite: Whose runs they are.
        kind: Of ``MORE``.

    Returns:
        A row for each grid point and variant, a column for each question; None where no run has measured it.
    """
    known = metrics_of(runs, suite)
    questions = [question for question in QUESTIONS if f"{question.prefix}{kind}" in known]
    rows: dict[str, dict[str, str]] = {}
    for question in questions:
        statistics = summary(runs, suite, f"{question.prefix}{kind}")
        for row in statistics[statistics["variant"].isin(list(suite.variants))].to_dict("records"):
            point = {field: row[field] for field in suite.grid if field not in REPEATS}
            label = " ".join(filter(None, (row["variant"], point_text(point))))
            rows.setdefault(label, {})[question.title] = entry(row["values"], row["mean"], row["half_width"])
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("variant").reset_index() if rows else None


def with_map_at(runs: pd.DataFrame, details: Sequence[Details | None], k: int = TOP) -> pd.DataFrame:
    """The frame of runs with MAP of the k nearest, ``map_at_K``, for all questions with so large a gallery.

    It is made from codes, and so of runs that have not measured it too.
    """
    columns: dict[str, list[float]] = {}
    for question in QUESTIONS:
        evaluations = [None if one is None else one.evaluations[question] for one in details]
        values = [one.map_at(k) if one is not None and one.retrieved[0].sum() >= k else math.nan for one in evaluations]
        if not all(map(math.isnan, values)):
            columns[f"{question.prefix}map_at_{k}"] = values
    return pd.concat([runs, pd.DataFrame(columns, runs.index)], axis=1)


def ties(runs: pd.DataFrame, suite: Suite) -> pd.DataFrame:
    """How far MAP of the worst and of the best order of ties lie apart, mean over runs, for each question."""
    questions = [question for question in QUESTIONS if f"{question.prefix}map_worst" in runs]
    rows = []
    for point in suite.points(without=REPEATS):
        here = at_point(runs, point)
        for variant in suite.variants:
            own = here[here["variant"] == variant]
            row = {"variant": " ".join(filter(None, (variant, point_text(point))))}
            for question in questions:
                worst, best = (own[f"{question.prefix}map_{order}"].mean() for order in ("worst", "best"))
                row[question.title] = "–" if np.isnan(worst) else f"{worst:.3f} to {best:.3f} ({best - worst:.3f})"
            rows.append(row)
    return pd.DataFrame(rows)


def _shared(values: Sequence[tuple[str, Any]]) -> str:
    """A value that all variants have, or each with its variants; nothing where none has one."""
    variants: dict[str, list[str]] = {}
    for variant, value in values:
        own = variants.setdefault("none" if value is None else as_yaml(value), [])
        own.append(variant) if variant not in own else None
    if len(variants) == 1:
        value = next(iter(variants))
        return "" if value == "none" else value
    usual = max(variants, key=lambda value: len(variants[value]))
    others = [f"{value} ({', '.join(names)})" for value, names in variants.items() if value != usual]
    return f"{usual}; {'; '.join(others)}"


def _range(numbers: Any) -> str:
    """Whole numbers in words: one, or from the smallest to the largest."""
    known = sorted(set(numbers))
    if not known:
        return "–"
    return f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,} to {known[-1]:,}"


def _mean(values: Any, form: str) -> str:
    known = np.asarray(values, float)
    return form.format(known.mean()) if len(known) and not np.isnan(known).any() else "–"
