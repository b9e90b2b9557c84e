"""The smallest number of batches that is enough, and as equal as whole numbers allow: the i-th ends at i n // parts."""


def answer(n, size):
    parts = -(-n // size)  # rounded up
    return [(i * n // parts, (i + 1) * n // parts) for i in range(parts)]
