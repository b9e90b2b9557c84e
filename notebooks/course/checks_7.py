"""Checks of notebook 7: reading an ablation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from scipy import stats

from . import Verdict, close

PEOPLE = np.array([0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3])
A = np.array([0.61, 0.52, 0.58, 0.93, 0.90, 0.97, 0.35, 0.44, 0.31, 0.72, 0.79, 0.70])
B = np.array([0.66, 0.60, 0.63, 0.93, 0.95, 0.97, 0.51, 0.59, 0.48, 0.73, 0.80, 0.74])
SIX_PEOPLE = np.array([0, 0, 1, 1, 1, 2, 3, 3, 3, 4, 5, 5])  # on the same twelve


def _of_people(values: np.ndarray, people: np.ndarray = PEOPLE) -> np.ndarray:
    return np.array([values[person == people].mean() for person in np.unique(people)])


def _mistakes(half_width: float) -> str:
    """The fewest mistakes that together give this half-width, in words."""
    unpaired = np.sqrt(_of_people(A).var(ddof=1) + _of_people(B).var(ddof=1))
    units = [
        ("", _of_people(B - A).std(ddof=1), 4),
        ("the queries of one person are alike; take the mean of each person first", (B - A).std(ddof=1), 12),
        ("the same people were asked; take the difference before the standard deviation", unpaired, 4),
    ]
    quantiles: list[tuple[str, Callable[[int], float]]] = [
        ("", lambda n: stats.t.ppf(0.975, n - 1)),
        ("the normal quantile is too narrow for so few people", lambda n: stats.norm.ppf(0.975)),
        ("n people leave n - 1 degrees of freedom", lambda n: stats.t.ppf(0.975, n)),
        ("95 % in the middle leave 2.5 % on either side", lambda n: stats.t.ppf(0.95, n - 1)),
        ("the quantile is missing; this is one standard error", lambda n: 1),
    ]
    divisors: list[tuple[str, Callable[[int], float]]] = [
        ("", lambda n: 1),
        ("np.std divides by n unless you say ddof=1", lambda n: np.sqrt((n - 1) / n)),
    ]
    roots: list[tuple[str, Callable[[int], float]]] = [
        ("", lambda n: np.sqrt(n)),
        ("a standard deviation is not yet that of a mean: what is missing is the root of n", lambda n: 1),
        ("divide by the root of n, not by n", lambda n: n),
    ]
    widths = [("", 1), ("that is the whole width, from end to end", 2)]
    found = []
    for unit, quantile, divisor, root, width in product(units, quantiles, divisors, roots, widths):
        n = unit[2]
        value = width[1] * quantile[1](n) * unit[1] * divisor[1](n) / root[1](n)
        if close(half_width, value, 1e-4):
            found.append([hint for hint in (unit[0], quantile[0], divisor[0], root[0], width[0]) if hint])
    if not found:
        return "what is the mean difference of each of the four people, and the standard deviation of these four?"
    return "; ".join(min(found, key=len))


def check_1(answer: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, float]]) -> Iterator[Verdict]:
    mean, half_width = answer(A, B, PEOPLE)
    of_people = _of_people(B - A)
    right = of_people.mean()
    hint = ""
    if not close(mean, right):
        hint = ": what is the mean difference of each of the four people, and the mean of these four?"
        if close(mean, (B - A).mean()):
            hint = ": that is the mean over queries; each person counts the same, with many queries or few"
        elif close(mean, -right):
            hint = ": b - a was asked for, not a - b"
    yield (
        close(mean, right),
        f"four people with two to five queries each: the mean difference (yours: {mean:.4f}){hint}",
    )
    expected = stats.t.ppf(0.975, 3) * stats.sem(of_people)
    hint = "" if close(half_width, expected) else f": {_mistakes(half_width)}"
    yield close(half_width, expected), f"the half-width of its interval (yours: {half_width:.4f}){hint}"
    order = np.random.default_rng(0).permutation(12)
    mean, half_width = answer(A[order], B[order], PEOPLE[order])
    same = close(mean, right) and close(half_width, expected)
    hint = "" if same else "; are people found by where they stand, and not by their number?"
    yield same, f"in another order of the queries it is the same{hint}"
    mean, half_width = answer(A, A + 0.01, PEOPLE)
    # float32 leaves some of the eighth decimal, and SciPy's interval is NaN where nothing differs.
    right = bool(np.isnan(half_width)) or abs(half_width) < 1e-6
    yield right, f"where everybody gains the same, nothing is uncertain (yours: {half_width:.2g})"
    mean, half_width = answer(A, B, SIX_PEOPLE)
    of_people = _of_people(B - A, SIX_PEOPLE)
    good = close(mean, of_people.mean())
    hint = "" if good else ": are the people those who are in `people`, be they four or six?"
    yield good, f"six people with one to three queries each: the mean difference (yours: {mean:.4f}){hint}"
    good = close(half_width, stats.t.ppf(0.975, 5) * stats.sem(of_people))
    hint = "" if good else ": n is now 6, under the root and in the degrees of freedom; do you count it?"
    yield good, f"the half-width of its interval (yours: {half_width:.4f}){hint}"


def check_2(answer: Callable[[int], float]) -> Iterator[Verdict]:
    x = np.linspace(-8, 8, 4001)
    below = stats.norm.cdf(x)
    for k in (5, 2, 20):
        expected = float(np.trapezoid(k * below ** (k - 1) * (1 - below), x))
        best = float(np.trapezoid(x * k * stats.norm.pdf(x) * below ** (k - 1), x))
        best_but_one = float(np.trapezoid(x * (k - 1) * stats.norm.pdf(x) * below ** (k - 2), x))
        found = answer(k)
        mistakes = {
            "that is how far the best lies above the mean; the second lies above it as well": best,
            "the second of k is not the best of k - 1": best - best_but_one,
            "that is how far the best is ahead of the worst": 2 * best,
            "the best minus the second, not the other way round": -expected,
        }
        hints = [hint for hint, value in mistakes.items() if abs(found - value) < 0.03]
        right = abs(found - expected) < 0.03
        hint = "" if right else f": {(hints or ['too large' if found > expected else 'too small'])[0]}"
        yield right, f"of {k}, the best is expected to lead by (yours: {found:.3f}){hint}"


def check_3(answer: Callable[[list[float], float], list[bool]]) -> Iterator[Verdict]:
    yield list(answer([0.03], 0.05)) == [True], "one comparison alone is held against alpha itself"
    found = list(answer([0.04, 0.001, 0.02], 0.05))
    # 0.001 <= 0.05 / 3, 0.02 <= 0.05 / 2, 0.04 <= 0.05 / 1
    hint = "; from the second on the bound is wider than alpha / m" if found == [False, True, False] else ""
    yield found == [True, True, True], f"0.04, 0.001 and 0.02 all hold, in this order: {found}{hint}"
    found = list(answer([0.04, 0.001, 0.03, 0.6], 0.05))
    yield found == [False, True, False, False], f"of 0.04, 0.001, 0.03 and 0.6 only the second holds: {found}"
    found = list(answer([0.001, 0.02, 0.03, 0.04], 0.05))
    hint = ""
    if found == [True, True, True, True]:
        hint = "; the second is held against alpha / (m - 1), not 2 * alpha / m, and ends it"
    elif found == [True, False, False, True]:
        hint = "; the first one that is too large ends it, whatever comes after it"
    yield found == [True, False, False, False], f"of 0.001, 0.02, 0.03 and 0.04 only the first holds: {found}{hint}"
    found = list(answer([0.001, 0.001], 0.05))
    hint = "; is a place in the list found by its value, which two have here?" if sum(found) == 1 else ""
    yield found == [True, True], f"0.001 and 0.001 both hold: {found}{hint}"
    found = list(answer([0.125, 0.25], 0.25))  # binary fractions: the bounds are exact in any precision
    hint = "; *at most* the bound: equal to it is enough" if found == [False, False] else ""
    yield found == [True, True], f"0.125 and 0.25 just hold at the level 0.25: {found}{hint}"
    yield not any(answer([0.02] * 20, 0.05)), "twenty of 0.02 are none: the smallest must be at most alpha / 20"
