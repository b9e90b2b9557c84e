"""Exercise 9.2. Two bits differ with probability p = 2 ones (1 - ones), at most one half: unbalanced bits bring
strangers nearer. The chance of at most d differences is binomial; one stranger is expected among 1 / chance of them."""

from math import comb


def answer(bits, d, ones):
    p = 2 * ones * (1 - ones)
    chance = sum(comb(bits, i) * p**i * (1 - p) ** (bits - i) for i in range(d + 1))
    return 1 / chance
