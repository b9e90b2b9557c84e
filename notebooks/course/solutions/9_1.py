from math import comb


def answer(bits, radius):
    """At distance i one chooses which i of the bits differ."""
    return sum(comb(bits, i) for i in range(radius + 1))
