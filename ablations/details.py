"""What a run directory keeps beside its metrics, codes and losses and size, as far as it is there."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dcbh_core import Evaluation, evaluate

from .run_directory import PARTS, QUESTIONS, Question, read_arrays
from .suite import REPEATS, Suite
from .tables import at_point


@dataclasses.dataclass(frozen=True, eq=False)
class Details:
    """What one run has left, beside its metrics.

    Attributes:
        config: Resolved, as in ``result.json``.
        timings: As in ``result.json``.
        parameters: Of its network, as its model card says; None where there is none.
        history: A row per epoch, with ``epoch`` and a column for each term of the loss; None where there is none.
        codes: Part of the split, as ``gallery`` -> codes (n, bits) bool; empty where the run has kept none.
        labels: The same parts -> who is on each face, (n,) int64.
        names: ``queries`` and ``new_queries`` -> the names of the people, by label.
    """

    config: dict[str, Any]
    timings: dict[str, float]
    parameters: int | None
    history: pd.DataFrame | None
    codes: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    names: dict[str, list[str]]

    @cached_property
    def evaluations(self) -> dict[Question, Evaluation | None]:
        """The evaluation of each of ``QUESTIONS``, None where it cannot be asked."""
        return {question: self._evaluation(question) for question in QUESTIONS}

    def joined(self, parts: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Codes (n, bits) and labels (n,) of several parts; unseen people have labels behind those of known ones."""
        known = len(self.names.get("queries", ()))
        labels = [self.labels[part] + known * part.startswith("new_") for part in parts]
        return np.concatenate([self.codes[part] for part in parts]), np.concatenate(labels)

    def _evaluation(self, question: Question) -> Evaluation | None:
        if not {question.queries, *question.galleries} <= set(self.codes):
            return None
        gallery = self.joined(question.galleries) if question.galleries else (None, None)
        try:
            return evaluate(*self.joined((question.queries,)), *gallery)
        except ValueError:  # somebody has no second photograph to be found
            return None


def details_of(runs: pd.DataFrame, out: str | os.PathLike[str]) -> list[Details | None]:
    """What each run of a frame has left in the output directory ``out``; None where its directory is not there.

    Args:
        runs: From ``collect``, or ``recorded``, whose runs are in no directory.
        out: The output directory.
    """
    if "run" not in runs:
        return [None] * len(runs)
    return [read_details(Path(out) / "complete" / name) for name in runs["run"]]


def read_details(directory: Path) -> Details | None:
    """What a run has left in its directory; what is missing there or damaged is left out."""
    try:
        result = json.loads((directory / "result.json").read_text("utf-8"))
        config, timings = dict(result["config"]), dict(result["timings"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    codes, labels, names = _codes(directory)
    return Details(config, timings, _parameters(directory), _history(directory), codes, labels, names)


def last_point(runs: pd.DataFrame, suite: Suite) -> dict[str, Any]:
    """The last grid point without ``REPEATS`` at which there are runs: what is shown of one point alone."""
    points = suite.points(without=REPEATS)
    return next((point for point in reversed(points) if len(at_point(runs, point))), points[-1])


def _codes(directory: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, list[str]]]:
    try:
        arrays = read_arrays(directory)
        there = [part for part in PARTS if f"{part}_codes" in arrays]
        codes = {part: arrays[f"{part}_codes"] for part in there}
        labels = {part: arrays[f"{part}_labels"] for part in there}
        names = {part: arrays[f"{part}_names"].tolist() for part in there if f"{part}_names" in arrays}
    except (KeyError, OSError, ValueError):
        return {}, {}, {}
    return codes, labels, names


def _history(directory: Path) -> pd.DataFrame | None:
    try:
        history = pd.read_csv(directory / "history.csv")
    except (OSError, ValueError):
        return None
    return history if "epoch" in history and len(history) else None


def _parameters(directory: Path) -> int | None:
    try:
        said = re.search(r"([\d,]+) parameters", (directory / "model" / "README.md").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return int(said[1].replace(",", "")) if said else None
