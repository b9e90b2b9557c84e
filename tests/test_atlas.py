"""The atlas shows what a slow look at the same codes finds, and nothing that it is given can do more than be read."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score

from ablations.__main__ import main
from ablations.atlas import KINDS, MARKERS, PALETTE, atlas, choose, colors, find, read_run, sprite
from ablations.run_directory import measure, write_run
from dcbh_core import Config, Split, load_split, train
from tests.conftest import synthetic_faces

HOSTILE = "<img src=x onerror=alert(1)>"
NAMES = [HOSTILE, "</script><b>", 'a "quoted", name', "$$x^2$$", "@name{safe}", *(f"person {i}" for i in range(5))]


def write_folder(directory: Path, each: int = 6) -> Path:
    """A data set ``folder`` of ten people with names that a page might trip over."""
    faces = synthetic_faces(len(NAMES), each)
    for i, image in enumerate(faces.images):
        # No file system has a slash in a name.
        path = directory / NAMES[faces.labels[i]].replace("/", "\u2215") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.moveaxis(image, 0, -1)).save(path)
    return directory


def write_trained(directory: Path, **fields: object) -> Path:
    """A run of one epoch, as notebook 4 leaves it."""
    config = Config(**{"width": 0.05, "bits": 12, "epochs": 1, "device": "cpu", "dtype": "float32", **fields})
    split = load_split(config)
    model, history = train(config, split.training)
    write_run(directory, config, model, history, measure(model, split), {"train_s": 1.0})
    return directory


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> dict:
    root = write_folder(tmp_path_factory.mktemp("faces"))
    return {"dataset": "folder", "root": str(root), "new_people": 0.3}


@pytest.fixture(scope="module")
def run(folder: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trained(tmp_path_factory.mktemp("run"), **folder)


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return atlas([run])


def data_of(page: str) -> dict:
    [text] = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)
    return json.loads(text)


def unpacked(packed: dict, rows: int | None = None) -> np.ndarray:
    array = np.frombuffer(base64.b64decode(packed["data"]), packed["type"])
    return array if rows is None else array.reshape(rows, -1)


@pytest.fixture(scope="module")
def shown():
    """Known and unseen people with few bits, so that many codes tie, and the codes."""
    known, new = synthetic_faces(5, 6), synthetic_faces(3, 5, seed=1)
    parts = []
    for faces in (known, new):
        is_query = np.arange(len(faces)) % 5 < 2
        parts += [faces.select(~is_query), faces.select(is_query)]
    split = Split(parts[0], *parts)
    shown = choose(split)
    codes = np.random.default_rng(0).random((len(shown.faces), 7)) < 0.5
    return shown, codes


def test_neighbors_are_the_nearest_of_the_gallery_of_known_or_of_unseen_people_without_the_face_itself(shown):
    shown, codes = shown
    descriptors = np.random.default_rng(1).normal(size=(len(codes), 4)).astype(np.float32)
    k = 4
    for vectors in (codes, descriptors):
        found = find(vectors, shown, k)
        for i, vector in enumerate(vectors):
            among = [j for j in range(len(codes)) if shown.kind[j] == (shown.kind[i] | 1) and j != i]
            apart = {
                j: (vector != vectors[j]).sum() if vectors.dtype == bool else np.linalg.norm(vector - vectors[j])
                for j in among
            }
            np.testing.assert_allclose(found.distances[i], sorted(apart.values())[:k], rtol=1e-4)
            assert set(found.neighbors[i]) <= set(among) and len(set(found.neighbors[i])) == k
            np.testing.assert_allclose(found.distances[i], [apart[j] for j in found.neighbors[i]], rtol=1e-4)


def test_a_gallery_smaller_than_the_neighbors_asked_for_leaves_places_empty(shown):
    shown, codes = shown
    found = find(codes, shown, 12)
    stored = int((shown.kind == 3).sum())  # fewer than asked for
    assert stored < 12
    empty = (found.neighbors == -1).sum(1)
    assert set(empty[shown.kind == 3]) == {12 - (stored - 1)}  # no face is its own neighbour
    assert set(empty[shown.kind == 2]) == {12 - stored}


def test_a_query_is_wrong_where_somebody_else_is_as_near_as_its_own_person(shown):
    shown, codes = shown
    found, labels = find(codes, shown, 3), shown.faces.labels
    for i in range(len(codes)):
        among = np.flatnonzero(shown.kind == (shown.kind[i] | 1))
        apart = (codes[among] != codes[i]).sum(1)
        nearest = labels[among[apart == apart.min()]]
        assert found.wrong[i] == (shown.kind[i] % 2 == 0 and (nearest != labels[i]).any())
    assert 0 < found.wrong.sum() < (shown.kind % 2 == 0).sum()


def test_average_precision_of_descriptors_is_that_of_scikit_learn_and_galleries_have_none(shown):
    shown, codes = shown
    vectors, labels = np.random.default_rng(1).normal(size=(len(codes), 4)).astype(np.float32), shown.faces.labels
    ap = find(vectors, shown, 3).ap
    assert (np.isnan(ap) == (shown.kind % 2 == 1)).all()
    for i in np.flatnonzero(shown.kind % 2 == 0):
        among = shown.kind == (shown.kind[i] | 1)
        apart = np.linalg.norm(vectors[among] - vectors[i], axis=1)
        assert ap[i] == pytest.approx(average_precision_score(labels[among] == labels[i], -apart))


def test_the_distance_to_the_centre_of_a_code_is_the_mean_number_of_bits_to_its_persons_gallery(shown):
    shown, codes = shown
    labels, to_center = shown.faces.labels, find(codes, shown, 3).to_center
    for i in range(len(codes)):
        own = codes[(labels == labels[i]) & (shown.kind % 2 == 1)]
        assert to_center[i] == pytest.approx((own != codes[i]).sum(1).mean(), abs=1e-5)


def test_a_sample_of_a_large_data_set_keeps_everybody_and_all_queries_while_they_are_few():
    faces = synthetic_faces(6, 40)
    is_query = np.arange(len(faces)) % 10 == 0
    split = Split(faces.select(~is_query), faces.select(~is_query), faces.select(is_query))
    shown = choose(split, 100)
    assert len(shown.faces) == 100
    assert (shown.kind == 0).sum() == is_query.sum()
    assert set(shown.faces.labels[shown.kind == 1]) == set(range(6))
    few = choose(split, 30)
    assert len(few.faces) == 30 and (few.kind == 0).sum() == 15
    assert len(choose(split).faces) == len(faces)


def test_each_person_has_a_colour_of_its_own_while_there_are_enough():
    labels = np.repeat(np.arange(len(PALETTE)), 3)
    points = np.random.default_rng(0).normal(size=(len(labels), 2))
    assert len(set(colors(labels, [points]))) == len(set(PALETTE)) == len(PALETTE)


def test_of_many_people_no_two_neighbours_on_either_map_share_a_colour():
    labels = np.arange(300)
    maps = [np.random.default_rng(seed).normal(size=(300, 2)) for seed in (0, 1)]
    chosen = colors(labels, maps)
    for points in maps:
        apart = np.linalg.norm(points[:, None] - points, axis=2)
        nearest = np.argsort(apart, axis=1)[:, 1:4]
        assert (chosen[nearest] != chosen[:, None]).all()


def test_the_sprite_holds_each_face_at_its_place():
    faces = synthetic_faces(5, 2)
    picture = np.asarray(Image.open(io.BytesIO(sprite(faces.images, 4))).convert("RGB")).astype(float)
    assert picture.shape == (3 * 32, 4 * 32, 3)
    for i in range(len(faces)):
        row, column = divmod(i, 4)
        cell = picture[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32]
        apart = [np.abs(cell - np.moveaxis(other, 0, -1)).mean() for other in faces.images]
        assert np.argmin(apart) // 2 == i // 2  # the same portrait, whose noise compression takes away


def test_the_page_shows_the_codes_and_the_map_that_the_run_has_recorded(run, page):
    data, recorded, metrics = data_of(page), read_run(run).recorded, read_run(run).result["metrics"]
    kind = unpacked(data["kind"])
    codes = np.unpackbits(unpacked(data["maps"][0]["codes"], len(kind)), axis=1, count=12).astype(bool)
    ap = unpacked(data["maps"][0]["ap"])
    described = unpacked(data["maps"][1]["ap"])
    for number, (part, prefix) in enumerate(
        {"queries": "", "gallery": "", "new_queries": "unseen_", "new_gallery": ""}.items()
    ):
        np.testing.assert_array_equal(codes[kind == number], recorded[f"{part}_codes"])
        if part.endswith("queries"):
            assert ap[kind == number].mean() == pytest.approx(metrics[f"{prefix}map"])
            assert described[kind == number].mean() == pytest.approx(metrics[f"{prefix}descriptor"])
    assert f"MAP {metrics['map']:.3f} (known people), {metrics['unseen_map']:.3f} (unseen people)" in page


def test_names_and_settings_are_text_whatever_they_hold(page):
    assert HOSTILE in data_of(page)["people"]
    assert HOSTILE not in page
    outside = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert "onerror" not in outside.replace("&lt;img src=x onerror=alert(1)&gt;", "")


def test_the_page_loads_nothing_and_its_own_part_is_small(page):
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert not re.search(r"""(src|href)\s*=\s*["']?http""", outside)
    assert "@import" not in outside


def test_unseen_people_have_markers_of_their_own(page):
    data = data_of(page)
    text = json.dumps(data["bokeh"])
    assert len(set(MARKERS)) == len(KINDS)
    for marker in MARKERS:
        assert f'"{marker}"' in text
    for kind in KINDS:
        assert f" {kind}</span>" in page


def test_a_run_that_has_a_model_alone_is_shown_by_codes_computed_anew(run, page, tmp_path):
    (tmp_path / "model").symlink_to(run / "model")
    bare = atlas([tmp_path])
    assert "computed anew by its\n    saved model" in bare
    assert data_of(bare)["maps"] == data_of(page)["maps"]


def test_two_runs_stand_side_by_side_under_what_differs(run, folder, tmp_path):
    other = write_trained(tmp_path, **folder, bits=8, center_weight=0)
    page = atlas([run, other])
    assert re.findall("<h2>(.*)</h2>", page) == [
        "bits 12, center_weight 0.0001: 12 bits",
        "bits 8, center_weight 0.0: 8 bits",
    ]
    maps = data_of(page)["maps"]
    assert [one["bits"] for one in maps] == [12, 8]
    assert re.findall(r'<tr class="differ"><td>(\w+)</td>', page) == ["bits", "center_weight"]


def test_runs_of_one_name_and_config_stand_side_by_side_under_their_paths(run, tmp_path):
    for where in "ab":
        (tmp_path / where / "complete").mkdir(parents=True)
        (tmp_path / where / "complete" / "X").mkdir()
        for file in run.iterdir():
            (tmp_path / where / "complete" / "X" / file.name).symlink_to(file)
    page = atlas([tmp_path / where / "complete" / "X" for where in "ab"])
    assert re.findall("<h2>(.*)</h2>", page) == ["a/complete/X: 12 bits", "b/complete/X: 12 bits"]
    assert "<title>Atlas of codes: a/complete/X and b/complete/X</title>" in page


def test_a_run_is_not_compared_with_itself(run):
    with pytest.raises(ValueError, match="an atlas compares two runs, but both are"):
        atlas([run, run / ".." / run.name])


def test_runs_on_other_faces_are_refused_with_what_is_different(run, folder, tmp_path):
    other = write_trained(tmp_path, **{**folder, "new_people": 0.0})
    with pytest.raises(ValueError, match=r"same faces, but new_people is 0\.3 in .* and 0\.0 in"):
        atlas([run, other])


def test_a_data_set_that_was_changed_is_refused(tmp_path):
    root = write_folder(tmp_path / "faces")
    run = write_trained(tmp_path / "run", dataset="folder", root=str(root))
    next(root.glob("*/0.png")).write_bytes(next(root.glob("*/1.png")).read_bytes())
    with pytest.raises(ValueError, match="the faces of 'folder' are not those that"):
        atlas([run])


def test_codes_that_are_damaged_are_refused(run, tmp_path):
    (tmp_path / "model").symlink_to(run / "model")
    (tmp_path / "result.json").write_bytes((run / "result.json").read_bytes())
    with np.load(run / "evaluation.npz") as arrays:
        np.savez(tmp_path / "evaluation.npz", **{**arrays, "gallery_codes": arrays["gallery_codes"][:3]})
    with pytest.raises(ValueError, match=r"evaluation.npz does not hold the codes of all faces"):
        atlas([tmp_path])
    (tmp_path / "evaluation.npz").write_bytes(b"PK no archive")
    with pytest.raises(ValueError, match="unusable result in"):
        atlas([tmp_path])


def test_the_command_writes_the_page(run, tmp_path, capsys):
    assert main(["atlas", str(run), "--out", str(tmp_path / "a.html"), "--neighbors", "3"]) == 0
    assert re.fullmatch(rf"atlas: {re.escape(str(tmp_path))}/a\.html \(1\.\d MB\)\n", capsys.readouterr().out)
    data = data_of((tmp_path / "a.html").read_text("utf-8"))
    assert unpacked(data["maps"][0]["neighbors"], len(unpacked(data["kind"]))).shape[1] == 3


def test_the_command_says_in_a_sentence_that_there_is_no_run(tmp_path, capsys):
    assert main(["atlas", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("error: no saved model in ")
