"""Shallow hashing: codes from a linear projection of given vectors, for comparison with learnt ones.

The vectors are raw pixels, or the descriptors of a trained network; n vectors of length d.
"""

from __future__ import annotations

import dataclasses

import numpy as np

ITERATIONS = 50  # of ITQ; Gong and Lazebnik use 50


@dataclasses.dataclass(frozen=True)
class LinearHash:
    """A linear hash function: bits are the signs of (x - mean) @ projection.

    Attributes:
        mean: The mean of the vectors that it was made from, float64 (d,).
        projection: Float64 (d, bits).
    """

    mean: np.ndarray
    projection: np.ndarray

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Codes bool (n, bits) of vectors (n, d)."""
        return (vectors - self.mean) @ self.projection >= 0


def lsh(vectors: np.ndarray, bits: int, seed: int) -> LinearHash:
    """Random projections: hyperplanes of random direction, drawn by ``seed``, through the mean of vectors (n, d).

    Source: Charikar, Similarity Estimation Techniques from Rounding Algorithms, STOC 2002.
    """
    projection = np.random.default_rng(seed).standard_normal((vectors.shape[1], bits))
    return LinearHash(vectors.mean(0, dtype=np.float64), projection)


def itq(vectors: np.ndarray, bits: int, seed: int) -> LinearHash:
    """PCA and iterative quantisation: the ``bits`` principal directions, rotated so that signs lose little.

    With V (n, bits) the projections on the principal directions, codes B and rotation R minimise |B - V R|^2 in turns:
    B = sign(V R), then R = U W from the singular value decomposition V^T B = U S W. R starts at random.

    Args:
        vectors: Those to be hashed, (n, d).
        bits: Length of the codes.
        seed: Draws the first rotation.

    Raises:
        ValueError: There are fewer principal directions than ``bits``, as n - 1 or d is smaller.

    Source: Gong and Lazebnik, Iterative Quantization: A Procrustean Approach to Learning Binary Codes, CVPR 2011.
    """
    from scipy.linalg import eigh

    n, d = vectors.shape
    rank = min(n - 1, d)
    if bits > rank:
        raise ValueError(f"{n} vectors of length {d} have {rank} principal directions, too few for {bits} bits")
    mean = vectors.mean(0, dtype=np.float64)
    centered = vectors - mean
    # Eigenvalues ascend: the last are the largest variances.
    directions = eigh(centered.T @ centered, subset_by_index=(d - bits, d - 1))[1]
    projected = centered @ directions
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((bits, bits)))[0]
    for _ in range(ITERATIONS):
        codes = np.where(projected @ rotation >= 0, 1.0, -1.0)
        left, _, right = np.linalg.svd(projected.T @ codes)
        rotation = left @ right
    return LinearHash(mean, directions @ rotation)
