"""Checks of notebook 4: train."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcbh_core import DCBH, Config
from dcbh_core.model import STAGES, channels_at

from . import Verdict, close, ended


def check_1(answer: Callable[[int, int, float, int], int]) -> Iterator[Verdict]:
    """The parameters of the whole network: answer(bits, block_size, width, people) -> their number."""
    for bits, block_size, width, people, what in (
        (48, 6, 1.0, 530, "the paper's network: 48 bits, blocks of 6, width 1, 530 people"),
        (48, 6, 0.25, 40, "a quarter of the channels and 40 people, as above"),
        (12, 3, 0.1, 7, "width 0.1, where channels have to be rounded; 12 bits, blocks of 3, 7 people"),
    ):
        model = DCBH(Config(bits=bits, block_size=block_size, width=width), people)
        expected = sum(p.numel() for p in model.parameters())
        found = answer(bits, block_size, width, people)
        good = close(found, expected, 0.1 / expected)
        channels = [channels_at(width, full) for stage in STAGES for full in stage]
        outputs = bits * block_size
        deep, fine = channels[-1], channels_at(width, STAGES[-2][-1])
        known = {
            -2 * sum(channels): "the scale and shift of the batch normalisation behind each convolution are missing",
            -sum(channels): "batch normalisation has two numbers for each channel, a scale and a shift",
            sum(channels): "the convolutions have no bias, as batch normalisation shifts anyway",
            -2 * outputs: "the batch normalisation behind the descriptor's linear layer is missing",
            -outputs: "the bias of the descriptor's linear layer, or half of its batch normalisation, is missing",
            -3 * outputs: "bias, scale and shift of the descriptor are missing",
            -2 * people: "the classifiers have a bias for each person",
            -people: "one classifier has no bias for each person",
            -(bits + 1) * people: "the classifier on q is missing",
            -(outputs + 1) * people: "the classifier on f is missing",
            -(bits + outputs + 2) * people: "the two classifiers are missing",
            -fine * outputs: "the descriptor takes the averages of stages 3 and 4, side by side",
            -deep * outputs: "the descriptor takes the averages of stages 3 and 4, side by side",
            people * outputs: "both classifiers on f? One of them takes q, with one number for each bit",
        }
        kernels = 9 * sum(a * b for a, b in zip([3, *channels[:-1]], channels, strict=True))
        known[-kernels * 8 // 9] = "a convolution has 3 x 3 weights for each pair of channels"
        known[-9 * 2 * channels[0]] = "the first convolution takes three channels"
        hint = ""
        if not good:
            off = found - expected
            hint = f": {known.get(int(off), f'{abs(off):,} ' + ('too many' if off > 0 else 'too few'))}"
        yield good, ended(f"{what}: you count {found:,}{hint}")


def check_2(answer: Callable[[int, int, int], float]) -> Iterator[Verdict]:
    factors = [float(answer(step, 100, 10)) for step in range(100)]
    yield close(factors[9], 1), f"step 9 of 10 warm-up steps has the full rate: {factors[9]:.3f}"
    yield close(factors[0], 0.1), f"the first step has a tenth of it, not nothing: {factors[0]:.3f}"
    yield (
        all(close(factors[step], factors[0] * (step + 1)) for step in range(10)),
        "the warm-up rises in equal parts",
    )
    yield close(factors[10], 1), f"the cosine starts at the full rate: {factors[10]:.3f} at step 10"
    yield close(factors[55], 0.5), f"half-way down the cosine the factor is a half: {factors[55]:.3f} at step 55"
    yield 0 < factors[99] < 0.01, f"the last step is small, but not nothing: {factors[99]:.4f}"
    factors = [float(answer(step, 50, 4)) for step in range(50)]
    hint = "" if close(factors[0], 1 / 4) else "; an equal part is 1 / warm, which is a tenth only where warm is 10"
    yield close(factors[0], 1 / 4), f"of 4 warm-up steps the first has a quarter: {factors[0]:.3f}{hint}"
    shown = ", ".join(f"{factor:.3f}" for factor in factors[:4])
    yield close(factors[:4], [1 / 4, 1 / 2, 3 / 4, 1]), f"the four rise in equal parts: {shown}"
    cosine = [0.5 * (1 + math.cos(math.pi * step / 46)) for step in range(46)]
    good = close(factors[4:], cosine)
    off = max(range(4, 50), key=lambda step: abs(factors[step] - cosine[step - 4]))
    hint = "" if good else f": step {off} has {factors[off]:.3f}; what is t there, with steps - warm = 46?"
    yield good, f"the other 46 of these 50 steps are half a cosine{hint}"


def check_3(answer: Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], Any]) -> Iterator[Verdict]:
    """One step of training: answer(network, optimizer, images, labels) -> the loss, after it has moved the network."""
    random = torch.Generator().manual_seed(0)
    images, labels = torch.randn(2, 16, 5, generator=random), torch.randint(3, (2, 16), generator=random)
    network = nn.Linear(5, 3)
    with torch.no_grad():
        network.weight.copy_(torch.randn(3, 5, generator=random))
    start = copy.deepcopy(network)

    def weights(step: Callable[..., Any], steps: int) -> Tensor:
        moved = copy.deepcopy(start)
        optimizer = torch.optim.SGD(moved.parameters(), lr=0.5)
        for x, y in zip(images[:steps], labels[:steps], strict=True):
            step(moved, optimizer, x, y)
        return moved.weight.detach()

    network = copy.deepcopy(start)
    value = answer(network, torch.optim.SGD(network.parameters(), lr=0.5), images[0], labels[0])
    loss = F.cross_entropy(start(images[0]), labels[0]).item()
    known = {
        F.cross_entropy(start(images[0]).softmax(1), labels[0]).item(): "the cross-entropy takes logits; the softmax "
        "is already in it",
        16 * loss: "a mean over the batch is asked for",
        F.cross_entropy(network(images[0]), labels[0]).item(): "that is the loss after the step, not the one that it "
        "was taken for",
    }
    hint = next((why for wrong, why in known.items() if close(value, wrong)), "the mean cross-entropy of the batch")
    good = close(value, loss)
    yield good, ended(f"the loss that you return is {value:.6f}{'' if good else ': ' + hint}")
    right, got = weights(_step, 1), weights(answer, 1)
    good = close(got, right)
    hint = "the network has changed, but not along its gradient"
    if close(got, start.weight.detach()):
        hint = "nothing has moved; are the gradients there when the optimiser takes its step?"
    yield (
        good,
        ended(f"after one step the weights are {'' if good else 'not '}where they belong{'' if good else ': ' + hint}"),
    )
    right, got = weights(_step, 2), weights(answer, 2)
    good = close(got, right)
    hint = "PyTorch adds new gradients to old ones; what takes the old ones away?"
    yield good, ended(f"and after a second one they are {'' if good else 'not: ' + hint}{'as well' if good else ''}")


def _step(network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> float:
    loss = F.cross_entropy(network(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
