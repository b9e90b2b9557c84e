"""The authors' evaluation in a few lines of our own, for notebook 8 and the tests.

Their code measures something else than it says; what is here does the same on purpose. Nothing of the kit uses it.
"""

from __future__ import annotations

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


def sorted_map(distances: np.ndarray, right: np.ndarray, kind: str = "stable") -> float:
    """MAP after a sort of each row.

    Args:
        distances: (queries, gallery).
        right: (queries, gallery) bool.
        kind: NumPy's name of the sort; it decides how equal distances fall.
    """
    order = np.argsort(distances, axis=1, kind=kind)
    hit = np.take_along_axis(right, order, axis=1)
    precision = hit.cumsum(1) / np.arange(1, hit.shape[1] + 1)
    return float(((precision * hit).sum(1) / hit.sum(1)).mean())


def authors_map(queries: np.ndarray, query_labels: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> float:
    """MAP over the full ranking by the authors' distances; equal ones stay in the gallery's order."""
    return sorted_map(authors_distances(queries, gallery), query_labels[:, None] == labels)


def authors_batches(size: int, parts: int) -> list[range]:
    """The faces that each batch holds when ``size`` of them are encoded in ``parts`` equal batches, and one more for
    the rest. The gallery has 100 parts, the queries 5."""
    each = size // parts
    return [range(min(i * each, size), min((i + 1) * each, size)) for i in range(parts + 1)]
