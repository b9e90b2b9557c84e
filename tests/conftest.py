"""Shared by all tests: one thread (two run side by side), and a tiny set of synthetic faces."""

import numpy as np
import pytest
import torch

from dcbh_core import Faces

torch.set_num_threads(1)


def synthetic_faces(people: int, each: int, seed: int = 0) -> Faces:
    """Each person is a fixed random picture plus noise: learnable in a few epochs."""
    rng = np.random.default_rng(seed)
    portraits = rng.integers(0, 256, (people, 1, 3, 8, 8)).repeat(4, 3).repeat(4, 4)
    noise = rng.normal(0, 25, (people, each, 3, 32, 32))
    images = np.clip(portraits + noise, 0, 255).astype(np.uint8).reshape(-1, 3, 32, 32)
    return Faces(images, np.repeat(np.arange(people), each), [f"person {i}" for i in range(people)])


@pytest.fixture(scope="session")
def tiny() -> Faces:
    return synthetic_faces(people=4, each=6)
