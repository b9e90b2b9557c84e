import numpy as np


def answer(p, alpha):
    """From the smallest on, each against alpha over those that are left, until one is too large."""
    held = [False] * len(p)
    for rank, index in enumerate(np.argsort(p)):
        if p[index] > alpha / (len(p) - rank):
            break
        held[index] = True
    return held
