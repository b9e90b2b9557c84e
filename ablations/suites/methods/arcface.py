"""A loss of one's own, in twenty lines: ArcFace on the relaxed code."""

import torch
import torch.nn.functional as F

from dcbh_core import Objective


class ArcFace(Objective):
    """CE of s cos(theta_ij + m [j = y_i]), with theta_ij the angle between q_i (n, bits) and the trained W_j (C, bits).

    Source: Deng et al., ArcFace: Additive Angular Margin Loss for Deep Face Recognition, CVPR 2019, equation 3. Their
    features have 512 dimensions and their scale is 64; with short codes in [-1, 1] a smaller one trains better.
    """

    head = "direct"
    terms = ("arcface",)
    constants = {"scale": 16.0, "margin": 0.3}
    positive = {"scale"}

    def __init__(self, sizes, **constants):
        super().__init__(sizes, **constants)
        self.weight = torch.nn.Parameter(torch.randn(sizes.num_identities, sizes.bits))

    def compute(self, outputs, labels):
        cosine = F.normalize(outputs.relaxed) @ F.normalize(self.weight).T
        angle = cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos() + self.margin * F.one_hot(labels, len(self.weight))
        return {"arcface": F.cross_entropy(self.scale * angle.cos(), labels)}
