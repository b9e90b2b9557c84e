"""A loss of the library pytorch-metric-learning, in fifteen lines; ``pip install -e ".[methods]"`` installs it."""

from pytorch_metric_learning.losses import ProxyAnchorLoss

from dcbh_core import Objective


class ProxyAnchor(Objective):
    """Proxy-Anchor on the relaxed code q (n, bits): a trained proxy of each person, pulled and pushed by the batch.

    Source: Kim et al., Proxy Anchor Loss for Deep Metric Learning, CVPR 2020; its library's defaults.
    """

    head = "direct"
    terms = ("proxy_anchor",)
    constants = {"margin": 0.1, "scale": 32.0}

    def __init__(self, sizes, **constants):
        super().__init__(sizes, **constants)
        self.loss = ProxyAnchorLoss(sizes.num_identities, sizes.bits, margin=self.margin, alpha=self.scale)

    def compute(self, outputs, labels):
        return {"proxy_anchor": self.loss(outputs.relaxed, labels)}
