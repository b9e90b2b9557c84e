"""Faces to a trained model and its history.

The whole data set lives on the device as one uint8 tensor. Each epoch shuffles and augments all of it there in one go,
and its batches are slices.
"""

from __future__ import annotations

import copy
import hashlib
import io
import math
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .captured import CapturedSteps
from .config import Config, require_device
from .faces import Faces
from .model import DCBH, as_tensor, objective_of
from .notes import Note
from .rehearsal import rehearse
from .saving import write_atomically

MAX_SHIFT = 2  # pixels
WARM_UP = 0.1  # fraction of all steps over which the learning rate rises
ROLLBACK_EVERY = 100  # epochs, recipe "published"
CHECKPOINT_SECONDS = 30.0
DIGEST_SIZE = hashlib.sha256().digest_size

History = list[dict[str, float]]


class TrainingDiverged(ArithmeticError):
    """A loss term became NaN or infinite; the message names epoch, step and term."""


class DamagedCheckpoint(ValueError):
    """A checkpoint is not what was written, or not by this torch."""


def train(
    config: Config,
    faces: Faces,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> tuple[DCBH, History]:
    """Train a network on ``faces``.

    Args:
        config: What to train. The same config, faces and number of threads give the same model on one machine.
        faces: Training faces, labels 0..C-1.
        checkpoint: A file. If it holds an interrupted training of the same config and faces, that one goes on and
            ends at the same weights; if it is damaged or of another torch, a warning says so and training starts
            again. It is written at the end of an epoch.
        checkpoint_seconds: The least time between two of them.

    Returns:
        The model, in evaluation mode, and one dict per epoch: the means over batches of the objective's terms (before
        their weights; DCBH's are ``code``, ``feature``, ``quantization``, ``center``) and of ``total`` (their weighted
        sum; weight decay acts within Adam and is not in it).

    Raises:
        ValueError: Faces that cannot be trained on, a checkpoint of something else, or a head, an objective or a
            recipe of one's own that does not work.
        TrainingDiverged: A term became NaN or infinite; the checkpoint still holds the last good state.
    """
    rehearse(config)
    training = config.recipe_class(config.resolved(), faces)
    path = Path(checkpoint) if checkpoint is not None else None
    if path is not None and path.exists():
        try:
            training.load(path)
        except DamagedCheckpoint as error:
            warnings.warn(f"{error}; training starts again", Note, stacklevel=2)
    saved_at = time.monotonic()
    # Deterministic kernels, so that a seed means the same weights on CUDA too.
    with (
        torch.random.fork_rng(),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
        progress_bar(total=training.epochs, initial=training.epoch, desc="training", unit="epoch") as progress,
    ):
        while training.epoch < training.epochs:
            means = training.run_epoch()
            progress.update()
            progress.set_postfix(loss=f"{means['total']:.3f}")
            if path is not None and time.monotonic() - saved_at >= checkpoint_seconds:
                training.save(path)
                saved_at = time.monotonic()
    return training.trained(), training.history


class Training:
    """A training between two epochs, by the recipe ``modern``: network, objective, optimiser, history.

    All of its randomness is a function of seed and epoch, so nothing else needs to be saved to go on.
    """

    def __init__(self, config: Config, faces: Faces):
        assert config.epochs and config.batch_size and config.learning_rate, "the config must be resolved"
        require_device(config.device)
        self.config = config
        self.epochs, self.batch_size, self.learning_rate = config.epochs, config.batch_size, config.learning_rate
        self.check(faces)
        self.fingerprint = faces.fingerprint()
        self.images = as_tensor(faces.images).to(config.device)
        self.labels = as_tensor(faces.labels).to(config.device)
        with torch.random.fork_rng(devices=[]):
            # On the CPU, so that a seed starts from the same weights on every device.
            torch.manual_seed(config.seed)
            self.model = DCBH(config, faces.num_identities)
            self.objective = objective_of(self.model)
        files = {name: hashlib.sha256(source).hexdigest() for name, source in self.model.sources.items()}
        self.subject = config.portable() | files
        self.subject.pop("root", None)  # faces may be moved; their fingerprint says which they are
        self.model.to(config.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective.to(config.device)
        self.model.set_statistics(self.images)
        self.optimizer = self.adam()
        self.captured = CapturedSteps(self.step)
        self.epoch = 0
        self.history: History = []

    def check(self, faces: Faces) -> None:
        """Refuse faces that cannot be trained on.

        Raises:
            ValueError: There are fewer than two people or faces, or more people than the objective can serve.
        """
        if faces.num_identities < 2 or len(faces) < 2:
            raise ValueError(f"training needs at least two people, not {faces.num_identities} ({len(faces)} faces)")
        self.config.objective_class.check_people(faces.num_identities, self.config.bits)

    def adam(self) -> torch.optim.Adam:
        """Adam; weight decay as an L2 term, 1/2 weight_decay ||W||^2, on convolution and linear kernels only."""
        kernels: list[Tensor] = [m.weight for m in self.model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        decayed = {id(kernel) for kernel in kernels}
        others = [p for m in (self.model, self.objective) for p in m.parameters() if id(p) not in decayed]
        groups: list[dict[str, Any]] = [
            {"params": kernels, "weight_decay": self.config.weight_decay},
            {"params": [p for p in others if p.requires_grad], "weight_decay": 0.0},
        ]
        # The learning rate is a tensor, so that a captured step reads what it is now, not what it was.
        learning_rate = torch.tensor(self.learning_rate, device=self.images.device)
        return torch.optim.Adam(groups, lr=learning_rate, fused=True, capturable=self.images.is_cuda)

    def run_epoch(self) -> dict[str, float]:
        """Make one pass over the faces; return its means, which go into the history too.

        Raises:
            TrainingDiverged: A term became NaN or infinite.
        """
        self.model.train()
        generator = torch.Generator(self.images.device).manual_seed(self.config.seed * 2**20 + self.epoch)
        torch.manual_seed(self.config.seed * 2**20 + self.epoch)  # for layers that take no generator
        batches = self.batches(generator)
        losses = torch.empty(len(batches), len(self.objective.weights) + 1, device=self.images.device)
        # A method of one's own may wait for the device, which a captured step cannot.
        step = self.captured if self.images.is_cuda and not self.config.own_files() else self.step
        for i, (images, labels) in enumerate(batches):
            self.set_learning_rate(self.epoch * len(batches) + i, self.epochs * len(batches))
            losses[i] = step(images, labels)
        self.epoch += 1
        means = self.means(losses.cpu())  # the only synchronisation with the device in an epoch
        self.history.append(means)
        return means

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Train on one batch, without waiting for the device.

        Args:
            images: Uint8 (n, 3, 32, 32).
            labels: Int64 (n,).

        Returns:
            The terms before their weights, and their weighted total, (terms + 1,).
        """
        outputs = self.model(images)
        total, terms = self.objective(outputs, labels)
        self.optimizer.zero_grad()
        total.backward()
        self.objective.after_backward(outputs, labels)
        self.optimizer.step()
        return torch.stack([*(terms[name] for name in self.objective.weights), total]).detach()

    def batches(self, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
        """Images and labels of an epoch's batches: all faces in a new order, flipped and shifted if so configured."""
        order = torch.randperm(len(self.images), generator=generator, device=self.images.device)
        images, labels = self.images[order], self.labels[order]
        if self.config.augment:
            images = augmented(images, generator)
        # Batches of nearly equal size: a last batch of a few faces would make a poor batch norm.
        parts = min(math.ceil(len(images) / self.batch_size), len(images) // 2)  # nor can it take one face alone
        return list(zip(images.tensor_split(parts), labels.tensor_split(parts), strict=True))

    def set_learning_rate(self, step: int, steps: int) -> None:
        """Linear warm-up, then half a cosine down to 0."""
        warm = max(1, round(WARM_UP * steps))
        factor = (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))
        for group in self.optimizer.param_groups:
            group["lr"].fill_(self.learning_rate * factor)

    def means(self, losses: Tensor) -> dict[str, float]:
        """The mean of each term and of the total over an epoch's steps.

        Args:
            losses: What each step gave, (steps, terms + 1).

        Raises:
            TrainingDiverged: One that counts is NaN or infinite.
        """
        names = (*self.objective.weights, "total")
        active = [i for i, name in enumerate(names) if name == "total" or self.objective.weights[name]]
        for step, row in enumerate(losses.tolist()):
            for i in active:
                if not math.isfinite(row[i]):
                    raise TrainingDiverged(
                        f"the loss became {row[i]} in epoch {self.epoch}, step {step + 1} of {len(losses)}, term "
                        f"{names[i]!r}; a smaller learning_rate (now {self.learning_rate:g}) or weight may help"
                    )
        return dict(zip(names, losses.double().mean(0).tolist(), strict=True))

    def trained(self) -> DCBH:
        """The model as it is to be used, in evaluation mode, its memory filled."""
        model = self.model.eval()
        model.remember(self.images, self.labels)
        return model

    def state(self) -> dict[str, Any]:
        """All that changes from epoch to epoch, but for the history."""
        return {
            "model": self.model.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what ``state`` gave."""
        self.model.load_state_dict(state["model"])
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.captured = CapturedSteps(self.step)  # the optimiser's tensors are new ones

    def save(self, path: Path) -> None:
        """Write a checkpoint, complete or not at all."""
        content = {
            "torch": str(torch.__version__),
            "subject": self.subject,
            "faces": self.fingerprint,
            "state": self.state(),
            "epoch": self.epoch,
            "history": self.history,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        data = buffer.getvalue()
        # torch reads weights in which a bit has flipped without a word.
        write_atomically(path, hashlib.sha256(data).digest() + data)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            DamagedCheckpoint: It is not what ``save`` wrote, or was written by another version of torch.
            ValueError: It belongs to another config, another method of one's own, or other faces.
        """
        data = path.read_bytes()
        digest, data = data[:DIGEST_SIZE], data[DIGEST_SIZE:]
        if hashlib.sha256(data).digest() != digest:
            raise DamagedCheckpoint(f"checkpoint {path} is damaged")
        content = torch.load(io.BytesIO(data), map_location=self.images.device, weights_only=True)
        if content.get("torch") != str(torch.__version__):  # whose arithmetic may differ
            raise DamagedCheckpoint(f"checkpoint {path} is of another version of torch")
        if content["faces"] != self.fingerprint:
            raise ValueError(f"checkpoint {path} belongs to a training on other faces; delete it to start again")
        other = [name for name, value in self.subject.items() if content["subject"].get(name) != value]
        if other:
            raise ValueError(f"checkpoint {path} has another {', '.join(other)}; delete it to start again")
        self.restore(content["state"])
        self.epoch, self.history = content["epoch"], content["history"]


class PublishedTraining(Training):
    """Training as the authors' code does it, recipe ``published``.

    Batches in file order, the partial last one used; a constant learning rate; the centres are trained by Adam as well
    as moved; each batch passes a second time, which moves batch normalisation's statistics twice; every 100 epochs, and
    at the end, back to the weights of the epoch with the lowest mean loss; and running means without bias.
    """

    def __init__(self, config: Config, faces: Faces):
        super().__init__(config, faces)
        self.objective.requires_grad_(True)
        self.optimizer = self.adam()
        self.best: dict[str, Any] = {}  # the state of the epoch with the lowest loss so far
        self.best_total = math.inf

    def check(self, faces: Faces) -> None:
        super().check(faces)
        if len(faces) % self.batch_size == 1:
            raise ValueError(
                f"batch_size={self.batch_size} leaves a last batch of one of {len(faces)} faces, which batch "
                "normalisation cannot take; choose another batch_size"
            )

    def batches(self, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
        images = augmented(self.images, generator) if self.config.augment else self.images
        return list(zip(images.split(self.batch_size), self.labels.split(self.batch_size), strict=True))

    def set_learning_rate(self, step: int, steps: int) -> None:
        """Leave it as it is."""

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        losses = super().step(images, labels)
        with torch.no_grad():  # the authors' second pass, in training mode, which prints the accuracy
            self.model(images)
        return losses

    def run_epoch(self) -> dict[str, float]:
        means = super().run_epoch()
        if means["total"] < self.best_total:
            self.best_total, self.best = means["total"], copy.deepcopy(super().state())
        if self.best and (self.epoch % ROLLBACK_EVERY == 0 or self.epoch == self.epochs):
            super().restore(copy.deepcopy(self.best))
        return means

    def trained(self) -> DCBH:
        """A copy of the model whose running means are divided by 1 - 0.9^t after t updates; the variances are not.

        Their batch normalisation begins at 0 and takes this bias out of the mean alone (held against what their code
        computes in ``tests/test_parity.py``). It matters for the first dozen epochs.
        """
        model = copy.deepcopy(self.model).eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                assert module.momentum is not None and module.running_mean is not None
                assert module.num_batches_tracked is not None
                module.running_mean /= 1 - (1 - module.momentum) ** module.num_batches_tracked
        model.remember(self.images, self.labels)
        return model

    def state(self) -> dict[str, Any]:
        return {**super().state(), "best": self.best, "best_total": self.best_total}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.best, self.best_total = state["best"], state["best_total"]


TRAININGS: dict[str, type[Training]] = {"modern": Training, "published": PublishedTraining}


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """The images uint8 (n, 3, 32, 32), half of them flipped, each shifted by up to 2 pixels per axis.

    Pixels that a shift uncovers repeat the border.
    """
    n, _, height, width = images.shape
    device = images.device
    shifts = torch.randint(-MAX_SHIFT, MAX_SHIFT + 1, (2, n, 1), generator=generator, device=device)
    flip = torch.randint(0, 2, (n, 1), generator=generator, device=device, dtype=torch.bool)
    rows = (torch.arange(height, device=device) + shifts[0]).clamp(0, height - 1)
    columns = (torch.arange(width, device=device) + shifts[1]).clamp(0, width - 1)
    columns = torch.where(flip, columns.flip(1), columns)
    which = torch.arange(n, device=device)
    # One gather does it all. It leaves the channels last, which is the memory order that the network wants.
    return images[which[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def progress_bar(**options: Any) -> Any:
    """A bar by tqdm in a terminal or a live notebook, nothing in a log; TQDM_DISABLE=1 silences both.

    Args:
        **options: Of tqdm.
    """
    from tqdm.auto import tqdm

    # None leaves it to tqdm to look for a terminal. Its bar for notebooks takes no notice of the variable.
    default = False if "ipykernel" in sys.modules else None
    return tqdm(**options, disable=bool(os.environ.get("TQDM_DISABLE")) or default)
