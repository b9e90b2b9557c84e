"""Choices without the queries: a suite's tuning as a suite of its own, scored on the validation part.

Each trial trains on a part of the training faces (``Config(scored_on="validation")``) and is scored on the rest of them
twice: ``held_out_map`` on photographs of the people it was trained on, and ``unseen_map`` on people kept out of it. The
criterion is the mean of the two, the same for every method. Trials are runs like all others. A tuning is done when each
best value lies inside of those tried, or at a bound of the method such as a weight of 0.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Sequence
from typing import Any

import pandas as pd

from dcbh_core.methods import unknown_name

from .suite import Suite, as_yaml, located

TIE = 1e-9  # scores this close are equal
SCORED = ("held_out_map", "unseen_map")  # the metrics whose mean is the criterion


def tuning_suite(suite: Suite, only: Sequence[str] = ("*",)) -> Suite:
    """Every learning rate with every combination of the own fields, for each variant that the suite tunes.

    Args:
        suite: What is to be tuned.
        only: The variants or the trials that are wanted, by name or pattern.

    Returns:
        A suite named SUITE_tuning, with a variant for each trial (see ``trial_name``).

    Raises:
        ValueError: The suite says nothing about tuning, or there are no such variants or trials.
    """
    tuning = suite.tuning
    if tuning is None:
        raise ValueError(f"suite {suite.name!r} has no tuning section, so there is nothing to tune")
    trials = {
        trial_name(variant, settings): (variant, settings)
        for variant in tuning.own
        for settings in tuning.trials(variant)
    }
    variants: dict[str, dict[str, Any]] = {}
    for pattern in only:
        chosen = [
            name
            for name, (variant, _) in trials.items()
            if pattern in (variant, name) or fnmatch.filter((variant, name), pattern)
        ]
        if not chosen:
            with located(f"suite {suite.name!r}"):
                raise unknown_name("variant", pattern, tuning.own)
        variants |= {name: {**suite.variants[trials[name][0]], **trials[name][1]} for name in chosen}
    variants = {name: variants[name] for name in trials if name in variants}
    at = {field: value if isinstance(value, list) else [value] for field, value in tuning.at.items()}
    base = {field: value for field, value in suite.base.items() if field not in at}
    return dataclasses.replace(
        suite,
        name=f"{suite.name}_tuning",
        title=f"{suite.title}: tuning on the validation part",
        base={**base, "scored_on": "validation"},
        variants=variants,
        grids=[at],
        reference=next(iter(variants)),
        tuning=None,
    )


def trial_name(variant: str, settings: dict[str, Any]) -> str:
    """The name of a trial as a variant: "csq, learning_rate 0.002, quantization_weight 1.0"."""
    return ", ".join([variant, *(f"{field} {as_yaml(value)}" for field, value in settings.items())])


def scores(frame: pd.DataFrame, suite: Suite) -> pd.DataFrame:
    """How well each trial of a suite's tuning did.

    Args:
        frame: From ``collect`` or ``recorded``, of the tuning's suite.
        suite: The suite that is tuned.

    Returns:
        A row per trial, in order: ``variant`` (the suite's), ``settings`` (a dict), ``seeds``, and the means over them
        ``held_out_map``, ``unseen_map`` and ``score`` (their mean); NaN where no run is complete.
    """
    assert suite.tuning is not None
    frame = frame.reindex(columns=["variant", *SCORED])  # they may not be there where no run is
    rows = []
    for variant in suite.tuning.own:
        for settings in suite.tuning.trials(variant):
            own = frame[frame["variant"] == trial_name(variant, settings)]
            means = own[list(SCORED)].mean()
            rows.append((variant, settings, len(own), *means, means.mean(skipna=False)))
    return pd.DataFrame(rows, columns=["variant", "settings", "seeds", *SCORED, "score"])


def leading(trials: pd.DataFrame, count: int = 3) -> pd.DataFrame:
    """The best trials of each variant, as a table for a page: among those with the most seeds, the first ``count``.

    Args:
        trials: From ``scores``.
        count: Of trials of each variant.

    Returns:
        Text in the columns ``variant``, ``settings``, ``seeds``, ``held out``, ``unseen``, ``mean`` and, beside the
        best, ``to be tried`` (see ``next_values``).
    """
    most = trials[trials["seeds"] == trials.groupby("variant")["seeds"].transform("max")]
    offered = next_values(trials)
    rows = []
    for variant, of_variant in most.groupby("variant", sort=False):
        first = of_variant.sort_values("score", ascending=False, kind="stable").head(count)
        for rank, row in enumerate(first.to_dict("records")):
            more = offered.get(str(variant), {}) if rank == 0 else {}
            settings, tried_next = (
                ", ".join(f"{field} {_short(value)}" for field, value in fields.items())
                for fields in (row["settings"], more)
            )
            means = [f"{row[name]:.3f}" for name in (*SCORED, "score")]
            rows.append((variant, settings, str(row["seeds"]), *means, tried_next))
    columns = ["variant", "settings", "seeds", "held out", "unseen", "mean", "to be tried"]
    return pd.DataFrame(rows, columns=columns)


def best(trials: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """For each variant the settings with the highest score, several where they tie.

    Only trials with as many seeds as any of the variant has are compared: one seed that was lucky is no best.

    Args:
        trials: From ``scores``.

    Returns:
        Variant -> settings. A variant of which no run is complete is left out.
    """
    trials = trials[trials["seeds"] == trials.groupby("variant")["seeds"].transform("max")]
    highest = trials.groupby("variant")["score"].transform("max")
    chosen = trials[trials["score"] >= highest - TIE]
    return {
        variant: chosen.loc[chosen["variant"] == variant, "settings"].tolist()
        for variant in trials["variant"].unique()
        if (chosen["variant"] == variant).any()
    }


def next_values(trials: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The values to be tried next, where a best value is the largest or the smallest of those tried.

    A value of 0 is a bound of the method. The next value is as far from the best one, as a ratio, as its neighbour is.

    Args:
        trials: From ``scores``.

    Returns:
        Variant -> field -> value, of variants with one best alone; of a field of which one value was tried nothing.
    """
    offered: dict[str, dict[str, float]] = {}
    for variant, settings in best(trials).items():
        tried = pd.DataFrame(trials.loc[trials["variant"] == variant, "settings"].tolist())
        for field, value in settings[0].items() if len(settings) == 1 else ():
            if not isinstance(value, int | float):
                continue  # a name has no neighbours
            values = sorted(tried[field].unique())
            edges = {values[0]: values[1:2], values[-1]: values[-2:-1]}
            if value and value in edges and edges[value] and edges[value][0]:
                offered.setdefault(variant, {})[field] = float(f"{value**2 / edges[value][0]:.3g}")
    return offered


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def tuning_text(trials: pd.DataFrame) -> str:
    """The table of trials, and the best settings of each variant as YAML to be written into the suite's variants.

    Where trials tie, none is named.

    Args:
        trials: From ``scores``.
    """
    shown = trials.assign(settings=trials["settings"].map(as_yaml)).round(4).to_string(index=False)
    counts = trials.groupby("variant")["score"].count()
    offered = next_values(trials)
    lines = []
    for variant, settings in best(trials).items():
        if len(settings) > 1:
            lines.append(f"{variant}: {len(settings)} of {counts[variant]} trials tie for the best; none is named")
            continue
        more = ", ".join(f"{field} {value:g}" for field, value in offered.get(variant, {}).items())
        edge = f"  # at the edge of what was tried; try {more} too" if more else ""
        lines.append(f"{variant}: {as_yaml(settings[0])}{edge}")
    return f"{shown}\n\nbest:\n" + "\n".join(lines)
