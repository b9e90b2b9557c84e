"""From distance histograms to metrics of retrieval, in closed form: no sorting, and no hidden order among ties.

Codes are short, so many gallery items tie with each other, and a sort breaks ties by whatever order the gallery has.
Here every metric is the expectation over all orders of tied items.

Source: McSherry and Najork, Computing Information Retrieval Performance Measures Efficiently in the Presence of Tied
Scores, ECIR 2008.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch

from .conventions import as_labels, relevance
from .hamming import distance_histograms


class Curve(NamedTuple):
    """Precision against recall, one point for each Hamming radius 0..bits, each array (bits + 1,)."""

    recall: np.ndarray
    precision: np.ndarray


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How well a set of queries finds its people: what ``evaluate`` returns.

    Attributes:
        retrieved: Int64 (queries, bits + 1): how many gallery codes lie at each distance 0..bits from a query.
        relevant: Int64 (queries, bits + 1): how many of these are relevant, as those of the query's own person.
        left_out: Which queries, by their place among all, have no relevant item and are in no figure
            (``missing="skip"``).
    """

    retrieved: np.ndarray
    relevant: np.ndarray
    left_out: tuple[int, ...] = ()

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
        return _added_at_best(*_groups(self.retrieved, self.relevant)).sum(1) / self.relevant.sum(1)

    @cached_property
    def ap_worst(self) -> np.ndarray:
        """Average precision, float64 (queries,), if relevant items came last within each distance."""
        return _added_at_worst(*_groups(self.retrieved, self.relevant)).sum(1) / self.relevant.sum(1)

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
        self._check_top("precision_at", k)
        n, r, before_n, _ = _groups(self.retrieved, self.relevant)
        taken = np.clip(k - before_n, 0, n)  # of the group that k cuts, each item is in with probability taken / n
        return float((taken * r / np.maximum(n, 1)).sum(1).mean() / k)

    def map_at(self, k: int) -> float:
        """MAP of the k nearest, expected over all orders of tied items; the denominator is the relevant among these k.

        A query's AP is the mean of the precisions at the relevant items that are among its k nearest, 0 if none is.
        Papers differ in the denominator: this one, the number of relevant items *found*, is what the code of CSQ,
        HashNet, DPSH, OrthoHash and DeepHash-pytorch divides by; min(R, k), with R relevant items in the gallery, would
        give less. So AP may fall as more is found: one relevant item, at rank 1, is worth 1. With k the gallery's size
        it is ``map``. See docs/comparing.md.

        Raises:
            ValueError: ``k`` is not from 1 to the size of the gallery.
        """
        return float(self._ap_at(k)[1].mean())

    def map_at_range(self, k: int) -> tuple[float, float]:
        """``map_at`` under the unkindest and the kindest order of tied items.

        Raises:
            ValueError: As ``map_at``.
        """
        return float(self._ap_at(k)[0].mean()), float(self._ap_at(k)[2].mean())

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

    def _ap_at(self, k: int) -> np.ndarray:
        """AP of the k nearest, at worst, expected and at best, float64 (3, queries).

        Of the n items in the group of ties that the k-th item lies in, t are taken, h of these relevant: any t of the n
        are as likely, so h follows the hypergeometric distribution, and given h, the t are a group of ties themselves.
        """
        self._check_top("map_at", k)
        groups = _groups(self.retrieved, self.relevant)
        cut = (groups[2] + groups[0] >= k).argmax(1)[:, None]
        whole = np.arange(self.bits + 1) < cut
        ways = (_added_at_worst, _added, _added_at_best)
        front = [np.where(whole, added(*groups), 0).sum(1) for added in ways]
        ap = np.zeros((3, len(cut)))
        of_cut = np.concatenate([np.take_along_axis(table, cut, 1) for table in groups], 1)
        for i, (n, r, before_n, before_r) in enumerate(of_cut):
            t = k - before_n
            h = np.arange(max(t - (n - r), 0), min(r, t) + 1)
            of_h = [sure[i] + added(t, h, before_n, before_r) for sure, added in zip(front, ways, strict=True)]
            of_h /= np.maximum(before_r + h, 1)
            left = torch.from_numpy(np.stack([h, r - h, t - h, n - r - t + h]))  # ways fall with their factorials
            chance = torch.softmax(-torch.lgamma(left + 1).sum(0), 0).numpy()
            ap[:, i] = of_h[0].min(), of_h[1] @ chance, of_h[2].max()
        return ap

    def _check_top(self, metric: str, k: int) -> None:
        size = int(self.retrieved[0].sum())
        if not 1 <= k <= size:
            raise ValueError(f"{metric}({k}): k must be from 1 to the gallery's {size} items")

    def _checked_radius(self, radius: int) -> int:
        if not 0 <= radius <= self.bits:
            raise ValueError(f"a radius must be from 0 to the codes' {self.bits} bits, not {radius}")
        return radius


def evaluate(
    query_codes: np.ndarray,
    query_labels: np.ndarray,
    gallery_codes: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
    missing: Literal["error", "skip"] = "error",
) -> Evaluation:
    """Rank the gallery by Hamming distance to each query, and measure how well that finds what is relevant to it.

    Codes and labels may come from anywhere; arrays, tensors and lists will do.

    Args:
        query_codes: Bool (queries, bits); also 0 and 1, or -1 and 1, as integers or floats.
        query_labels: The person on each query: whole numbers (queries,) or (queries, 1). Also a matrix of 0 and 1
            (queries, classes), one-hot or multi-label: what shares a label with a query is relevant to it.
        gallery_codes: Codes (gallery, bits), if need be in another of these conventions than the queries'; without it
            the gallery of each query are all other queries.
        gallery_labels: The person on each gallery image, or its labels, in the form of ``query_labels``.
        missing: What becomes of a query that has no relevant item in the gallery: ``error``, or ``skip``: it is left
            out of every figure and named in ``left_out``.

    Raises:
        ValueError: There are no queries, codes and labels do not fit or hold something else, or a query, which is
            named, has no relevant item in the gallery; with ``skip`` only if no query has one.
    """
    if missing not in ("error", "skip"):
        raise ValueError(f"missing must be 'error' or 'skip', not {missing!r}")
    if len(query_codes) == 0:
        raise ValueError("there are no queries to evaluate")
    if (gallery_codes is None) != (gallery_labels is None):
        raise ValueError("a gallery needs both codes and labels")
    if gallery_codes is None or gallery_labels is None:
        retrieved, relevant = distance_histograms(query_codes, query_labels, query_codes, query_labels)
        retrieved[:, 0] -= 1  # each query itself
        relevant[:, 0] -= relevant.sum(1) > 0  # which shares its label, if it has any
    else:
        retrieved, relevant = distance_histograms(query_codes, query_labels, gallery_codes, gallery_labels)
    found = relevant.sum(1) > 0
    if missing == "error" or not found.any():
        _require_relevant(found, query_labels)
    return Evaluation(retrieved[found], relevant[found], tuple(np.flatnonzero(~found).tolist()))


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
    asked, others = as_labels(query_labels, query_labels if gallery_labels is None else gallery_labels)
    relevant = relevance(asked, others)
    if gallery_labels is None:
        np.fill_diagonal(relevant, False)
    _require_relevant(relevant.sum(1) > 0, query_labels)
    ap = []
    for i, (row, own) in enumerate(zip(distances, relevant, strict=True)):
        if gallery_labels is None:
            row, own = np.delete(row, i), np.delete(own, i)
        _, rank = np.unique(row, return_inverse=True)
        retrieved = np.bincount(rank)
        ap.append(average_precision(retrieved[None], np.bincount(rank[own], minlength=len(retrieved))[None])[0])
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
    return _added(*_groups(retrieved, relevant)).sum(1) / relevant.sum(1)


def _groups(retrieved: np.ndarray, relevant: np.ndarray) -> tuple[np.ndarray, ...]:
    """The n, r, N and R of each group of ties, float64 (queries, groups)."""
    n, r = retrieved.astype(np.float64), relevant.astype(np.float64)
    return n, r, n.cumsum(1) - n, r.cumsum(1) - r


def _added(n: np.ndarray, r: np.ndarray, before_n: np.ndarray, before_r: np.ndarray) -> np.ndarray:
    """What each group of ties is expected to add to AP times its denominator."""
    slope = (r - 1) / np.maximum(n - 1, 1)
    total = (before_r + 1 - slope - slope * before_n) * _harmonic(before_n, n) + slope * n
    # Groups without relevant items add nothing; for n = 1 the slope is 0 where r = 1.
    return np.where(r > 0, r / np.maximum(n, 1) * total, 0.0)


def _added_at_best(n: np.ndarray, r: np.ndarray, before_n: np.ndarray, before_r: np.ndarray) -> np.ndarray:
    """The same if its relevant items come first: the sum over i = 1..r of (before_r + i) / (before_n + i)."""
    return r - (before_n - before_r) * _harmonic(before_n, r)


def _added_at_worst(n: np.ndarray, r: np.ndarray, before_n: np.ndarray, before_r: np.ndarray) -> np.ndarray:
    """The same if its relevant items come last."""
    return _added_at_best(n, r, before_n + n - r, before_r)


def _harmonic(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """H(start + count) - H(start): the sum of 1 / j over j = start + 1 .. start + count."""
    # H(n) is the digamma function at n + 1, up to a constant.
    after, before = (torch.special.digamma(torch.as_tensor(n + 1)) for n in (start + count, start))
    return (after - before).numpy()


def _require_relevant(found: np.ndarray, query_labels: np.ndarray) -> None:
    """Name the first query without a relevant item; ``found`` (queries,) bool says which have one.

    Raises:
        ValueError: There is one.
    """
    missing = np.flatnonzero(~found)
    if len(missing):
        label = as_labels(query_labels, query_labels)[0][missing[0]]
        whose = f"label {label.item()}" if label.size == 1 else f"labels {np.flatnonzero(label > 0).tolist()}"
        raise ValueError(
            f"query {missing[0]} ({whose}) has no relevant image in the gallery"
            + (f"; {len(missing) - 1} more queries have none either" if len(missing) > 1 else "")
        )
