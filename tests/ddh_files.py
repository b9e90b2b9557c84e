"""These functions write files in the layout of the paper's data."""

import pickle
from pathlib import Path

import numpy as np

from dcbh_core import Faces

PIXELS = np.random.default_rng(6).integers(0, 256, (8, 3072), np.uint8)
PIXELS[0, 0], PIXELS[1, 0] = 0, 255


def put(path: Path, content: object, protocol: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))


def ddh(root: Path, training: object, test: object = None, protocol: int = 2) -> Path:
    """FaceScrub in DDH's layout, each part in one file."""
    put(root / "train_folder_facescrub/0.pkl", training, protocol)
    put(root / "test_folder_facescrub/0.pkl", (PIXELS[:2], [0, 1]) if test is None else test, protocol)
    return root


def flat(some: Faces) -> np.ndarray:
    return some.images.reshape(len(some), -1)
