"""A memory of the training set: codes that lean towards the people whom they resemble, and know when that is nobody.

The centres that hashing objectives learn for their loss are thrown away after training. A memory keeps one for each
person and asks it once more when a face is encoded. A face that is close to one person's centre is pulled there in the
space of codes; one that is far from everybody's mostly keeps the code that it had. It needs no training of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

NOBODY = 2.0


class Memory(nn.Module):
    """z'(x) = q(x) / s + a sum_c p_c(x) sign(m_c), and a bit is z' >= 0.

    m_c is the mean of q over person c's training faces, and s the mean of |q| over all of them, so that an own bit that
    is as sure as usual weighs as much as a = 1. With d_c = ||q(x) - m_c|| and W the mean of d^2 of training faces from
    their own centres,

        p_c(x) = exp(-d_c^2 / 2 W) / (exp(-d_0^2 / 2 W) + sum_k exp(-d_k^2 / 2 W)),   d_0 = 2 sqrt(W)

    so that there is one more whom a face may resemble: nobody, who is always twice as far away as a person usually is.
    Of a face that is farther than that from everybody, nobody is likelier than any one person. W is summed and not
    averaged over bits, so that p is soft.

    Args:
        num_identities: The number of people in training, C.
        bits: Length of the codes.
        weight: a, 0 or more.
        nobody: How far away nobody is, in usual distances of a face from its person's centre.

    Attributes:
        centers: m, (C, bits).
        scale: s, a scalar.
        scatter: W, a scalar.
    """

    centers: Tensor
    scale: Tensor
    scatter: Tensor

    def __init__(self, num_identities: int, bits: int, weight: float, nobody: float = NOBODY):
        super().__init__()
        self.weight, self.nobody = weight, nobody
        self.register_buffer("centers", torch.zeros(num_identities, bits))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("scatter", torch.ones(()))

    def learn(self, relaxed: Tensor, labels: Tensor) -> None:
        """Take centres, scale and scatter from the training faces, in one pass.

        Args:
            relaxed: q of each, (n, bits).
            labels: The person on each, int64 (n,). A person who is on none is never recognised.
        """
        sums = torch.zeros_like(self.centers).index_put((labels,), relaxed, accumulate=True)
        self.centers.copy_(sums / labels.bincount(minlength=len(sums)).clamp_min(1)[:, None])
        self.scale.copy_(relaxed.abs().mean())
        self.scatter.copy_((relaxed - self.centers[labels]).square().sum(1).mean().clamp_min(1e-6))

    def recognize(self, relaxed: Tensor) -> Tensor:
        """p (n, C): who a face might be, of q (n, bits). What is missing from a sum of 1 is nobody's."""
        distances = relaxed.square().sum(1, keepdim=True) + self.centers.square().sum(1) - 2 * relaxed @ self.centers.T
        distances = distances.masked_fill(~self.centers.any(1), torch.inf)
        nobody = self.nobody**2 * self.scatter.expand(len(relaxed), 1)
        return (torch.cat([distances, nobody], 1) / (-2 * self.scatter)).softmax(1)[:, :-1]

    def forward(self, relaxed: Tensor) -> Tensor:
        """z' (n, bits) of q (n, bits)."""
        return relaxed / self.scale + self.weight * self.recognize(relaxed) @ self.centers.sign()
