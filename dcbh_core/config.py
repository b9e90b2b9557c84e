"""Every setting of an experiment in one flat, frozen object.

Each field is also a papermill parameter of the training notebook and a key of an ablation suite, so that one name means
one thing everywhere. The constants of an objective are fields too, and stand in its class.
"""

from __future__ import annotations

import dataclasses
import re
import reprlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .datasets import DATASETS
from .heads import Head
from .losses import Objective
from .methods import ALL_OBJECTIVES, OWN, find_head, find_objective, find_recipe, own_file, portable, unknown_name

if TYPE_CHECKING:
    from .training import Training

MANY_FACES = 20  # of each person, from which on 5 of them become queries by default, not 3
CHOICES: dict[str, tuple[str, ...]] = {
    "dataset": tuple(DATASETS),
    "scored_on": ("queries", "validation"),
    "device": ("auto", "cpu", "cuda"),
    "dtype": ("auto", "float32", "bfloat16"),
}
BLOCK_SIZE = 6  # the authors' code

# What each recipe does when a field is left at None or "auto". "published" follows the authors' code: it computes in
# float32, and its weight decay had no effect (the regulariser was applied to the regularisation losses, not to the
# weights), so it is 0 here. A recipe of one's own begins with what "modern" decides.
RECIPES: dict[str, dict[str, Any]] = {
    "modern": {"epochs": 60, "batch_size": 64, "learning_rate": 1e-3, "weight_decay": 2e-4, "augment": True},
    "published": {
        "epochs": 2000,
        "batch_size": 256,
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "augment": False,
        "dtype": "float32",
    },
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """Which faces a config is about: its fields on data and split, filled in. They mean what they mean there."""

    dataset: str
    root: str | None
    min_faces: int | None
    queries_per_identity: int | None
    split_seed: int | None
    new_people: float
    scored_on: str


@dataclasses.dataclass(frozen=True, init=False)
class Config:
    """One experiment: data and split, network, objective, training.

    Fields that are None are decided by the data set, the recipe or the objective; a value given here always wins, and
    ``resolved()`` shows what was decided. Beside the fields below, a config takes the constants of its objective, such
    as ``Config(center_weight=0)``, and has them as attributes; the class of an objective says which they are.

    Attributes:
        dataset: ``orl``, ``lfw``, ``facescrub``, ``youtube_faces`` or ``folder``.
        root: Directory of ``facescrub`` and ``youtube_faces`` (DDH pickles) or ``folder`` (a sub-folder per person).
        min_faces: Of ``lfw`` (20) and ``folder``, only people with at least so many photographs.
        queries_per_identity: Photographs of each person that become queries (3; LFW with 20 photographs each: 5).
        split_seed: Draws which photographs become queries, and which people are unseen (0).
        new_people: Fraction of the people kept out of training altogether: the unseen identities.
        scored_on: ``queries``, or ``validation``: everything happens within a validation part of the training faces,
            and the queries are never looked at. Choices are made there.
        bits: Length of the codes.
        head: The hashing head, a name or ``FILE.py:NAME``; None takes the objective's.
        block_size: Descriptor entries for each bit (6), for heads that work on blocks.
        multi_scale: Whether the pooled features are those of stages 4 and 3 (the paper), or of stage 4 alone.
        width: Scales the number of channels; 1.0 is the paper's.
        memory: Weight of a memory of the training people, which leans codes towards them; 0 is none. Training does not
            see it.
        objective: What training minimises, a name or ``FILE.py:NAME``.
        recipe: How it is trained: ``modern``, or ``published``, as the authors' code does, or ``FILE.py:NAME``.
        epochs: Passes over the training faces (60; published 2,000).
        batch_size: Faces in a step (64; published 256).
        learning_rate: That of Adam (1e-3); with ``modern`` the highest of its schedule.
        weight_decay: L2 penalty on convolution and linear kernels (2e-4; published 0, as it had no effect there).
        augment: Whether faces are flipped and slightly shifted at random (on; published off).
        seed: Decides first weights, order and augmentation.
        device: ``auto``, ``cpu`` or ``cuda``.
        dtype: Autocast type of the network, ``auto``, ``float32`` or ``bfloat16``; auto is bfloat16 where the hardware
            computes in it, and float32 for ``published``.
        constants: Name and value of each constant of the objective that is set, in order of names.

    Raises:
        ValueError: A value is unknown or impossible, or has no effect on the chosen data set or objective.

    Source: Jang et al., Deep Clustering and Block Hashing Network for Face Image Retrieval, ACCV 2018.
    """

    # Data and split
    dataset: str = "orl"
    root: str | None = None
    min_faces: int | None = None
    queries_per_identity: int | None = None
    split_seed: int | None = None
    new_people: float = 0.0
    scored_on: str = "queries"
    # Network
    bits: int = 48
    head: str | None = None
    block_size: int | None = None
    multi_scale: bool = True
    width: float = 1.0
    memory: float = 0.0
    # Objective
    objective: str = "dcbh"
    constants: tuple[tuple[str, Any], ...] = ()
    # Training
    recipe: str = "modern"
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    augment: bool | None = None
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"

    def __init__(self, **values: Any) -> None:
        values = dict(values.pop("constants", ())) | values
        for field in _FIELDS:
            kind, optional = str(field.type).removesuffix(" | None"), str(field.type).endswith("| None")
            value = values.pop(field.name, field.default)
            object.__setattr__(self, field.name, _checked_type(field.name, kind, optional, value))
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        defaults = self.objective_class.constants
        for name, default in defaults.items():
            if name in {field.name for field in _FIELDS} or not isinstance(default, int | float):
                raise ValueError(f"constant {name!r} of objective {self.objective!r} must be a number, and no field")
        constants = {}
        for name, value in sorted(values.items()):
            if name not in known_names(self.objective_class):
                raise unknown_name("config field", name, known_names(self.objective_class))
            if value is not None:
                if name not in defaults:
                    raise ValueError(f"{name}={value!r} has no effect on objective {self.objective!r}; leave it out")
                constants[name] = _checked_type(name, type(defaults[name]).__name__, False, value)
        object.__setattr__(self, "constants", tuple(constants.items()))
        self._check()

    def _check(self) -> None:
        self._require("bits", self.bits >= 1, "at least 1")
        if self.block_size is not None:
            self.head_class.check(self.block_size)
        constants = {**self.objective_class.constants, **dict(self.constants)}
        self.objective_class.check(constants)
        if not any(constants.get(f"{term}_weight", 1) for term in self.objective_class.terms):
            raise ValueError(f"every term of objective {self.objective!r} has weight 0, so there is nothing to train")
        self._require("new_people", 0 <= self.new_people < 1, "a fraction from 0 up to, but not including, 1")
        self._require("width", 0 < self.width <= 8, "above 0 and at most 8")
        self._require("memory", 0 <= self.memory <= 1e6, "from 0 to 1000000")
        rate = self.learning_rate
        self._require("learning_rate", rate is None or 0 < rate <= 1e30, "above 0 and at most 1e30")
        for name in ("min_faces", "queries_per_identity", "epochs", "batch_size"):
            value = getattr(self, name)
            self._require(name, value is None or value >= 1, "at least 1")
        self._require("batch_size", self.batch_size != 1, "at least 2: batch normalisation needs two faces")
        self._require("weight_decay", self.weight_decay is None or self.weight_decay >= 0, "0 or more")
        for name in ("seed", "split_seed"):
            value = getattr(self, name)
            self._require(name, value is None or 0 <= value < 2**32, "from 0 to 4294967295")
        if DATASETS[self.dataset].root and self.root is None:
            raise ValueError(f"dataset {self.dataset!r} needs root, the directory that holds it")
        for name, why in self._without_effect().items():
            if getattr(self, name) is not None:
                raise ValueError(f"{name}={getattr(self, name)!r} has no effect {why}; leave it out")
        self.own_files()
        find_recipe(self.recipe)

    def _require(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise ValueError(f"{name} must be {wanted}, not {getattr(self, name)!r}")

    def _without_effect(self) -> dict[str, str]:
        """Fields that cannot change anything under this config, each with the reason."""
        reasons: dict[str, str] = {}
        dataset = DATASETS[self.dataset]
        if not dataset.root:
            reasons["root"] = f"on dataset {self.dataset!r}"
        if not dataset.min_faces:
            reasons["min_faces"] = f"on dataset {self.dataset!r}"
        if dataset.own_split:
            own = f"on dataset {self.dataset!r}, which has its own split"
            reasons["queries_per_identity"] = own
            if self.new_people == 0:
                reasons["split_seed"] = own
        if not self.head_class.blocks:
            reasons["block_size"] = f"on head {self.head or self.objective_class.head!r}, which has no blocks"
        given = {**self.objective_class.constants, **dict(self.constants)}
        for term in self.objective_class.terms:
            if given.get(f"{term}_weight") == 0:
                belonging = {name for name in self.objective_class.constants if name.startswith(f"{term}_")}
                reasons |= dict.fromkeys(belonging - {f"{term}_weight"}, f"with {term}_weight 0")
        return reasons

    def __getattr__(self, name: str) -> Any:
        """A constant of the objective; None where it is not set, or the objective has no such constant."""
        if not name.startswith("_") and name in known_names(find_objective(self.__dict__["objective"])):
            return dict(self.__dict__.get("constants", ())).get(name)
        raise AttributeError(f"a Config has no field {name!r}")

    @property
    def objective_class(self) -> type[Objective]:
        """The class that ``objective`` means.

        Raises:
            ValueError: There is none, any more.
        """
        return find_objective(self.objective)

    @property
    def head_class(self) -> type[Head]:
        """The class that ``head`` means, the objective's own where none is given.

        Raises:
            ValueError: There is none, any more.
        """
        return find_head(self.head or self.objective_class.head)

    @property
    def recipe_class(self) -> type[Training]:
        """The class that ``recipe`` means.

        Raises:
            ValueError: There is none, any more.
        """
        return find_recipe(self.recipe)

    def own_files(self) -> dict[str, Path]:
        """The files that head, objective and recipe come from, by their names; empty where all are the kit's.

        Raises:
            ValueError: Two files have the same name.
        """
        found: dict[str, Path] = {}
        for file in (own_file(getattr(self, name)) for name in OWN):
            if file is not None and found.setdefault(file[0].name, file[0].absolute()) != file[0].absolute():
                raise ValueError(f"{', '.join(OWN)} come from two files named {file[0].name}; rename one of them")
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """A config from a mapping, as read from YAML or JSON.

        Raises:
            ValueError: A key is no field (the nearest field is named), or a value is impossible.
        """
        return cls(**values)

    @staticmethod
    def names(objective: str = "dcbh") -> list[str]:
        """The names that a config with this objective takes: all fields, and the constants of the objective.

        Raises:
            ValueError: There is no such objective.
        """
        return [field.name for field in _FIELDS] + list(find_objective(objective).constants)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values, in order, and the constants that are set; ``from_dict`` reads them back."""
        fields = {field.name: getattr(self, field.name) for field in _FIELDS}
        return fields | dict(self.constants)

    def portable(self) -> dict[str, Any]:
        """As ``to_dict``, with files of one's own by their names, wherever they lie."""
        return portable(self.to_dict())

    def data(self) -> Data:
        """The fields on data and split, filled in. It asks for no device."""
        default = DATASETS[self.dataset].default_min_faces
        many = default is not None and (self.min_faces or default) >= MANY_FACES
        decided = {"split_seed": 0, "queries_per_identity": 5 if many else 3, "min_faces": default}
        idle = self._without_effect()
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(Data)}
        filled = {name: value for name, value in decided.items() if values[name] is None and name not in idle}
        return Data(**(values | filled))

    def resolved(self) -> Config:
        """This config with every None filled in and ``auto`` replaced by what this machine has.

        Fields without effect stay None, so two configs that mean the same experiment on one machine are equal once
        resolved. ``resolved()`` of a resolved config is the config itself.
        """
        decided: dict[str, Any] = {"block_size": BLOCK_SIZE, "head": self.objective_class.head}
        decided |= RECIPES.get(self.recipe, RECIPES["modern"])
        decided |= {**dataclasses.asdict(self.data()), **self.objective_class.constants}
        idle = self._without_effect()
        values = {**dict.fromkeys(self.objective_class.constants), **self.to_dict()}
        device = resolved_device(self.device)
        dtype = self.dtype if self.dtype != "auto" else decided.get("dtype") or _fast_dtype(device)
        values |= {n: v for n, v in decided.items() if values.get(n, "") is None and n not in idle}
        return Config(**(values | {"device": device, "dtype": dtype}))


_FIELDS = tuple(field for field in dataclasses.fields(Config) if field.name != "constants")


def known_names(*objectives: type[Objective]) -> list[str]:
    """All names that a config may know: its fields, and the constants of the kit's objectives and of ``objectives``."""
    constants = [name for one in (*ALL_OBJECTIVES.values(), *objectives) for name in one.constants]
    return list(dict.fromkeys([*(field.name for field in _FIELDS), *constants]))


def _checked_type(name: str, kind: str, optional: bool, value: Any) -> Any:
    """``value`` as a ``kind``; whole floats pass as int, as JSON and papermill may write 60.0.

    Raises:
        ValueError: It is of another kind.
    """
    if value is None and optional:
        return None
    if kind in ("int", "float") and isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) <= sys.float_info.max:  # false for NaN, too
            raise ValueError(f"{name} must be finite, not {reprlib.repr(value)}")
        if kind == "float":
            return float(value)
        if value == int(value):
            return int(value)
    if (kind == "bool" and isinstance(value, bool)) or (kind == "str" and isinstance(value, str)):
        return value
    wanted = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}[kind]
    exponent = kind == "float" and isinstance(value, str) and re.fullmatch(r"[-+]?[\d.]+e[-+]?\d+", value, re.I)
    hint = "; in YAML an exponent needs a point and a sign, as in 1.0e-4" if exponent else ""
    raise ValueError(f"{name} must be {wanted}, not {reprlib.repr(value)}{hint}")


def resolved_device(device: str) -> str:
    """``device``, or for ``auto`` what this machine has: ``cuda`` or ``cpu``."""
    import torch

    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def require_device(device: str) -> None:
    """Refuse a device that this machine has not.

    Raises:
        ValueError: It is ``cuda``, and there is none.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but PyTorch finds no CUDA on this machine; leave it at 'auto'")


def _fast_dtype(device: str) -> str:
    """``bfloat16`` where the hardware computes in it, else ``float32``."""
    import torch

    if device == "cuda":
        native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if native else "float32"
