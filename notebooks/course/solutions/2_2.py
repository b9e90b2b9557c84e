import math


def answer(block_size):
    """exp(d) = b - 1: the larger the block, the larger the lead, but only with the logarithm."""
    return math.log(block_size - 1)
