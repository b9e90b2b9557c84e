"""Exercise 9.1. At distance i lie as many codes as there are ways to choose i of the bits."""

from math import comb


def answer(bits, radius):
    return sum(comb(bits, i) for i in range(radius + 1))
