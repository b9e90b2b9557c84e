"""Noise belongs to training. `model.encode` puts the network into evaluation mode, and `self.training` says so."""

import torch

from dcbh_core import Head


class answer(Head):
    relu = False

    def forward(self, f):
        z = f.unflatten(1, (self.bits, self.size)).mean(2)
        return z + torch.randn_like(z) if self.training else z
