"""Checks of the exercises of notebook 5, Retrieval."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from dcbh_core.metrics import average_precision as in_closed_form

from . import Verdict
from .authors import evaluation_of

MARKS = {True: "✓", False: "✗"}


def _ap(right: np.ndarray) -> float:
    """AP of one ranking; every face is a group of its own."""
    return float(in_closed_form(np.ones((1, len(right)), int), np.asarray(right, int)[None])[0])


def _written(right: np.ndarray) -> str:
    return " ".join(MARKS[bool(r)] for r in right)


def check_1(average_precision: Any) -> Iterator[Verdict]:
    """AP of a ranking."""
    rankings = [[1, 0, 1], [1, 1, 0, 0], [0, 1], [0, 0, 0, 1], [0, 1, 1, 0, 1, 0, 0]]
    rankings += [list(np.random.default_rng(seed).random(40) < 0.3) for seed in range(3)]
    for ranking in rankings:
        right = np.array(ranking, bool)
        found, true = float(average_precision(right.copy())), _ap(right)
        hit = right.cumsum() / np.arange(1, len(right) + 1)
        hint = ""
        if not np.isfinite(found):
            hint = ": the first place is place 1"
        elif np.isclose(found, (hit * right).sum() / len(right)) and found != true:
            hint = ": divide by the number of right faces, not of all"
        elif np.isclose(found, hit.mean()):
            hint = ": the places of a ✗ do not go into the mean"
        elif np.isclose(found, right.mean()):
            hint = ": that is the share of right faces, whatever their order"
        what = _written(right) if len(right) < 10 else f"a ranking of {len(right)} faces"
        yield bool(np.isclose(found, true)), f"the AP of {what} (yours: {found:.4f}){hint if found != true else ''}"


def check_2(expected_ap: Any) -> Iterator[Verdict]:
    """The mean over all orders of one tie."""
    cases = [([0], [1, 0]), ([], [1, 0]), ([1, 0], [0, 1, 1]), ([0, 1, 0], [1, 0, 0, 1, 0]), ([1], [0, 0])]
    for first, second in cases:
        before, tie = np.array(first, bool), np.array(second, bool)
        groups = [np.ones(len(before), int), [len(tie)]]
        retrieved = np.concatenate(groups)[None].astype(int)
        relevant = np.concatenate([before, [tie.sum()]])[None].astype(int)
        found, true = float(expected_ap(before.copy(), tie.copy())), float(in_closed_form(retrieved, relevant)[0])
        of_tie_alone = float(in_closed_form(np.array([[len(tie)]]), np.array([[tie.sum()]]))[0]) if tie.any() else 0.0
        hint = ""
        if np.isclose(found, true):
            pass
        elif np.isclose(found, _ap(np.concatenate([before, tie]))):
            hint = ": that is a single order of the tie, the one in which it was given"
        elif np.isclose(found, of_tie_alone):
            hint = ": the faces before the tie stand in the ranking, too"
        what = f"{_written(before) or 'nothing'} before the tie {_written(tie)}"
        yield bool(np.isclose(found, true)), f"{what}: the mean over all orders (yours: {found:.4f}){hint}"


def check_3(store: Any) -> Iterator[Verdict]:
    """An order of the gallery that makes a stable sort kind, or unkind."""
    for seed, kindest in ((0, True), (0, False), (1, True), (1, False)):
        rng = np.random.default_rng(seed)
        distance, right = rng.integers(0, 5, 30), rng.random(30) < 0.3
        order = np.asarray(store(distance.copy(), right.copy(), kindest))
        complete = order.shape == (30,) and np.array_equal(np.sort(order), np.arange(30))
        yield complete, "the order holds each of the 30 gallery faces exactly once"
        ranked = order[np.argsort(distance[order], kind="stable")]
        evaluation = evaluation_of(distance[None], right[None])
        found, true = _ap(right[ranked]), float((evaluation.ap_best if kindest else evaluation.ap_worst)[0])
        which = "best" if kindest else "worst"
        hint = ""
        if not np.isclose(found, true):
            other = float((evaluation.ap_worst if kindest else evaluation.ap_best)[0])
            hint = "; yours is the other end" if np.isclose(found, other) else f"; yours is {found:.4f}"
        yield bool(np.isclose(found, true)), f"after a stable sort the AP is the {which} that the ties allow{hint}"
