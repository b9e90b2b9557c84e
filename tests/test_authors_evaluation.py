"""The authors' evaluation drops every eighth bit: finding 3.1 of the design, reproduced in a few lines."""

import numpy as np
import pytest


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
