"""Checks of notebook 2: block hashing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch

from dcbh_core.model import BlockHead


def check_1(answer: Callable[[np.ndarray, int], np.ndarray]) -> Iterator[tuple[bool, str]]:
    f = np.random.default_rng(1).normal(0, 2, (5, 12)).astype(np.float32)
    q = np.asarray(answer(f, 4))
    yield q.shape == (5, 4), f"five faces and four bits give five rows of four numbers: the shape is {q.shape}"
    expected = torch.tanh(BlockHead(4, 3)(torch.from_numpy(f))).numpy()
    other = f.reshape(5, 3, 4).swapaxes(1, 2).reshape(5, 12)
    hints = {
        "; the tanh is missing": np.arctanh(expected),
        "; a half is to be taken off before the tanh": np.tanh(np.arctanh(expected) + 0.5),
        "; the blocks are cut the wrong way round": torch.tanh(BlockHead(4, 3)(torch.from_numpy(other))).numpy(),
    }
    hint = next((hint for hint, wrong in hints.items() if np.allclose(q, wrong, atol=1e-5)), "")
    yield np.allclose(q, expected, atol=1e-5), f"random descriptors, blocks of 3{hint}"
    flat = np.asarray(answer(np.zeros((1, 12)), 2))
    yield np.allclose(flat, np.tanh(1 / 6 - 0.5)), "blocks of 6 equal entries give the lowest q there is"
    large = np.asarray(answer(np.array([[1000.0, 0, 0]]), 1))
    yield np.allclose(large, np.tanh(0.5)), f"an entry of a thousand gives the highest q, without overflow: {large}"


def check_2(answer: Callable[[int], float]) -> Iterator[tuple[bool, str]]:
    for size in (3, 6, 12):
        lead = float(answer(size))
        maximum = math.exp(min(lead, 700)) / (math.exp(min(lead, 700)) + size - 1)
        off = "" if math.isclose(maximum, 0.5) else ", not a half"
        yield not off, f"block size {size}: with your lead the largest entry holds {maximum:.3f} of the mass{off}"


def check_3(answer: Callable[[int], tuple[float, float]]) -> Iterator[tuple[bool, str]]:
    for size in (3, 6, 1000):
        low, high = answer(size)
        yield math.isclose(high, math.tanh(0.5)), f"block size {size}: the highest q, {high:.4f}, does not depend on it"
        expected = math.tanh(1 / size - 0.5)
        yield math.isclose(low, expected), f"block size {size}: the lowest q, {low:.4f}, is that of equal entries"
