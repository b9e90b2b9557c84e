"""A stable sort keeps tied faces in the order in which they arrive: store all right ones first, or last. Distances do
not matter, as faces that do not tie are sorted apart anyway; so this order serves every query of the person."""

import numpy as np


def answer(distance, right, kindest):
    return np.argsort(~right if kindest else right, kind="stable")
