"""Checks of the exercises of notebook 6, Codes under t-SNE."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from . import Verdict, close, is_number


def check_1(shares: Any) -> Iterator[Verdict]:
    """The part of the nearest places that each person takes, with ties shared out."""
    cases: list[tuple[str, list[int], list[int], int, list[float]]] = [
        ("no tie, all places to one person", [5, 1, 4, 2], [1, 0, 1, 0], 2, [1, 0]),
        ("no tie, one place of four goes to another person", [7, 1, 2, 9, 3, 4], [0, 0, 0, 0, 1, 0], 4, [0.75, 0.25]),
        ("two faces tie for one place", [1, 3, 3, 8], [0, 1, 0, 1], 2, [0.75, 0.25]),
        ("four faces tie for two places", [1, 1, 1, 2, 2, 2, 2], [0, 0, 1, 1, 1, 1, 2], 5, [0.4, 0.5, 0.1]),
        ("all faces tie", [6, 6, 6, 6, 6], [0, 0, 1, 1, 2], 2, [0.4, 0.4, 0.2]),
    ]
    for what, distance, labels, places, right in cases:
        given = np.array(distance), np.array(labels)
        found = np.asarray(shares(*given, places), dtype=float)
        people = len(right)
        yield found.shape == (people,), f"{what}: one number for each of {people} people (found shape {found.shape})"
        total = found.sum()
        hint = ""
        if not close(total, 1):
            hint = "; are more faces counted than there are places?" if total > 1 else "; who has the rest?"
            if close(total, places):
                hint = "; these are places, not shares of the places"
        yield close(total, 1), f"{what}: the shares add up to {total:.3g}{hint}"
        first = given[1][np.argsort(given[0], kind="stable")[:places]]
        hint = ""
        if not close(found, right):
            by_order = close(found, np.bincount(first, minlength=people) / places)
            hint = ": here the face that is stored first has won the tie" if by_order else f": not {np.round(found, 3)}"
        yield close(found, right), f"{what}: each person has the fair share{hint}"


def check_2(said_twice: Any) -> Iterator[Verdict]:
    """The bits that repeat, or contradict, an earlier one."""
    rng = np.random.default_rng(0)
    plain = np.stack([rng.permutation(200) % 2 == 0 for _ in range(4)], axis=1)

    def departing(bit: np.ndarray, count: int, first: int = 0) -> np.ndarray:
        """A bit (200,) that differs from another for ``count`` faces."""
        changed = np.arange(200) - first
        return bit ^ ((changed >= 0) & (changed < count))

    chain = np.column_stack([plain[:, 0], departing(plain[:, 0], 8), departing(plain[:, 0], 16)])
    rare = np.column_stack([departing(np.zeros(200, bool), 5), departing(np.zeros(200, bool), 5, first=5)])
    elsewhere = "though no *earlier* bit says the same"
    stages = [
        ("four bits that have nothing to do with each other", plain, 0.95, [False] * 4, elsewhere),
        (
            "a copy of the first bit comes last",
            np.column_stack([plain, plain[:, 0]]),
            0.95,
            [False] * 4 + [True],
            elsewhere,
        ),
        (
            "the opposite of the first bit comes last",
            np.column_stack([plain, ~plain[:, 0]]),
            0.95,
            [False] * 4 + [True],
            elsewhere,
        ),
        (
            "a bit that departs from the second for 4 of 200 faces",
            np.column_stack([plain, departing(plain[:, 1], 4)]),
            0.95,
            [False] * 4 + [True],
            elsewhere,
        ),
        ("three bits that all say the same", np.column_stack([plain[:, :1]] * 3), 0.95, [False, True, True], elsewhere),
        (
            "the same under a stricter limit: a bit that departs for 4 of 200 faces passes",
            np.column_stack([plain, departing(plain[:, 1], 4)]),
            0.99,
            [False] * 5,
            "though it agrees on less than the limit",
        ),
        (
            "two bits that are nearly always 0, and 1 for other faces",
            rare,
            0.9,
            [False, True],
            "though they agree on nearly all faces; that is counted, and a correlation asks something else",
        ),
        (
            "a bit that agrees on the share `limit` exactly",
            np.column_stack([plain[:, 0], departing(plain[:, 0], 50)]),
            0.75,
            [False, True],
            "and *at least* the limit is asked for",
        ),
        (
            "a chain: the third bit agrees with the second, the second with the first",
            chain,
            0.95,
            [False, True, True],
            "and an earlier bit counts, whether it is marked itself or not",
        ),
    ]
    for what, codes, limit, right, why in stages:
        found = np.asarray(said_twice(codes.copy(), limit))
        bits = len(right)
        yield found.shape == (bits,), f"{what}: one answer for each of {bits} bits (found shape {found.shape})"
        found = found.astype(bool)
        hint = ""
        if not (found == right).all():
            missed, false = np.flatnonzero(~found & right) + 1, np.flatnonzero(found & ~np.array(right)) + 1
            hint = f": bit {missed[0]} is not marked" if len(missed) else f": bit {false[0]} is marked"
            if found.all() and not all(right):
                hint += ", as all are; is a bit compared with itself?"
            elif len(false) or why != elsewhere:
                hint += f", {why}"
        yield bool((found == right).all()), f"{what}: the bits that tell nothing new are marked, and no others{hint}"


def check_3(effective_bits: Any) -> Iterator[Verdict]:
    """The participation ratio of the correlation matrix."""
    every = (np.arange(16)[:, None] >> np.arange(4)) % 2 == 1  # all codes of 4 bits: exactly uncorrelated
    rng = np.random.default_rng(0)
    mixed = (rng.normal(size=(300, 1)) + rng.normal(size=(300, 6))) > 0
    uneven = np.column_stack([np.tile([True, False], 10), np.arange(20) < 2])  # uncorrelated; one of them is rarely 1
    for what, codes in (
        ("all 16 codes of 4 bits, once each", every),
        ("4 bits and a copy of each", np.column_stack([every, every])),
        ("4 bits and the opposite of each", np.column_stack([every, ~every])),
        ("five bits that all say the same", np.column_stack([every[:, :1]] * 5)),
        ("six bits that share a part of their message", mixed),
        ("two bits that have nothing in common, one of them rarely 1", uneven),
    ):
        found = effective_bits(codes.copy())
        yield is_number(found), f"{what}: one number (found {type(found).__name__})"
        bits = codes.shape[1]
        matrix = np.corrcoef(codes.T.astype(float))
        spectrum = np.linalg.eigvalsh(matrix)
        right = spectrum.sum() ** 2 / (spectrum**2).sum()
        covariance = np.cov(codes.T.astype(float))
        hint = ""
        if not close(found, right, 1e-4):
            hint = f": {found:.4g} is too {'small' if found < right else 'large'}"
            if close(found, bits**2 / np.abs(matrix).sum()):
                hint += "; the squares of the entries are wanted"
            elif close(found, bits**2 / matrix.sum()):
                hint += "; two correlations of opposite sign must not cancel"
            elif close(found, np.trace(covariance) ** 2 / (covariance**2).sum()):
                hint += "; in a covariance a bit that is rarely 1 counts for less, in a correlation it does not"
            elif not 1 <= found <= bits:
                hint += f"; it lies between 1 and {bits}"
            else:
                hint += "; what is on the diagonal of R, and what is the trace of R R?"
        yield close(found, right, 1e-4), f"{what}: as with eigenvalues{hint}"
