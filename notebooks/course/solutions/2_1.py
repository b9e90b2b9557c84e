import numpy as np


def answer(f, bits):
    """Subtracting the largest entry changes no softmax, and keeps exp from overflowing."""
    blocks = f.reshape(len(f), bits, -1)
    e = np.exp(blocks - blocks.max(2, keepdims=True))
    return np.tanh((e / e.sum(2, keepdims=True)).max(2) - 0.5)
