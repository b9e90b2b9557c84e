import numpy as np


def answer(k):
    """By simulation; a hundred thousand rounds leave an error in the third decimal."""
    return np.random.default_rng(0).standard_normal((100_000, k)).max(1).mean()
