"""The average over every order in which the tied faces can stand."""

import itertools

import numpy as np


def answer(before, tie):
    found = []
    for order in itertools.permutations(tie):
        right = np.concatenate([before, order]).astype(bool)
        precision = np.cumsum(right) / np.arange(1, len(right) + 1)
        found.append(precision[right].mean())
    return np.mean(found)
