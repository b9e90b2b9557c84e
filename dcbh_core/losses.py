"""The terms of the loss, each on its own, and their weighted sum.

Source: Jang et al., ACCV 2018, section 3; constants as in the authors' code. n is the batch, C the number of people,
d = bits * block_size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import Config
from .model import Outputs

TERMS = ("code", "feature", "quantization", "center")


def quantization_loss(relaxed: Tensor, target: float) -> Tensor:
    """mean | target - |q| |: pulls each relaxed bit q (n, bits) away from 0, towards +-target.

    The block head's q lies in [tanh(1/block_size - 0.5), tanh(0.5)]: with block size 6 and target 0.5 a zero costs at
    least 0.178 and a one at least 0.038, however well it is learnt.
    """
    return (target - relaxed.abs()).abs().mean()


def center_loss(descriptor: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """1/2 sum_i ||f_i - c_{y_i}||^2 over descriptors (n, d), labels (n,), centres (C, d); a sum, as in the paper.

    Source of the idea: Wen et al., A Discriminative Feature Learning Approach for Deep Face Recognition, ECCV 2016.
    """
    return 0.5 * (descriptor - centers[labels]).square().sum()


def moved_centers(descriptor: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """New centres (C, d): c_y <- (c_y + sum of the batch's f_i of person y) / (1 + n_y). People absent keep theirs."""
    # index_put accumulates repeated labels, and unlike index_add in a fixed order on CUDA.
    sums = torch.zeros_like(centers).index_put((labels,), descriptor, accumulate=True)
    # Not bincount, which on CUDA would wait for the device.
    counts = torch.zeros_like(centers[:, :1]).index_put((labels,), torch.ones_like(descriptor[:, :1]), accumulate=True)
    return (centers + sums) / (1 + counts)


class DCBHObjective(nn.Module):
    """CE(code) + w_f CE(feature) + w_q quantisation + w_c centre loss. Weight decay is the optimiser's part.

    Holds the centres (C, d), which are state of the training, not of the model.
    """

    def __init__(self, config: Config, num_identities: int):
        super().__init__()
        self.weights = {
            "code": 1.0,
            "feature": config.feature_weight,
            "quantization": config.quantization_weight,
            "center": config.center_weight,
        }
        # Without weight the term is only watched, against the paper's target.
        self.target = 0.5 if config.quantization_target is None else config.quantization_target
        self.centers = nn.Parameter(
            nn.init.xavier_uniform_(torch.empty(num_identities, config.bits * config.block_size))
        )

    def forward(self, outputs: Outputs, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The total, and every term before its weight (those of weight 0 too: they show what is not minimised)."""
        terms = {
            "code": F.cross_entropy(outputs.code_logits, labels),
            "feature": F.cross_entropy(outputs.feature_logits, labels),
            "quantization": quantization_loss(outputs.relaxed, self.target),
            "center": center_loss(outputs.descriptor, labels, self.centers),
        }
        total = torch.stack([weight * terms[name] for name, weight in self.weights.items() if weight]).sum()
        return total, terms

    @torch.no_grad()
    def after_backward(self, outputs: Outputs, labels: Tensor) -> None:
        """Move the centres: after the gradients were taken with the old ones, before the optimiser steps."""
        self.centers.copy_(moved_centers(outputs.descriptor.detach(), labels, self.centers))


OBJECTIVES: dict[str, type[DCBHObjective]] = {"dcbh": DCBHObjective}
