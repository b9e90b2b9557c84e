"""The pickles of the paper's data are read, whoever wrote them, and nothing that they ask for is run."""

import builtins
import copyreg
import io
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcbh_core import load_faces
from dcbh_core.ddh import read_ddh_file
from tests.ddh_files import PIXELS, ddh, flat, put


class Python2Pickler(pickle._Pickler):
    """Writes bytes and ASCII text as Python 2 wrote its strings."""

    def save_string(self, value: bytes | str) -> None:
        data = value if isinstance(value, bytes) else value.encode("ascii")
        if self.proto == 0:  # type: ignore[attr-defined]
            self.write(b"S" + repr(data)[1:].encode("ascii") + b"\n")  # type: ignore[attr-defined]
        elif len(data) < 256:
            self.write(b"U" + bytes([len(data)]) + data)  # type: ignore[attr-defined]
        else:
            self.write(b"T" + struct.pack("<i", len(data)) + data)  # type: ignore[attr-defined]
        self.memoize(value)  # type: ignore[attr-defined]

    dispatch = {**pickle._Pickler.dispatch, bytes: save_string, str: save_string}  # noqa: RUF012


def python_2_dumps(content: object, protocol: int) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, protocol).dump(content)
    return file.getvalue().replace(b"numpy._core", b"numpy.core")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("dtype", ["float64", "float32", ">f4"])
def test_floats_of_either_scale_become_the_bytes_they_were(tmp_path: Path, protocol: int, scale: int, dtype: str):
    x = (PIXELS / 255 * scale).astype(dtype)
    y = np.array([0, 1, 2, 3] * 2)
    got = load_faces("facescrub", ddh(tmp_path, (x[2:], y[2:]), (x[:2], y[:2]), protocol))
    np.testing.assert_array_equal(flat(got), np.concatenate([PIXELS[2:], PIXELS[:2]]))
    assert got.labels.tolist() == [2, 3, 0, 1, 2, 3, 0, 1]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("order", ["C", "F"])
def test_bytes_are_taken_as_they_are(tmp_path: Path, protocol: int, order: Any):
    x = np.asarray(PIXELS, order=order)
    assert flat(load_faces("facescrub", ddh(tmp_path, (x, [0, 1] * 4), protocol=protocol))).tolist() == (
        [*PIXELS.tolist(), *PIXELS[:2].tolist()]
    )


@pytest.mark.parametrize("protocol", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_python_2_wrote_it(tmp_path: Path, protocol: int, dtype: str):
    y = [np.int64(0), np.int64(1)] * 4
    content = python_2_dumps((PIXELS.astype(dtype), y), protocol)
    np.testing.assert_array_equal(pickle.loads(content, encoding="latin1")[0], PIXELS)
    got = load_faces("facescrub", ddh(tmp_path, content))
    np.testing.assert_array_equal(flat(got)[:8], PIXELS)
    assert got.labels[:8].tolist() == [0, 1] * 4


@pytest.mark.parametrize(
    "y",
    [
        [0, 1] * 4,
        (0, 1) * 4,
        np.array([0, 1] * 4, np.uint8),
        np.array([0, 1] * 4, ">i2"),
        [0.0, 1.0] * 4,
        [np.int64(0), 1] * 4,
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_labels_come_as_lists_arrays_or_scalars(tmp_path: Path, y: Any, protocol: int):
    got = load_faces("facescrub", ddh(tmp_path, [PIXELS, y], protocol=protocol))
    assert got.labels.tolist() == [0, 1] * 5
    assert got.labels.dtype == np.int64


LABELS = [0, 1] * 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ((PIXELS[:, :3071], LABELS), r"x must have the shape \(n, 3072\), not \(8, 3071\)"),
        ((PIXELS.reshape(8, 3, 32, 32), LABELS), r"not \(8, 3, 32, 32\)"),
        ((PIXELS[:0], LABELS[:0]), ""),
        ((PIXELS, LABELS[:-1]), r"one label for each of 8 images, not have the shape \(7,\)"),
        ((PIXELS, np.eye(8)), r"not have the shape \(8, 8\)"),
        ((PIXELS, [0.5, 1] * 4), "whole numbers"),
        ((PIXELS, [-1, 1] * 4), "whole numbers"),
        ((PIXELS, [float("nan"), 1] * 4), "whole numbers"),
        ((PIXELS, [2**70, 1] * 4), "whole numbers"),
        ((PIXELS, np.array([2**64 - 1, 1] * 4, np.uint64)), "whole numbers"),
        ((PIXELS, ["anna", "bob"] * 4), "str in the place of an array"),
        ((PIXELS, [[0], [1]] * 4), "list in the place of an array"),
        ((PIXELS, [PIXELS[0], 1] * 4), "truncated, or no pickle"),
        ((PIXELS, None), "NoneType in the place of an array"),
        ((PIXELS.astype(float) + 1, LABELS), "not from 1.0 to 256.0"),
        ((PIXELS.astype(float) - 1, LABELS), "not from -1.0 to 254.0"),
        ((np.where(PIXELS == 255, np.nan, PIXELS), LABELS), "not from nan"),
        ((np.where(PIXELS == 255, np.inf, PIXELS), LABELS), "to inf"),
        ((PIXELS.tolist(), LABELS), "list in the place of an array"),
        (PIXELS, "truncated, or no pickle of a pair"),
        ((PIXELS,), "truncated, or no pickle of a pair"),
        ((PIXELS, LABELS, 0), "truncated, or no pickle of a pair"),
        ({"x": PIXELS, "y": LABELS}, "holds a dictionary"),
        ((PIXELS, set(LABELS)), "set"),
        ((PIXELS.astype(object), LABELS), "dtype O8; only NumPy arrays of numbers"),
        ((PIXELS.astype("U3"), LABELS), "dtype U3"),
        ((PIXELS.astype(complex), LABELS), "dtype c16"),
        ((PIXELS.view("V3072"), LABELS), "dtype V3072"),
        (b"", "is empty"),
        (b"\xff\xd8\xff a photograph", "truncated, or no pickle"),
        (b"PK\x03\x04", "truncated, or no pickle"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_what_is_no_pair_of_images_and_labels_is_named(tmp_path: Path, content: object, message: str, protocol: int):
    ddh(tmp_path, content, protocol=protocol)
    with pytest.raises(ValueError, match=rf"train_folder_facescrub.0\.pkl.*{message}"):
        load_faces("facescrub", tmp_path)


# --- Pickles that are damaged or mean harm ----------------------------------------------------------------------------

VALID = {protocol: pickle.dumps((PIXELS[:2], np.array([0, 1])), protocol) for protocol in range(6)}


def read(path: Path, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    path.write_bytes(content)
    return read_ddh_file(path)


@pytest.mark.parametrize("protocol", range(6))
def test_a_truncated_pickle_is_named(tmp_path: Path, protocol: int):
    whole = VALID[protocol]
    ends = [*range(1, 250), *range(250, len(whole) - 150, 199), *range(len(whole) - 150, len(whole))]
    for end in ends:  # cut in the middle of a name, the file seems to ask for another one
        with pytest.raises(ValueError, match=r"0\.pkl (is truncated|asks for)"):
            read(tmp_path / "0.pkl", whole[:end])
    read(tmp_path / "0.pkl", whole)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), protocol=st.integers(0, 5))
def test_a_damaged_pickle_raises_nothing_but_a_named_error(tmp_path: Path, data: st.DataObject, protocol: int):
    damaged = bytearray(VALID[protocol])
    for _ in range(data.draw(st.integers(1, 4))):
        # Most of a file is pixels; what matters stands before and after them.
        place = data.draw(st.integers(-200, 200)) % len(damaged)
        damaged[place] = data.draw(st.integers(0, 255))
    complaint = "0.pkl is still readable"
    try:
        x, y = read(tmp_path / "0.pkl", bytes(damaged))
        assert x.shape == (len(y), 3072)
    except ValueError as error:
        complaint = str(error)
    assert "0.pkl" in complaint


class Calls:
    """Pickles as a call: unpickling runs ``function(*args)``."""

    def __init__(self, function: Any, *args: Any):
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.args


class Sub(np.ndarray):
    pass


def hostile(marker: str) -> dict[str, object]:
    """Name that is asked for: content that would write ``marker``, or could be a step towards it."""
    code = f"open({marker!r}, 'w').close()"
    return {
        f"{os.system.__module__}.system": Calls(os.system, f"echo > '{marker}'"),
        "eval": Calls(eval, code),
        "exec": Calls(exec, code),
        "Popen": Calls(subprocess.Popen, ["touch", marker]),
        "open": Calls(open, marker, "w"),
        "getattr": Calls(getattr, np.ones(2), "tofile"),
        "__import__": Calls(builtins.__import__, "os"),
        "_reconstructor": Calls(copyreg._reconstructor, Sub, object, None),
        "numpy.load": Calls(np.load, marker, None, True),
        "numpy.savetxt": Calls(np.savetxt, marker, [1]),
        "numpy.memmap": Calls(np.memmap, marker, "uint8", "w+", 0, 4),
        "fromfile": Calls(np.fromfile, marker),
        "test_ddh.Sub": PIXELS.view(Sub),
    }


@pytest.mark.parametrize("name", hostile(""))
@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_asks_for_more_is_refused_and_runs_nothing(tmp_path: Path, name: str, protocol: int):
    marker = tmp_path / "marker"
    content = hostile(str(marker))[name]
    inside = np.empty(1, object)
    inside[0] = content
    for number, place in enumerate([content, (content, LABELS), (PIXELS, [0, content]), (PIXELS, LABELS, inside)]):
        put(tmp_path / f"{number}.pkl", place, protocol)
        with pytest.raises(ValueError, match=rf"{number}\.pkl asks for .*{name}; only NumPy arrays"):
            read_ddh_file(tmp_path / f"{number}.pkl")
    assert not marker.exists()


def test_the_hostile_pickles_would_have_run(tmp_path: Path):
    marker = tmp_path / "marker"
    content = hostile(str(marker))
    for name in (f"{os.system.__module__}.system", "eval", "exec", "open", "numpy.savetxt", "numpy.memmap"):
        pickle.loads(pickle.dumps(content[name]))
        marker.unlink()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"(S'echo'\nios\nsystem\n.", id="INST"),
        pytest.param(b"(cos\nsystem\nS'echo'\no.", id="OBJ"),
        pytest.param(b"\x80\x02cos\nsystem\n)\x81.", id="NEWOBJ"),
        pytest.param(b"\x80\x04\x8c\x02os\x8c\x06system\x93.", id="STACK_GLOBAL"),
        pytest.param(b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.", id="a method of an admitted name"),
    ],
)
def test_every_way_to_ask_for_a_name_is_refused(tmp_path: Path, content: bytes):
    with pytest.raises(ValueError, match=r"0\.pkl asks for (os\.system|numpy\.ndarray\.tofile); only"):
        read(tmp_path / "0.pkl", content)


NDARRAY = b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"


def dtype(code: bytes, byte_order: bytes) -> bytes:
    made = b"cnumpy\ndtype\nX\x02\x00\x00\x00" + code + b"\x89\x88\x87R"
    return made + b"(K\x03X\x01\x00\x00\x00" + byte_order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def array_of_shape(shape: bytes, data: bytes) -> bytes:
    state = b"(K\x01" + shape + dtype(b"u1", b"|") + b"\x89B" + struct.pack("<I", len(data)) + data + b"t"
    return NDARRAY + state + b"b"


def test_the_handwritten_array_is_one(tmp_path: Path):
    content = b"\x80\x03" + array_of_shape(b"K\x01M\x00\x0c\x86", bytes(3072)) + b"]K\x05a\x86."
    assert pickle.loads(content)[0].shape == (1, 3072)
    assert read(tmp_path / "0.pkl", content)[1].tolist() == [5]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\x80\x02X\x01\x00\x00\x00aQ.", id="a persistent id"),
        pytest.param(b"Pa\n.", id="a persistent id of protocol 0"),
        pytest.param(b"\x80\x02\x82\x01.", id="an extension type"),
        pytest.param(b"\x80\x05\x97.", id="a buffer outside the file"),
        pytest.param(b"\x80\x02})" + b"2\x86" * 100 + b"K\x01s.", id="a dictionary whose key takes years to hash"),
        pytest.param(b"\x80\x04\x8f()" + b"2\x86" * 100 + b"\x90.", id="a set of the same"),
        pytest.param(b"\x80\x04()" + b"2\x86" * 100 + b"\x91.", id="a frozen set of the same"),
        pytest.param(b"\x80\x02)" + b"2\x86" * 100 + b".", id="a pair of pairs of pairs"),
        pytest.param(b"\x80\x02" + b"]2" * 50 + b"a" * 50 + b"2\x86.", id="lists of lists"),
        pytest.param(b"\x80\x02Nr\xff\xff\xff\xff.", id="a memo of 4 billion"),
        pytest.param(b"Np99999999999999\n.", id="a larger one"),
        pytest.param(b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f" + b".", id="bytes of no end"),
        pytest.param(b"\x80\x05\x96" + struct.pack("<Q", 2**36) + b".", id="a bytearray of 64 GiB"),
        pytest.param(b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b".", id="a frame of no end"),
        pytest.param(b"I" + b"9" * 100_000 + b"\n.", id="a number of no end"),
        pytest.param(b"\x80\x02" + array_of_shape(b"M\xff\xffM\x00\x0c\x86", b"") + b"N\x86.", id="a huge shape"),
        pytest.param(
            b"\x80\x02" + array_of_shape(b"\x8a\x08" + b"\xff" * 7 + b"\x7fM\x00\x0c\x86", b"") + b"N\x86.",
            id="a shape beyond memory",
        ),
        pytest.param(b"\x80\x02" + array_of_shape(b"J\xfe\xff\xff\xff\x85", b"ab") + b"N\x86.", id="a negative shape"),
        pytest.param(b"\x80\x02cnumpy\nndarray\nN\x86.", id="an array type for an array"),
        pytest.param(b"\x80\x02cnumpy\ndtype\n(" + b"N" * 1000 + b"tRN\x86.", id="a thousand arguments"),
        pytest.param(b"\x80\x02cnumpy\ndtype\nN}U\x04args)s\x86bN\x86.", id="attributes of an admitted name"),
        pytest.param(NDARRAY + b"N\x86.", id="an array without content"),
    ],
)
def test_no_pickle_runs_hangs_or_fills_the_memory(tmp_path: Path, content: bytes):
    with pytest.raises(ValueError, match=r"0\.pkl (is truncated|holds)"):
        read(tmp_path / "0.pkl", content)


def test_deep_nesting_does_not_overflow_the_stack(tmp_path: Path):
    with pytest.raises(ValueError, match=r"0\.pkl is truncated"):
        read(tmp_path / "0.pkl", b"\x80\x02N" + b"\x85" * 200_000 + b".")


def test_a_pickled_byte_order_leaves_numpys_own_types_alone(tmp_path: Path):
    with pytest.raises(ValueError, match=r"0\.pkl is truncated"):
        read(tmp_path / "0.pkl", b"\x80\x03" + dtype(b"f8", b"<" if sys.byteorder == "big" else b">") + b"N\x86.")
    assert np.dtype("f8").isnative
