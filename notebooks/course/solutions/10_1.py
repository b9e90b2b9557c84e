"""Batch normalisation without scale and shift takes the batch's mean in training, so half of the faces lie above it; it
remembers a running mean, which takes its place in use, when a face may come alone. Gradients pass through it."""

from torch import nn

from dcbh_core import Head


class answer(Head):
    relu = False

    def __init__(self, bits, size):
        super().__init__(bits, size)
        self.norm = nn.BatchNorm1d(bits, affine=False)

    def forward(self, f):
        return self.norm(f.unflatten(1, (self.bits, self.size)).mean(2))
