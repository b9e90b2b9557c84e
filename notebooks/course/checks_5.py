"""Checks of the exercises of notebook 5, Retrieval."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import numpy as np

from dcbh_core.metrics import average_precision as in_closed_form

from . import Verdict, close
from .authors import evaluation_of

MARKS = {True: "✓", False: "✗"}


def _ap(right: np.ndarray) -> float:
    """AP of one ranking; every face is a group of its own."""
    return float(in_closed_form(np.ones((1, len(right)), int), np.asarray(right, int)[None])[0])


def _written(right: np.ndarray) -> str:
    return " ".join(MARKS[bool(r)] for r in right)


def _hint(found: float, mistakes: dict[str, float], otherwise: str) -> str:
    """What the first mistake that gives this number is called."""
    return next((f": {hint}" for hint, value in mistakes.items() if close(found, value)), f"; {otherwise}")


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
        elif not close(found, true):
            mistakes = {
                "divide by the number of right faces, not of all": (hit * right).sum() / len(right),
                "the places of a ✗ do not go into the mean": hit.mean(),
                "that is the share of right faces, whatever their order": right.mean(),
                "a sum is not yet a mean": (hit * right).sum(),
                "that is the precision at the last ✓ alone": hit[right][-1],
                "that is one over the place of the first ✓; later ones count as well": hit[right][0],
            }
            hint = _hint(found, mistakes, "write the precision at each ✓ on paper, then their mean")
        what = _written(right) if len(right) < 10 else f"a ranking of {len(right)} faces"
        yield close(found, true), f"the AP of {what} (yours: {found:.4f}){hint}"


def check_2(expected_ap: Any) -> Iterator[Verdict]:
    """The mean over all orders of one tie."""
    cases = [([0], [1, 0]), ([], [1, 0]), ([1, 0], [0, 1, 1]), ([0, 1, 0], [1, 0, 0, 1, 0]), ([1], [0, 0])]
    for first, second in cases:
        before, tie = np.array(first, bool), np.array(second, bool)
        orders = [np.concatenate([before, order]).astype(bool) for order in permutations(tie)]
        each = [_ap(right) for right in orders]
        found, true = float(expected_ap(before.copy(), tie.copy())), float(np.mean(each))
        hint = ""
        if not np.isfinite(found):
            hint = ": before the tie, or in it, there may be no ✓ at all"
        elif not close(found, true):
            of_tie_alone = [_ap(np.array(order)) for order in permutations(tie)] if tie.any() else [0.0]
            # Everybody in the tie a fraction of a right face: what is forgotten is that a ✓ counts itself in full.
            shared = np.concatenate([before, np.full(len(tie), tie.mean())])
            fractions = (shared * shared.cumsum() / np.arange(1, len(shared) + 1)).sum() / shared.sum()
            mistakes = {
                "the faces before the tie stand in the ranking, too": np.mean(of_tie_alone),
                "that is one order, the luckiest": max(each),
                "that is one order, the unluckiest": min(each),
                "that is the middle between the luckiest and the unluckiest order": (max(each) + min(each)) / 2,
                "a sum over the orders is not yet a mean": sum(each),
                "that is a share of a ✓ at each place of the tie, and no order has that": fractions,
                "divide by the number of right faces, not of all": true * shared.sum() / len(shared),
            }
            single = next((ap for ap in each if close(found, ap)), np.nan)
            mistakes |= {"that is one order of the tie": single}
            hint = _hint(found, mistakes, f"write down the {len(orders)} orders, and the AP of each")
        what = f"{_written(before) or 'nothing'} before the tie {_written(tie)}"
        yield close(found, true), f"{what}: the mean over all orders (yours: {found:.4f}){hint}"


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
        if not close(found, true):
            other = float((evaluation.ap_worst if kindest else evaluation.ap_best)[0])
            hint = "; yours is the other end" if close(found, other) else f"; yours is {found:.4f}"
        yield close(found, true), f"after a stable sort the AP is the {which} that the ties allow{hint}"
