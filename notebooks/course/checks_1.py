"""Checks of notebook 1: faces and codes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import Verdict, close, ended


def check_1(answer: Any) -> Iterator[Verdict]:
    """The Hamming distance of packed codes: answer(query (bytes,), gallery (n, bytes)) -> (n,)."""
    query = np.array([0b10110010], np.uint8)
    gallery = np.array([[0b10110010], [0b11100011], [0b01001101]], np.uint8)
    got = np.asarray(answer(query, gallery))
    hint = {
        (): ": one number is asked for each code, so the sum goes over the bytes of a code, not over all codes",
        (3, 1): ": this is one number for each byte; a code's bytes have to be added up, whatever their number",
    }.get(got.shape, ": what is summed over which axis?")
    right = got.shape == (3,)
    yield right, ended(f"3 codes in the gallery give an array of shape {got.shape}{'' if right else hint}")
    itself, three, eight = got.tolist()
    hint = ": you count the bits that agree" if itself == 8 else ": what does XOR leave of two equal codes?"
    yield itself == 0, ended(f"A code is at distance {itself} from itself{'' if itself == 0 else hint}")
    hint = {
        0b11100011 - 0b10110010: ": a code is no number, do not subtract",
        0b10110010 - 0b11100011 + 256: ": a code is no number, do not subtract",
        0b11100011 ^ 0b10110010: ": that is the XOR, read as a number; its ones are to be counted",
        1: ": that is the number of bytes that differ; how many bits differ in them?",
        5: ": you count the bits that agree",
    }.get(abs(three), ": how many ones has their XOR?")
    yield (
        three == 3,
        ended(f"The two codes that the notebook compares by hand are {three} apart{'' if three == 3 else hint}"),
    )
    yield (
        eight == 8,
        ended(f"A code of 8 bits and its opposite are {eight} apart{'' if eight == 8 else ': and all differ'}"),
    )

    rng = np.random.default_rng(1)
    codes = rng.random((200, 48)) < 0.5
    packed = np.packbits(codes, axis=1)
    right = (codes[0] != codes).sum(1)
    got = np.asarray(answer(packed[0], packed))
    if got.shape != (200,):
        hint = f": 200 distances are asked for, you give shape {got.shape}"
    elif np.array_equal(got, (packed[0] != packed).sum(1)):
        hint = ": this is the number of bytes that differ; how many bits differ in each?"
    elif np.array_equal(got, np.bitwise_count(packed[0] ^ packed)[:, 0]):
        hint = ": this is the first byte alone"
    elif (off := int(np.argmax(got != right))) or got[0]:
        hint = f": code {off} is {right[off]} bits away from the first one, you say {got[off]}"
    else:
        hint = ""
    good = close(got, right)
    yield good, ended(f"200 codes of 48 bits, 6 bytes each{hint}")
    far = int(np.ravel(answer(np.zeros(40, np.uint8), np.full((1, 40), 255, np.uint8)))[0])
    hint = ": 256 and more do not fit into a byte, which type has your sum?" if far == 320 % 256 else ": all differ"
    yield far == 320, ended(f"Two opposite codes of 320 bits are {far} apart{'' if far == 320 else hint}")


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
    for n, radius in ((100, 2), (1000, 1), (500, 3), (1000, 5), (67_177, 2), (100_000_000, 5)):
        got, right = answer(n, radius), _bits_needed(n, radius)
        hint = ""
        if got != right:
            hint = {
                right - 1: " (with so few one stranger or more is expected)",
                _bits_needed(n, 0): " (this forgets all but the equal codes)",
                _bits_needed(n, radius, exactly=True): " (this counts distance exactly r, and forgets those below)",
                _bits_needed(n, radius - 1): " (r itself is within the radius, too)",
            }.get(got, " (too many)" if got > right else " (too few)")
        yield got == right, f"{n:,} strangers, radius {radius}: {got} bits{hint}."


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
    yield close(got, 0), f"Equal codes: an angle of {got:g} degrees."
    got = float(answer(48, 48))
    hint = ""
    if close(got, math.pi):
        hint = " (these are radians)"
    elif close(got, 90):
        hint = " (if every plane separates two arrows, how do they lie?)"
    yield close(got, 180), f"All of 48 bits differ: an angle of {got:g} degrees{hint}."
    got = float(answer(24, 48))
    yield close(got, 90), f"Half of 48 bits differ: an angle of {got:g} degrees."

    rng = np.random.default_rng(3)
    for degrees in (20, 60, 130):
        pair = np.array([[1, 0, 0], [math.cos(math.radians(degrees)), math.sin(math.radians(degrees)), 0]])
        codes = pair @ rng.standard_normal((3, 200_000)) >= 0
        got = float(answer(int((codes[0] != codes[1]).sum()), codes.shape[1]))
        yield (
            abs(got - degrees) < 1,
            f"Two vectors at {degrees} degrees, 200,000 random planes: you find {got:.1f} degrees.",
        )
