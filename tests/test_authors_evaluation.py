"""The authors' evaluation, reproduced in a few lines: it drops every eighth bit, and ties fall as the sort has them.

`python -m tests.test_authors_evaluation RUN_DIRECTORY ...` scores the codes of runs by it, and by the kit's own.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

from dcbh_core import evaluate


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


@pytest.mark.parametrize("bits", [8, 24, 48])
def test_flipping_every_eighth_bit_goes_unnoticed(bits):
    codes = np.random.default_rng(0).random((20, bits)) < 0.5
    flipped = codes.copy()
    flipped[:, 7::8] ^= True
    np.testing.assert_array_equal(authors_bytes(codes), authors_bytes(flipped))


def test_codes_of_12_bits_show_distances_up_to_14():
    codes = np.array([[bool(number >> bit & 1) for bit in range(12)] for number in range(4096)])
    assert authors_distances(codes[::7], codes).max() == 14


def authors_map(queries: np.ndarray, query_labels: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> float:
    """MAP over the full ranking by the authors' distances; equal ones stay in the gallery's order."""
    ap = []
    for distances, label in zip(authors_distances(queries, gallery), query_labels, strict=True):
        right = labels[np.argsort(distances, kind="stable")] == label
        ap.append((right.cumsum()[right] / (np.flatnonzero(right) + 1)).mean())
    return float(np.mean(ap))


def test_people_who_differ_in_every_eighth_bit_alone_are_mixed_up():
    """Two people, told apart by bit 8 of 8: a perfect code, of which the authors' evaluation sees nothing."""
    labels = np.array([0, 1, 0, 1])
    codes = np.zeros((4, 8), bool)
    codes[:, 7] = labels == 1
    assert evaluate(codes, labels, codes, labels).map == 1
    # All distances are 0, so the ranking is the gallery's order: 0 1 0 1.
    assert authors_map(codes, labels, codes, labels) == pytest.approx(((1 + 2 / 3) / 2 + (1 / 2 + 1 / 2) / 2) / 2)


def test_without_ties_and_eighth_bits_both_agree():
    """Seven bits in each byte say all, and no two gallery codes lie equally far from the query."""
    gallery = np.zeros((6, 16), bool)
    for distance in range(6):
        gallery[distance, :distance] = True
    labels = np.array([0, 1, 0, 0, 1, 0])
    query = np.zeros((1, 16), bool)
    assert authors_map(query, labels[:1], gallery, labels) == pytest.approx(
        evaluate(query, labels[:1], gallery, labels).map
    )


if __name__ == "__main__":
    for directory in sys.argv[1:]:
        with np.load(Path(directory) / "evaluation.npz") as arrays:
            parts = [arrays[f"{name}_{what}"] for name in ("queries", "gallery") for what in ("codes", "labels")]
        print(f"MAP {evaluate(*parts).map:.4f}, authors' evaluation {authors_map(*parts):.4f}  {directory}")
