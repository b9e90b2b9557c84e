"""A loss of the library pytorch-metric-learning, in fifteen lines; ``pip install -e ".[methods]"`` installs it."""

from pytorch_metric_learning.losses import SupConLoss

from dcbh_core import Objective


class SupervisedContrastive(Objective):
    """The supervised contrastive loss on the relaxed code q (n, bits), with its library's default temperature.

    Source: Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, equation 2.
    """

    head = "direct"
    terms = ("contrastive",)
    constants = {"temperature": 0.1}
    positive = {"temperature"}

    def __init__(self, sizes, **constants):
        super().__init__(sizes, **constants)
        self.loss = SupConLoss(self.temperature)

    def compute(self, outputs, labels):
        return {"contrastive": self.loss(outputs.relaxed, labels)}
