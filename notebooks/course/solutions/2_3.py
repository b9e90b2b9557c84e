import math


def answer(block_size):
    """The band widens a little with the block size, and never gets wider than from -tanh(1/2) to tanh(1/2)."""
    return math.tanh(1 / block_size - 0.5), math.tanh(0.5)
