"""Codes of other projects are read from the files that these write, nothing is executed, and the report is right."""

import csv
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from ablations.__main__ import main
from ablations.map_table import map_table
from ablations.rankings import authors_distances, sorted_map
from ablations.score import ROLES, read_codes, score_text
from dcbh_core import evaluate

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 12), RNG.integers(0, 4, 70)
CODES = RNG.random((12, 16)) < 0.5, RNG.random((70, 16)) < 0.5
PARTS = dict(zip(ROLES, (CODES[0], LABELS[0], CODES[1], LABELS[1]), strict=True))
EXPECTED = evaluate(*PARTS.values())


def signs(codes: np.ndarray) -> np.ndarray:
    return codes.astype(np.float32) * 2 - 1


def table(text: str) -> dict[str, list[float]]:
    """The numbers of each row, by its title."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {title: [float(value) for value in values] for title, *values in rows if values[0][0].isdigit()}


# The names that repositories give their files; docs/comparing.md says where.
NAMES = {
    "the kit": ("query_codes", "query_labels", "gallery_codes", "gallery_labels"),
    "a run": ("queries_codes", "queries_labels", "gallery_codes", "gallery_labels"),
    "CSQ": tuple(f"imagenet_64_{name}" for name in ("test_hash", "test_label", "database_hash", "database_label")),
    "DeepHash-pytorch": ("tst_binary", "tst_label", "trn_binary", "trn_label"),
    "HashNet": tuple(f"iter_09000_{name}" for name in ("test_code", "test_labels", "database_code", "database_labels")),
    "HashNet, Caffe": ("validation_code", "validation_label", "database_code", "database_label"),
    "DPSH_PyTorch": ("qB", "qL", "rB", "rL"),
    "MATLAB": ("B_test", "L_test", "B_db", "L_db"),
}


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".mat"])
@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_the_names_of_well_known_repositories_are_recognised(
    tmp_path: Path, names: tuple[str, ...], suffix: str
) -> None:
    arrays = dict(
        zip(names, (signs(CODES[0]), np.eye(4)[LABELS[0]], signs(CODES[1]), np.eye(4)[LABELS[1]]), strict=True)
    )
    arrays["model"] = np.zeros(3)
    if suffix == ".npz":
        np.savez(tmp_path / "a.npz", **arrays)
    elif suffix == ".mat":
        scipy.io.savemat(tmp_path / "a.mat", arrays)
    else:
        for name, array in arrays.items():
            np.save(tmp_path / f"{name}.npy", array)
    codes = read_codes([tmp_path])
    assert evaluate(*codes[:4]).map == EXPECTED.map
    assert [line.partition(":")[0] for line in codes.found] == list(ROLES)


def test_the_training_set_is_the_gallery_only_where_nothing_else_is(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", B_tst=CODES[0], L_tst=LABELS[0], B_trn=CODES[1], L_trn=LABELS[1])
    assert evaluate(*read_codes([tmp_path / "a.npz"])[:4]).map == EXPECTED.map
    np.savez(tmp_path / "b.npz", B_trn=CODES[1][:5], L_trn=LABELS[1][:5], **PARTS)
    assert evaluate(*read_codes([tmp_path / "b.npz"])[:4]).map == EXPECTED.map


def test_unseen_people_of_a_run_do_not_stand_in_for_its_queries(tmp_path: Path) -> None:
    others = {f"new_{name}": array[:3] for name, array in PARTS.items()}
    np.savez(tmp_path / "evaluation.npz", **others, **PARTS, ap_map=np.zeros(3), queries_names=np.array(["a"]))
    assert evaluate(*read_codes([tmp_path])[:4]).map == EXPECTED.map


def test_a_pair_of_files_is_sought_among_each_other(tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", CODES[1])
    np.save(tmp_path / "labels.npy", LABELS[1])
    codes = read_codes([tmp_path / "codes.npy", tmp_path / "labels.npy"])
    assert codes.gallery_codes is None
    text = score_text(codes, [5])
    assert "70 queries, each sought among all others, 16 bits" in text
    assert table(text)["MAP"][0] == pytest.approx(evaluate(CODES[1], LABELS[1]).map, abs=5e-5)
    distances = np.stack([np.delete((CODES[1] != code).sum(1), i) for i, code in enumerate(CODES[1])])
    right = np.stack([np.delete(LABELS[1] == label, i) for i, label in enumerate(LABELS[1])])
    [stable] = [row for title, row in table(text).items() if title.startswith("a stable sort")]
    assert stable == pytest.approx([sorted_map(distances, right), sorted_map(distances, right, k=5)], abs=5e-5)


def test_matlabs_rows_floats_and_sparse_matrices_are_labels(tmp_path: Path) -> None:
    floats = {"qL": LABELS[0].astype(float), "rL": LABELS[1].astype(float)[:, None]}
    sparse = {f"{side}L": scipy.sparse.csc_matrix(np.eye(4)[LABELS[i]]) for i, side in enumerate("qr")}
    for name, labels in (("floats", floats), ("sparse", sparse)):
        scipy.io.savemat(tmp_path / f"{name}.mat", {"qB": CODES[0], "rB": CODES[1], **labels})
        assert evaluate(*read_codes([tmp_path / f"{name}.mat"])[:4]).map == EXPECTED.map


def test_every_figure_of_the_report_is_that_of_the_evaluation() -> None:
    rows = table(score_text(read_memory(), [5, 20]))
    assert rows["MAP"] == pytest.approx([EXPECTED.map, EXPECTED.map_worst, EXPECTED.map_best], abs=5e-5)
    distances, right = (CODES[0][:, None] != CODES[1]).sum(2), LABELS[0][:, None] == LABELS[1]
    for k in (5, 20):
        assert rows[f"MAP@{k}"] == pytest.approx([EXPECTED.map_at(k), *EXPECTED.map_at_range(k)], abs=5e-5)
        by_hand = [EXPECTED.precision_at(k)]
        for own in (right, ~right):  # the order in which these come last within a distance
            order = np.argsort(2 * distances + own, axis=1)
            by_hand.append(np.take_along_axis(right, order, 1)[:, :k].mean())
        assert rows[f"precision at {k}"] == pytest.approx(by_hand, abs=5e-5)
    assert rows["precision within radius 2"] == pytest.approx([EXPECTED.precision_radius(2)] * 3, abs=5e-5)
    assert rows["recall within radius 2"] == pytest.approx([EXPECTED.recall_radius(2)] * 3, abs=5e-5)


def read_memory():
    from ablations.score import Codes

    return Codes(*PARTS.values(), [])


def test_what_others_would_have_printed_is_what_they_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each query by itself, as their code goes through them; also where a few queries at a time are sorted."""
    right = LABELS[0][:, None] == LABELS[1]
    stable, packed = [], []
    for code, own in zip(CODES[0], right, strict=True):
        for values, distances in (
            (stable, (CODES[1] != code).sum(1)),
            (packed, authors_distances(code[None], CODES[1])[0]),
        ):
            hits = np.flatnonzero(own[np.argsort(distances, kind="stable")]) + 1
            values.append(np.mean(np.arange(1, len(hits) + 1) / hits))
    for at_once in (2**24, 200):
        monkeypatch.setattr("ablations.score.AT_ONCE", at_once)
        rows = list(table(score_text(read_memory(), [5])).items())[-4:]
        assert rows[0][1][0] == pytest.approx(np.mean(stable), abs=5e-5)
        assert rows[2][1][0] == pytest.approx(np.mean(packed), abs=5e-5)
        for title, values in rows[:2]:
            assert EXPECTED.map_worst - 5e-5 <= values[0] <= EXPECTED.map_best + 5e-5, title


def test_a_sort_of_the_first_k_divides_by_what_is_found() -> None:
    right = np.array([[True, False, True, False, True], [False, False, True, False, False]])
    distances = np.tile(np.arange(5), (2, 1))
    assert sorted_map(distances, right, k=3) == pytest.approx(((1 + 2 / 3) / 2 + 1 / 3) / 2)
    assert sorted_map(distances, right, k=2) == pytest.approx((1 + 0) / 2)


def test_queries_without_a_relevant_item_are_left_out_and_counted(tmp_path: Path, capsys) -> None:
    labels = np.array([9, *LABELS[0][1:]])
    np.savez(tmp_path / "a.npz", **{**PARTS, "query_labels": labels})
    assert main(["score", str(tmp_path / "a.npz")]) == 2
    assert "query 0 (label 9) has no relevant image" in capsys.readouterr().err
    assert main(["score", str(tmp_path / "a.npz"), "--missing", "skip", "--top", "5"]) == 0
    printed = capsys.readouterr().out
    assert "1 queries without a relevant item are left out (the first is query 0)" in printed
    assert f"is {11 / 12:.4f} times as much" in printed
    without = evaluate(CODES[0][1:], LABELS[0][1:], CODES[1], LABELS[1])
    assert table(printed)["MAP"][0] == pytest.approx(without.map, abs=5e-5)


def test_real_values_need_a_threshold(tmp_path: Path, capsys) -> None:
    real = {name: array if "labels" in name else signs(array) * 0.7 for name, array in PARTS.items()}
    np.savez(tmp_path / "a.npz", **real)
    assert main(["score", str(tmp_path / "a.npz")]) == 2
    error = capsys.readouterr().err
    assert "query_codes: query codes must be bool, 0 and 1, or -1 and 1" in error and "--threshold 0" in error
    assert main(["score", str(tmp_path / "a.npz"), "--threshold", "0"]) == 0
    assert f"| MAP | {EXPECTED.map:.4f} |" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, bool])
def test_a_threshold_leaves_0_and_1_as_they_are(tmp_path: Path, dtype) -> None:
    """Beside queries of real values: at 0 both would be 1, and all of the gallery would tie."""
    parts = {**PARTS, "query_codes": signs(CODES[0]) * 0.7, "gallery_codes": CODES[1].astype(dtype)}
    np.savez(tmp_path / "a.npz", **parts)
    codes = read_codes([tmp_path / "a.npz"], threshold=0)
    np.testing.assert_array_equal(codes.query_codes, CODES[0])
    np.testing.assert_array_equal(codes.gallery_codes, CODES[1])


def test_a_threshold_decides_on_a_sign_that_is_0(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", codes=np.array([[-1.0, 0.0, 1.0]]), labels=[1])
    assert read_codes([tmp_path / "a.npz"], threshold=0).query_codes.tolist() == [[False, True, True]]


def test_a_threshold_must_be_a_number(tmp_path: Path, capsys) -> None:
    np.savez(tmp_path / "a.npz", **{**PARTS, "query_codes": signs(CODES[0]) * 0.7})
    assert main(["score", str(tmp_path / "a.npz"), "--threshold", "nan"]) == 2
    assert capsys.readouterr().err == (
        "error: the threshold must be a number, not nan, which no value is above or below\n"
    )


class Hostile:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def hostile(path: Path) -> None:
    path.mkdir()
    np.save(path / "labels.npy", LABELS[0])
    np.save(path / "codes.npy", np.array([Hostile()], object), allow_pickle=True)


def pickled(path: Path) -> None:
    path.mkdir()
    np.save(path / "labels.npy", LABELS[0])
    (path / "codes.npy").write_bytes(pickle.dumps(Hostile()))


def damaged(path: Path) -> None:
    np.savez_compressed(path, **PARTS)
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("pair", hostile, "codes.npy holds Python objects, which are not read"),
        ("pair", pickled, "codes.npy holds Python objects, which are not read"),
        ("a.npz", lambda path: np.savez(path, codes=np.array([Hostile()]), labels=np.zeros(1)), "holds Python objects"),
        ("a.npz", damaged, "cannot be read: BadZipFile"),
        (
            "a.mat",
            lambda path: path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + bytes(512)),
            "v7.3, which",
        ),
        ("a.mat", lambda path: path.write_bytes(b"nothing"), "a.mat cannot be read"),
        (
            "a.pth",
            lambda path: path.write_bytes(pickle.dumps(Hostile())),
            "could run programs: load it where you trust it",
        ),
        (
            "a.npz",
            lambda path: np.savez(path, u=CODES[0], qL=LABELS[0]),
            "no array is the query_codes: the arrays are u, qL",
        ),
        (
            "a.npz",
            lambda path: np.savez(path, qB=CODES[0], q_hash=CODES[0], qL=LABELS[0], rB=CODES[1], rL=LABELS[1]),
            "two arrays may be the query_codes: qB in",
        ),
        (
            "a.npz",
            lambda path: np.savez(path, qB=np.sign([[0.0, 1.0, -1.0]]), qL=LABELS[0][:1], rB=CODES[1], rL=LABELS[1]),
            "qB: query codes must be bool, 0 and 1, or -1 and 1, but in row 0, column 0 (from 0) is 0: the sign of",
        ),
        (
            "a.npz",
            lambda path: np.savez(path, qB=CODES[0].T, qL=LABELS[0], rB=CODES[1].T, rL=LABELS[1]),
            "qB: query codes are (16, 12), but there are 12 labels: transpose them",
        ),
        (
            "a.npz",
            lambda path: np.savez(path, qB=CODES[0], qL=3, rB=CODES[1], rL=LABELS[1]),
            "qL: query labels must have the shape (n,), (n, 1) or (n, classes), and not be empty, but theirs is ()",
        ),
        (
            "a.npz",
            lambda path: np.savez(path, qB=CODES[0], qL=LABELS[0], rB=CODES[1], rL=np.array([])),
            "rL: gallery labels must have the shape (n,), (n, 1) or (n, classes), and not be empty, but theirs is (0,)",
        ),
        ("a.mat", lambda path: None, "there is no file"),
        ("empty", Path.mkdir, "holds no .npz, no .npy, no .mat file"),
    ],
)
def test_what_cannot_be_scored_is_one_sentence_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, name: str, write, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name)
    assert main(["score", name]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "executed").exists()


def test_the_map_of_a_run_says_who_is_where_and_from_which_file(tmp_path: Path, capsys) -> None:
    people, new_people = np.array(["Ann", "Bo, Jr."]), np.array(["Cid"])
    arrays = {"queries_names": people, "new_queries_names": new_people, "ap_map": np.array([0.25, 1.0])}
    arrays["ap_unseen_map"] = np.array([0.5])
    for part, labels in {"queries": [1, 0], "gallery": [0, 0, 1], "new_queries": [0], "new_gallery": [0, 0]}.items():
        arrays[f"{part}_labels"] = np.array(labels)
        arrays[f"{part}_codes"] = RNG.random((len(labels), 8)) < 0.5
        arrays[f"{part}_files"] = np.array([f"{part}/{i}.png" for i in range(len(labels))])
    np.savez(tmp_path / "evaluation.npz", **arrays)
    assert main(["map", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"map: {tmp_path / 'map.csv'}\n"
    with (tmp_path / "map.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["part"], row["person"], row["file"], row["ap"]) for row in rows] == [
        ("queries", "Bo, Jr.", "queries/0.png", "0.25"),
        ("queries", "Ann", "queries/1.png", "1.0"),
        ("gallery", "Ann", "gallery/0.png", ""),
        ("gallery", "Ann", "gallery/1.png", ""),
        ("gallery", "Bo, Jr.", "gallery/2.png", ""),
        ("new_queries", "Cid", "new_queries/0.png", "0.5"),
        ("new_gallery", "Cid", "new_gallery/0.png", ""),
        ("new_gallery", "Cid", "new_gallery/1.png", ""),
    ]
    assert all(np.isfinite([float(row["x"]), float(row["y"])]).all() for row in rows)


def test_a_run_that_does_not_know_its_files_has_a_map_all_the_same(tmp_path: Path) -> None:
    arrays = {"queries_names": np.array(["Ann"]), "ap_map": np.ones(4)}
    arrays |= {f"{part}_labels": np.zeros(4, int) for part in ("queries", "gallery")}
    arrays |= {f"{part}_codes": RNG.random((4, 8)) < 0.5 for part in ("queries", "gallery")}
    np.savez(tmp_path / "evaluation.npz", **arrays)
    assert map_table(tmp_path)["file"].tolist() == [""] * 8


@pytest.mark.parametrize("content", [None, b"PK no archive"])
def test_a_run_without_an_evaluation_has_no_map(tmp_path: Path, capsys, content: bytes | None) -> None:
    if content:
        (tmp_path / "evaluation.npz").write_bytes(content)
    assert main(["map", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "evaluation.npz" in error and error.count("\n") == 1
