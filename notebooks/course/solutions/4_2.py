import math


def answer(step, steps, warm):
    """Counting from 0, the first step already takes 1 / warm of the rate."""
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))
