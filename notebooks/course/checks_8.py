"""Checks of the exercises of notebook 8, Reading the authors' code."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from . import Verdict
from .authors import authors_distances


def check_1(counts: Any) -> Iterator[Verdict]:
    """How often each bit counts in the authors' distance."""
    for bits in (8, 16, 12, 36, 3, 13):
        found = np.asarray(counts(bits), dtype=float)
        yield found.shape == (bits,), f"for codes of {bits} bits there are {bits} numbers (found shape {found.shape})"
        codes = np.random.default_rng(bits).random((1, bits)) < 0.5
        flipped = codes ^ np.eye(bits, dtype=bool)
        true = authors_distances(codes, flipped)[0]
        off = np.flatnonzero(found != true)
        hint = ""
        if len(off):
            bit = off[0] + 1
            hint = f": look at bit {bit}, which is "
            hint += "the eighth of its byte" if bit % 8 == 0 else "the last" if bit == bits else "one of the plain ones"
            few = found[off[0]] < true[off[0]]
            hint += f"; yours counts {found[off[0]]:g} times, which is {'too few' if few else 'too many'}"
        partial = f", with a last byte of {bits % 8}" if bits % 8 else ""
        yield not len(off), f"each bit of {bits} counts as often as it does in the authors' distance{partial}{hint}"


def check_2(strength: Any) -> Iterator[Verdict]:
    """The gradient of weight decay as coded, divided by that intended."""
    for shape, decay in (((3, 4), 2e-4), ((64, 64, 3, 3), 2e-4), ((5,), 1e-2)):
        kernel = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        found = float(strength(kernel, decay))
        true = decay * decay / 2 * kernel.square().sum().item()
        what = f"a kernel of shape {shape} with decay {decay:g}"
        yield 0 < found < 1, f"the factor for {what} lies between 0 and 1 (found {found:.3g})"
        hint = ""
        if math.isclose(found, true / 2, rel_tol=1e-3):
            hint = ": only half of it; the derivative of a square brings a factor with it"
        elif math.isclose(found, true / decay, rel_tol=1e-3):
            hint = ": one decay is missing; the regulariser is applied twice"
        elif not math.isclose(found, true, rel_tol=1e-3):
            hint = f": yours is {found:.3g}, {'too small' if found < true else 'too large'}"
        yield math.isclose(found, true, rel_tol=1e-3), f"the factor for {what} is that of the two gradients{hint}"


def check_3(batches: Any) -> Iterator[Verdict]:
    """Batches that cover everybody once."""
    for n, size in ((280, 2), (280, 64), (512, 256), (257, 256), (1, 256), (9899, 98)):
        found = list(batches(n, size))
        pairs = all(not isinstance(pair, range) and len(pair) == 2 for pair in found)
        yield pairs, f"n = {n}, size = {size}: each batch is a pair (start, stop)"
        found = [(int(start), int(stop)) for start, stop in found]
        covered = [i for start, stop in found for i in range(start, stop)]
        what = f"n = {n}, size = {size}"
        missing = n - len(set(covered) & set(range(n)))
        yield not missing, f"{what}: all faces are in a batch" + (f"; {missing} are in none" if missing else "")
        yield covered == list(range(n)), f"{what}: each face comes exactly once, in order"
        lengths = [stop - start for start, stop in found]
        yield min(lengths) > 0, f"{what}: no batch is empty (the smallest has {min(lengths)} faces)"
        yield max(lengths) <= size, f"{what}: no batch is larger than {size} (the largest has {max(lengths)} faces)"
        smallest, largest = min(lengths), max(lengths)
        fewest = -(-n // size)
        yield len(found) == fewest, f"{what}: as few batches as can be ({len(found)}; {fewest} would do)"
        yield largest - smallest <= 1, f"{what}: sizes differ by at most 1 (found {smallest} to {largest} faces)"
