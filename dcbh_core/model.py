"""The network, in the order in which a face meets it: backbone, descriptor, hashing head, classifiers.

The hashing heads are in ``heads``.

Source: Jang et al., ACCV 2018, section 3, with the sizes of the authors' code.
"""

from __future__ import annotations

import hashlib
import json
import os
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .config import Config, require_device
from .losses import Objective, Outputs, Sizes
from .methods import own_file

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
        return self._in_batches(as_tensor(descriptors), lambda batch: self.head(batch) >= 0)

    def relax(self, descriptors: np.ndarray) -> np.ndarray:
        """q = tanh(z), what is binarised, float32 (n, bits), of descriptors float32 (n, d) that ``describe`` gave."""
        return self._in_batches(as_tensor(descriptors), lambda batch: torch.tanh(self.head(batch)))

    def classify(self, descriptors: np.ndarray) -> np.ndarray:
        """The person of the training set whom the code classifier finds likeliest, int64 (n,), by descriptors (n, d).

        Raises:
            ValueError: The objective wants no code classifier.
        """
        classifier = self.code_classifier
        if classifier is None:
            raise ValueError(f"objective {self.config.objective!r} trains no classifier on the code")
        return self._in_batches(as_tensor(descriptors), lambda f: classifier(torch.tanh(self.head(f))).argmax(1))

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

        The file of a head or an objective of one's own is laid beside them, as it was when the model was made.

        Raises:
            OSError: A file cannot be written.
        """
        from safetensors.torch import save

        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()})
        about = {"config": self.config.portable(), "num_identities": self.num_identities}
        about["sha256"] = digest_of(about, weights)
        for name, source in self.sources.items():
            write_atomically(directory / name, source)
        write_atomically(directory / "model.safetensors", weights)
        write_atomically(directory / "config.json", (json.dumps(about, indent=2) + "\n").encode())
        write_atomically(directory / "README.md", model_card(self).encode())

    @classmethod
    def load(cls, directory: str | os.PathLike[str], device: str = "auto", own_code: bool = False) -> DCBH:
        """The model that ``save`` wrote, in evaluation mode.

        Args:
            directory: Where it lies.
            device: ``auto``, ``cpu`` or ``cuda``.
            own_code: Whether the file of a head or an objective of one's own, which lies beside the weights, may be
                executed. Say so only of models whose author you trust.

        Raises:
            FileNotFoundError: A file is missing.
            PermissionError: The model needs ``own_code``.
            ValueError: A file is damaged, or the two belong to different models.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        directory = Path(directory)
        for name in ("config.json", "model.safetensors"):
            if not (directory / name).is_file():
                raise FileNotFoundError(f"no saved model in {directory}: {name} is missing")
        try:
            about = json.loads((directory / "config.json").read_text())
            values = dict(about["config"])
            for name in ("head", "objective"):
                file = own_file(values.get(name))
                if file is not None:
                    beside = directory / file[0].name
                    if not own_code:
                        raise PermissionError(
                            f"the {name} of this model is a program of its author's, {beside}; to let it run, read it "
                            "and then say DCBH.load(..., own_code=True)"
                        )
                    values[name] = f"{beside}:{file[1]}"
            # The dtype stays as trained, so that the codes do; the device may be another machine's.
            config, people = Config.from_dict({**values, "device": device}).resolved(), about["num_identities"]
            if not isinstance(people, int) or not 2 <= people < 2**31:
                raise ValueError(f"num_identities must be a whole number from 2, not {people!r}")
            # On meta no size takes memory; methods of one's own, which are trusted by now, may not work there.
            with torch.device("cpu" if config.own_files() else "meta"):
                model = cls(config, people)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            why = str(error).partition("\n")[0]  # torch goes on about itself
            raise ValueError(f"{directory / 'config.json'} does not describe a model to be loaded: {why}") from error
        require_device(config.device)
        data = (directory / "model.safetensors").read_bytes()
        try:
            if about.get("sha256") != digest_of(about, data):
                raise ValueError("it is damaged, or belongs to another model than config.json")
            weights = load(data)
            _require_fit(weights, model.state_dict())
        except (SafetensorError, ValueError) as error:
            raise ValueError(f"{directory / 'model.safetensors'} cannot be loaded: {error}") from error
        model.load_state_dict(weights, assign=True)
        return model.to(config.device).eval()


def _require_fit(weights: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Refuse weights that are not those of a network with the state ``wanted``.

    Raises:
        ValueError: A name, a type or a shape is another, or a number is not finite; the first one is named.
    """
    for name in {**wanted, **weights}:
        if name not in wanted:
            raise ValueError(f"{name} is no weight of this network")
        if name not in weights:
            raise ValueError(f"{name} is missing")
        (dtype, shape), (found, size) = ((x[name].dtype, tuple(x[name].shape)) for x in (wanted, weights))
        if (found, size) != (dtype, shape):
            raise ValueError(f"{name} must be {dtype} {shape}, not {found} {size}")
        if not weights[name].isfinite().all():
            raise ValueError(f"{name} holds NaN or infinite numbers")


def as_tensor(array: np.ndarray | Tensor) -> Tensor:
    """An array as a tensor: of a mirrored view, whose negative strides torch refuses, a copy."""
    if isinstance(array, np.ndarray) and min(array.strides, default=0) < 0:
        array = array.copy()
    return torch.as_tensor(array)


def digest_of(about: dict[str, Any], weights: bytes) -> str:
    """SHA-256, in hexadecimal, of a saved model: of what config.json says beside it, and of the weights' file."""
    said = json.dumps({name: value for name, value in about.items() if name != "sha256"}, sort_keys=True)
    return hashlib.sha256(said.encode() + weights).hexdigest()


def objective_of(model: DCBH) -> Objective:
    """The objective that a model is to be trained by, with weights from torch's current generator."""
    config = model.config
    sizes = Sizes(model.num_identities, config.bits, descriptor_size(config), config.seed)
    return config.objective_class(sizes, **dict(config.constants))


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``path`` complete or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    os.replace(partial, path)


def model_card(model: DCBH) -> str:
    """A short model card in Markdown.

    Source: Mitchell et al., Model Cards for Model Reporting, FAT* 2019.
    """
    config = types.SimpleNamespace(**model.config.portable())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    own = ", own_code=True)" if model.sources else ")"
    return f"""# {config.bits}-bit codes of faces by the objective {config.objective}

Turns a 32 x 32 face into {config.bits} bits, so that photographs of one person are close in Hamming distance.

- Method: objective `{config.objective}`, head `{config.head}`, recipe `{config.recipe}`, {parameters:,} parameters
- Trained on: `{config.dataset}`, {model.num_identities} people, split seed {config.split_seed}
- Made for: learning about hashing and its evaluation. Not for identifying, tracking or judging people.
- Limits: knows the people and the conditions of its training photographs and has been measured on no others; its
  errors will differ between groups of people, and nobody has measured by how much.

Load it with `DCBH.load(directory{own}`; `config.json` holds every setting.
"""
