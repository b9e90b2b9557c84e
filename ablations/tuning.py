"""Choices without the queries: trainings on a part of the training faces, scored on the rest of them.

Each trial trains on the validation split of its config's training faces (``dcbh_core.faces.validation_split``) and is
scored twice: ``map`` among the people it was trained on, and ``new_map`` among people who were held out of it, with
queries and gallery of their own. The criterion is the mean of the two, the same for every method. The queries of the
real split are never loaded into a trial's training or score.

``tune`` tries each method's learning rate and one field of its own; ``validate`` scores a suite's variants at its grid
points, to compare ingredients.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pandas as pd

from dcbh_core import Config, Split, evaluate, load_split, train
from dcbh_core.faces import validation_split
from dcbh_core.model import write_atomically
from dcbh_core.training import TrainingDiverged

from .identity import DATA_FIELDS, identify
from .records import RESULTS
from .report import SEEN_AND_NEW, side_by_side, summary, table
from .suite import Suite, as_yaml

SCORES = ["map", "new_map", "score", "seconds"]


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training to be scored. ``row`` is what the table says about it: variant, settings, seed."""

    row: dict[str, Any]
    config: Config


def tuning_trials(suite: Suite) -> list[Trial]:
    """Every learning rate with every value of the own field, for each variant that the suite tunes.

    Raises:
        ValueError: the suite says nothing about tuning, or a config is impossible.
    """
    tuning = suite.tuning
    if tuning is None:
        raise ValueError(f"suite {suite.name!r} has no tuning section, so there is nothing to tune")
    trials = []
    for variant, own in tuning.own.items():
        [(field, values)] = own.items()
        for rate in tuning.learning_rate:
            for value in values:
                fields = {**suite.base, **suite.variants[variant], **tuning.at, "learning_rate": rate, field: value}
                row = {"variant": variant, "learning_rate": rate, "field": field, "value": value}
                trials.append(Trial(row, Config.from_dict(fields)))
    return trials


def validation_trials(suite: Suite, only: Sequence[str] = ()) -> list[Trial]:
    """Every variant (or those that match ``only``) at every grid point of the suite."""
    chosen = suite.select(only) if only else list(suite.variants)
    return [
        Trial({"variant": cell.variant, **cell.point}, cell.config) for cell in suite.cells() if cell.variant in chosen
    ]


def run_trials(trials: Sequence[Trial], path: Path, jobs: int = 1, threads: int = 1) -> pd.DataFrame:
    """Run what is missing and keep the table in the CSV file ``path``, written anew after each trial.

    A row that is already there is taken over if it bears the trial's identity (config, faces and code are the same);
    rows of anything else are dropped. Jobs are processes, which share a GPU if there is one.

    Returns:
        One row per trial, in order: what the trial says of itself, then ``map``, ``new_map``, ``score`` (their mean;
        all three NaN if training diverged), ``seconds`` of training, and ``identity``.
    """
    from tqdm import tqdm

    identities = [identity.whole[:12] for identity in identify(trial.config for trial in trials)]
    there = pd.read_csv(path).to_dict("records") if path.is_file() else []
    known = {row["identity"]: {name: row[name] for name in SCORES} for row in there}
    scores = {identity: known[identity] for identity in identities if identity in known}
    waiting = {identity: trial.config for identity, trial in zip(identities, trials, strict=True)}
    waiting = {identity: config for identity, config in waiting.items() if identity not in scores}

    def frame() -> pd.DataFrame:
        pairs = zip(trials, identities, strict=True)
        return pd.DataFrame([{**t.row, **scores[i], "identity": i} for t, i in pairs if i in scores])

    # Spawned, as a forked process cannot use CUDA.
    spawn = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(jobs, mp_context=spawn, initializer=_prepare, initargs=(threads,))
    try:
        futures = {executor.submit(score, config): identity for identity, config in waiting.items()}
        for future in tqdm(as_completed(futures), "validation", len(futures), unit="training", disable=None):
            scores[futures[future]] = future.result()
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, frame().round(dict.fromkeys(SCORES, 6)).to_csv(index=False).encode())
    finally:
        executor.shutdown(cancel_futures=True)
    return frame()


def score(config: Config) -> dict[str, float]:
    """Train on the validation split and score: ``map``, ``new_map``, ``score`` and ``seconds``."""
    resolved = config.resolved()
    split = _validation_split(Config(**{field: getattr(resolved, field) for field in DATA_FIELDS}))
    assert split.new_queries is not None and split.new_gallery is not None
    started = time.perf_counter()
    try:
        model, _ = train(config, split.training)
    except TrainingDiverged:
        return {"map": math.nan, "new_map": math.nan, "score": math.nan, "seconds": time.perf_counter() - started}
    seconds = time.perf_counter() - started
    maps = [
        evaluate(model.encode(queries.images), queries.labels, model.encode(gallery.images), gallery.labels).map
        for queries, gallery in ((split.queries, split.gallery), (split.new_queries, split.new_gallery))
    ]
    return {"map": maps[0], "new_map": maps[1], "score": sum(maps) / 2, "seconds": seconds}


def best(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Of a table of tuning, the settings of each variant with the highest score; the first of equals. A variant of
    which no training stayed finite is left out."""
    ordered = frame.dropna(subset=["score"]).sort_values("score", ascending=False, kind="stable")
    firsts = {row["variant"]: row for row in reversed(ordered.to_dict("records"))}
    return {
        variant: {"learning_rate": firsts[variant]["learning_rate"], firsts[variant]["field"]: firsts[variant]["value"]}
        for variant in frame["variant"].unique()
        if variant in firsts
    }


def tuning_text(frame: pd.DataFrame) -> str:
    """The best settings as YAML lines, to be written into the suite's variants."""
    return "\n".join(f"{variant}: {as_yaml(settings)}" for variant, settings in best(frame).items())


def validation_table(frame: pd.DataFrame, suite: Suite) -> pd.DataFrame:
    """The variants' validation figures as the report shows those of the queries, without floors and ceiling."""
    tables = {}
    for metric in SEEN_AND_NEW:
        statistics = summary(frame, suite, metric)
        tables[metric] = table(statistics[statistics["n"] > 0], suite)
    return side_by_side(tables)


def results_path(suite: Suite, kind: str) -> Path:
    """Where the table of ``kind`` ("tuning" or "validation") of a suite is committed."""
    return RESULTS / f"{suite.name}_{kind}.csv"


@functools.cache
def _validation_split(config: Config) -> Split:
    return validation_split(load_split(config).training)


def _prepare(threads: int) -> None:
    """In each process, before it imports anything: its number of threads, and no progress bar of its own."""
    os.environ["TQDM_DISABLE"] = "1"
    import torch

    torch.set_num_threads(threads)
