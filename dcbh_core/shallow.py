"""Shallow hashing: codes from a linear projection of given vectors, for comparison with learnt ones.

The vectors are raw pixels, or the descriptors of a trained network; n vectors of length d.
"""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np

ITERATIONS = 50  # of ITQ; Gong and Lazebnik use 50
FLAT = 1e-6  # of the largest deviation: what is below is rounding
FISHER = 256  # principal directions that LDA sees, so that pixels, of which there are more than faces, can be hashed


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

    Args:
        vectors: Those to be hashed, (n, d).
        bits: Length of the codes.
        seed: Draws the first rotation.

    Raises:
        ValueError: There are fewer principal directions than ``bits``, as n - 1 or d is smaller.

    Source: Gong and Lazebnik, Iterative Quantization: A Procrustean Approach to Learning Binary Codes, CVPR 2011.
    """
    n, d = vectors.shape
    if bits > min(n - 1, d):
        raise ValueError(
            f"{n} vectors of length {d} have {min(n - 1, d)} principal directions, too few for {bits} bits"
        )
    return _rotated(vectors, _principal(vectors, bits), seed)


def lda_itq(vectors: np.ndarray, labels: np.ndarray, bits: int, seed: int) -> LinearHash:
    """LDA and iterative quantisation: the ``bits`` directions that tell people apart best, rotated as in ``itq``.

    As with Fisherfaces, long vectors are first reduced to their ``FISHER`` principal directions; the covariance within
    people is shrunk as Ledoit and Wolf do.

    Args:
        vectors: Those to be hashed, (n, d).
        labels: The person on each, (n,).
        bits: Length of the codes.
        seed: Draws the first rotation.

    Raises:
        ValueError: There are fewer such directions than ``bits``: one less than people, and no more than those in
            which the vectors vary.

    Source: Belhumeur, Hespanha and Kriegman, Eigenfaces vs. Fisherfaces, TPAMI 1997; the rotation is that of ``itq``.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    n, d = vectors.shape
    rank = min(n - 1, d, FISHER, len(np.unique(labels)) - 1)
    if bits <= rank:
        reduction = _principal(vectors, min(n - 1, d, FISHER))
        # The mean is taken away before the product, in which large equal parts would cost digits.
        reduced = (vectors - vectors.mean(0, dtype=np.float64)) @ reduction
        # Shrinkage would take a direction in which nothing varies, as of units that are always 0, for one that tells.
        spread = reduced.std(0)
        varies = spread > FLAT * spread.max()
        rank = min(rank, int(varies.sum()))
    if bits > rank:
        raise ValueError(f"there are {rank} directions that tell people apart, too few for {bits} bits")
    reduction, reduced = reduction[:, varies], reduced[:, varies]
    with warnings.catch_warnings():  # of people with one face, who say nothing of the covariance within people
        warnings.filterwarnings("ignore", "Only one sample available")
        lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(reduced, labels)
    return _rotated(vectors, reduction @ lda.scalings_[:, :bits], seed)


def class_number(classes: np.ndarray, num_identities: int) -> np.ndarray:
    """Numbers of people from 0 as codes: bool (n, ceil(log2 C)) of int (n,), the lowest bit first.

    A classifier's answer, written down, is a code as well. It knows nothing of people whom the classifier does not.

    Source: Sablayrolles, Douze, Usunier and Jégou, How Should We Evaluate Supervised Hashing?, ICASSP 2017.
    """
    return (classes[:, None] >> np.arange(max(1, (num_identities - 1).bit_length())) & 1).astype(bool)


def _principal(vectors: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` principal directions of vectors (n, d), float64 (d, count), the largest variance last."""
    from scipy.linalg import eigh

    d = vectors.shape[1]
    centered = vectors - vectors.mean(0, dtype=np.float64)
    return eigh(centered.T @ centered, subset_by_index=(d - count, d - 1))[1]


def _rotated(vectors: np.ndarray, directions: np.ndarray, seed: int) -> LinearHash:
    """Directions (d, bits), rotated by iterative quantisation so that the signs of projections lose little.

    With V (n, bits) the projections of the vectors (n, d), codes B and rotation R minimise |B - V R|^2 in turns:
    B = sign(V R), then R = U W from the singular value decomposition V^T B = U S W. R starts at random.
    """
    mean = vectors.mean(0, dtype=np.float64)
    projected = (vectors - mean) @ directions
    bits = directions.shape[1]
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((bits, bits)))[0]
    for _ in range(ITERATIONS):
        codes = np.where(projected @ rotation >= 0, 1.0, -1.0)
        left, _, right = np.linalg.svd(projected.T @ codes)
        rotation = left @ right
    return LinearHash(mean, directions @ rotation)
