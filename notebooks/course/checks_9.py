"""Checks of notebook 9: new people, and large galleries."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np


def within(bits: int, radius: int) -> int:
    return sum(math.comb(bits, differing) for differing in range(radius + 1))


def check_1(answer: Callable[[int, int], int]) -> Iterator[tuple[bool, str]]:
    yield answer(12, 0) == 1, "within radius 0 there is the code itself, and nothing else"
    yield answer(12, 1) == 13, f"12 bits, radius 1: {answer(12, 1)}; itself, and one for each bit that may differ"
    found = answer(48, 2)
    ring = "; that is the ring at distance 2 alone" if found == math.comb(48, 2) else ""
    yield found == within(48, 2), f"48 bits, radius 2: {found}{ring}"
    yield answer(10, 10) == 1024, "within as many bits as there are lie all codes"


def check_2(answer: Callable[[int, int], float]) -> Iterator[tuple[bool, str]]:
    found = float(answer(12, 0))
    yield math.isclose(found, 4096), f"12 bits, radius 0: one of {found:,.0f} strangers has the query's very code"
    found = float(answer(12, 2))
    yield math.isclose(found, 4096 / within(12, 2)), f"12 bits, radius 2: one of {found:,.1f}"
    found = float(answer(48, 8))
    yield math.isclose(found, 2**48 / within(48, 8)), f"48 bits, radius 8: one of {found:,.0f}"


def check_3(answer: Callable[[dict[int, list[int]], int, int], list[int]]) -> Iterator[tuple[bool, str]]:
    codes = np.random.default_rng(0).integers(0, 2**8, 200)
    table: defaultdict[int, list[int]] = defaultdict(list)
    for face, code in enumerate(codes.tolist()):
        table[code].append(face)
    before = len(table)
    for code in (0, 77, 255):
        found = list(answer(table, code, 8))
        expected = np.flatnonzero(np.bitwise_count(codes ^ code) <= 1).tolist()
        missing, wrong = len(set(expected) - set(found)), len(set(found) - set(expected))
        off = f": {missing} are missing, {wrong} do not belong there" if missing or wrong else ""
        yield not off, f"200 random codes of 8 bits, query {code}{off}"
        yield found == expected, f"query {code}: each face once, in ascending order"
    yield len(table) == before, "looking something up leaves the table as it was"
