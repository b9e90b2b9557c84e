"""The dry run of a head, an objective or a recipe of one's own, before anything long begins."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from .config import Config
from .faces import Faces
from .methods import line_in, line_of, own_file
from .model import DCBH, objective_of

PEOPLE = 4  # of two faces each
MANY = 10  # faces of each, where a recipe is tried


class Unusable(ValueError):
    """Training cannot use a head, an objective or a recipe of one's own; the message names file and line."""


def rehearse(config: Config) -> None:
    """Try a head, an objective or a recipe of one's own on a few random faces; on the kit's own do nothing.

    Raises:
        Unusable: It fails, or gives something that training cannot use; one sentence with file and line.
    """
    if not config.own_files():
        return
    config = dataclasses.replace(config.resolved(), width=0.05, device="cpu", dtype="float32")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        images = torch.randint(0, 256, (2 * PEOPLE, 3, 32, 32), dtype=torch.uint8)
        labels = torch.arange(PEOPLE).repeat(2)
        with _own(config.head, "__init__"):
            model = DCBH(config, PEOPLE)
        with _own(config.objective, "__init__"):
            objective = objective_of(model)
        with _own(config.head, "forward"):
            z, wanted = model.head(model.features(images)), (len(images), config.bits)
            if not isinstance(z, Tensor) or z.dtype != torch.float32 or z.shape != wanted:
                raise ValueError(f"it must give z, float32 {wanted}, not {_found(z)}")
            if not z.isfinite().all():
                raise ValueError("it gives NaN or infinite numbers")
            outputs = model(images)
        with _own(config.objective, "compute"):
            terms = objective.compute(outputs, labels)
            if not isinstance(terms, dict) or list(terms) != list(objective.terms):
                found = list(terms) if isinstance(terms, dict) else _found(terms)
                raise ValueError(f"it must give the terms {list(objective.terms)} as a dict, not {found}")
            for name, term in terms.items():
                if not isinstance(term, Tensor) or not term.dtype.is_floating_point or term.shape != ():
                    raise ValueError(f"the term {name!r} must be a tensor of one number, not {_found(term)}")
                if not term.isfinite():
                    raise ValueError(f"the term {name!r} is {term.item()}")
            total, _ = objective(outputs, labels)
            if not total.requires_grad:
                raise ValueError("its terms depend on nothing that can be trained")
        with _own(config.head, "forward"), _own(config.objective, "compute"):
            total.backward()
        with _own(config.objective, "after_backward"):
            objective.after_backward(outputs, labels)
        if own_file(config.recipe):
            with _own(config.recipe):
                _try_recipe(config)


def _try_recipe(config: Config) -> None:
    """Train for two epochs on random faces, once in one go and once with a checkpoint and a new start between them.

    Raises:
        ValueError: It gives something else than a model, or another one after the new start.
    """
    config = dataclasses.replace(config, epochs=2, batch_size=2 * PEOPLE)
    images = torch.randint(0, 256, (MANY * PEOPLE, 3, 32, 32), dtype=torch.uint8)
    labels = torch.arange(PEOPLE).repeat(MANY)
    faces = Faces(images.numpy(), labels.numpy(), [f"person {i}" for i in range(PEOPLE)])
    whole, resumed = (config.recipe_class(config, faces) for _ in range(2))
    whole.run_epoch()
    with tempfile.TemporaryDirectory() as directory:
        whole.save(Path(directory) / "checkpoint.pt")
        resumed.load(Path(directory) / "checkpoint.pt")
    weights = []
    for training in (whole, resumed):
        training.run_epoch()
        model = training.trained()
        if not isinstance(model, DCBH):
            raise ValueError(f"trained() must give the model, a DCBH, not {_found(model)}")
        weights.append(model.state_dict())
    if not all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items()):
        raise ValueError(
            "interrupted and begun again it ends at other weights; state() must give all that changes from epoch to "
            "epoch, restore() take it, and all randomness be torch's own"
        )


def _found(value: object) -> str:
    """What a value is: its type, and of a tensor the shape."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


@contextlib.contextmanager
def _own(name: str | None, function: str = "") -> Iterator[None]:
    """Makes of an error one sentence with file and line, if ``name`` is a method of one's own."""
    file = own_file(name)
    try:
        yield
    except Unusable:
        raise
    except Exception as error:
        if file is None:
            raise
        path, method = file[0].absolute(), file[1]
        line = line_in(path, error) or line_of(path, method, function)
        what = str(error).partition("\n")[0]
        if not isinstance(error, ValueError):
            what = f"{type(error).__name__}: {what}".removesuffix(": ")
        raise Unusable(f"{path}, line {line}, {f'{method}.{function}'.removesuffix('.')}: {what}") from None
