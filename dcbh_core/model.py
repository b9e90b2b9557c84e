"""The network, in the order in which a face meets it: backbone, descriptor, hashing head, classifiers.

Source: Jang et al., ACCV 2018, section 3, with the sizes of the authors' code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .config import Config

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))  # channels of the 3 x 3 convolutions
ENCODE_BATCH = 512


class Outputs(NamedTuple):
    """What the network says about a batch of n faces."""

    descriptor: Tensor  # (n, descriptor_size), f in the paper: what the head takes
    continuous: Tensor  # (n, bits), z: what the head gives; a bit is z >= 0
    relaxed: Tensor  # (n, bits), q = tanh(z): the code before binarisation
    code_logits: Tensor  # (n, identities), from q
    feature_logits: Tensor  # (n, identities), from f


def channels_at(width: float, full_width: int) -> int:
    """Channels of a layer that has ``full_width`` of them in the paper."""
    return max(1, round(full_width * width))


def descriptor_size(config: Config) -> int:
    """Length of the descriptor f under a resolved config: ``bits * block_size``, or, with head ``direct``, that of the
    pooled features."""
    if config.block_size is not None:
        return config.bits * config.block_size
    pooled = STAGES[-2:] if config.multi_scale else STAGES[-1:]
    return sum(channels_at(config.width, stage[-1]) for stage in pooled)


class Backbone(nn.Module):
    """VGG-style stages: standardised faces (n, 3, 32, 32) to pooled features (n, 768 * width), or 512 * width.

    Each stage halves the image. Features of the last stage come first, those of the stage before it follow
    (the multi-scale descriptor) unless ``multi_scale`` is off.
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


class BlockHead(nn.Module):
    """The paper's block hashing layer: descriptor (n, bits * block_size) to z (n, bits). It has no weights.

    Softmax within each block, the largest entry, minus one half. Since the largest entry lies between 1 / block_size
    and 1, q = tanh(z) lies between tanh(1 / block_size - 0.5) and tanh(0.5) = 0.4621. A bit asks: does one entry hold
    at least half of its block's mass?
    """

    def __init__(self, bits: int, block_size: int):
        super().__init__()
        self.shape = (bits, block_size)

    def forward(self, f: Tensor) -> Tensor:
        return f.unflatten(1, self.shape).softmax(2).amax(2) - 0.5


class MassHead(nn.Module):
    """Soft signed blocks, (n, bits): the logit of the mass that a block's softmax puts on its first half. No weights.

    The paper asks whether one entry holds half of the block's mass; this asks whether one half of the entries does.
    With p that mass, z = log(p / (1 - p)) = logsumexp(first half) - logsumexp(second half), so every entry is heard in
    every step, 0 and 1 are equally likely to begin with, and q = tanh(z) reaches -1 and 1.
    """

    def __init__(self, bits: int, block_size: int):
        super().__init__()
        self.shape = (bits, 2, block_size // 2)

    def forward(self, f: Tensor) -> Tensor:
        mass = f.unflatten(1, self.shape).logsumexp(3)
        return mass[:, :, 0] - mass[:, :, 1]


class FCHead(nn.Module):
    """Fully connected hashing: one linear layer, (n, bits * block_size) to (n, bits)."""

    def __init__(self, bits: int, block_size: int):
        super().__init__()
        self.linear = nn.Linear(bits * block_size, bits)

    def forward(self, f: Tensor) -> Tensor:
        return self.linear(f)


class DivideEncodeHead(nn.Module):
    """Divide and encode: each block has a linear map of its own to one number (DDH, IJCAI 2017)."""

    def __init__(self, bits: int, block_size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(bits, block_size))
        self.bias = nn.Parameter(torch.zeros(bits))
        # Xavier-uniform for `bits` separate maps of block_size inputs and one output.
        bound = (6 / (block_size + 1)) ** 0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, f: Tensor) -> Tensor:
        return (f.unflatten(1, self.weight.shape) * self.weight).sum(2) + self.bias


class DirectHead(nn.Module):
    """The peers' code layer: pooled features (n, features) to (n, bits) by one linear layer and batch normalisation.

    With this head there is no layer in between: the descriptor is the pooled features themselves.
    """

    def __init__(self, bits: int, features: int):
        super().__init__()
        self.linear = nn.Linear(features, bits)
        self.norm = nn.BatchNorm1d(bits, eps=1e-3)

    def forward(self, f: Tensor) -> Tensor:
        return self.norm(self.linear(f))


HEADS: dict[str, type[nn.Module]] = {
    "block": BlockHead,
    "fc": FCHead,
    "divide_encode": DivideEncodeHead,
    "mass": MassHead,
    "direct": DirectHead,
}


class DCBH(nn.Module):
    """Faces in, codes out.

    Parameters: ``config`` chooses head, bits, block size, width and scales; ``num_identities`` is the number of people
    in training. The model carries the mean and standard deviation of its training faces, so that it takes raw images.

    With 48 bits, block size 6 and 530 people the paper's network has 8,039,140 parameters.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: Config, num_identities: int):
        super().__init__()
        config = self.config = config.resolved()
        self.num_identities = num_identities
        size = descriptor_size(config)
        self.backbone = Backbone(config.width, config.multi_scale)
        layers: list[nn.Module] = []
        if config.head != "direct":
            layers = [nn.Linear(self.backbone.num_features, size), nn.BatchNorm1d(size, eps=1e-3)]
            if config.head != "mass":  # which compares entries, and would be deaf to those below 0
                layers.append(nn.ReLU())
        self.descriptor = nn.Sequential(*layers)
        self.head = HEADS[str(config.head)](config.bits, config.block_size or size)
        self.code_classifier = nn.Linear(config.bits, num_identities)
        self.feature_classifier = nn.Linear(size, num_identities)
        self.register_buffer("mean", torch.tensor(127.5))
        self.register_buffer("deviation", torch.tensor(127.5))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def set_statistics(self, images: Tensor) -> None:
        """Take mean and deviation, one scalar each, over all of ``images`` (n, 3, 32, 32) uint8."""
        # Exact in integers: 2^63 holds the squares of 10^14 pixels, and no float copy of the data set is needed.
        counts = torch.bincount(images.flatten(), minlength=256).double()
        values = torch.arange(256, dtype=torch.float64, device=counts.device)
        mean = (counts * values).sum() / counts.sum()
        self.mean.copy_(mean)
        self.deviation.copy_(((counts * (values - mean) ** 2).sum() / counts.sum()).sqrt())

    def standardize(self, images: Tensor) -> Tensor:
        """Raw images (n, 3, 32, 32) as the network wants them: (x - mean) / (deviation + 1e-5) * 0.1, in [-1, 1]."""
        return ((images.float() - self.mean) / (self.deviation + 1e-5) * 0.1).clamp(-1, 1)

    def features(self, images: Tensor) -> Tensor:
        """Descriptor f (n, descriptor_size) of raw images (n, 3, 32, 32)."""
        x = self.standardize(images).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.config.dtype == "bfloat16"):
            pooled = self.backbone(x)
        return self.descriptor(pooled.float())

    def forward(self, images: Tensor) -> Outputs:
        """All that the losses need, from raw images (n, 3, 32, 32)."""
        f = self.features(images)
        z = self.head(f)
        q = torch.tanh(z)
        return Outputs(f, z, q, self.code_classifier(q), self.feature_classifier(f))

    def encode(self, images: np.ndarray | Tensor) -> np.ndarray:
        """Codes: raw images (n, 3, 32, 32) uint8 to bool (n, bits). Any n; runs in batches, in evaluation mode."""
        return self._in_batches(images, lambda batch: self.head(self.features(batch)) >= 0)

    def describe(self, images: np.ndarray | Tensor) -> np.ndarray:
        """Descriptors: raw images (n, 3, 32, 32) uint8 to float32 (n, bits * block_size).

        With head ``direct`` they are the pooled features: there too, what the code is made of, and so the ceiling that
        tells what the code layer costs.
        """
        return self._in_batches(images, self.features)

    def _in_batches(self, images: np.ndarray | Tensor, function: Callable[[Tensor], Tensor]) -> np.ndarray:
        images = torch.as_tensor(images)
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, 32, 32):
            raise ValueError(f"images must have shape (n, 3, 32, 32), not {tuple(images.shape)}")
        if images.dtype != torch.uint8:
            raise ValueError(f"images must be uint8 in 0..255, not {images.dtype}")
        training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                # split() of no images still gives one empty batch, whose result has the right width.
                batches = [function(batch.to(self.mean.device)).cpu() for batch in images.split(ENCODE_BATCH)]
        finally:
            self.train(training)
        return torch.cat(batches).numpy()

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write ``model.safetensors``, ``config.json`` and a model card ``README.md`` into ``directory``."""
        from safetensors.torch import save

        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        about = {"config": self.config.to_dict(), "num_identities": self.num_identities}
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        # The config rides in the weights' header too: load() then notices files of two different models.
        write_atomically(directory / "model.safetensors", save(weights, {"about": json.dumps(about)}))
        write_atomically(directory / "config.json", (json.dumps(about, indent=2) + "\n").encode())
        write_atomically(directory / "README.md", model_card(self).encode())

    @classmethod
    def load(cls, directory: str | os.PathLike[str], device: str = "auto") -> DCBH:
        """The model that ``save`` wrote, in evaluation mode, on ``device`` ("auto", "cpu" or "cuda").

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is damaged, or the two belong to different models.
        """
        from safetensors import SafetensorError, safe_open

        directory = Path(directory)
        for name in ("config.json", "model.safetensors"):
            if not (directory / name).is_file():
                raise FileNotFoundError(f"no saved model in {directory}: {name} is missing")
        try:
            about = json.loads((directory / "config.json").read_text())
            # The dtype stays as trained, so that the codes do; the device may be another machine's.
            model = cls(Config.from_dict({**about["config"], "device": device}), int(about["num_identities"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{directory / 'config.json'} is no description of a DCBH model: {error}") from error
        try:
            with safe_open(directory / "model.safetensors", framework="pt") as file:
                if json.loads((file.metadata() or {}).get("about", "null")) != about:
                    raise ValueError("its weights belong to another model than config.json")
                model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (SafetensorError, RuntimeError, ValueError) as error:
            raise ValueError(f"{directory / 'model.safetensors'} cannot be read: {error}") from error
        return model.to(model.config.device).eval()


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``path`` complete or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    os.replace(partial, path)


def model_card(model: DCBH) -> str:
    """A short model card (Mitchell et al., Model Cards for Model Reporting, 2019) in Markdown."""
    config = model.config
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return f"""# DCBH: {config.bits}-bit codes of faces

Turns a 32 x 32 face into {config.bits} bits, so that photographs of one person are close in Hamming distance.

- Method: objective `{config.objective}`, {config.head} hashing, recipe `{config.recipe}`, {parameters:,} parameters
- Trained on: `{config.dataset}`, {model.num_identities} people, split seed {config.split_seed}
- Made for: learning about hashing and its evaluation. Not for identifying, tracking or judging people.
- Limits: knows the people and the conditions of its training photographs and has been measured on no others; its
  errors will differ between groups of people, and nobody has measured by how much.

Load it with `DCBH.load(directory)`; `config.json` holds every setting.
"""
