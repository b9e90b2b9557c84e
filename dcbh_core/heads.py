"""Hashing heads: from the descriptor of a face to one number for each bit.

A head is one class that states its own facts. To add one to the kit, write the class and its line in ``HEADS``; one of
your own needs neither, as ``Config(head="my_head.py:MyHead")`` names its file. n is the batch, d the length of the
descriptor.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """The base of all heads: descriptors (n, d) to z (n, bits), whose signs are the bits.

    Attributes:
        blocks: Whether the descriptor has a block of ``block_size`` entries for each bit, so that d is
            ``bits * block_size`` and a linear layer makes it. If not, the descriptor is the pooled features themselves.
        relu: Whether a ReLU stands before the head, so that it sees no entry below 0. It matters with blocks only.

    Args:
        bits: Length of the codes.
        size: The block size if the head works on blocks, else d.
    """

    blocks: ClassVar[bool] = True
    relu: ClassVar[bool] = True

    def __init__(self, bits: int, size: int):
        super().__init__()
        self.bits, self.size = bits, size

    @classmethod
    def check(cls, block_size: int) -> None:
        """Refuse a block size that this head cannot work with.

        Raises:
            ValueError: It is below 1, or a subclass has a reason of its own.
        """
        if block_size < 1:
            raise ValueError(f"block_size must be at least 1, not {block_size}")


class BlockHead(Head):
    """The paper's block hashing layer: descriptor (n, bits * block_size) to z (n, bits). It has no weights.

    Softmax within each block, the largest entry, minus one half. Since the largest entry lies between 1 / block_size
    and 1, q = tanh(z) lies between tanh(1 / block_size - 0.5) and tanh(0.5) = 0.4621. A bit asks: does one entry hold
    at least half of its block's mass?

    Source: Jang et al., ACCV 2018, section 3.
    """

    def forward(self, f: Tensor) -> Tensor:
        return f.unflatten(1, (self.bits, self.size)).softmax(2).amax(2) - 0.5

    @classmethod
    def check(cls, block_size: int) -> None:
        if block_size < 3:
            raise ValueError(
                f"block_size must be at least 3, not {block_size}: of two entries one always holds half of the "
                "softmax, so every bit would be 1"
            )


class SoftBlockHead(Head):
    """Soft blocks: descriptor (n, bits * block_size) to z (n, bits). It has no weights.

    The paper asks whether one entry holds half of the mass of a block's softmax; this asks whether one half of the
    entries does. With p the mass of the first half, z is its logit, log(p / (1 - p)) = logsumexp(first half) -
    logsumexp(second half). So every entry is heard in every step, 0 and 1 are equally likely to begin with, and
    q = tanh(z) reaches -1 and 1.
    """

    relu = False  # it compares entries, and would be deaf to those below 0

    def forward(self, f: Tensor) -> Tensor:
        halves = f.unflatten(1, (self.bits, 2, self.size // 2)).logsumexp(3)
        return halves[:, :, 0] - halves[:, :, 1]

    @classmethod
    def check(cls, block_size: int) -> None:
        if block_size < 2 or block_size % 2:
            raise ValueError(f"block_size must be even for soft blocks, which compare halves, not {block_size}")


class FCHead(Head):
    """Fully connected hashing: descriptor (n, bits * block_size) to z (n, bits) by one linear layer."""

    def __init__(self, bits: int, size: int):
        super().__init__(bits, size)
        self.linear = nn.Linear(bits * size, bits)

    def forward(self, f: Tensor) -> Tensor:
        return self.linear(f)


class DivideEncodeHead(Head):
    """Divide and encode: descriptor (n, bits * block_size) to z (n, bits), each block by a linear map of its own.

    Source: Lin, Li and Tang, Discriminative Deep Hashing for Scalable Face Image Retrieval (DDH), IJCAI 2017.
    """

    def __init__(self, bits: int, size: int):
        super().__init__(bits, size)
        self.weight = nn.Parameter(torch.empty(bits, size))
        self.bias = nn.Parameter(torch.zeros(bits))
        # Xavier-uniform for `bits` separate maps of block_size inputs and one output.
        bound = (6 / (size + 1)) ** 0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, f: Tensor) -> Tensor:
        return (f.unflatten(1, self.weight.shape) * self.weight).sum(2) + self.bias


class DirectHead(Head):
    """The peers' code layer: pooled features (n, d) to z (n, bits) by one linear layer and batch normalisation.

    With this head there is no layer in between: the descriptor is the pooled features themselves.
    """

    blocks = False

    def __init__(self, bits: int, size: int):
        super().__init__(bits, size)
        self.linear = nn.Linear(size, bits)
        self.norm = nn.BatchNorm1d(bits, eps=1e-3)

    def forward(self, f: Tensor) -> Tensor:
        return self.norm(self.linear(f))


HEADS: dict[str, type[Head]] = {
    "block": BlockHead,
    "soft_block": SoftBlockHead,
    "fc": FCHead,
    "divide_encode": DivideEncodeHead,
    "direct": DirectHead,
}
