"""Losses whose codes keep how alike descriptors are: what tells apart people who are not in training is asked of codes.

Each adds to an objective of the kit w_s mean_{i != j} (cos(q_i, q_j) - cos(f_i - f', f_j - f'))^2, with f' the mean of
the batch's descriptors, which give no gradient here. Source of the idea: Park et al., Relational Knowledge
Distillation, CVPR 2019.
"""

import torch
import torch.nn.functional as F

from dcbh_core.losses import SoftBlockObjective
from dcbh_core.peers import CSQObjective


def similarity(outputs):
    """The term, of a batch of at least two faces."""
    f = outputs.descriptor.detach()
    wanted, found = (F.normalize(x) @ F.normalize(x).T for x in (f - f.mean(0), outputs.relaxed))
    apart = ~torch.eye(len(f), dtype=torch.bool, device=f.device)
    return ((found - wanted) * apart).square().sum() / (len(f) * (len(f) - 1))


class Clustered(SoftBlockObjective):
    """Beside a classifier on the code and DCBH's clustering of descriptors, which then shapes the code as well."""

    head = "direct"
    terms = (*SoftBlockObjective.terms, "similarity")
    constants = {**SoftBlockObjective.constants, "similarity_weight": 1.0}

    def compute(self, outputs, labels):
        return {**super().compute(outputs, labels), "similarity": similarity(outputs)}


class Central(CSQObjective):
    """Beside CSQ's code centres, which are dealt out and say nothing of a face."""

    terms = (*CSQObjective.terms, "similarity")
    constants = {**CSQObjective.constants, "similarity_weight": 1.0}

    def compute(self, outputs, labels):
        return {**super().compute(outputs, labels), "similarity": similarity(outputs)}
