import math


def answer(n, r):
    # Of the 2^b codes, comb(b, 0) + ... + comb(b, r) lie within radius r, and each of the n strangers is any of the 2^b
    # with equal probability. In whole numbers there is nothing to round.
    b = 1
    while n * sum(math.comb(b, d) for d in range(r + 1)) >= 2**b:
        b += 1
    return b
