from dcbh_core.model import STAGES

# One multiply-add in about twenty thousand: the head without weights saves no time to speak of. All the work is in the
# convolutions, which use each of their weights once in every pixel.
pixels, channels, convolutions = 32 * 32, 3, 0
for stage in STAGES:
    for wanted in stage:
        convolutions += 9 * channels * wanted * pixels
        channels = wanted
    pixels //= 4
head = 288 * 48
answer = head / (convolutions + 768 * 288 + head)
