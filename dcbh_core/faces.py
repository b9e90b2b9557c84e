"""Faces in: what a set of faces is, and its split into training, gallery and queries.

How each data set is read is in ``datasets``.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .config import Config, Data
from .datasets import DATASETS, listing


@dataclass(frozen=True, eq=False)
class Faces:
    """Photographs of faces and who is on them.

    Attributes:
        images: Uint8 (n, 3, 32, 32), red, green and blue from 0 to 255.
        labels: Int64 (n,), the person on each, from 0.
        names: The name of person ``label`` is ``names[label]``. A person may have no photograph in this set.
        files: The file that each is from, text (n,), relative to the data set's directory and with ``/`` between its
            parts, or None where that is not known. It is in no ``fingerprint``.

    Raises:
        ValueError: A shape or a type is another, or a label has no name.
    """

    images: np.ndarray
    labels: np.ndarray
    names: list[str]
    files: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.labels)
        if self.images.dtype != np.uint8 or self.images.shape != (n, 3, 32, 32):
            found = f"{self.images.dtype} of shape {self.images.shape}"
            raise ValueError(f"images of {n} labels must be uint8 of shape ({n}, 3, 32, 32), not {found}")
        if self.labels.dtype != np.int64 or self.labels.shape != (n,):
            raise ValueError(f"labels must be int64 of shape (n,), not {self.labels.dtype} of {self.labels.shape}")
        if n and not 0 <= self.labels.min() <= self.labels.max() < len(self.names):
            raise ValueError(f"labels must lie from 0 to {len(self.names) - 1}, as there are {len(self.names)} names")
        if self.files is not None and self.files.shape != (n,):
            raise ValueError(f"{n} photographs need as many files, not an array of shape {self.files.shape}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_identities(self) -> int:
        """The number of people, C."""
        return len(self.names)

    def select(self, indices: np.ndarray) -> Faces:
        """The faces at ``indices`` (positions, or a mask of shape (n,)); labels and names stay what they are."""
        files = None if self.files is None else self.files[indices]
        return Faces(self.images[indices], self.labels[indices], self.names, files)

    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of shapes, images and labels: equal for equal data and only then."""
        digest = hashlib.sha256(repr((self.images.shape, self.labels.shape)).encode())
        digest.update(np.ravel(self.images).data)
        digest.update(self.labels.astype("<i8").data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Split:
    """A data set in the roles that retrieval gives it.

    Attributes:
        training: What training sees: the gallery of the known people.
        gallery: Photographs of the known people, among which they are sought.
        queries: Further photographs of the known people, with the labels of the gallery.
        new_gallery: The gallery of the unseen identities, people kept out of training, with labels of their own from 0;
            None where ``Config.new_people`` is 0.
        new_queries: Further photographs of them, with the labels of ``new_gallery``; None where that is.
    """

    training: Faces
    gallery: Faces
    queries: Faces
    new_gallery: Faces | None = None
    new_queries: Faces | None = None

    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of all parts: equal for equal faces in equal roles and only then."""
        parts = (self.training, self.gallery, self.queries, self.new_gallery, self.new_queries)
        hashes = [None if part is None else part.fingerprint() for part in parts]
        return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


def load_faces(dataset: str, root: str | os.PathLike[str] | None = None, min_faces: int | None = None) -> Faces:
    """All faces of a data set.

    Args:
        dataset: ``orl``, ``lfw``, ``facescrub``, ``youtube_faces`` or ``folder``.
        root: The directory of the last three: of ``folder``, one sub-folder per person; of the others, DDH's pickles
            (the training part comes first).
        min_faces: Of ``lfw`` (20) and ``folder``, leave out the people with fewer photographs.

    Raises:
        ValueError: The data set is unknown, or its files are not what they should be; the sentence names which.
        ModuleNotFoundError: The package that carries ``orl`` is not installed.
        OSError: ``lfw`` is neither here nor can it be downloaded.
    """
    config = Config(dataset=dataset, root=None if root is None else os.fspath(root), min_faces=min_faces)
    return _load(config.data())[0]


def load_split(config: Config) -> Split:
    """The data set of a config, split into training, gallery and queries; every part is in file order.

    Each person's ``queries_per_identity`` queries are drawn from ``split_seed`` and the person's place in the data set
    alone, so they are the same with and without ``new_people``. The paper's data keep their own training and test part.

    Raises:
        ValueError: A person has too few photographs, fewer than two people are unseen or known, or a reason of
            ``load_faces``.
        ModuleNotFoundError: As in ``load_faces``.
        OSError: As in ``load_faces``.
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
    """Training faces split once more, in the same way, so that choices can be made without the queries.

    Args:
        training: The faces that training may see, ``Split.training``.
        queries_per_identity: Photographs of each person that become queries.
        new_people: Fraction of the people that are unseen by a network trained on the rest.
        split_seed: Draws both.

    Raises:
        ValueError: A person has too few photographs, or fewer than two people are unseen or known.
    """
    is_query = _draw_queries(training, queries_per_identity, split_seed)
    return _split(training, is_query, new_people, split_seed)


def _split(faces: Faces, is_query: np.ndarray, new_people: float, split_seed: int | None) -> Split:
    """The split with these queries, ``is_query`` (n,) bool, and a fraction of unseen identities."""
    new = _draw_new_people(faces.num_identities, new_people, split_seed)
    known = np.setdiff1d(np.arange(faces.num_identities), new)
    gallery, queries = _part(faces, ~is_query, known), _part(faces, is_query, known)
    if not len(new):
        return Split(gallery, gallery, queries)
    return Split(gallery, gallery, queries, _part(faces, ~is_query, new), _part(faces, is_query, new))


def _draw_queries(faces: Faces, num_queries: int, seed: int, remedy: str = "") -> np.ndarray:
    """Which photographs are queries, bool (n,); the same number is drawn for every person.

    Args:
        faces: All n of them.
        num_queries: Of each person.
        seed: Draws them, with the person's place.
        remedy: What else than fewer queries would help where a person has too few photographs, with a place for the
            number needed.

    Raises:
        ValueError: A person has too few photographs; up to ten are named.
    """
    counts = np.bincount(faces.labels, minlength=faces.num_identities)
    short = [f"{faces.names[person]} has {counts[person]}" for person in np.flatnonzero(counts <= num_queries)]
    if short:
        raise ValueError(
            f"too few photographs: {listing(short)}, but queries_per_identity={num_queries} needs at least "
            f"{num_queries + 1} of each person; lower queries_per_identity{remedy.format(num_queries + 1)}"
        )
    is_query = np.zeros(len(faces), bool)
    photographs = np.split(np.argsort(faces.labels, kind="stable"), np.cumsum(counts)[:-1])
    for person, own in enumerate(photographs):
        is_query[np.random.default_rng([seed, person]).permutation(own)[:num_queries]] = True
    return is_query


def _draw_new_people(num_people: int, fraction: float, seed: int | None) -> np.ndarray:
    """Labels of the people kept out of training, int64, in order; none where ``fraction`` is 0.

    Raises:
        ValueError: Fewer than two people are unseen or known.
    """
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
    return Faces(part.images, labels, [faces.names[person] for person in people], part.files)


def _load(data: Data) -> tuple[Faces, int | None]:
    """All faces and, where a data set has its own split, how many of the first ones are its training part.

    Raises:
        ValueError: There are fewer than two people, or the data set cannot be read.
    """
    raw = DATASETS[data.dataset].read(None if data.root is None else Path(data.root), data.min_faces)
    people, labels, counts = np.unique(raw.labels, return_inverse=True, return_counts=True)
    kept = np.flatnonzero(counts >= (data.min_faces or 1))
    if len(kept) < 2:
        enough = "" if data.min_faces is None else f" with at least min_faces={data.min_faces} photographs"
        raise ValueError(f"{raw.title} holds fewer than two people{enough}")
    files = None if raw.files is None else np.array(raw.files)
    faces = Faces(raw.images, labels.astype(np.int64), [raw.names[person] for person in people], files)
    if len(kept) < len(people):
        faces = _part(faces, np.ones(len(faces), bool), kept)
    return faces, raw.num_training
