"""Checks of notebook 1: faces and codes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import Verdict


def check_1(answer: Any) -> Iterator[Verdict]:
    """The Hamming distance of packed codes: answer(query (bytes,), gallery (n, bytes)) -> (n,)."""
    query = np.array([0b10110010], np.uint8)
    gallery = np.array([[0b10110010], [0b11100011], [0b01001101]], np.uint8)
    got = np.asarray(answer(query, gallery))
    yield got.shape == (3,), f"One number for each code of the gallery: 3 codes give an array of shape {got.shape}."
    hint = " (a code is no number: do not subtract)" if abs(int(got[1])) == abs(0b11100011 - 0b10110010) else ""
    yield int(got[0]) == 0, f"A code is at distance {got[0]} from itself."
    yield int(got[1]) == 3, f"The two codes that the notebook compares by hand are {got[1]} apart{hint}."
    yield int(got[2]) == 8, f"A code of 8 bits and its opposite are {got[2]} apart."

    rng = np.random.default_rng(1)
    codes = rng.random((200, 48)) < 0.5
    packed = np.packbits(codes, axis=1)
    right = (codes[0] != codes).sum(1)
    got = np.asarray(answer(packed[0], packed))
    if got.shape == (200,) and np.array_equal(got, (packed[0] != packed).sum(1)):
        yield False, "With 6 bytes to a code: this is the number of bytes that differ. How many bits differ in each?"
    hint = ": shapes must be (200,)" if got.shape != (200,) else ""
    yield got.shape == (200,) and np.array_equal(got, right), f"200 codes of 48 bits, 6 bytes each{hint}."
    far = np.asarray(answer(np.zeros(40, np.uint8), np.full((1, 40), 255, np.uint8)))
    hint = " (256 and more do not fit into a byte)" if int(far.ravel()[0]) == 320 % 256 else ""
    yield int(far.ravel()[0]) == 320, f"Two opposite codes of 320 bits are {far.ravel()[0]} apart{hint}."


def check_2(answer: Any) -> Iterator[Verdict]:
    """The length at which random codes no longer collide: answer(n, r) -> bits."""
    first = answer(1, 0)
    yield (
        isinstance(first, int | np.integer),
        f"The answer is a whole number of bits, here of type {type(first).__name__}.",
    )
    got = answer(1000, 0)
    hint = ""
    if got == 9:
        hint = ": at 9 bits there are 512 codes for 1,000 strangers"
    elif got == 11:
        hint = ": with one bit less there would already be more codes than strangers"
    yield got == _bits_needed(1000, 0), f"1,000 strangers, equal codes only (radius 0): {got} bits{hint}."
    got = answer(1024, 0)
    hint = ": the expected number has to fall below one, exactly one is not enough" if got == 10 else ""
    yield got == _bits_needed(1024, 0), f"1,024 strangers, radius 0: {got} bits{hint}."
    for n, radius in ((1000, 1), (1_000_000, 2), (67_177, 2), (100_000_000, 5)):
        got, hint = answer(n, radius), ""
        if got == _bits_needed(n, 0):
            hint = " (this forgets all but the equal codes)"
        elif got == _bits_needed(n, radius, exactly=True):
            hint = " (this counts distance exactly r, and forgets those below)"
        yield got == _bits_needed(n, radius), f"{n:,} strangers, radius {radius}: {got} bits{hint}."


def _bits_needed(n: int, radius: int, exactly: bool = False) -> int:
    """The first number of bits whose ball of this radius, or its shell, holds less than one of n random codes."""
    distances = (radius,) if exactly else range(radius + 1)
    bits = max(radius, 1)  # a shorter code has no such radius
    while n * sum(math.comb(bits, d) for d in distances) >= 2**bits:
        bits += 1
    return bits


def check_3(answer: Any) -> Iterator[Verdict]:
    """The angle behind a Hamming distance of random planes: answer(distance, bits) -> degrees."""
    got = float(answer(0, 48))
    yield abs(got) < 1e-6, f"Equal codes: an angle of {got:g} degrees."
    got = float(answer(48, 48))
    hint = ""
    if abs(got - math.pi) < 1e-6:
        hint = " (these are radians)"
    elif abs(got - 90) < 1e-6:
        hint = " (if every plane separates two arrows, how do they lie?)"
    yield abs(got - 180) < 1e-6, f"All of 48 bits differ: an angle of {got:g} degrees{hint}."
    got = float(answer(24, 48))
    yield abs(got - 90) < 1e-6, f"Half of 48 bits differ: an angle of {got:g} degrees."

    rng = np.random.default_rng(3)
    for degrees in (20, 60, 130):
        pair = np.array([[1, 0, 0], [math.cos(math.radians(degrees)), math.sin(math.radians(degrees)), 0]])
        codes = pair @ rng.standard_normal((3, 200_000)) >= 0
        got = float(answer(int((codes[0] != codes[1]).sum()), codes.shape[1]))
        yield (
            abs(got - degrees) < 1,
            f"Two vectors at {degrees} degrees, 200,000 random planes: you find {got:.1f} degrees.",
        )
