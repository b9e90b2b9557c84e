"""The authors' evaluation in a few lines of our own, for notebook 8 and the tests.

Their code measures something else than it says; what is here, and the packing and sorting in ``ablations.rankings``,
does the same on purpose. No metric of the kit comes from it.
"""

from __future__ import annotations

import numpy as np

from ablations.rankings import authors_bytes, authors_distances, evaluation_of, sorted_map

__all__ = [
    "authors_batches",
    "authors_bytes",
    "authors_distances",
    "authors_map",
    "evaluation_of",
    "sorted_map",
]


def authors_map(queries: np.ndarray, query_labels: np.ndarray, gallery: np.ndarray, labels: np.ndarray) -> float:
    """MAP over the full ranking by the authors' distances; equal ones stay in the gallery's order."""
    return sorted_map(authors_distances(queries, gallery), query_labels[:, None] == labels)


def authors_batches(size: int, parts: int) -> list[range]:
    """The faces that each batch holds when ``size`` of them are encoded in ``parts`` equal batches, and one more for
    the rest. The gallery has 100 parts, the queries 5."""
    each = size // parts
    return [range(min(i * each, size), min((i + 1) * each, size)) for i in range(parts + 1)]
