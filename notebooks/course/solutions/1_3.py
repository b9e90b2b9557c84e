def answer(distance, bits):
    # A plane of random direction separates two arrows with probability angle / 180 degrees (Charikar, 2002), so
    # the share of bits that differ is an estimate of just that.
    return 180 * distance / bits
