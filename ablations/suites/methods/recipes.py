"""What else training may do, whatever the objective: each recipe is `modern` with one thing more."""

import math

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dcbh_core import Training
from dcbh_core.heads import DirectHead
from dcbh_core.shallow import lda_itq


class Averaged(Training):
    """Weight averaging: the model that is kept has a moving mean of the weights, over about a tenth of the training.

    Why: single weights are tied to the last batches, and to the people in them; their mean lies in a flatter place of
    the loss, which should mind less that a person is new.

    Source: Polyak and Juditsky, SIAM J. Control Optim. 1992; Izmailov et al., Averaging Weights Leads to Wider Optima
    and Better Generalization, UAI 2018, average epochs in equal parts.
    """

    PART = 0.1  # of all steps: after so many, what was there before weighs 1 / e

    def __init__(self, config, faces):
        super().__init__(config, faces)
        steps = self.epochs * math.ceil(len(self.images) / self.batch_size)
        mean = get_ema_multi_avg_fn(math.exp(-1 / max(1, self.PART * steps)))
        # Its buffers too: batch normalisation's statistics are then those of the weights that are kept.
        self.averaged = AveragedModel(self.model, multi_avg_fn=mean, use_buffers=True)

    def step(self, images, labels):
        losses = super().step(images, labels)
        self.averaged.update_parameters(self.model)
        return losses

    def trained(self):
        model = self.averaged.module.eval()
        model.remember(self.images, self.labels)
        return model

    def state(self):
        return {**super().state(), "averaged": self.averaged.state_dict()}

    def restore(self, state):
        super().restore(state)
        self.averaged.load_state_dict(state["averaged"])


class Mixed(Training):
    """Mixing of images: each face of a batch is blended with another one, and so are their losses.

    The larger part lies from 1/2 to 1; with Beta(0.2, 0.2) it is mostly near 1. Centres move with its person.

    Why: between two people lies somebody whom nobody has photographed; a network that has to say how much of whom it
    sees learns less by heart.

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018.
    """

    ALPHA = 0.2

    def step(self, images, labels):
        part = torch.distributions.Beta(self.ALPHA, self.ALPHA).sample().item()
        part, other = max(part, 1 - part), torch.randperm(len(labels)).to(labels.device)
        blended = part * images.float() + (1 - part) * images[other].float()
        outputs = self.model(blended.round().to(torch.uint8))
        losses = 0
        for share, people in ((part, labels), (1 - part, labels[other])):
            total, terms = self.objective(outputs, people)
            losses = losses + share * torch.stack([*(terms[name] for name in self.objective.weights), total])
        self.optimizer.zero_grad()
        losses[-1].backward()
        self.objective.after_backward(outputs, labels)
        self.optimizer.step()
        return losses.detach()


class Refitted(Training):
    """Half-way, the last layer becomes what LDA and ITQ make of the descriptors then; training goes on from there.

    The classifier on the code, where there is one, becomes that of the nearest mean: with m_c the mean of q of person
    c, W_c = s m_c and b_c = -s |m_c|^2 / 2, where s leaves its weights as large as they were.

    Why: on the descriptors of a trained softmax LDA-ITQ has as good codes for unseen people as the layer that was
    trained with them, and its directions look at how people differ, not at which of these people it is.

    Source: the projection and the rotation of ``dcbh_core.shallow.lda_itq``; to begin with them is our own idea.
    """

    def __init__(self, config, faces):
        super().__init__(config, faces)
        if not isinstance(self.model.head, DirectHead):
            raise ValueError("only the head direct has a last layer that LDA can take the place of")

    def run_epoch(self):
        if self.epoch == math.ceil(self.epochs / 2):
            self.refit()
        return super().run_epoch()

    @torch.no_grad()
    def refit(self):
        """Put LDA-ITQ in the place of the last layer, for as many bits as there are directions."""
        model, device = self.model, self.labels.device
        descriptors, labels = model.describe(self.images), self.labels.cpu().numpy()
        bits = min(self.config.bits, self.model.num_identities - 1, descriptors.shape[1])
        fitted = lda_itq(descriptors, labels, bits, self.config.seed)
        linear, norm = model.head.linear, model.head.norm
        directions = torch.as_tensor(fitted.projection.T, dtype=torch.float32, device=device)
        linear.weight[:bits] = directions * (linear.weight.norm(dim=1).mean() / directions.norm(dim=1).mean())
        z = linear(torch.from_numpy(descriptors).to(device))
        norm.running_mean.copy_(z.mean(0))
        norm.running_var.copy_(z.var(0))
        norm.bias.zero_()
        new = [linear.weight, linear.bias, norm.weight, norm.bias]
        if (classifier := model.code_classifier) is not None:
            q = torch.from_numpy(model.relax(descriptors)).to(device)
            means = torch.stack([q[self.labels == one].mean(0) for one in range(model.num_identities)])
            scale = classifier.weight.norm() / means.norm()
            classifier.weight.copy_(scale * means)
            classifier.bias.copy_(-scale * means.square().sum(1) / 2)
            new += [classifier.weight, classifier.bias]
        for parameter in new:
            self.optimizer.state.pop(parameter, None)  # its moments are those of what was there before
