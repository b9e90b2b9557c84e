"""The network, in the order in which a face meets it: backbone, descriptor, hashing head, classifiers or memory.

The hashing heads are in ``heads``, the memory is in ``memory``; how a model is kept is in ``saving``.

Source: Jang et al., ACCV 2018, section 3, with the sizes of the authors' code.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .config import Config
from .losses import Objective, Outputs, Sizes
from .memory import Memory

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))  # channels of the 3 x 3 convolutions
ENCODE_BATCH = 512


def channels_at(width: float, full_width: int) -> int:
    """The number of channels of a layer that has ``full_width`` of them in the paper."""
    return max(1, round(full_width * width))


def descriptor_size(config: Config) -> int:
    """Length of the descriptor f under a resolved config.

    It is ``bits * block_size``, or, with a head that does not work on blocks, that of the pooled features.
    """
    if config.block_size is not None:
        return config.bits * config.block_size
    pooled = STAGES[-2:] if config.multi_scale else STAGES[-1:]
    return sum(channels_at(config.width, stage[-1]) for stage in pooled)


class Backbone(nn.Module):
    """VGG-style stages: standardised faces (n, 3, 32, 32) to pooled features (n, 768 * width), or 512 * width.

    Each stage halves the image.

    Args:
        width: Scales the number of channels.
        multi_scale: Whether the features of the last stage, which come first, are followed by those of the stage before
            it (the multi-scale descriptor).

    Attributes:
        num_features: Length of the pooled features.
    """

    def __init__(self, width: float, multi_scale: bool):
        super().__init__()
        self.multi_scale = multi_scale
        self.stages = nn.ModuleList()
        channels = 3
        for stage in STAGES:
            layers: list[nn.Module] = []
            for full_width in stage:
                wanted = channels_at(width, full_width)
                layers += [
                    nn.Conv2d(channels, wanted, 3, padding=1, bias=False),
                    nn.BatchNorm2d(wanted, eps=1e-3),
                    nn.ReLU(inplace=True),
                ]
                channels = wanted
            self.stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        self.num_features = channels + (channels_at(width, STAGES[-2][-1]) if multi_scale else 0)

    def forward(self, x: Tensor) -> Tensor:
        pooled = []
        for stage in self.stages:
            x = stage(x)
            pooled.append(x.mean((2, 3)))  # global average pooling, after the stage's max pooling
        return torch.cat([pooled[-1], pooled[-2]], 1) if self.multi_scale else pooled[-1]


class DCBH(nn.Module):
    """Faces in, codes out.

    With 48 bits, block size 6 and 530 people the paper's network has 8,039,140 parameters.

    Args:
        config: Chooses head, bits, block size, width and scales; its objective says which classifiers there are.
        num_identities: The number of people in training.

    Attributes:
        config: The config, resolved.
        num_identities: The number of people in training, C.
        sources: Name and content of the files of one's own that its head and its objective come from.
        mean: Mean of the training faces, one scalar, so that it takes raw images.
        std: Their standard deviation, one scalar.
        code_classifier: Linear layer on q, (n, bits) to (n, C); None where the objective asks for none.
        feature_classifier: Linear layer on f, (n, d) to (n, C); None where the objective asks for none.
        memory: What leans codes towards known people; None where ``Config.memory`` is 0. It is empty before training.

    Source: Jang et al., ACCV 2018, section 3.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: Config, num_identities: int):
        super().__init__()
        config = self.config = config.resolved()
        self.num_identities = num_identities
        self.sources = {name: path.read_bytes() for name, path in config.own_files().items()}
        size, head = descriptor_size(config), config.head_class
        self.backbone = Backbone(config.width, config.multi_scale)
        layers: list[nn.Module] = []
        if head.blocks:
            layers = [nn.Linear(self.backbone.num_features, size), nn.BatchNorm1d(size, eps=1e-3)]
            if head.relu:
                layers.append(nn.ReLU())
        self.descriptor = nn.Sequential(*layers)
        self.head = head(config.bits, config.block_size or size)
        wanted = config.objective_class.classifiers
        self.code_classifier = nn.Linear(config.bits, num_identities) if "code" in wanted else None
        self.feature_classifier = nn.Linear(size, num_identities) if "feature" in wanted else None
        self.memory = Memory(num_identities, config.bits, config.memory) if config.memory else None
        self.register_buffer("mean", torch.tensor(127.5))
        self.register_buffer("std", torch.tensor(127.5))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def set_statistics(self, images: Tensor) -> None:
        """Take mean and standard deviation, one scalar each, over all of ``images`` (n, 3, 32, 32) uint8."""
        # Exact in integers: 2^63 holds the squares of 10^14 pixels, and no float copy of the data set is needed.
        counts = torch.bincount(images.flatten(), minlength=256).double()
        values = torch.arange(256, dtype=torch.float64, device=counts.device)
        mean = (counts * values).sum() / counts.sum()
        self.mean.copy_(mean)
        self.std.copy_(((counts * (values - mean) ** 2).sum() / counts.sum()).sqrt())

    def standardize(self, images: Tensor) -> Tensor:
        """Raw images (n, 3, 32, 32) as the network takes them: (x - mean) / (std + 1e-5) * 0.1, clipped to [-1, 1]."""
        return ((images.float() - self.mean) / (self.std + 1e-5) * 0.1).clamp(-1, 1)

    def features(self, images: Tensor) -> Tensor:
        """Descriptors f (n, d) of raw images (n, 3, 32, 32), with gradients."""
        x = self.standardize(images).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.config.dtype == "bfloat16"):
            pooled = self.backbone(x)
        return self.descriptor(pooled.float())

    def forward(self, images: Tensor) -> Outputs:
        """All that the losses need, from raw images (n, 3, 32, 32)."""
        f = self.features(images)
        z = self.head(f)
        q = torch.tanh(z)
        code_logits = None if self.code_classifier is None else self.code_classifier(q)
        feature_logits = None if self.feature_classifier is None else self.feature_classifier(f)
        return Outputs(f, z, q, code_logits, feature_logits)

    def encode(self, images: np.ndarray | Tensor) -> np.ndarray:
        """Codes: raw images uint8 (n, 3, 32, 32) to bool (n, bits).

        It takes any n, and runs in batches and in evaluation mode.

        Raises:
            ValueError: The images have another shape or type.
        """
        return self.binarize(self.describe(images))

    def describe(self, images: np.ndarray | Tensor) -> np.ndarray:
        """Descriptors: raw images uint8 (n, 3, 32, 32) to float32 (n, d): what the code is made of.

        d is ``bits * block_size``; with a head that does not work on blocks descriptors are the pooled features.

        Raises:
            ValueError: The images have another shape or type.
        """
        images = as_tensor(images)
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, 32, 32):
            raise ValueError(f"images must have shape (n, 3, 32, 32), not {tuple(images.shape)}")
        if images.dtype != torch.uint8:
            raise ValueError(f"images must be uint8 in 0..255, not {images.dtype}")
        return self._in_batches(images, self.features)

    def binarize(self, descriptors: np.ndarray) -> np.ndarray:
        """Codes bool (n, bits) of descriptors float32 (n, d) that ``describe`` gave; the images need not pass again."""
        return self.relax(descriptors) >= 0

    def relax(self, descriptors: np.ndarray) -> np.ndarray:
        """What is binarised, float32 (n, bits), of descriptors float32 (n, d) that ``describe`` gave.

        It is q = tanh(z) or, where the model has a memory, what that makes of q.
        """
        return self._in_batches(as_tensor(descriptors), lambda f: self._recalled(torch.tanh(self.head(f))))

    def _recalled(self, relaxed: Tensor) -> Tensor:
        return relaxed if self.memory is None else self.memory(relaxed)

    def classify(self, descriptors: np.ndarray) -> np.ndarray:
        """The person of the training set whom the code classifier finds likeliest, int64 (n,), by descriptors (n, d).

        Raises:
            ValueError: The objective wants no code classifier.
        """
        classifier = self.code_classifier
        if classifier is None:
            raise ValueError(f"objective {self.config.objective!r} trains no classifier on the code")
        return self._in_batches(as_tensor(descriptors), lambda f: classifier(torch.tanh(self.head(f))).argmax(1))

    def remember(self, images: Tensor, labels: Tensor) -> None:
        """Fill the memory, if there is one, from training faces uint8 (n, 3, 32, 32) and the person on each (n,)."""
        if self.memory is not None:
            relaxed = self._in_batches(images, lambda batch: torch.tanh(self.head(self.features(batch))))
            self.memory.learn(torch.from_numpy(relaxed).to(labels.device), labels)

    def _in_batches(self, rows: Tensor, function: Callable[[Tensor], Tensor]) -> np.ndarray:
        training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                # split() of no rows still gives one empty batch, whose result has the right width.
                batches = [function(batch.to(self.mean.device)).cpu() for batch in rows.split(ENCODE_BATCH)]
        finally:
            self.train(training)
        return torch.cat(batches).numpy()

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write ``model.safetensors``, ``config.json`` and a model card ``README.md`` into ``directory``.

        Files of one's own, of a head, an objective or a recipe, are laid beside them, as they were when the model was
        made.

        Raises:
            OSError: A file cannot be written.
        """
        from .saving import save

        save(self, Path(directory))

    @classmethod
    def load(cls, directory: str | os.PathLike[str], device: str = "auto", own_code: bool = False) -> DCBH:
        """The model that ``save`` wrote, in evaluation mode.

        Args:
            directory: Where it lies.
            device: ``auto``, ``cpu`` or ``cuda``.
            own_code: Whether files of one's own, of a head, an objective or a recipe, which lie beside the weights, may
                be executed. Say so only of models whose author you trust.

        Raises:
            FileNotFoundError: A file is missing.
            PermissionError: The model needs ``own_code``.
            ValueError: A file is damaged, or the two belong to different models.
        """
        from .saving import load

        return load(Path(directory), device, own_code)


def as_tensor(array: np.ndarray | Tensor) -> Tensor:
    """An array as a tensor: of a mirrored view, whose negative strides torch refuses, a copy."""
    if isinstance(array, np.ndarray) and min(array.strides, default=0) < 0:
        array = array.copy()
    return torch.as_tensor(array)


def objective_of(model: DCBH) -> Objective:
    """The objective that a model is to be trained by, with weights from torch's current generator."""
    config = model.config
    sizes = Sizes(model.num_identities, config.bits, descriptor_size(config), config.seed)
    return config.objective_class(sizes, **dict(config.constants))
