"""Exercise 9.2. Two bits differ if just one of them is 1; where both are seldom 1 that is seldom, so that strangers lie
nearer. The chance of at most d differences is binomial; one stranger is expected among 1 / chance of them."""

from math import comb


def answer(bits, d, query, stranger):
    p = query * (1 - stranger) + stranger * (1 - query)
    chance = sum(comb(bits, i) * p**i * (1 - p) ** (bits - i) for i in range(d + 1))
    return 1 / chance
