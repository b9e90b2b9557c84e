"""Training steps on CUDA, captured once and replayed. What a step does is in ``training``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

STEPS_BEFORE_CAPTURE = 3  # in which libraries choose their kernels


class CapturedSteps:
    """A training step as a CUDA graph, one for each size of batch: captured once, then replayed as a whole.

    Launching a step's hundreds of small kernels one by one takes the host longer than the device takes to run them.
    """

    def __init__(self, step: Callable[[Tensor, Tensor], Tensor]):
        self.step = step
        self.calls: Counter[int] = Counter()
        self.graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor, Tensor]] = {}

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        size = len(labels)
        self.calls[size] += 1
        if self.calls[size] <= STEPS_BEFORE_CAPTURE:
            return self.step(images, labels)
        if size not in self.graphs:
            graph, images_in, labels_in = torch.cuda.CUDAGraph(), images.clone(), labels.clone()
            with torch.cuda.graph(graph):
                losses = self.step(images_in, labels_in)
            self.graphs[size] = graph, images_in, labels_in, losses
        graph, images_in, labels_in, losses = self.graphs[size]
        images_in.copy_(images)
        labels_in.copy_(labels)
        graph.replay()
        return losses
