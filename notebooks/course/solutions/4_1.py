from dcbh_core.model import STAGES


def answer(bits, block_size, width, people):
    """Nearly all of it lies in the convolutions of the last two stages: there one would have to save."""
    channels, total = 3, 0
    for stage in STAGES:
        for full in stage:
            wanted = max(1, round(full * width))
            total += 9 * channels * wanted + 2 * wanted  # the kernels; scale and shift of the batch normalisation
            channels = wanted
    pooled = channels + max(1, round(STAGES[-2][-1] * width))
    outputs = bits * block_size
    total += (pooled + 1 + 2) * outputs  # weights, bias, scale and shift
    return total + (bits + 1) * people + (outputs + 1) * people
