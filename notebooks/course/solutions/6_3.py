"""Each bit correlates with itself by 1, so the trace of R is the number of bits. R is symmetric, so the trace of R R is
the sum of the squares of its entries: every correlation lowers the number, whatever its sign."""

import numpy as np


def answer(codes):
    correlation = np.corrcoef(codes.T.astype(float))
    return len(correlation) ** 2 / (correlation**2).sum()
