"""All orders, one by one. Equal marks give equal orders several times, each as often: the mean is right."""

from itertools import permutations

import numpy as np


def answer(before, tie):
    found = []
    for order in permutations(tie):
        right = np.concatenate([before, order]).astype(bool)
        precision = np.cumsum(right) / np.arange(1, len(right) + 1)
        found.append(precision[right].mean())
    return np.mean(found)
