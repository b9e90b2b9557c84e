"""How a model is kept: weights in safetensors, everything else in JSON, and a model card."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import types
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .config import Config, require_device
from .methods import OWN, own_file
from .model import DCBH


def save(model: DCBH, directory: Path) -> None:
    """As ``DCBH.save``."""
    from safetensors.torch import save as as_bytes

    directory.mkdir(parents=True, exist_ok=True)
    weights = as_bytes({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()})
    about = {"config": model.config.portable(), "num_identities": model.num_identities}
    about["sha256"] = digest_of(about, weights)
    for name, source in model.sources.items():
        write_atomically(directory / name, source)
    write_atomically(directory / "model.safetensors", weights)
    write_atomically(directory / "config.json", (json.dumps(about, indent=2) + "\n").encode())
    write_atomically(directory / "README.md", model_card(model).encode())


def load(directory: Path, device: str, own_code: bool) -> DCBH:
    """As ``DCBH.load``."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    for name in ("config.json", "model.safetensors"):
        if not (directory / name).is_file():
            raise FileNotFoundError(f"no saved model in {directory}: {name} is missing")
    try:
        about = json.loads((directory / "config.json").read_text())
        values = dict(about["config"])
        for name in OWN:
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
            model = DCBH(config, people)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        why = str(error).partition("\n")[0]  # torch goes on about itself
        raise ValueError(f"{directory / 'config.json'} does not describe a model to be loaded: {why}") from error
    require_device(config.device)
    data = (directory / "model.safetensors").read_bytes()
    try:
        if about.get("sha256") != digest_of(about, data):
            raise ValueError("it is damaged, or belongs to another model than config.json")
        weights = from_bytes(data)
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


def digest_of(about: dict[str, Any], weights: bytes) -> str:
    """SHA-256, in hexadecimal, of a saved model: of what config.json says beside it, and of the weights' file."""
    said = json.dumps({name: value for name, value in about.items() if name != "sha256"}, sort_keys=True)
    return hashlib.sha256(said.encode() + weights).hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``path`` complete or not at all.

    Raises:
        OSError: It cannot be written; the error names it.
    """
    partial = path.with_name(f".partial.{secrets.token_hex(4)}")  # of any name's length, and nobody else's
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None


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
