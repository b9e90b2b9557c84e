"""Modulo 256 a full byte is 2 S + 1: each bit moves up one place, and the eighth falls out. A partial byte of m bits is
2 S + 1 - 2^m: without its last bit that is negative, with ones in all places from m to 7; with it, zeros are there."""

import numpy as np


def answer(bits):
    counts = np.ones(bits, int)
    counts[7::8] = 0
    if bits % 8:
        counts[-1] = 8 - bits % 8
    return counts
