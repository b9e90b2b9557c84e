"""Codes as bits: packing, distance histograms, search."""

from __future__ import annotations

import numpy as np


def pack(codes: np.ndarray) -> np.ndarray:
    """Codes bool (n, bits) as uint64 words (ceil(bits / 64), n); bits beyond the last are 0 in every code."""
    packed = np.packbits(_checked(codes), axis=1)
    padded = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8)))
    return np.ascontiguousarray(padded.view(np.uint64).T)


def distance_histograms(
    query_codes: np.ndarray, query_labels: np.ndarray, gallery_codes: np.ndarray, gallery_labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Count the gallery by Hamming distance, for each query.

    Parameters: codes bool (queries, bits) and (gallery, bits), labels (queries,) and (gallery,).

    Returns: ``everything`` and ``relevant``, int64 (queries, bits + 1): how many gallery codes, and how many of the
    query's own person, lie at each distance 0..bits. Every retrieval figure follows from these two (see ``metrics``).
    """
    bits = _same_bits(query_codes, gallery_codes)
    for what, codes, labels in (("query", query_codes, query_labels), ("gallery", gallery_codes, gallery_labels)):
        if np.shape(labels) != (len(codes),):
            raise ValueError(f"{len(codes)} {what} codes need as many labels, not an array of shape {np.shape(labels)}")
    # With the gallery in order of people, those relevant to a query are one slice.
    order = np.argsort(gallery_labels, kind="stable")
    gallery, queries = pack(np.asarray(gallery_codes)[order]), pack(query_codes)
    people = np.asarray(gallery_labels)[order]
    first, last = np.searchsorted(people, query_labels, "left"), np.searchsorted(people, query_labels, "right")
    everything = np.empty((len(query_codes), bits + 1), np.int64)
    relevant = np.empty_like(everything)
    for i in range(len(query_codes)):
        words = np.bitwise_count(gallery ^ queries[:, i, None])
        distances = words[0] if len(words) == 1 else words.sum(0, dtype=np.int64)
        everything[i] = np.bincount(distances, minlength=bits + 1)
        relevant[i] = np.bincount(distances[first[i] : last[i]], minlength=bits + 1)
    return everything, relevant


def search(query_codes: np.ndarray, gallery_codes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest gallery codes of each query, exactly, by FAISS (``IndexBinaryFlat``).

    Parameters: codes bool (queries, bits) and (gallery, bits); k from 1 to the size of the gallery.

    Returns: distances int32 and gallery indices int64, both (queries, k), each row ordered by distance and then by
    gallery index. Where more codes tie at the k-th distance than fit, which of them are returned is FAISS's choice.

    Raises: ValueError for k out of range, or codes that do not fit each other.
    """
    import faiss

    _same_bits(query_codes, gallery_codes)
    if not 1 <= k <= len(gallery_codes):
        raise ValueError(f"k must be from 1 to the gallery's {len(gallery_codes)} codes, not {k}")
    gallery = np.packbits(gallery_codes, axis=1)  # whole bytes, as FAISS wants: padding bits are 0 on both sides
    index = faiss.IndexBinaryFlat(8 * gallery.shape[1])
    index.add(gallery)
    distances, indices = index.search(np.packbits(query_codes, axis=1), k)
    order = np.lexsort((indices, distances), axis=1)
    return np.take_along_axis(distances, order, 1), np.take_along_axis(indices, order, 1)


def _checked(codes: np.ndarray) -> np.ndarray:
    codes = np.asarray(codes)
    if codes.dtype != bool or codes.ndim != 2 or codes.shape[1] == 0:
        raise ValueError(f"codes must be bool (n, bits), not {codes.dtype} {codes.shape}")
    return codes


def _same_bits(query_codes: np.ndarray, gallery_codes: np.ndarray) -> int:
    query_bits, gallery_bits = _checked(query_codes).shape[1], _checked(gallery_codes).shape[1]
    if query_bits != gallery_bits:
        raise ValueError(f"query codes have {query_bits} bits, gallery codes {gallery_bits}")
    return query_bits
