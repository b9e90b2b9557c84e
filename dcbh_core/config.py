"""Every setting of an experiment in one flat, frozen dataclass.

Each field is also a papermill parameter of the training notebook and a key of an ablation suite, so that one name means
one thing everywhere.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any

DDH_DATASETS = ("facescrub", "youtube_faces")
CHOICES: dict[str, tuple[str, ...]] = {
    "dataset": ("orl", "lfw", *DDH_DATASETS, "folder"),
    "head": ("block", "fc", "divide_encode", "mass", "direct"),
    "objective": ("dcbh", "dcbh_soft", "softmax", "csq", "orthohash", "dcdh"),
    "recipe": ("modern", "published"),
    "device": ("auto", "cpu", "cuda"),
    "dtype": ("auto", "float32", "bfloat16"),
}

# What each recipe does when a field is left at None. "published" follows the authors' code: its weight decay had no
# effect (the regulariser was applied to the regularisation losses, not to the weights), so it is 0 here.
RECIPES: dict[str, dict[str, Any]] = {
    "modern": {"epochs": 60, "batch_size": 64, "learning_rate": 1e-3, "weight_decay": 2e-4, "augment": True},
    "published": {"epochs": 2000, "batch_size": 256, "learning_rate": 1e-3, "weight_decay": 0.0, "augment": False},
}

# What each objective does when a field is left at None: its head, and the weights and constants of its paper. A field
# that is listed here and not under an objective has no effect on that one.
OBJECTIVE_DEFAULTS: dict[str, dict[str, Any]] = {
    "dcbh": {
        "head": "block",
        "feature_weight": 1.0,
        "center_weight": 1e-4,
        "quantization_weight": 0.1,
        "quantization_target": 0.5,
    },
    "dcbh_soft": {"head": "mass", "center_weight": 0.1, "quantization_weight": 0.1, "quantization_target": 1.0},
    "softmax": {"head": "direct", "quantization_weight": 0.1, "quantization_target": 1.0},
    "csq": {"head": "direct", "quantization_weight": 1e-4},
    "orthohash": {"head": "direct", "scale": 8.0, "margin": 0.2},
    "dcdh": {"head": "direct", "scale": 0.25, "spread_weight": 0.1, "quantization_weight": 0.01},
}
OBJECTIVE_FIELDS = set().union(*OBJECTIVE_DEFAULTS.values()) - {"head"}
BLOCK_SIZE = 6  # the authors' code


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """A ValueError that says which ``kind`` of name is unknown, which known one is nearest, and what there is."""
    known = list(known)
    nearest = difflib.get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return ValueError(f"unknown {kind} {name!r}{hint} (known: {', '.join(known)})")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """One experiment: data and split, network, objective, training.

    Fields that are None are decided by the data set, the recipe or the objective; a value given here always wins, and
    ``resolved()`` shows what was decided. A field that is set although it has no effect on the chosen data set or
    objective is a ValueError, as is every unknown or impossible value.

    Source: Jang et al., Deep Clustering and Block Hashing Network for Face Image Retrieval, ACCV 2018.
    """

    # Data and split
    dataset: str = "orl"
    root: str | None = None  # directory of `facescrub`, `youtube_faces` (DDH pickles) or `folder`
    min_faces: int | None = None  # `lfw`, `folder`: only people with at least so many photographs (LFW: 20)
    queries_per_identity: int | None = None  # photographs per person held out as queries
    split_seed: int | None = None  # which photographs become queries, which people are new (0)
    new_people: float = 0.0  # fraction of the people kept out of training altogether
    # Network
    bits: int = 48
    head: str | None = None
    block_size: int | None = None  # descriptor entries per bit
    multi_scale: bool = True  # pooled features of stages 4 and 3, or of stage 4 alone
    width: float = 1.0  # scales the number of channels; 1.0 is the paper's
    # Objective: weights of its terms, and their constants
    objective: str = "dcbh"
    feature_weight: float | None = None  # classifier on the descriptor
    center_weight: float | None = None
    spread_weight: float | None = None  # centres away from each other
    quantization_weight: float | None = None
    quantization_target: float | None = None  # magnitude that the relaxed code is pulled to
    scale: float | None = None  # of the logits: an inverse temperature
    margin: float | None = None  # in cosine
    # Training
    recipe: str = "modern"
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    augment: bool | None = None  # random flips and small shifts
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"  # autocast type of the network: bfloat16 where the hardware has it

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked_type(field, getattr(self, field.name)))
        for name, known in CHOICES.items():
            if getattr(self, name) is not None and getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        self._require("bits", self.bits >= 1, "at least 1")
        self._require(
            "block_size",
            self.block_size is None or self.block_size >= 3,
            "at least 3: of two entries one always holds half of the softmax, so every bit would be 1",
        )
        halves = self.block_size is None or self._head != "mass" or self.block_size % 2 == 0
        self._require("block_size", halves, "even for the head 'mass', which compares the halves of a block")
        self._require("new_people", 0 <= self.new_people < 1, "a fraction from 0 up to, but not including, 1")
        self._require("width", 0 < self.width <= 8, "above 0 and at most 8")
        for name in ("learning_rate", "scale"):
            value = getattr(self, name)
            self._require(name, value is None or value > 0, "above 0")
        for name in ("min_faces", "queries_per_identity", "epochs", "batch_size"):
            value = getattr(self, name)
            self._require(name, value is None or value >= 1, "at least 1")
        self._require("batch_size", self.batch_size != 1, "at least 2: batch normalisation needs two faces")
        for name in (*sorted(OBJECTIVE_FIELDS - {"scale"}), "weight_decay"):
            value = getattr(self, name)
            self._require(name, value is None or value >= 0, "0 or more")
        for name in ("seed", "split_seed"):
            value = getattr(self, name)
            self._require(name, value is None or 0 <= value < 2**32, "from 0 to 4294967295")
        if self.dataset in (*DDH_DATASETS, "folder") and self.root is None:
            raise ValueError(f"dataset {self.dataset!r} needs root, the directory that holds it")
        for name, why in self._without_effect().items():
            if getattr(self, name) is not None:
                raise ValueError(f"{name}={getattr(self, name)!r} has no effect {why}; leave it out")

    def _require(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise ValueError(f"{name} must be {wanted}, not {getattr(self, name)!r}")

    def _without_effect(self) -> dict[str, str]:
        """Fields that cannot change anything under this config, each with the reason."""
        reasons: dict[str, str] = {}
        if self.dataset in ("orl", "lfw"):
            reasons["root"] = f"on dataset {self.dataset!r}"
        if self.dataset not in ("lfw", "folder"):
            reasons["min_faces"] = f"on dataset {self.dataset!r}"
        if self.dataset in DDH_DATASETS:
            own = f"on dataset {self.dataset!r}, which has its own split"
            reasons["queries_per_identity"] = own
            if self.new_people == 0:
                reasons["split_seed"] = own
        if self._head == "direct":
            reasons["block_size"] = "on head 'direct', which has no blocks"
        if self.quantization_weight == 0:
            reasons["quantization_target"] = "with quantization_weight 0"
        for name in OBJECTIVE_FIELDS - OBJECTIVE_DEFAULTS[self.objective].keys():
            reasons[name] = f"on objective {self.objective!r}"
        return reasons

    @property
    def _head(self) -> str:
        """The head, the objective's own where none is given."""
        return self.head or str(OBJECTIVE_DEFAULTS[self.objective]["head"])

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """A config from a mapping, as read from YAML or JSON.

        Raises:
            ValueError: a key is no field (the nearest field is named), or a value is impossible.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise unknown_name("config field", name, known)
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values, in order; ``Config.from_dict`` reads them back."""
        return dataclasses.asdict(self)

    def resolved(self) -> Config:
        """This config with every None filled in and ``auto`` replaced by what this machine has.

        Fields without effect stay None, so two configs that mean the same experiment on one machine are equal once
        resolved. ``resolved()`` of a resolved config is the config itself.
        """
        decided: dict[str, Any] = {"split_seed": 0, "block_size": BLOCK_SIZE}
        decided |= {**RECIPES[self.recipe], **OBJECTIVE_DEFAULTS[self.objective]}
        if self.dataset == "lfw":
            decided["min_faces"] = 20
        many = self.dataset == "lfw" and (self.min_faces is None or self.min_faces >= 20)
        decided["queries_per_identity"] = 5 if many else 3
        idle = self._without_effect()
        filled = {name: value for name, value in decided.items() if getattr(self, name) is None and name not in idle}
        device = resolved_device(self.device)
        dtype = _fast_dtype(device) if self.dtype == "auto" else self.dtype
        return dataclasses.replace(self, device=device, dtype=dtype, **filled)


def _checked_type(field: dataclasses.Field[Any], value: Any) -> Any:
    """``value`` as the field's type; whole floats pass as int, as JSON and papermill may write 60.0."""
    optional = str(field.type).endswith("| None")
    kind = str(field.type).removesuffix(" | None")
    if value is None and optional:
        return None
    if kind in ("int", "float") and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ValueError(f"{field.name} must be finite, not {value!r}")
        if kind == "float":
            return float(value)
        if value == int(value):
            return int(value)
    if (kind == "bool" and isinstance(value, bool)) or (kind == "str" and isinstance(value, str)):
        return value
    wanted = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}[kind]
    exponent = kind == "float" and isinstance(value, str)
    hint = "; in YAML an exponent needs a point and a sign, as in 1.0e-4" if exponent else ""
    raise ValueError(f"{field.name} must be {wanted}, not {value!r}{hint}")


def resolved_device(device: str) -> str:
    """``device``, or for "auto" what this machine has: "cuda" or "cpu"."""
    import torch

    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def _fast_dtype(device: str) -> str:
    """bfloat16 where the hardware computes in it, else float32."""
    import torch

    if device == "cuda":
        native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if native else "float32"
