"""DCBH: faces to short binary codes, trained, evaluated and taken apart.

Jang, Jeong, Lee, Cho: Deep Clustering and Block Hashing Network for Face Image Retrieval, ACCV 2018. The modules in the
order in which one is built on the other: heads, losses, memory, config, faces, model, training, hamming, metrics.
Beside them stands what one does not need to understand DCBH: datasets and ddh, which read faces; conventions, for
codes and labels as other projects write them; peers and shallow, the
methods that it is compared with; methods and rehearsal, for heads, objectives and recipes of one's own; saving, notes,
and captured for CUDA; and figures, imported by name.
"""

from .config import Config
from .datasets import read_image
from .faces import Faces, Split, load_faces, load_split
from .hamming import search
from .heads import Head
from .losses import Objective, Outputs, Sizes
from .metrics import Evaluation, evaluate
from .model import DCBH
from .training import Training, train

__all__ = [
    "DCBH",
    "Config",
    "Evaluation",
    "Faces",
    "Head",
    "Objective",
    "Outputs",
    "Sizes",
    "Split",
    "Training",
    "evaluate",
    "load_faces",
    "load_split",
    "read_image",
    "search",
    "train",
]
