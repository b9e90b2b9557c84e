import math


def answer(block_size):
    # e^x / (e^x + k - 1) = 1/2 where e^x = k - 1. How large the others are does not matter: softmax knows differences
    # alone. For 6 entries it is the logarithm of 5; for 2 it is 0, which is why such a block says yes to everybody.
    return math.log(block_size - 1)
