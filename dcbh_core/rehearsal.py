"""The dry run of a head or an objective of one's own, before anything long begins."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from .config import Config
from .losses import Outputs
from .methods import find_head, find_objective, line_in, own_file
from .model import untrained

PEOPLE = 4  # of two faces each


class Unusable(ValueError):
    """A head or an objective of one's own gives something that training cannot use."""


def rehearse(config: Config) -> None:
    """Try a head or an objective of one's own in one step on a few random faces; on the kit's own do nothing.

    Raises:
        ValueError: It fails, or gives something that training cannot use; one sentence with file and line.
    """
    if not config.own_files():
        return
    config = dataclasses.replace(config.resolved(), width=0.05, device="cpu", dtype="float32")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        images = torch.randint(0, 256, (2 * PEOPLE, 3, 32, 32), dtype=torch.uint8)
        labels = torch.arange(PEOPLE).repeat(2)
        with _own("head", config.head, "__init__"), _own("objective", config.objective, "__init__"):
            model, objective = untrained(config, PEOPLE)
        with _own("head", config.head, "forward"):
            z = model.head(model.features(images))
            wanted = (len(images), config.bits)
            if not isinstance(z, Tensor) or z.shape != wanted:
                found = f"shape {tuple(z.shape)}" if isinstance(z, Tensor) else type(z).__name__
                raise Unusable(f"it must give z, a tensor of shape {wanted}, not of {found}")
            if not z.isfinite().all():
                raise Unusable("it gives NaN or infinite numbers")
            outputs: Outputs = model(images)
        with _own("objective", config.objective, "compute"):
            terms = objective.compute(outputs, labels)
            if list(terms) != list(objective.terms):
                raise Unusable(f"it must give the terms {list(objective.terms)}, not {list(terms)}")
            for name, term in terms.items():
                if not isinstance(term, Tensor) or term.shape != () or not term.dtype.is_floating_point:
                    found = f"shape {tuple(term.shape)}" if isinstance(term, Tensor) else type(term).__name__
                    raise Unusable(f"the term {name!r} must be a tensor of one number, not of {found}")
                if not term.isfinite():
                    raise Unusable(f"the term {name!r} is {term.item()}")
            total, _ = objective(outputs, labels)
            if not total.requires_grad:
                raise Unusable("its terms depend on nothing that can be trained")
            total.backward()
            objective.after_backward(outputs, labels)


@contextlib.contextmanager
def _own(kind: str, name: str | None, function: str) -> Iterator[None]:
    """Says of an error in a method of one's own where in its file it arose; lets those of the kit's own through."""
    file = own_file(name)
    try:
        yield
    except Exception as error:
        path = file[0].absolute() if file is not None else None
        line = line_in(path, error) if path is not None else None
        if file is None or (line is None and not isinstance(error, Unusable)):
            raise
        if line is None:
            method = {"head": find_head, "objective": find_objective}[kind](str(name))
            line = getattr(method, function).__code__.co_firstlineno
        what = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}, line {line}, {file[1]}.{function}: {what}") from None
