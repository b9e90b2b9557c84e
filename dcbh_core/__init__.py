"""DCBH: faces to short binary codes, trained, evaluated and taken apart.

Jang, Jeong, Lee, Cho: Deep Clustering and Block Hashing Network for Face Image Retrieval, ACCV 2018. The modules in the
order in which one is built on the other: heads, losses, methods, config, faces, model, training, hamming, metrics.
Beside them are the methods that DCBH is compared with, peers and shallow; ddh, which reads the pickles of the paper's
data; and figures, which is imported by name.
"""

from .config import Config
from .faces import Faces, Split, load_faces, load_split, read_image
from .hamming import search
from .heads import Head
from .losses import Objective, Outputs, Sizes
from .metrics import Evaluation, evaluate
from .model import DCBH
from .training import train

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
    "evaluate",
    "load_faces",
    "load_split",
    "read_image",
    "search",
    "train",
]
