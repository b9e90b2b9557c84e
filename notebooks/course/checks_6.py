"""Checks of the exercises of notebook 6, Codes under t-SNE."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from . import Verdict


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
        if np.isclose(total, places):
            hint = "; these are places, not shares of the places"
        elif total > 1:
            hint = "; are more faces counted than there are places?"
        yield bool(np.isclose(total, 1)), f"{what}: the shares add up to {total:.3g}{hint}"
        first = given[1][np.argsort(given[0], kind="stable")[:places]]
        hint = ""
        if not np.allclose(found, right):
            by_order = np.allclose(found, np.bincount(first, minlength=people) / places)
            hint = ": here the face that is stored first has won the tie" if by_order else f": not {np.round(found, 3)}"
        yield bool(np.allclose(found, right)), f"{what}: each person has the fair share{hint}"


def check_2(said_twice: Any) -> Iterator[Verdict]:
    """The bits that repeat, or contradict, an earlier one."""
    rng = np.random.default_rng(0)
    plain = np.stack([rng.permutation(200) % 2 == 0 for _ in range(4)], axis=1)
    nearly = plain[:, 1].copy()
    nearly[:4] ^= True
    stages = [
        ("four bits that have nothing to do with each other", plain, [False] * 4),
        ("a copy of the first bit comes last", np.column_stack([plain, plain[:, 0]]), [False] * 4 + [True]),
        ("the opposite of the first bit comes last", np.column_stack([plain, ~plain[:, 0]]), [False] * 4 + [True]),
        (
            "a bit that departs from the second for 4 of 200 faces",
            np.column_stack([plain, nearly]),
            [False] * 4 + [True],
        ),
        ("three bits that all say the same", np.column_stack([plain[:, :1]] * 3), [False, True, True]),
    ]
    for what, codes, right in stages:
        found = np.asarray(said_twice(codes.copy(), 0.95))
        bits = len(right)
        yield found.shape == (bits,), f"{what}: one answer for each of {bits} bits (found shape {found.shape})"
        found = found.astype(bool)
        hint = ""
        if not (found == right).all():
            missed, false = np.flatnonzero(~found & right) + 1, np.flatnonzero(found & ~np.array(right)) + 1
            hint = f": bit {missed[0]} is not marked" if len(missed) else f": bit {false[0]} is marked"
            if found.all():
                hint += ", as all are; is a bit compared with itself?"
            elif len(false):
                hint += ", though no *earlier* bit says the same"
        yield bool((found == right).all()), f"{what}: the bits that tell nothing new are marked, and no others{hint}"
    found = np.asarray(said_twice(np.column_stack([plain, nearly]), 0.99)).astype(bool)
    yield not found.any(), "the same bits under a stricter limit: a bit that departs for 4 of 200 faces passes"


def check_3(effective_bits: Any) -> Iterator[Verdict]:
    """The participation ratio of the correlation matrix."""
    every = (np.arange(16)[:, None] >> np.arange(4)) % 2 == 1  # all codes of 4 bits: exactly uncorrelated
    rng = np.random.default_rng(0)
    mixed = (rng.normal(size=(300, 1)) + rng.normal(size=(300, 6))) > 0
    for what, codes in (
        ("all 16 codes of 4 bits, once each", every),
        ("4 bits and a copy of each", np.column_stack([every, every])),
        ("4 bits and the opposite of each", np.column_stack([every, ~every])),
        ("five bits that all say the same", np.column_stack([every[:, :1]] * 5)),
        ("six bits that share a part of their message", mixed),
    ):
        raw = np.asarray(effective_bits(codes.copy()), dtype=float)
        yield raw.ndim == 0, f"{what}: one number (found shape {raw.shape})"
        found = float(raw)
        bits = codes.shape[1]
        matrix = np.corrcoef(codes.T.astype(float))
        spectrum = np.linalg.eigvalsh(matrix)
        right = spectrum.sum() ** 2 / (spectrum**2).sum()
        yield 0.999 <= found <= bits + 1e-3, f"{what}: a number from 1 to {bits} (found {found:.4g})"
        hint = ""
        if not np.isclose(found, right, rtol=1e-4):
            hint = f": {found:.4g} is too {'small' if found < right else 'large'}"
            if np.isclose(found, bits**2 / np.abs(matrix).sum()):
                hint += "; the squares of the entries are wanted"
            elif np.isclose(found, bits**2 / matrix.sum()):
                hint += "; two correlations of opposite sign must not cancel"
        yield bool(np.isclose(found, right, rtol=1e-4)), f"{what}: as with eigenvalues{hint}"
