"""Candidates for a DCBH with a memory: what training may do so that codes serve known people and unseen ones."""

import torch
import torch.nn.functional as F
from torch import nn

from dcbh_core import Objective
from dcbh_core.losses import SoftBlockObjective, moved_centers, quantization_loss
from dcbh_core.memory import Memory
from dcbh_core.peers import CSQObjective


def similarity(outputs):
    """What a code does not keep of how alike descriptors are, in a batch of at least two faces:

        mean_{i != j} (cos(q_i, q_j) - cos(f_i - f', f_j - f'))^2

    with f' the mean of the batch's descriptors, which give no gradient here. Why: a person who is not in training is
    told apart by descriptors twice as well as by codes, so that what descriptors know should be asked of codes.

    Source of the idea: Park et al., Relational Knowledge Distillation, CVPR 2019.
    """
    f = outputs.descriptor.detach()
    wanted, found = (F.normalize(x) @ F.normalize(x).T for x in (f - f.mean(0), outputs.relaxed))
    apart = ~torch.eye(len(f), dtype=torch.bool, device=f.device)
    return ((found - wanted) * apart).square().sum() / (len(f) * (len(f) - 1))


class Similarities(Objective):
    """A classifier on the code, and a code that keeps similarities: CE(code) + w_q mean | target - |q| | + w_s L_s."""

    head = "direct"
    terms = ("code", "quantization", "similarity")
    constants = {"quantization_weight": 1e-3, "quantization_target": 1.0, "similarity_weight": 1.0}
    classifiers = ("code",)

    def compute(self, outputs, labels):
        kept = similarity(outputs)  # first: gradients are summed in this order in the recorded runs
        return {
            "code": F.cross_entropy(outputs.code_logits, labels),
            "quantization": quantization_loss(outputs.relaxed, self.quantization_target),
            "similarity": kept,
        }


class KeptClusters(SoftBlockObjective):
    """Similarities beside a classifier on the code and DCBH's clustering of descriptors, which then shapes the code."""

    head = "direct"
    terms = (*SoftBlockObjective.terms, "similarity")
    constants = {**SoftBlockObjective.constants, "similarity_weight": 1.0}

    def compute(self, outputs, labels):
        return {**super().compute(outputs, labels), "similarity": similarity(outputs)}


class KeptCentral(CSQObjective):
    """Similarities beside CSQ's code centres, which are dealt out and say nothing of a face."""

    terms = (*CSQObjective.terms, "similarity")
    constants = {**CSQObjective.constants, "similarity_weight": 1.0}

    def compute(self, outputs, labels):
        return {**super().compute(outputs, labels), "similarity": similarity(outputs)}


class Clusters(Objective):
    """DCBH's clustering on the code in the place of the descriptor, with DCBH's own rule for the centres:

        CE(code) + w_q mean | target - |q| | + w_c mean_i (1 - cos(q_i, c_{y_i}))

    Why: the memory pulls a code to its person's centre when it encodes; here training pulls it there before.
    """

    head = "direct"
    terms = ("code", "quantization", "center")
    constants = {"quantization_weight": 1e-3, "quantization_target": 1.0, "center_weight": 0.1}
    classifiers = ("code",)

    def __init__(self, sizes, **constants):
        super().__init__(sizes, **constants)
        self.centers = nn.Parameter(torch.zeros(sizes.num_identities, sizes.bits), requires_grad=False)

    def compute(self, outputs, labels):
        q = outputs.relaxed
        return {
            "code": F.cross_entropy(outputs.code_logits, labels),
            "quantization": quantization_loss(q, self.quantization_target),
            "center": (1 - F.cosine_similarity(q, self.centers[labels])).mean(),
        }

    @torch.no_grad()
    def after_backward(self, outputs, labels):
        self.centers.copy_(moved_centers(outputs.relaxed.detach(), labels, self.centers))


class Remembering(Objective):
    """Training sees what encoding does: classifier and quantisation look at the code that the memory has leant.

        CE(W q' + b) + w_q mean | 1 - |q'| |,   q' = z' / (1 + a)

    with z' of ``dcbh_core.memory`` at weight a, centres moved by DCBH's own rule, s and W as means of late batches. No
    gradient goes through the centres. Why: what the memory will mend at encoding, training need not mend.
    """

    head = "direct"
    terms = ("code", "quantization")
    constants = {"quantization_weight": 1e-3, "lean": 0.5}

    def __init__(self, sizes, **constants):
        super().__init__(sizes, **constants)
        self.classifier = nn.Linear(sizes.bits, sizes.num_identities)
        self.memory = Memory(sizes.num_identities, sizes.bits, self.lean)
        self.memory.scatter.fill_(float(sizes.bits))

    def compute(self, outputs, labels):
        leant = self.memory(outputs.relaxed) / (1 + self.lean)
        return {
            "code": F.cross_entropy(self.classifier(leant), labels),
            "quantization": quantization_loss(leant, 1.0),
        }

    @torch.no_grad()
    def after_backward(self, outputs, labels):
        q, memory = outputs.relaxed.detach(), self.memory
        memory.centers.copy_(moved_centers(q, labels, memory.centers))
        memory.scale.lerp_(q.abs().mean(), 0.02)
        memory.scatter.lerp_((q - memory.centers[labels]).square().sum(1).mean().clamp_min(1e-6), 0.02)
