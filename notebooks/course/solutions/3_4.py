"""Exercise 3.4. The largest share of a block is 1 at most and 1 / block_size at least, so |q| reaches tanh(1/2) for a
one and tanh(1/2 - 1 / block_size) for a zero, and every value below. A target within reach costs nothing; one beyond it
costs what is missing. Only the zeros' reach depends on the block size."""

import numpy as np


def answer(block_size, ones, target):
    cost_of_a_one = max(0, target - np.tanh(0.5))
    cost_of_a_zero = max(0, target - np.tanh(0.5 - 1 / block_size))
    return ones * cost_of_a_one + (1 - ones) * cost_of_a_zero
