"""The terms of DCBH's loss, each on its own, and the objectives: weighted sums of terms that training minimises.

An objective is one class that states its own facts. To add one to the kit, write the class and its line in
``OBJECTIVES``; one of your own needs neither, as ``Config(objective="my_loss.py:MyLoss")`` names its file. The methods
that DCBH is compared with are in ``peers``.

Source: Jang et al., ACCV 2018, section 3; constants as in the authors' code. n is the batch, C the number of people,
d the length of the descriptor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Sizes(NamedTuple):
    """What an objective may need to know of the network and its training.

    Attributes:
        num_identities: The number of people in training, C.
        bits: Length of the codes.
        descriptor_size: Length of the descriptor, d.
        seed: Decides draws that are no weights, such as code centres.
    """

    num_identities: int
    bits: int
    descriptor_size: int
    seed: int = 0


class Outputs(NamedTuple):
    """What the network says about a batch of n faces.

    Attributes:
        descriptor: (n, d), f in the paper: what the head takes.
        continuous: (n, bits), z: what the head gives. A bit is z >= 0.
        relaxed: (n, bits), q = tanh(z): the code before binarisation.
        code_logits: (n, C), of the linear classifier on q; None where the objective asks for none.
        feature_logits: (n, C), of the linear classifier on f; None where the objective asks for none.
    """

    descriptor: Tensor
    continuous: Tensor
    relaxed: Tensor
    code_logits: Tensor | None
    feature_logits: Tensor | None


def quantization_loss(relaxed: Tensor, target: float) -> Tensor:
    """mean | target - |q| |, a scalar: it pulls each relaxed bit q (n, bits) away from 0, towards +-target.

    The block head's q lies in [tanh(1/block_size - 0.5), tanh(0.5)]: with block size 6 and target 0.5 a zero costs at
    least 0.178 and a one at least 0.038, however well it is learnt.
    """
    return (target - relaxed.abs()).abs().mean()


def center_loss(descriptor: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """1/2 sum_i ||f_i - c_{y_i}||^2, a scalar, over descriptors (n, d), labels (n,), centres (C, d); a sum, as theirs.

    Source of the idea: Wen et al., A Discriminative Feature Learning Approach for Deep Face Recognition, ECCV 2016.
    """
    return 0.5 * (descriptor - centers[labels]).square().sum()


def moved_centers(descriptor: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """New centres (C, d): c_y <- (c_y + sum of the batch's f_i of person y) / (1 + n_y). People absent keep theirs.

    Args:
        descriptor: Descriptors f, (n, d).
        labels: The person y on each, (n,).
        centers: The centres c before, (C, d).
    """
    # index_put accumulates repeated labels, and unlike index_add in a fixed order on CUDA.
    sums = torch.zeros_like(centers).index_put((labels,), descriptor, accumulate=True)
    # Not bincount, which on CUDA would wait for the device.
    counts = torch.zeros_like(centers[:, :1]).index_put((labels,), torch.ones_like(descriptor[:, :1]), accumulate=True)
    return (centers + sums) / (1 + counts)


class Objective(nn.Module):
    """The base of all objectives: what training minimises, a weighted sum of terms over a batch.

    A subclass states facts as class attributes and gives its terms; ``__init__`` needs to be written only for state of
    its own, such as centres, which lives here and not in the model.

    Args:
        sizes: Of the network.
        **constants: Those that are not to be at their defaults.

    Attributes:
        head: The head that goes with it where a config names none.
        terms: The names of its terms, in order.
        constants: Its constants with their defaults; each is a field of ``Config`` under this objective, and an
            attribute of the object. ``TERM_weight`` is the weight of a term (1 without such a constant), and a constant
            ``TERM_...`` belongs to that term: with weight 0 it has no effect. All are numbers, 0 or more.
        positive: The names of constants that must be above 0.
        classifiers: Which linear classifiers over the people it wants of the network: ``code`` (on q), ``feature`` (on
            f).
        shallow: Whether shallow hashing (LSH, ITQ) is measured on the features that it learns.
        weights: Name and weight of each term. Terms of weight 0 are computed too: they show what is not minimised.
    """

    head: ClassVar[str] = "block"
    terms: ClassVar[tuple[str, ...]]
    constants: ClassVar[Mapping[str, float]] = {}
    positive: ClassVar[frozenset[str]] = frozenset()
    classifiers: ClassVar[tuple[str, ...]] = ()
    shallow: ClassVar[bool] = False
    weights: dict[str, float]

    def __init__(self, sizes: Sizes, **constants: float):
        super().__init__()
        values = {**type(self).constants, **constants}
        for name, value in values.items():
            setattr(self, name, value)
        self.weights = {term: values.get(f"{term}_weight", 1.0) for term in self.terms}

    @classmethod
    def check(cls, constants: Mapping[str, float]) -> None:
        """Refuse impossible constants.

        Raises:
            ValueError: One is below 0, or one of ``positive`` is 0.
        """
        for name, value in constants.items():
            if value < 0 or (value == 0 and name in cls.positive):
                raise ValueError(f"{name} must be {'above 0' if name in cls.positive else '0 or more'}, not {value!r}")

    @classmethod
    def check_people(cls, num_identities: int, bits: int) -> None:
        """Refuse more people than it can serve with codes of so many bits; by default it serves any number.

        Raises:
            ValueError: It cannot serve so many.
        """

    def compute(self, outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
        """Each term by name, a scalar before its weight.

        Args:
            outputs: Of the network, for n faces.
            labels: The person on each, int64 (n,).
        """
        raise NotImplementedError

    def forward(self, outputs: Outputs, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted total, a scalar, and every term before its weight."""
        terms = self.compute(outputs, labels)
        total = torch.stack([weight * terms[name] for name, weight in self.weights.items() if weight]).sum()
        return total, terms

    def after_backward(self, outputs: Outputs, labels: Tensor) -> None:
        """Do what is to be done between the gradients and the optimiser's step; by default nothing."""


class DCBHObjective(Objective):
    """The paper's: CE(code) + w_f CE(feature) + w_q quantisation + w_c centre loss; weight decay is the optimiser's.

    The centres (C, d) are no weights: they move by a rule of their own, outside of the gradient.
    """

    head = "block"
    terms = ("code", "feature", "quantization", "center")
    constants: ClassVar = {
        "feature_weight": 1.0,
        "quantization_weight": 0.1,
        "quantization_target": 0.5,
        "center_weight": 1e-4,
    }
    classifiers = ("code", "feature")
    quantization_target: float

    def __init__(self, sizes: Sizes, **constants: float):
        super().__init__(sizes, **constants)
        drawn = nn.init.xavier_uniform_(torch.empty(sizes.num_identities, sizes.descriptor_size))
        self.centers = nn.Parameter(drawn, requires_grad=False)

    def compute(self, outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
        assert outputs.code_logits is not None and outputs.feature_logits is not None
        return {
            "code": F.cross_entropy(outputs.code_logits, labels),
            "feature": F.cross_entropy(outputs.feature_logits, labels),
            "quantization": quantization_loss(outputs.relaxed, self.quantization_target),
            "center": center_loss(outputs.descriptor, labels, self.centers),
        }

    @torch.no_grad()
    def after_backward(self, outputs: Outputs, labels: Tensor) -> None:
        """Move the centres: after the gradients were taken with the old ones, before the optimiser steps."""
        self.centers.copy_(moved_centers(outputs.descriptor.detach(), labels, self.centers))


class SoftBlockObjective(Objective):
    """DCBH with its known faults mended, for soft blocks:

        CE(code) + w_q mean | 1 - |q| | + w_c mean_i (1 - cos(f_i, M_{y_i})),   M (C, d) trained

    The target is one that q reaches; the centre loss is a mean over the batch, on normalised descriptors, so that it
    grows neither with the batch nor with the length of f.
    """

    head = "soft_block"
    terms = ("code", "quantization", "center")
    constants: ClassVar = {"quantization_weight": 0.1, "quantization_target": 1.0, "center_weight": 0.1}
    classifiers = ("code",)
    quantization_target: float

    def __init__(self, sizes: Sizes, **constants: float):
        super().__init__(sizes, **constants)
        self.centers = nn.Parameter(torch.randn(sizes.num_identities, sizes.descriptor_size))

    def compute(self, outputs: Outputs, labels: Tensor) -> dict[str, Tensor]:
        assert outputs.code_logits is not None
        return {
            "code": F.cross_entropy(outputs.code_logits, labels),
            "quantization": quantization_loss(outputs.relaxed, self.quantization_target),
            "center": (1 - F.cosine_similarity(outputs.descriptor, self.centers[labels])).mean(),
        }


OBJECTIVES: dict[str, type[Objective]] = {"dcbh": DCBHObjective, "soft_block": SoftBlockObjective}
