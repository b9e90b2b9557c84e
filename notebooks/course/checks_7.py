"""Checks of notebook 7: reading an ablation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from . import Verdict

A = np.array([0.61, 0.64, 0.60, 0.63, 0.62])
B = np.array([0.69, 0.71, 0.70, 0.70, 0.72])


def check_1(answer: Callable[[np.ndarray, np.ndarray], tuple[float, float]]) -> Iterator[Verdict]:
    mean, half_width = answer(A, B)
    yield np.isclose(mean, (B - A).mean()), f"five seeds of two methods: the mean difference is {mean:.4f}"
    expected = stats.t.ppf(0.975, 4) * stats.sem(B - A)
    mistakes = {
        "the normal quantile is too narrow for five seeds": 1.959964 * stats.sem(B - A),
        "np.std divides by n unless you say ddof=1": expected * np.sqrt(4 / 5),
        "a standard deviation is not yet that of a mean: what is missing is the root of n": expected * np.sqrt(5),
        "this is for two independent means; take the differences first": float(
            np.hypot(*(stats.t.ppf(0.975, 4) * stats.sem(x) for x in (A, B)))
        ),
    }
    hints = [hint for hint, value in mistakes.items() if np.isclose(half_width, value, rtol=1e-4)]
    yield (
        np.isclose(half_width, expected),
        f"the half-width of its interval is {half_width:.4f}" + (f": {hints[0]}" if hints else ""),
    )
    mean, half_width = answer(A, A + 0.01)
    yield np.isclose(half_width, 0, atol=1e-9), "where every seed gains the same, nothing is uncertain"


def check_2(answer: Callable[[int], float]) -> Iterator[Verdict]:
    one = answer(1)
    yield abs(one) < 0.02, f"the best of one draw is an ordinary draw, so the mean is 0: {one:.3f}"
    x = np.linspace(-8, 8, 4001)
    for k in (2, 5, 20):
        expected = float(np.trapezoid(x * k * stats.norm.pdf(x) * stats.norm.cdf(x) ** (k - 1), x))
        found = answer(k)
        sentence = f"the best of {k}: {found:.3f}" + ("" if found < expected + 0.03 else ", which is too much")
        yield abs(found - expected) < 0.03, sentence + (", which is too little" if found < expected - 0.03 else "")
