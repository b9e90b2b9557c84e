"""From distance histograms to metrics of retrieval, in closed form: no sorting, and no hidden order among ties.

Codes are short, so many gallery items tie with each other, and a sort breaks ties by whatever order the gallery has.
Here every metric is the expectation over all orders of tied items.

Source: McSherry and Najork, Computing Information Retrieval Performance Measures Efficiently in the Presence of Tied
Scores, ECIR 2008.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from .hamming import comparable, distance_histograms


class Curve(NamedTuple):
    """Precision against recall, one point for each Hamming radius 0..bits, each array (bits + 1,)."""

    recall: np.ndarray
    precision: np.ndarray


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How well a set of queries finds its people: what ``evaluate`` returns.

    Attributes:
        retrieved: Int64 (queries, bits + 1): how many gallery codes lie at each distance 0..bits from a query.
        relevant: Int64 (queries, bits + 1): how many of these are of the query's own person.
    """

    retrieved: np.ndarray
    relevant: np.ndarray

    @property
    def bits(self) -> int:
        """Length of the codes."""
        return self.retrieved.shape[1] - 1

    @cached_property
    def ap(self) -> np.ndarray:
        """Average precision of each query, float64 (queries,), expected over all orders of tied gallery items."""
        return average_precision(self.retrieved, self.relevant)

    @cached_property
    def ap_best(self) -> np.ndarray:
        """Average precision, float64 (queries,), if relevant items came first within each distance."""
        _, r, before_n, before_r = _groups(self.retrieved, self.relevant)
        # sum over i = 1..r of (before_r + i) / (before_n + i)
        return (r - (before_n - before_r) * _harmonic(before_n, r)).sum(1) / self.relevant.sum(1)

    @cached_property
    def ap_worst(self) -> np.ndarray:
        """Average precision, float64 (queries,), if relevant items came last within each distance."""
        n, r, before_n, before_r = _groups(self.retrieved, self.relevant)
        before_n = before_n + n - r
        return (r - (before_n - before_r) * _harmonic(before_n, r)).sum(1) / self.relevant.sum(1)

    @property
    def map(self) -> float:
        """Mean average precision over the full ranking, expected over all orders of tied items."""
        return float(self.ap.mean())

    @property
    def map_best(self) -> float:
        """MAP under the kindest order of tied items: an upper bound of what any sort can give."""
        return float(self.ap_best.mean())

    @property
    def map_worst(self) -> float:
        """MAP under the unkindest order of tied items: a lower bound of what any sort can give."""
        return float(self.ap_worst.mean())

    def precision_at(self, k: int) -> float:
        """Expected share of relevant items among the k nearest, mean over queries.

        Raises:
            ValueError: ``k`` is not from 1 to the size of the gallery.
        """
        size = int(self.retrieved[0].sum())
        if not 1 <= k <= size:
            raise ValueError(f"precision_at({k}): k must be from 1 to the gallery's {size} items")
        n, r, before_n, _ = _groups(self.retrieved, self.relevant)
        taken = np.clip(k - before_n, 0, n)  # of the group that k cuts, each item is in with probability taken / n
        return float((taken * r / np.maximum(n, 1)).sum(1).mean() / k)

    def precision_radius(self, radius: int) -> float:
        """Share of relevant items within a Hamming radius, mean over queries; 0 for a query that finds nothing.

        Raises:
            ValueError: ``radius`` is not from 0 to the number of bits.
        """
        return float(self.pr_curve().precision[self._checked_radius(radius)])

    def recall_radius(self, radius: int) -> float:
        """Share of the relevant items that lie within a Hamming radius, mean over queries.

        Raises:
            ValueError: ``radius`` is not from 0 to the number of bits.
        """
        return float(self.pr_curve().recall[self._checked_radius(radius)])

    def pr_curve(self) -> Curve:
        """Precision and recall within each Hamming radius 0..bits, means over queries (macro average)."""
        found, retrieved = self.relevant.cumsum(1), self.retrieved.cumsum(1)
        return Curve((found / found[:, -1:]).mean(0), (found / np.maximum(retrieved, 1)).mean(0))

    def _checked_radius(self, radius: int) -> int:
        if not 0 <= radius <= self.bits:
            raise ValueError(f"a radius must be from 0 to the codes' {self.bits} bits, not {radius}")
        return radius


def evaluate(
    query_codes: np.ndarray,
    query_labels: np.ndarray,
    gallery_codes: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
) -> Evaluation:
    """Rank the gallery by Hamming distance to each query, and measure how well that finds the queries' people.

    Args:
        query_codes: Bool (queries, bits).
        query_labels: The person on each query, (queries,).
        gallery_codes: Bool (gallery, bits); without it the gallery of each query are all other queries.
        gallery_labels: The person on each gallery image, (gallery,).

    Raises:
        ValueError: There are no queries, codes and labels do not fit, or a query, which is named, has no relevant item
            in the gallery.
    """
    if len(query_codes) == 0:
        raise ValueError("there are no queries to evaluate")
    if (gallery_codes is None) != (gallery_labels is None):
        raise ValueError("a gallery needs both codes and labels")
    _require_relevant(query_labels, gallery_labels)
    if gallery_codes is not None and gallery_labels is not None:
        return Evaluation(*distance_histograms(query_codes, query_labels, gallery_codes, gallery_labels))
    counts = distance_histograms(query_codes, query_labels, query_codes, query_labels)
    for table in counts:
        table[:, 0] -= 1  # of each query itself
    return Evaluation(*counts)


def evaluate_vectors(
    queries: np.ndarray,
    query_labels: np.ndarray,
    gallery: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
    metric: str = "euclidean",
) -> np.ndarray:
    """Rank the gallery by the distance of real vectors to each query.

    Args:
        queries: Vectors (queries, ...), flattened per item.
        query_labels: The person on each query, (queries,).
        gallery: Vectors (gallery, ...), flattened per item; without it the gallery of each query are all other queries.
        gallery_labels: The person on each gallery image, (gallery,).
        metric: Of scikit-learn's pairwise distances, such as "cosine".

    Returns:
        Average precision of each query, float64 (queries,), expected over all orders of tied items. Its mean is MAP.

    Raises:
        ValueError: A query, which is named, has no relevant item in the gallery.
    """
    from sklearn.metrics import pairwise_distances

    first, second = (
        np.reshape(part, (len(part), -1)).astype(np.float32)
        for part in (queries, queries if gallery is None else gallery)
    )
    return _ap_of_distances(pairwise_distances(first, second, metric), query_labels, gallery_labels)


def evaluate_asymmetric(
    queries: np.ndarray,
    query_labels: np.ndarray,
    gallery_codes: np.ndarray,
    gallery_labels: np.ndarray | None = None,
) -> np.ndarray:
    """Rank stored codes by their distance to queries that are not binarised.

    A bit that differs from the query's sign costs the query's magnitude there, so that a bit of which the query is not
    sure costs little: sum_k |q_k| [sign q_k differs from b_k], which orders as minus the inner product of q and b does.

    Args:
        queries: Real values before binarisation, at 0 or more for a bit that is 1, (queries, bits).
        query_labels: The person on each query, (queries,).
        gallery_codes: Bool (gallery, bits). Without ``gallery_labels`` they are of the queries, and the gallery of each
            query are all others.
        gallery_labels: The person on each gallery image, (gallery,).

    Returns:
        As ``evaluate_vectors``.

    Raises:
        ValueError: As ``evaluate_vectors``.

    Source: Gordo, Perronnin, Gong and Lazebnik, Asymmetric Distances for Binary Embeddings, TPAMI 2014.
    """
    signs = np.where(gallery_codes, 1.0, -1.0)
    # Rounded, as the order of a sum must not break the tie of two codes at one distance.
    distances = np.round(-queries.astype(np.float64) @ signs.T, 6)
    return _ap_of_distances(distances, query_labels, gallery_labels)


def evaluate_chance(query_labels: np.ndarray, gallery_labels: np.ndarray | None = None) -> np.ndarray:
    """Average precision of each query, float64 (queries,), of a random ranking, in which all of the gallery is one tie.

    Args:
        query_labels: The person on each query, (queries,).
        gallery_labels: The person on each gallery image, (gallery,); without them the gallery of each query are all
            other queries.

    Raises:
        ValueError: A query, which is named, has no relevant item in the gallery.
    """
    size = len(query_labels if gallery_labels is None else gallery_labels)
    return _ap_of_distances(np.zeros((len(query_labels), size)), query_labels, gallery_labels)


def _ap_of_distances(distances: np.ndarray, query_labels: np.ndarray, gallery_labels: np.ndarray | None) -> np.ndarray:
    """AP (queries,) of ranking by ``distances`` (queries, gallery); without ``gallery_labels`` none is its own item."""
    _require_relevant(query_labels, gallery_labels)
    query_labels = comparable(query_labels)
    others = query_labels if gallery_labels is None else comparable(gallery_labels)
    ap = []
    for i, (row, label) in enumerate(zip(distances, query_labels, strict=True)):
        relevant = others == label
        if gallery_labels is None:
            row, relevant = np.delete(row, i), np.delete(relevant, i)
        _, rank = np.unique(row, return_inverse=True)
        retrieved = np.bincount(rank)
        ap.append(average_precision(retrieved[None], np.bincount(rank[relevant], minlength=len(retrieved))[None])[0])
    return np.array(ap)


def average_precision(retrieved: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Average precision of each query, expected over all orders within each group of tied items.

    A group of n items, r of them relevant, behind N items with R relevant ones, is expected to add

        (r / n) * sum_{j=1..n} (R + 1 + (j - 1) (r - 1) / (n - 1)) / (N + j),

    to be divided by the number of all relevant items. With H the harmonic numbers and s = (r - 1) / (n - 1), that sum
    is (R + 1 - s - s N) (H(N + n) - H(N)) + s n.

    Args:
        retrieved: Items in each group of ties, the nearest group first, (queries, groups).
        relevant: How many of these are relevant, (queries, groups).

    Returns:
        Float64 (queries,).

    Source: McSherry and Najork, ECIR 2008.
    """
    n, r, before_n, before_r = _groups(retrieved, relevant)
    slope = (r - 1) / np.maximum(n - 1, 1)
    total = (before_r + 1 - slope - slope * before_n) * _harmonic(before_n, n) + slope * n
    # Groups without relevant items add nothing; for n = 1 the slope is 0 where r = 1.
    return np.where(r > 0, r / np.maximum(n, 1) * total, 0.0).sum(1) / relevant.sum(1)


def _groups(retrieved: np.ndarray, relevant: np.ndarray) -> tuple[np.ndarray, ...]:
    """The n, r, N and R of each group of ties, float64 (queries, groups)."""
    n, r = retrieved.astype(np.float64), relevant.astype(np.float64)
    return n, r, n.cumsum(1) - n, r.cumsum(1) - r


def _harmonic(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """H(start + count) - H(start): the sum of 1 / j over j = start + 1 .. start + count."""
    # H(n) is the digamma function at n + 1, up to a constant.
    after, before = (torch.special.digamma(torch.from_numpy(n + 1)) for n in (start + count, start))
    return (after - before).numpy()


def _require_relevant(query_labels: np.ndarray, gallery_labels: np.ndarray | None) -> None:
    labels = comparable(query_labels)
    if gallery_labels is None:
        _, person, counts = np.unique(labels, return_inverse=True, return_counts=True)
        missing = np.flatnonzero(counts[person] == 1)
    else:
        missing = np.flatnonzero(~np.isin(labels, comparable(gallery_labels)))
    if len(missing):
        first = missing[0]
        raise ValueError(
            f"query {first} (label {np.asarray(query_labels)[first]}) has no relevant image in the gallery"
            + (f"; {len(missing) - 1} more queries have none either" if len(missing) > 1 else "")
        )
