from math import comb


def answer(bits, radius):
    """N strangers, each within the radius with probability (codes within it) / (all codes), are expected to be N P."""
    return 2**bits / sum(comb(bits, i) for i in range(radius + 1))
