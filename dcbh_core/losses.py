"""The terms of DCBH's loss, each on its own, and their weighted sum.

Source: Jang et al., ACCV 2018, section 3; constants as in the authors' code. n is the batch, C the number of people,
d the length of the descriptor. The methods that DCBH is compared with are in ``peers``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import OBJECTIVE_DEFAULTS, Config
from .model import Outputs, descriptor_size


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


def target_of(config: Config) -> float:
    """The quantisation target. Without weight the term is only watched, against the objective's own target."""
    if config.quantization_target is None:
        return float(OBJECTIVE_DEFAULTS[config.objective]["quantization_target"])
    return config.quantization_target


def weights_of(config: Config, *terms: str) -> dict[str, float]:
    """The weights of these terms in a resolved config."""
    return {term: getattr(config, f"{term}_weight") for term in terms}


class Objective(nn.Module):
    """What training minimises: a weighted sum of terms over a batch.

    ``weights`` names the terms; those of weight 0 are computed too: they show what is not minimised. State of the
    training alone, such as centres, lives here and not in the model.
    """

    weights: dict[str, float]

    def terms(self, outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
        """Each term, a scalar before its weight, for the network's outputs on n faces and labels (n,) int64."""
        raise NotImplementedError

    def forward(self, outputs: Outputs, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The total, and every term before its weight."""
        terms = self.terms(outputs, labels)
        total = torch.stack([weight * terms[name] for name, weight in self.weights.items() if weight]).sum()
        return total, terms

    def after_backward(self, outputs: Outputs, labels: Tensor) -> None:
        """Called between the gradients and the optimiser's step."""


class DCBHObjective(Objective):
    """CE(code) + w_f CE(feature) + w_q quantisation + w_c centre loss. Weight decay is the optimiser's part."""

    def __init__(self, config: Config, num_identities: int):
        super().__init__()
        self.weights = {"code": 1.0, **weights_of(config, "feature", "quantization", "center")}
        self.target = target_of(config)
        # In the authors' code the centres (C, d) are trainable as well as moved, so Adam moves them a second time.
        self.centers = nn.Parameter(
            nn.init.xavier_uniform_(torch.empty(num_identities, descriptor_size(config))),
            requires_grad=config.recipe == "published",
        )

    def terms(self, outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
        return {
            "code": F.cross_entropy(outputs.code_logits, labels),
            "feature": F.cross_entropy(outputs.feature_logits, labels),
            "quantization": quantization_loss(outputs.relaxed, self.target),
            "center": center_loss(outputs.descriptor, labels, self.centers),
        }

    @torch.no_grad()
    def after_backward(self, outputs: Outputs, labels: Tensor) -> None:
        """Move the centres: after the gradients were taken with the old ones, before the optimiser steps."""
        self.centers.copy_(moved_centers(outputs.descriptor.detach(), labels, self.centers))


class SoftBlockObjective(Objective):
    """DCBH with its known faults mended, for the head ``mass``:

        CE(code) + w_q mean | 1 - |q| | + w_c mean_i (1 - cos(f_i, M_{y_i})),   M (C, d) trained

    The target is one that q reaches; the centre loss is a mean over the batch, on normalised descriptors, so that it
    grows neither with the batch nor with the length of f. What was tried beside, and left out, is in the README.
    """

    def __init__(self, config: Config, num_identities: int):
        super().__init__()
        self.weights = {"code": 1.0, **weights_of(config, "quantization", "center")}
        self.target = target_of(config)
        self.centers = nn.Parameter(torch.randn(num_identities, descriptor_size(config)))

    def terms(self, outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
        return {
            "code": F.cross_entropy(outputs.code_logits, labels),
            "quantization": quantization_loss(outputs.relaxed, self.target),
            "center": (1 - F.cosine_similarity(outputs.descriptor, self.centers[labels])).mean(),
        }
