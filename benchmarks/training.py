"""Training and encoding, against an ordinary PyTorch loop over a DataLoader, and against the arithmetic they take."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from dcbh_core import DCBH, Config, Faces
from dcbh_core.model import objective_of
from dcbh_core.training import Training, train

from .measuring import Measurement, by_turns, matrix_throughput, rates, seconds

LOOP = "DataLoader loop, float32"


def measure(device: str, repeats: int) -> Iterator[Measurement]:
    on_cuda = device == "cuda"
    people = 530
    for width in (1.0,) if on_cuda else (1.0, 0.5, 0.25):
        for batch in (256, 1024, 4096) if on_cuda else (64,):
            faces = synthetic_faces((16384 if on_cuda else 256 if width == 1 else 512), people)
            fast = Config(width=width, batch_size=batch, device=device).resolved().dtype
            for dtype in dict.fromkeys((fast, "float32")):
                config = Config(width=width, batch_size=batch, device=device, dtype=dtype, epochs=100)
                yield _training(config, faces, repeats)
    yield _encoding(Config(device=device), synthetic_faces(65536 if on_cuda else 1024, people), repeats)
    if on_cuda:
        faces, config = synthetic_faces(67177, people), Config(batch_size=256, epochs=30, device=device)
        train(Config(batch_size=256, epochs=1, device=device), faces)
        took = [seconds(lambda: train(config, faces))]
        name = "a whole training at FaceScrub's size: 67,177 faces, width 1, batch 256, 30 epochs"
        yield Measurement(name, "s", took)


def _training(config: Config, faces: Faces, repeats: int) -> Measurement:
    gc.collect()  # or the loop's workers inherit the captured steps of the measurement before, and complain
    loop = OrdinaryLoop(config, faces)
    training = Training(config.resolved(), faces)
    loop_times, times = by_turns(repeats, loop.run_epoch, training.run_epoch)
    model = training.model

    def step() -> None:
        outputs = model(training.images[:64])
        training.objective(outputs, training.labels[:64])[0].backward()

    resolved = config.resolved()
    return Measurement(
        f"training, width {config.width:g}, batch {config.batch_size}, {resolved.dtype}",
        "images/s",
        rates(len(faces), times),
        rates(len(faces), loop_times),
        LOOP,
        *_limit(resolved, _operations(step) / 64),
    )


def _encoding(config: Config, faces: Faces, repeats: int) -> Measurement:
    resolved = config.resolved()
    model = DCBH(config, faces.num_identities).to(resolved.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    (times,) = by_turns(repeats, lambda: model.encode(faces.images))
    operations = _operations(lambda: model.encode(faces.images[:64])) / 64
    limit = _limit(resolved, operations)
    return Measurement(f"encoding, width 1, {resolved.dtype}", "images/s", rates(len(faces), times), [], "", *limit)


def _operations(work: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


@functools.cache
def _throughput(device: str, dtype: str) -> float:
    return matrix_throughput(device, getattr(torch, dtype))


def _limit(config: Config, operations: float) -> tuple[float, str]:
    """Images per second if all arithmetic ran as fast as a large matrix product."""
    throughput = _throughput(config.device, config.dtype)
    return throughput / operations, f"{throughput / 1e9:,.0f} GFLOP/s measured, {operations / 1e9:.2f} GFLOP per image"


def synthetic_faces(n: int, people: int) -> Faces:
    """Random pixels, n images of so many people in turn."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
    return Faces(images, np.arange(n) % people, [str(person) for person in range(people)])


class OrdinaryLoop:
    """The same network and terms in the loop that most tutorials teach: one face at a time through a DataLoader, an
    optimiser and a memory layout as they come, the loss read in every step."""

    def __init__(self, config: Config, faces: Faces):
        config = self.config = Config(**{**config.to_dict(), "dtype": "float32"}).resolved()
        model = DCBH(config, faces.num_identities)
        objective = objective_of(model)
        self.model, self.objective = model.to(config.device), objective.to(config.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        workers = 8 if config.device == "cuda" else 0  # two cores have none to spare
        self.loader = DataLoader(
            _Shifted(faces),
            batch_size=config.batch_size,
            shuffle=True,
            num_workers=workers,
            pin_memory=config.device == "cuda",
            persistent_workers=workers > 0,
        )

    def run_epoch(self) -> None:
        self.model.train()
        total = 0.0
        for images, labels in self.loader:
            images, labels = images.to(self.config.device), labels.to(self.config.device)
            outputs = self.model(images)
            loss, _ = self.objective(outputs, labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.objective.after_backward(outputs, labels)
            self.optimizer.step()
            total += loss.item()


class _Shifted(Dataset[tuple[torch.Tensor, int]]):
    """Each face flipped at random and shifted by up to two pixels, repeating the border."""

    def __init__(self, faces: Faces):
        self.images, self.labels = torch.from_numpy(faces.images), faces.labels.tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = self.images[index].float()
        if torch.rand(()) < 0.5:
            image = image.flip(2)
        padded = torch.nn.functional.pad(image[None], (2, 2, 2, 2), mode="replicate")[0]
        top, left = (int(shift) for shift in torch.randint(0, 5, (2,)))
        return padded[:, top : top + 32, left : left + 32], self.labels[index]
