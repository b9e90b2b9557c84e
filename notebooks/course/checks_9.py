"""Checks of notebook 9, new people and large galleries."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import Verdict, close, ended, is_number


def check_1(answer: Callable[..., Any]) -> Iterator[Verdict]:
    value = answer(5, 0)
    yield is_number(value) and value == 1, f"Within radius 0 of a code of 5 bits you count {value}."
    whole = isinstance(value, int)
    hint = "" if whole else f", not a {type(value).__name__}: beyond 2^53 a float rounds"
    yield whole, f"A count is a whole number{hint}."
    value = answer(48, 1)
    hint = {48: ": the code itself is missing", 49: ""}.get(value, ": each bit can be flipped once")
    yield value == 49, ended(f"Within radius 1 of a code of 48 bits you count {value}{hint}")
    value = answer(48, 2)
    hint = {
        1177: "",
        1128: ": those are the codes at distance 2 exactly",
        2305: ": to flip bit 3 and then bit 7 is the same as 7 and then 3",
        2353: ": to flip bit 3 and then bit 7 is the same as 7 and then 3",
    }.get(value, ": which pairs of bits can be flipped?")
    yield value == 1177, ended(f"Within radius 2 of a code of 48 bits you count {value}{hint}")
    value = answer(12, 12)
    hint = "" if value == 4096 else ": should that not be all codes there are?"
    yield value == 4096, ended(f"Within radius 12 of a code of 12 bits you count {value}{hint}")
    value, wanted = answer(60, 30), sum(math.comb(60, i) for i in range(31))
    hint = "" if value == wanted else ": is every step in whole numbers?"
    yield value == wanted, ended(f"Within radius 30 of a code of 60 bits you count {value}{hint}")


def _size(bits: int, d: int, query: float, stranger: float) -> float:
    p = query * (1 - stranger) + stranger * (1 - query)
    return 1 / sum(math.comb(bits, i) * p**i * (1 - p) ** (bits - i) for i in range(d + 1))


def check_2(answer: Callable[..., Any]) -> Iterator[Verdict]:
    value = answer(12, 0, 0.5, 0.5)
    yield is_number(value), "For bits, distance and shares of ones you return a number."
    right = math.isclose(value, 4096, rel_tol=1e-3)
    hint = "" if right else ": how many equally likely codes are there, and how many of them are within distance 0?"
    if math.isclose(value, 1 / 4096, rel_tol=1e-3):
        hint = ": that is the probability that one stranger comes so close"
    yield (
        right,
        ended(f"12 bits, distance 0, as many ones as zeros: one stranger is expected among {value:,.4g}{hint}"),
    )
    value, wanted = answer(48, 4, 0.5, 0.5), _size(48, 4, 0.5, 0.5)
    right = math.isclose(value, wanted, rel_tol=1e-3)
    exactly = 2**48 / math.comb(48, 4)
    hint = ": those nearer than 4 count as well" if math.isclose(value, exactly, rel_tol=1e-3) else ""
    yield right, ended(f"48 bits, distance 4, as many ones as zeros: {value:,.4g}{hint}")
    value, wanted = answer(48, 4, 0.2, 0.2), _size(48, 4, 0.2, 0.2)
    right = math.isclose(value, wanted, rel_tol=1e-3)
    hint = ""
    if not right:
        hint = ": two bits differ if the one is 1 and the other 0, or the other way round"
        if value > _size(48, 4, 0.5, 0.5):
            hint += "; and can codes with few ones really lie farther apart than coin tosses?"
    yield right, ended(f"48 bits, distance 4, one bit in five a 1: {value:,.4g}{hint}")
    value, wanted = answer(48, 4, 0.4, 0.2), _size(48, 4, 0.4, 0.2)
    right = math.isclose(value, wanted, rel_tol=1e-3)
    hint = "" if right else ": a 1 of the query meets a 0 of the stranger, or a 0 of the query a 1 of the stranger"
    yield right, ended(f"48 bits, distance 4, twice as many ones in the query as in strangers: {value:,.4g}{hint}")
    few, many = answer(24, 2, 0.1, 0.1), answer(24, 2, 0.9, 0.9)
    right = close(few, many) and math.isclose(few, _size(24, 2, 0.1, 0.1), rel_tol=1e-3)
    yield right, f"Few ones ({few:,.4g}) and few zeros ({many:,.4g}) should come to the same."


def check_3(answer: Callable[..., Any]) -> Iterator[Verdict]:
    table = {0b0101: [3, 0], 0b0111: [7], 0b0000: [5], 0b1101: [1]}
    before = {code: list(faces) for code, faces in table.items()}
    found = answer(table, 0b0101, 4)
    is_list = isinstance(found, list)
    yield is_list, f"You return a {type(found).__name__}; a list is wanted."
    here = {0, 3} <= set(found)
    yield here, f"The faces with the very code of the query {'are' if here else 'are not'} among your {len(found)}."
    nobody_else = not {5} & set(found)
    yield nobody_else, f"A face at distance 2 {'is left out' if nobody_else else 'has slipped in'}."
    near = {1, 7} & set(found)
    hint = "." if len(near) == 2 else ": is every bit flipped once?"
    yield len(near) == 2, f"Of two faces at distance 1 you found {len(near)}{hint}"
    yield list(found) == [0, 1, 3, 7], f"Four faces in all, each once and in order of their indices: {found}."
    same = table == before
    hint = "is as it was." if same else "is no longer as it was: a list that you extend may belong to it."
    yield same, f"The table {hint}"
    rng = np.random.default_rng(0)
    codes = rng.integers(2**10, size=2000).tolist()
    table = {}
    for index, code in enumerate(codes):
        table.setdefault(code, []).append(index)
    wrong = 0
    for query in (0, 5, 1023):
        slow = [index for index, code in enumerate(codes) if (code ^ query).bit_count() <= 1]
        wrong += answer(dict(table), query, 10) != slow
    yield wrong == 0, f"In a gallery of two thousand codes of 10 bits, {3 - wrong} of 3 queries find what a scan finds."
    empty = answer({}, 6, 10)
    yield empty == [], f"In an empty table you find {empty}."
