"""Rankings as other code sorts them, where the kit takes the mean over all orders of tied items.

What is here does on purpose what others do: it lets ``score`` say what they would have printed, and notebook 8 show
what the authors' packing costs. No metric of a run comes from it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from dcbh_core import Evaluation


def authors_bytes(codes: np.ndarray) -> np.ndarray:
    """Codes bool (n, bits) packed as the authors pack them: +-1 instead of 0 and 1, so a byte of 1-bits S is 2 S - 255.

    Modulo 256 that is the same with and without the byte's highest bit. A partial last byte of m bits holds
    2 S - (2^m - 1). Integers stand in for the cast of a negative float, which NumPy leaves undefined.
    """
    signs = np.where(codes, 1, -1)
    columns = []
    for first in range(0, codes.shape[1], 8):
        block = signs[:, first : first + 8]
        columns.append((block * 2 ** np.arange(block.shape[1])).sum(1) % 256)
    return np.stack(columns, 1).astype(np.uint8)


def authors_distances(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """(queries, gallery): bits in which the bytes differ."""
    return np.bitwise_count(authors_bytes(queries)[:, None] ^ authors_bytes(gallery)[None]).sum(2, dtype=int)


def evaluation_of(distances: np.ndarray, right: np.ndarray) -> Evaluation:
    """The kit's evaluation of any whole distances (queries, gallery); ``right`` (queries, gallery): same person?"""
    longest = distances.max() + 1
    pairs = list(zip(distances, right, strict=True))
    return Evaluation(
        np.stack([np.bincount(row, minlength=longest) for row, _ in pairs]),
        np.stack([np.bincount(row[own], minlength=longest) for row, own in pairs]),
    )


def sorted_map(
    distances: np.ndarray, right: np.ndarray, kind: Literal["stable", "quicksort"] = "stable", k: int | None = None
) -> float:
    """MAP after a sort of each row.

    Args:
        distances: (queries, gallery).
        right: (queries, gallery) bool.
        kind: NumPy's name of the sort (``quicksort`` is its default); it decides how equal distances fall.
        k: Of the k first alone, over the right ones among them; all by default.
    """
    order = np.argsort(distances, axis=1, kind=kind)[:, :k]
    hit = np.take_along_axis(right, order, axis=1)
    precision = hit.cumsum(1) / np.arange(1, hit.shape[1] + 1)
    return float(((precision * hit).sum(1) / np.maximum(hit.sum(1), 1)).mean())
