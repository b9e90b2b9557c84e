"""Checks of notebook 7: reading an ablation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from . import Verdict

PEOPLE = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
A = np.array([0.61, 0.52, 0.58, 0.93, 0.90, 0.97, 0.35, 0.44, 0.31, 0.72, 0.79, 0.70])
B = np.array([0.66, 0.60, 0.63, 0.93, 0.95, 0.97, 0.51, 0.59, 0.48, 0.73, 0.80, 0.74])


def check_1(answer: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, float]]) -> Iterator[Verdict]:
    mean, half_width = answer(A, B, PEOPLE)
    yield np.isclose(mean, (B - A).mean()), f"four people with three queries each: the mean difference is {mean:.4f}"
    of_people = (B - A).reshape(4, 3).mean(1)
    expected = stats.t.ppf(0.975, 3) * stats.sem(of_people)
    mistakes = {
        "the normal quantile is too narrow for four people": 1.959964 * stats.sem(of_people),
        "np.std divides by n unless you say ddof=1": expected * np.sqrt(3 / 4),
        "a standard deviation is not yet that of a mean: what is missing is the root of n": expected * np.sqrt(4),
        "the queries of one person are alike; take the mean of each person first": float(
            stats.t.ppf(0.975, 11) * stats.sem(B - A)
        ),
    }
    hints = [hint for hint, value in mistakes.items() if np.isclose(half_width, value, rtol=1e-4)]
    yield (
        np.isclose(half_width, expected),
        f"the half-width of its interval is {half_width:.4f}" + (f": {hints[0]}" if hints else ""),
    )
    order = np.random.default_rng(0).permutation(12)
    mean, half_width = answer(A[order], B[order], PEOPLE[order])
    yield np.isclose(half_width, expected), "in another order of the queries it is the same"
    mean, half_width = answer(A, A + 0.01, PEOPLE)
    yield np.isclose(half_width, 0, atol=1e-9), "where everybody gains the same, nothing is uncertain"


def check_2(answer: Callable[[int], float]) -> Iterator[Verdict]:
    one = answer(1)
    yield abs(one) < 0.02, f"the best of one draw is an ordinary draw, so the mean is 0: {one:.3f}"
    x = np.linspace(-8, 8, 4001)
    for k in (2, 5, 20):
        expected = float(np.trapezoid(x * k * stats.norm.pdf(x) * stats.norm.cdf(x) ** (k - 1), x))
        found = answer(k)
        sentence = f"the best of {k}: {found:.3f}" + ("" if found < expected + 0.03 else ", which is too much")
        yield abs(found - expected) < 0.03, sentence + (", which is too little" if found < expected - 0.03 else "")


def check_3(answer: Callable[[list[float], float], list[bool]]) -> Iterator[Verdict]:
    yield list(answer([0.03], 0.05)) == [True], "one comparison alone is held against alpha itself"
    found = list(answer([0.04, 0.001, 0.02], 0.05))
    # 0.001 <= 0.05 / 3, 0.02 <= 0.05 / 2, 0.04 <= 0.05 / 1
    hint = "; from the second on the bound is wider than alpha / m" if found == [False, True, False] else ""
    yield found == [True, True, True], f"0.04, 0.001 and 0.02 all hold, in this order: {found}{hint}"
    found = list(answer([0.04, 0.001, 0.03, 0.6], 0.05))
    yield found == [False, True, False, False], f"of 0.04, 0.001, 0.03 and 0.6 only the second holds: {found}"
    yield not any(answer([0.02] * 20, 0.05)), "twenty of 0.02 are none: the smallest must be below alpha / 20"
