"""The pickles of the paper's data, read without running anything that they ask for."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np


def read_ddh_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The pair in one file: images (n, 3072) of the type and scale that they are stored in, and labels (n,) int64.

    Raises:
        ValueError: The file holds something else, is damaged, or asks for something that is no array of numbers; the
            sentence names the file.
        OSError: There is no such file.

    Source: Lin, Li and Tang, Discriminative Deep Hashing for Scalable Face Image Retrieval (DDH), IJCAI 2017, whose
    authors publish such files.
    """
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty")
    try:
        with path.open("rb") as file:
            x, y = _ArrayUnpickler(file, encoding="latin1").load()
        x, y = _array(x), np.array([_number(label) for label in y]) if isinstance(y, list | tuple) else _array(y)
    except _NotAdmitted as error:
        raise ValueError(f"{path} {error}; only NumPy arrays of numbers are admitted") from None
    except Exception as error:  # a damaged pickle can fail in any way
        reason = f"{type(error).__name__} {error}".strip()
        raise ValueError(f"{path} is truncated, or no pickle of a pair (x, y) of arrays: {reason}") from error
    if x.ndim != 2 or x.shape[1] != 3072 or not len(x):
        raise ValueError(f"{path}: x must have the shape (n, 3072), not {x.shape}")
    if y.shape != (len(x),):
        raise ValueError(f"{path}: y must hold one label for each of {len(x)} images, not have the shape {y.shape}")
    if not 0 <= x.min() <= x.max() <= 255:  # false for NaN, too
        raise ValueError(f"{path}: x must hold values from 0 to 255 or from 0 to 1, not from {x.min()} to {x.max()}")
    if not 0 <= y.min() <= y.max() < 2**31 or (y != np.rint(y)).any():
        raise ValueError(f"{path}: y must hold whole numbers from 0, one per person")
    return x, y.astype(np.int64)


class _NotAdmitted(ValueError):
    """A pickle asks for something that is no array of numbers."""


class _Noted:
    """Whatever a pickle may name: it notes what it is called with and its state, and does nothing."""

    def __init__(self, name: str, args: tuple[Any, ...] = ()):
        self.name, self.args = name, args

    def __call__(self, *args: Any) -> _Noted:
        if len(args) > 4:  # more than NumPy ever uses; millions, again and again, would keep us busy
            raise ValueError(f"{len(args)} arguments for {self.name}")
        return _Noted(self.name, args)

    def __setstate__(self, state: Any) -> None:
        self.state = state


_ARRAY_NAMES = {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")} | {
    (f"numpy.{core}.{name}", function)
    for core in ("core", "_core")  # before NumPy 2 and since
    for name, function in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
}


def _refuse(_: object) -> None:
    raise _NotAdmitted("holds a dictionary, a set or an extension type")


# pickle's machine as written in Python, because its instructions can be replaced: dictionaries and sets hash what they
# hold, which a tuple of tuples can drag out for years, and the one in C reserves memory for any number in the file.
class _ArrayUnpickler(pickle._Unpickler):
    """A reader of lists, tuples, texts, numbers and, as ``_Noted``, arrays of NumPy; it imports and calls nothing."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        # Reserves no more than the file holds; that the array can then not be written to does not matter here.
        pickle.BYTEARRAY8[0]: pickle._Unpickler.dispatch[pickle.BINBYTES8[0]],
        **dict.fromkeys(b"".join((pickle.DICT, pickle.EMPTY_DICT, pickle.EMPTY_SET, pickle.FROZENSET)), _refuse),
        **dict.fromkeys(b"".join((pickle.EXT1, pickle.EXT2, pickle.EXT4)), _refuse),
    }

    def find_class(self, module: str, name: str) -> _Noted:
        if (module, name) not in _ARRAY_NAMES:
            raise _NotAdmitted(f"asks for {module}.{name}")
        return _Noted(name)


def _array(noted: Any) -> np.ndarray:
    """The array, or the scalar as an array of shape (), that a pickle describes.

    Raises:
        _NotAdmitted: It does not hold numbers.
        Exception: It describes no array, or a damaged one.
    """
    if not isinstance(noted, _Noted):
        raise TypeError(f"{type(noted).__name__} in the place of an array")
    fortran: Any = False
    if noted.name == "_reconstruct":
        _, shape, dtype, fortran, data = noted.state
    elif noted.name == "_frombuffer":
        data, dtype, shape, order = noted.args
        fortran = order == "F"
    else:
        shape, (dtype, data) = (), noted.args
    code, byte_order = dtype.args[0], dtype.state[1]
    if not (isinstance(code, str) and re.fullmatch("[iuf][1248]", code)):
        raise _NotAdmitted(f"holds values of dtype {code if isinstance(code, str) else type(code).__name__}")
    if isinstance(data, _Noted):  # _codecs.encode(text, "latin1"), which is how protocols 0 to 2 write bytes
        data = data.args[0]
    if isinstance(data, str):
        data = data.encode("latin1")
    values = np.frombuffer(data, np.dtype(code).newbyteorder(byte_order))
    return values.reshape(shape, order="F" if fortran else "C")


def _number(label: Any) -> int | float:
    """A label as a number, be it one of Python's or a scalar of NumPy's."""
    if type(label) in (int, float):
        return label
    return _array(label).item()
