"""It falls with slope 1 from 0 to 0.3, on both sides alike, and is flat from there: what lacks to 0.3, if anything."""


def answer(q):
    return (0.3 - q.abs()).clamp(min=0).mean()
