"""Choices without the queries: a suite's tuning as a suite of its own, scored on the validation part.

Each trial trains on a part of the training faces (``Config(scored_on="validation")``) and is scored on the rest of them
twice: ``map`` among the people it was trained on, and ``unseen_map`` among people kept out of it. The criterion is the
mean of the two, the same for every method. Trials are runs like all others.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd

from .report import UNSEEN
from .suite import Suite, as_yaml

TIE = 1e-9  # scores this close are equal


def tuning_suite(suite: Suite) -> Suite:
    """Every learning rate with every combination of the own fields, for each variant that the suite tunes.

    Returns:
        A suite named SUITE_tuning, with a variant for each trial (see ``trial_name``).

    Raises:
        ValueError: The suite says nothing about tuning.
    """
    tuning = suite.tuning
    if tuning is None:
        raise ValueError(f"suite {suite.name!r} has no tuning section, so there is nothing to tune")
    variants = {
        trial_name(variant, settings): {**suite.variants[variant], **settings}
        for variant in tuning.own
        for settings in tuning.trials(variant)
    }
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
        ``map``, ``unseen_map`` and ``score`` (their mean); NaN where no run is complete.
    """
    assert suite.tuning is not None
    frame = frame.reindex(columns=["variant", "map", f"{UNSEEN}map"])  # they may not be there where no run is
    rows = []
    for variant in suite.tuning.own:
        for settings in suite.tuning.trials(variant):
            own = frame[frame["variant"] == trial_name(variant, settings)]
            seen, unseen = own["map"].mean(), own[f"{UNSEEN}map"].mean()
            rows.append((variant, settings, len(own), seen, unseen, (seen + unseen) / 2))
    return pd.DataFrame(rows, columns=["variant", "settings", "seeds", "map", f"{UNSEEN}map", "score"])


def best(trials: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """For each variant the settings with the highest score, several where they tie.

    Args:
        trials: From ``scores``.

    Returns:
        Variant -> settings. A variant of which no run is complete is left out.
    """
    highest = trials.groupby("variant")["score"].transform("max")
    chosen = trials[trials["score"] >= highest - TIE]
    return {
        variant: chosen.loc[chosen["variant"] == variant, "settings"].tolist()
        for variant in trials["variant"].unique()
        if (chosen["variant"] == variant).any()
    }


def tuning_text(trials: pd.DataFrame) -> str:
    """The table of trials, and the best settings of each variant as YAML to be written into the suite's variants.

    Where trials tie, none is named.

    Args:
        trials: From ``scores``.
    """
    shown = trials.assign(settings=trials["settings"].map(as_yaml)).round(4).to_string(index=False)
    counts = trials.groupby("variant")["score"].count()
    lines = []
    for variant, settings in best(trials).items():
        if len(settings) == 1:
            lines.append(f"{variant}: {as_yaml(settings[0])}")
        else:
            lines.append(f"{variant}: {len(settings)} of {counts[variant]} trials tie for the best; none is named")
    return f"{shown}\n\nbest:\n" + "\n".join(lines)
