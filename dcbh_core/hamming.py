"""Codes as bits: packing, distance histograms, search."""

from __future__ import annotations

import operator
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from .config import require_device, resolved_device
from .conventions import as_bits, as_labels
from .model import as_tensor

BLOCK = 2**17  # gallery codes at a time: 1 MiB for each 64 bits of code
QUERIES_PER_PRODUCT = 2**6  # their distances to a block take 32 MiB


def pack(codes: np.ndarray) -> np.ndarray:
    """Codes bool (n, bits) as uint64 words (ceil(bits / 64), n); bits beyond the last are 0 in every code.

    Raises:
        ValueError: As ``conventions.as_bits``.
    """
    return np.ascontiguousarray(_packed_rows(codes).view(np.uint64).T)


def distance_histograms(
    query_codes: np.ndarray,
    query_labels: np.ndarray,
    gallery_codes: np.ndarray,
    gallery_labels: np.ndarray,
    device: str = "auto",
) -> tuple[np.ndarray, np.ndarray]:
    """Count the gallery by Hamming distance, for each query.

    The gallery is taken in blocks that stay in the processor's cache, so beside the result it takes little memory,
    whatever the sizes.

    Args:
        query_codes: Bool (queries, bits), or as ``evaluate`` takes them.
        query_labels: The person on each query, (queries,), or as ``evaluate`` takes them.
        gallery_codes: Bool (gallery, bits).
        gallery_labels: The person on each gallery image, (gallery,).
        device: ``cpu`` (on as many threads as torch has), ``cuda``, or ``auto``: CUDA where there is one.

    Returns:
        ``retrieved`` and ``relevant``, int64 (queries, bits + 1): how many gallery codes, and how many that are
        relevant to the query, lie at each distance 0..bits. Every metric of retrieval follows from these two (see
        ``metrics``).

    Raises:
        ValueError: Codes and labels do not fit each other, or are none, or there is no such device.
    """
    query_codes, gallery_codes = _as_bits(query_codes, gallery_codes)
    bits = query_codes.shape[1]
    for what, codes, labels in (("query", query_codes, query_labels), ("gallery", gallery_codes, gallery_labels)):
        if np.shape(labels)[:1] != (len(codes),):
            raise ValueError(f"{len(codes)} {what} codes need as many labels, not an array of shape {np.shape(labels)}")
    query_labels, gallery_labels = as_labels(query_labels, gallery_labels)
    histograms = np.zeros((2, len(query_codes), bits + 1), np.int64)
    require_device(device)
    if resolved_device(device) == "cuda":
        _count_by_products(query_codes, query_labels, gallery_codes, gallery_labels, histograms, "cuda")
        return histograms[0], histograms[1]
    queries = pack(query_codes)

    def count(rows: range) -> None:
        for start in range(0, len(gallery_codes), BLOCK):
            order, relevant = _relevant(gallery_labels[start : start + BLOCK], query_labels)
            gallery = pack(gallery_codes[start : start + BLOCK][order])
            differing, words = np.empty_like(gallery), np.empty(gallery.shape, np.uint8)  # used again for every query
            for i in rows:
                np.bitwise_xor(gallery, queries[:, i, None], out=differing)
                np.bitwise_count(differing, out=words)
                distances = words[0] if len(words) == 1 else words.sum(0, dtype=np.int32)
                # torch counts bytes as they are, and without holding Python's lock; NumPy has less to set up.
                histograms[0, i] += torch.bincount(torch.from_numpy(distances), minlength=bits + 1).numpy()
                histograms[1, i] += np.bincount(distances[relevant(i)], minlength=bits + 1)

    threads = torch.get_num_threads()
    try:
        # One torch thread in each of ours, or the counting of one would wait for that of another.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as executor:
            list(executor.map(count, [range(i, len(query_codes), threads) for i in range(threads)]))
    finally:
        torch.set_num_threads(threads)
    return histograms[0], histograms[1]


def _relevant(labels: np.ndarray, query_labels: np.ndarray) -> tuple[np.ndarray, Callable[[int], slice | np.ndarray]]:
    """An order of gallery items, and a function that says which of them, in that order, are relevant to query i."""
    if labels.ndim == 2:
        classes, asked = pack(labels), pack(query_labels)
        return np.arange(len(labels)), lambda i: (classes & asked[:, i, None]).any(0)
    # In order of people, those relevant to a query are one slice.
    order = np.argsort(labels, kind="stable")
    first, last = (np.searchsorted(labels[order], query_labels, side) for side in ("left", "right"))
    return order, lambda i: slice(first[i], last[i])


def _count_by_products(
    query_codes: np.ndarray,
    query_labels: np.ndarray,
    gallery_codes: np.ndarray,
    gallery_labels: np.ndarray,
    histograms: np.ndarray,
    device: str,
) -> None:
    """Add the counts to ``histograms`` (2, queries, bits + 1), by matrix products, which is how a GPU likes it."""
    bits = query_codes.shape[1]
    for start in range(0, len(gallery_codes), BLOCK):
        gallery = _signs(gallery_codes[start : start + BLOCK], device)
        labels = as_tensor(gallery_labels[start : start + BLOCK]).to(device)
        for row in range(0, len(query_codes), QUERIES_PER_PRODUCT):
            rows = slice(row, row + QUERIES_PER_PRODUCT)
            # Each bit that differs turns one of the product's terms from 1 to -1.
            distances = ((bits - _signs(query_codes[rows], device) @ gallery.T) / 2).int()
            bins = distances + (bits + 1) * torch.arange(len(distances), device=device, dtype=torch.int32)[:, None]
            asked = as_tensor(query_labels[rows]).to(device)
            relevant = asked[:, None] == labels if labels.ndim == 1 else asked.float() @ labels.float().T > 0
            for histogram, chosen in zip(histograms, (bins.flatten(), bins[relevant]), strict=True):
                counts = torch.bincount(chosen, minlength=len(distances) * (bits + 1))
                histogram[rows] += counts.view(-1, bits + 1).cpu().numpy()


def _signs(codes: np.ndarray, device: str) -> torch.Tensor:
    """Codes bool (n, bits) as -1 and 1 in float32, whose products are exact."""
    return as_tensor(codes).to(device).float() * 2 - 1


def search(query_codes: np.ndarray, gallery_codes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest gallery codes of each query, exactly, by FAISS (``IndexBinaryFlat``).

    Args:
        query_codes: Bool (queries, bits); also 0 and 1, or -1 and 1, as integers or floats.
        gallery_codes: The same of the gallery, (gallery, bits).
        k: From 1 to the size of the gallery.

    Returns:
        Distances int32 and gallery indices int64, both (queries, k), each row ordered by distance and then by gallery
        index. Where more codes tie at the k-th distance than fit, which of them are returned is FAISS's choice.

    Raises:
        ValueError: ``k`` is out of range, the codes do not fit each other, or hold something else.

    Source: Douze et al., The Faiss library, 2024.
    """
    import faiss

    k = operator.index(k)
    query_codes, gallery_codes = _as_bits(query_codes, gallery_codes)
    if not 1 <= k <= len(gallery_codes):
        raise ValueError(f"k must be from 1 to the gallery's {len(gallery_codes)} codes, not {k}")
    # FAISS wants whole bytes, and is four times as fast on whole words; the padding is 0 on both sides.
    gallery = _packed_rows(gallery_codes)
    index = faiss.IndexBinaryFlat(8 * gallery.shape[1])
    index.use_heap = False  # type: ignore[attr-defined]  # counting distances beats a heap, as there are so few of them
    index.add(gallery)
    distances, indices = index.search(_packed_rows(query_codes), k)
    order = np.lexsort((indices, distances), axis=1)
    return np.take_along_axis(distances, order, 1), np.take_along_axis(indices, order, 1)


def _packed_rows(codes: np.ndarray) -> np.ndarray:
    """Codes bool (n, bits) as bytes (n, 8 * ceil(bits / 64))."""
    packed = np.packbits(as_bits(codes), axis=1)
    rows = np.zeros((len(packed), packed.shape[1] + -packed.shape[1] % 8), np.uint8)
    rows[:, : packed.shape[1]] = packed
    return rows


def _as_bits(query_codes: np.ndarray, gallery_codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as bool.

    Raises:
        ValueError: Their lengths differ, or as ``conventions.as_bits``.
    """
    queries, gallery = as_bits(query_codes, "query "), as_bits(gallery_codes, "gallery ")
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(f"query codes have {queries.shape[1]} bits, gallery codes {gallery.shape[1]}")
    return queries, gallery
