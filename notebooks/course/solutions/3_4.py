"""Exercise 3.4. The largest share of a block is 1 at most and 1 / block_size at least, so z is at most 1/2 and at least
1 / block_size - 1/2. Only the zeros' cost depends on the block size; in large blocks it falls to that of the ones."""

import numpy as np


def answer(block_size, ones):
    cost_of_a_one = 0.5 - np.tanh(0.5)
    cost_of_a_zero = 0.5 - np.tanh(0.5 - 1 / block_size)
    return ones * cost_of_a_one + (1 - ones) * cost_of_a_zero
