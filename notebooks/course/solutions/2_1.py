import numpy as np


def answer(f, block_size):
    # The last axis of the reshaped array is one block: neighbours stay neighbours. The largest entry is subtracted, so
    # that no exponential overflows; numerator and denominator shrink by the same factor.
    blocks = f.reshape(len(f), -1, block_size)
    exponentials = np.exp(blocks - blocks.max(2, keepdims=True))
    shares = exponentials / exponentials.sum(2, keepdims=True)
    return np.tanh(shares.max(2) - 0.5)
