import numpy as np


def answer(query, gallery):
    # XOR marks the bits that differ; the count is one number for each byte, and a code has several bytes. The sum over
    # the bytes is taken in a larger type by NumPy itself: a single byte would overflow at 256.
    return np.bitwise_count(query ^ gallery).sum(1)
