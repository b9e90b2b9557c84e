"""Two bits that agree on a share a of the faces disagree on 1 - a, and either may be large. In the table of all pairs,
the bit of the row is the earlier one above the diagonal."""

import numpy as np


def answer(codes, limit):
    agree = (codes[:, :, None] == codes[:, None, :]).mean(0)
    same = np.maximum(agree, 1 - agree) >= limit
    return np.triu(same, 1).any(0)
