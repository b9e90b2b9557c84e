def answer(bits, block_size, width):
    """Each output has a weight for each input, a bias, a scale and a shift. Most parameters lie in the convolutions."""
    inputs = round(512 * width) + round(256 * width)
    return bits * block_size * (inputs + 1 + 2)
