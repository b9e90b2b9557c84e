"""A stable sort keeps tied faces as they were stored: right ones first, or last. The distance does not matter."""

import numpy as np


def answer(distance, right, kindest):
    return np.argsort(~right if kindest else right, kind="stable")
