"""Exercise 3.2. np.add.at accumulates repeated labels; people absent have sum 0 and count 0, so they stay."""

import numpy as np


def answer(f, y, c):
    sums = np.zeros_like(c)
    np.add.at(sums, y, f)
    counts = np.bincount(y, minlength=len(c))
    return (c + sums) / (1 + counts)[:, None]
