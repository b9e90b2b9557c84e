"""The average precision of each query of a run, and the person on it: what intervals and comparisons are made from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from .run_directory import QUESTIONS, Question, read_arrays

STEPS = 2**16 - 1  # in which AP is kept: to 0.00001


class PerQuery(NamedTuple):
    """What the queries of one run have.

    Attributes:
        ap: Metric -> average precision of each of its queries, (queries,).
        people: ``queries`` or ``new_queries`` -> the name of the person on each, (queries,).
    """

    ap: dict[str, np.ndarray]
    people: dict[str, np.ndarray]

    def of(self, metric: str) -> tuple[np.ndarray, np.ndarray] | None:
        """AP of each query of a metric and the person on it, both (queries,), or None."""
        question = question_of(metric)
        if metric not in self.ap or question.queries not in self.people:
            return None
        return self.ap[metric], self.people[question.queries]


def question_of(metric: str) -> Question:
    """Which of the questions a metric is of, by its prefix."""
    return max((one for one in QUESTIONS if metric.startswith(one.prefix)), key=lambda one: len(one.prefix))


def of_run(directory: Path) -> PerQuery | None:
    """What the queries of a run have, by its directory; None where its evaluation.npz is not there or is damaged."""
    try:
        arrays = read_arrays(directory)
        people = {
            part: arrays[f"{part}_names"][arrays[f"{part}_labels"]]
            for part in ("queries", "new_queries")
            if f"{part}_names" in arrays
        }
    except (IndexError, KeyError, OSError, ValueError):
        return None
    ap = {name.removeprefix("ap_"): array for name, array in arrays.items() if name.startswith("ap_")}
    return PerQuery(ap, people)


def write(target: str | os.PathLike[str] | IO[bytes], runs: Sequence[PerQuery | None]) -> None:
    """Keep what the queries of many runs have in one compressed file. No names of people are kept.

    In their place are numbers made from them, by which whoever has a list of names can find them again.

    Args:
        target: A path or an open file.
        runs: In an order that ``read`` gives back.
    """
    known = [run or PerQuery({}, {}) for run in runs]
    arrays: dict[str, np.ndarray] = {"runs": np.array(len(known))}
    for kind, encoded in (("ap", _steps), ("people", _numbers)):
        for key in dict.fromkeys(key for run in known for key in getattr(run, kind)):
            parts = [encoded(getattr(run, kind).get(key, [])) for run in known]
            arrays[f"{kind}/{key}"] = np.concatenate(parts)
            arrays[f"count of {kind}/{key}"] = np.array([len(part) for part in parts])
    np.savez_compressed(target, allow_pickle=False, **arrays)


def read(source: str | os.PathLike[str]) -> list[PerQuery | None]:
    """The runs of ``write``; in the place of each name is a number, in a text, which is the same in all files."""
    with np.load(source) as arrays:
        runs = [PerQuery({}, {}) for _ in range(int(arrays["runs"]))]
        for name in arrays.files:
            kind, slash, key = name.partition("/")
            if not slash or kind not in PerQuery._fields:
                continue
            parts = np.split(arrays[name], np.cumsum(arrays[f"count of {name}"])[:-1])
            for run, part in zip(runs, parts, strict=True):
                if len(part):
                    getattr(run, kind)[key] = part / STEPS if kind == "ap" else part.astype(str)
    return [run if run.ap else None for run in runs]


def _steps(ap: np.ndarray) -> np.ndarray:
    return np.round(np.asarray(ap) * STEPS).astype(np.uint16)


def _numbers(names: np.ndarray) -> np.ndarray:
    """A number for each name, uint32 (n,), that does not depend on the others."""
    distinct, which = np.unique(names, return_inverse=True)
    hashes = [hashlib.sha256(str(name).encode(errors="surrogatepass")).digest()[:4] for name in distinct]
    return np.array([int.from_bytes(part, "big") for part in hashes], np.uint32)[which]
