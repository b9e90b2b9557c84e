"""Codes and labels as other projects write them, brought into the form that this one computes with.

A code's bits are bool, 0 and 1, or -1 and 1, of any type: in each of these a bit is 1 where its number is above 0, so
queries may follow one convention and the gallery another. Nothing is guessed: real values, a sign that is 0, NaN and
packed bytes are refused in a sentence that says where they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def as_bits(codes: Any, whose: str = "") -> np.ndarray:
    """Codes as bool (n, bits); bool ones are not copied.

    Args:
        codes: Bool, or 0 and 1, or -1 and 1 as integers or floats, (n, bits); an array, a tensor or a list.
        whose: What a message calls them, as "query ".

    Raises:
        ValueError: They have another shape, or hold something else; the sentence names the first such place.
    """
    codes = _array(codes)
    if codes.ndim != 2 or codes.shape[1] == 0:
        raise ValueError(f"{whose}codes must have the shape (n, bits), not {codes.shape}")
    return _truth(codes, f"{whose}codes")


def as_labels(query_labels: Any, gallery_labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Labels of queries and gallery in one form: both int64 (n,) or, where items have several, bool (n, classes).

    Args:
        query_labels: Whole numbers (queries,) or (queries, 1), or a matrix of 0 and 1 (also -1 and 1, or bool),
            (queries, classes), one-hot or multi-label.
        gallery_labels: The same of the gallery, with the same classes.

    Raises:
        ValueError: They are neither, or the two are not of one form.
    """
    pair = _labels(query_labels, "query "), _labels(gallery_labels, "gallery ")
    if pair[0].ndim != pair[1].ndim:
        forms = ["whole numbers" if labels.ndim == 1 else "a matrix of 0 and 1" for labels in pair]
        raise ValueError(f"query labels are {forms[0]}, gallery labels {forms[1]}; give both in one form")
    if pair[0].ndim == 2:
        classes = [labels.shape[1] for labels in pair]
        if classes[0] != classes[1]:
            raise ValueError(f"query labels have {classes[0]} classes, gallery labels {classes[1]}")
        if all((labels.sum(1) == 1).all() for labels in pair):  # one-hot: numbers are faster to compare
            return pair[0].argmax(1), pair[1].argmax(1)
    return pair


def relevance(query_labels: np.ndarray, gallery_labels: np.ndarray) -> np.ndarray:
    """Whether a gallery item shares a label with a query, bool (queries, gallery), of what ``as_labels`` gives."""
    if query_labels.ndim == 1:
        return query_labels[:, None] == gallery_labels
    return query_labels.astype(np.float32) @ gallery_labels.astype(np.float32).T > 0


def _labels(labels: Any, whose: str) -> np.ndarray:
    labels = _array(labels)
    if labels.ndim == 2 and labels.shape[1] > 1:
        return _truth(labels, f"{whose}labels of shape {labels.shape}")
    if labels.ndim not in (1, 2) or (labels.ndim == 2 and labels.shape[1] == 0):
        shapes = "(n,), (n, 1) or (n, classes)"
        raise ValueError(f"{whose}labels must have the shape {shapes}, not {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{whose}labels must be whole numbers below 2^63, not {labels.dtype}")
    if labels.dtype.kind == "u" and labels.max(initial=0) > np.iinfo(np.int64).max:
        raise ValueError(f"{whose}labels must be below 2^63, not {labels.max()}")
    return labels.reshape(-1).astype(np.int64, copy=False)  # NumPy compares unsigned with signed integers as floats


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _truth(values: np.ndarray, what: str) -> np.ndarray:
    """A matrix of 0 and 1, or of -1 and 1, as bool: where is 1?

    Raises:
        ValueError: It holds something else.
    """
    if values.dtype == bool:
        return values
    if values.dtype.kind not in "iuf":
        raise ValueError(f"{what} must be bool, 0 and 1, or -1 and 1, not {values.dtype}")
    low = -1 if values.min(initial=0) < 0 else 0
    ones = values == 1
    wrong = ~(ones | (values == low))
    if wrong.any():
        row, column = (int(i) for i in np.unravel_index(wrong.argmax(), wrong.shape))
        value, hint = values[row, column], ""
        if value == 0:
            hint = ": the sign of an exact 0 is 0, which is no bit; decide with values > 0 or values >= 0"
        elif values.dtype == np.uint8:
            hint = ": if a byte holds eight bits, unpack them with numpy.unpackbits first"
        elif np.isfinite(value) and values.dtype.kind == "f":
            hint = ": make bits of real values first, with values > 0 or a threshold of yours"
        raise ValueError(
            f"{what} must be bool, 0 and 1, or -1 and 1, but in row {row}, column {column} (from 0) is {value:g}{hint}"
        )
    return ones
