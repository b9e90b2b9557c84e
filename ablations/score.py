"""Codes of any project, from its files: how good they are, and what other evaluations would have printed for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dcbh_core import Evaluation, evaluate
from dcbh_core.conventions import as_bits, as_labels, relevance
from dcbh_core.metrics import average_precision

from .rankings import authors_distances, evaluation_of, sorted_map

TOPS = (50, 1000, 5000)  # of MAP@k and precision at k, as far as the gallery goes; the last two are the field's
RADIUS = 2
AT_ONCE = 2**24  # distances of rankings that are sorted; 16 million take a few hundred megabytes

# An array's name says what it holds by one word of each kind. The names are those that repositories write, see
# docs/comparing.md: database_hash and test_label (CSQ), trn_binary and tst_label (DeepHash-pytorch), database_code
# and test_labels or validation_label (HashNet), qB, qL, rB and rL (DPSH), queries_codes (a run of this kit).
QUERIES = {"query", "queries", "q", "test", "tst", "te", "val", "validation"}
GALLERY = {"gallery", "database", "db", "retrieval", "r"}
TRAINING = {"train", "training", "trn", "tr"}  # the gallery, where no array says that it is
KINDS = {
    "codes": {"code", "codes", "hash", "hashes", "hashcode", "hashcodes", "binary", "b"},
    "labels": {"label", "labels", "l", "target", "targets"},
}
ROLES = ("query_codes", "query_labels", "gallery_codes", "gallery_labels")
READ = (".npz", ".npy", ".mat")


class Array(NamedTuple):
    """An array that a file holds.

    Attributes:
        file: Where it lies.
        name: Its name; of a file that holds one alone, the file's.
        read: Reads it.
    """

    file: Path
    name: str
    read: Callable[[], Any]


class Codes(NamedTuple):
    """What is to be scored.

    Attributes:
        query_codes: Bool (queries, bits).
        query_labels: As ``evaluate`` takes them.
        gallery_codes: Bool (gallery, bits); None where each query is sought among the others.
        gallery_labels: None where ``gallery_codes`` is.
        found: A line about each array: its role, name, type and shape.
    """

    query_codes: np.ndarray
    query_labels: np.ndarray
    gallery_codes: np.ndarray | None
    gallery_labels: np.ndarray | None
    found: list[str]


def read_codes(paths: Sequence[Path], threshold: float | None = None) -> Codes:
    """Codes and labels from files; nothing in them is executed.

    Args:
        paths: ``.npz`` and ``.mat`` files, ``.npy`` files, or directories that hold such files. The roles of the arrays
            follow from their names (of ``.npy``, the file's); what has no role is not read. Codes and labels that say
            neither query nor gallery are sought among each other.
        threshold: A bit of real-valued codes is 1 at this value or above; codes of 0 and 1, or of -1 and 1, are read as
            what they are.

    Raises:
        ValueError: A file cannot be read, roles are missing or claimed twice, codes are no codes, labels are none, or
            the threshold is no number.
        OSError: There is no such file.
    """
    if threshold is not None and np.isnan(threshold):
        raise ValueError("the threshold must be a number, not nan, which no value is above or below")
    arrays = [array for path in paths for array in _arrays(Path(path))]
    roles = _roles(arrays)
    read: dict[str, np.ndarray] = {}
    found = []
    for role, array in roles.items():
        values = _dense(array.read())
        found.append(f"{role}: {array.name} in {array.file.name}, {values.dtype} {values.shape}")
        read[role] = values
    for side in ("query", "gallery"):
        if f"{side}_codes" in read:
            origin = f"{roles[f'{side}_codes'].name}: {side} "
            read[f"{side}_codes"] = _bits(read[f"{side}_codes"], origin, threshold)
            items, bits = read[f"{side}_codes"].shape
            whose = f"{roles[f'{side}_labels'].name}: {side} "
            read[f"{side}_labels"] = _whole(read[f"{side}_labels"], whose, items)
            if items != len(read[f"{side}_labels"]) == bits:
                raise ValueError(f"{origin}codes are ({items}, {bits}), but there are {bits} labels: transpose them")
    gallery = read.get("gallery_codes"), read.get("gallery_labels")
    return Codes(read["query_codes"], read["query_labels"], *gallery, found)


def score_text(codes: Codes, tops: Sequence[int] = (), skip: bool = False) -> str:
    """A report in Markdown: every metric with its range over the orders of tied items, and what others would print.

    Args:
        codes: From ``read_codes``.
        tops: k of MAP@k and of precision at k; by default those of ``TOPS`` that the gallery has.
        skip: Leave queries without a relevant item out, and count them.

    Raises:
        ValueError: As ``evaluate``, or k is above the gallery's size.
    """
    evaluation = evaluate(*codes[:4], missing="skip" if skip else "error")
    size = int(evaluation.retrieved[0].sum())
    tops = tops or [k for k in TOPS if k <= size]
    relevant = evaluation.relevant.sum(1)
    lines = [*codes.found, ""]
    among = f"{size:,} in the gallery" if codes.gallery_codes is not None else "each sought among all others"
    lines += [
        f"{len(relevant):,} queries, {among}, {evaluation.bits} bits; {relevant.mean():,.1f} items are relevant to"
    ]
    lines[-1] += " a query on average."
    if evaluation.left_out:
        share = len(relevant) / (len(relevant) + len(evaluation.left_out))
        lines += [
            f"{len(evaluation.left_out):,} queries without a relevant item are left out (the first is query "
            f"{evaluation.left_out[0]}). Where they count as 0, each mean over queries is {share:.4f} times as much."
        ]
    return "\n".join([*lines, "", *_metrics(evaluation, tops), "", *_others(codes, evaluation, tops)])


def _metrics(evaluation: Evaluation, tops: Sequence[int]) -> list[str]:
    """The table of metrics."""
    all_in_one = (table.sum(1, keepdims=True) for table in (evaluation.retrieved, evaluation.relevant))
    chance = float(average_precision(*all_in_one).mean())
    rows = [_row("MAP", [evaluation.map, evaluation.map_worst, evaluation.map_best])]
    rows += [_row(f"MAP@{k}", [evaluation.map_at(k), *evaluation.map_at_range(k)]) for k in tops]
    rows += [_row(f"precision at {k}", [evaluation.precision_at(k), *_precision_range(evaluation, k)]) for k in tops]
    if evaluation.bits >= RADIUS:
        rows += [_row(f"precision within radius {RADIUS}", [evaluation.precision_radius(RADIUS)] * 3)]
        rows += [_row(f"recall within radius {RADIUS}", [evaluation.recall_radius(RADIUS)] * 3)]
    rows += [_row("MAP of a random ranking", [chance, chance, chance])]
    header = "| metric | expected over the orders of tied items | worst order | best order |"
    return [header, "| --- | ---: | ---: | ---: |", *rows]


def _precision_range(evaluation: Evaluation, k: int) -> tuple[float, float]:
    """Precision at k under the unkindest and the kindest order of tied items."""
    n, r = evaluation.retrieved, evaluation.relevant
    taken = np.clip(k - (n.cumsum(1) - n), 0, n)
    worst, best = np.maximum(taken - (n - r), 0), np.minimum(taken, r)
    return float(worst.sum(1).mean() / k), float(best.sum(1).mean() / k)


def _others(codes: Codes, evaluation: Evaluation, tops: Sequence[int]) -> list[str]:
    """The table of what other evaluations print for the same codes, each row a way of sorting."""
    kept = np.setdiff1d(np.arange(len(codes.query_codes)), evaluation.left_out)
    alone = codes.gallery_codes is None
    gallery = codes.query_codes if codes.gallery_codes is None else codes.gallery_codes
    labels = as_labels(codes.query_labels, codes.query_labels if alone else codes.gallery_labels)
    signs = gallery.astype(np.float32) * 2 - 1
    depths = (None, *tops)
    sums = {name: np.zeros(len(depths)) for name in ("stable", "default", "packed", "packed, expected")}
    for first in range(0, len(kept), AT_ONCE // len(gallery) + 1):
        rows = kept[first : first + AT_ONCE // len(gallery) + 1]
        queries = codes.query_codes[rows]
        right = relevance(labels[0][rows], labels[1])
        real = (gallery.shape[1] - (queries.astype(np.float32) * 2 - 1) @ signs.T) / 2
        packed = authors_distances(queries, gallery)
        if alone:
            others = np.arange(len(gallery)) != rows[:, None]
            real, packed, right = (table[others].reshape(len(rows), -1) for table in (real, packed, right))
        for k, i in zip(depths, range(len(depths)), strict=True):
            sums["stable"][i] += len(rows) * sorted_map(real.astype(np.uint16), right, "stable", k)
            sums["default"][i] += len(rows) * sorted_map(real, right, "quicksort", k)
            sums["packed"][i] += len(rows) * sorted_map(packed.astype(np.uint16), right, "stable", k)
        expected = evaluation_of(packed, right)
        at = [expected.map if k is None else expected.map_at(k) for k in depths]
        sums["packed, expected"] += np.multiply(at, len(rows))
    titles = {
        "stable": "a stable sort: tied items stay in the gallery's order",
        "default": "NumPy's default sort of float32 distances, on this machine",
        "packed": "the packing of DDH's and DCBH's authors, which loses every eighth bit, and a stable sort",
        "packed, expected": "the same packing, expected over the orders of tied items",
    }
    header = [f"| what others would have printed | MAP |{''.join(f' MAP@{k} |' for k in tops)}"]
    rule = "| --- |" + " ---: |" * len(depths)
    return [*header, rule, *(_row(title, sums[name] / len(kept)) for name, title in titles.items())]


def _row(name: str, values: Sequence[float] | np.ndarray) -> str:
    return f"| {name} | {' | '.join(f'{value:.4f}' for value in values)} |"


def _arrays(path: Path) -> list[Array]:
    """The arrays of a file, or of the files of a directory, without reading them.

    Raises:
        ValueError: It is of another kind, or damaged.
        OSError: There is no such file.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in READ)
        if not files:
            raise ValueError(f"{path} holds no {', no '.join(READ)} file")
        return [array for file in files for array in _arrays(file)]
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return [Array(path, path.stem, lambda: _read(path, lambda: np.load(path, allow_pickle=False)))]
    if suffix == ".npz":
        names = _read(path, lambda: np.load(path, allow_pickle=False).files)

        def of_npz(name: str) -> Any:
            with np.load(path, allow_pickle=False) as content:
                return content[name]

        return [Array(path, name, lambda name=name: _read(path, lambda: of_npz(name))) for name in names]  # type: ignore[misc]
    if suffix == ".mat":
        from scipy.io import loadmat, whosmat

        names = [name for name, *_ in _read(path, lambda: whosmat(path))]

        def of_mat(name: str) -> Any:
            return loadmat(path, variable_names=[name])[name]

        return [Array(path, name, lambda name=name: _read(path, lambda: of_mat(name))) for name in names]  # type: ignore[misc]
    raise ValueError(
        f"{path} is read from {', '.join(READ)} alone; what is pickled (.pkl, .pth, .pt) could run programs: load it "
        "where you trust it, and save plain arrays with numpy.savez"
    )


def _read(path: Path, reader: Callable[[], Any]) -> Any:
    """What ``reader`` gives.

    Raises:
        ValueError: The file is damaged, or holds what is not read.
    """
    try:
        return reader()
    except NotImplementedError:  # SciPy's word for HDF5
        raise ValueError(f"{path} is of MATLAB v7.3, which is not read; save it with save(FILE, ..., '-v7')") from None
    except MemoryError:
        raise
    except Exception as error:  # of zipfile, zlib, SciPy or NumPy, whatever they say of a damaged file
        if "pickle" in str(error):
            raise ValueError(
                f"{path} holds Python objects, which are not read, as they could run programs; save plain arrays"
            ) from None
        raise ValueError(f"{path} cannot be read: {type(error).__name__}: {error}") from None


def _roles(arrays: Sequence[Array]) -> dict[str, Array]:
    """Role -> array, for queries and gallery, or for queries alone.

    Raises:
        ValueError: A role is missing, or two arrays claim it.
    """
    claims: dict[tuple[str, str], list[Array]] = {}
    for array in arrays:
        words = set(_words(array.name))
        kinds = [kind for kind, known in KINDS.items() if words & known]
        sides = [side for side, known in _SIDES.items() if words & known]
        if len(kinds) == 1 and len(sides) <= 1:
            claims.setdefault(("".join(sides), kinds[0]), []).append(array)
    claimed = {side for side, _ in claims}
    if "query" in claimed:
        places = {"query": "query", "gallery": "gallery" if "gallery" in claimed else "training"}
        wanted = {f"{role}_{kind}": (side, kind) for role, side in places.items() for kind in KINDS}
    else:
        wanted = {f"query_{kind}": ("", kind) for kind in KINDS}
    roles = {}
    for role, claim in wanted.items():
        candidates = claims.get(claim, [])
        fewest = min((len(_words(array.name)) for array in candidates), default=0)
        best = [array for array in candidates if len(_words(array.name)) == fewest]
        if len(best) > 1:
            names = " and ".join(f"{array.name} in {array.file}" for array in best[:2])
            raise ValueError(f"two arrays may be the {role}: {names}; name one of them otherwise")
        if not best:
            there = ", ".join(array.name for array in arrays[:20]) or "none"
            raise ValueError(
                f"no array is the {role}: the arrays are {there}; name them {', '.join(ROLES)} (or, to seek each among "
                "the others, codes and labels)"
            )
        roles[role] = best[0]
    return roles


_SIDES = {"query": QUERIES, "gallery": GALLERY, "training": TRAINING}


def _words(name: str) -> list[str]:
    """The words of a name, in lower case: those of "B_tst", "tstB", "tst-b" and "TST_B" are alike."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)]


def _dense(values: Any) -> np.ndarray:
    """An array; MATLAB's sparse matrices are filled in."""
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values)


def _bits(codes: np.ndarray, whose: str, threshold: float | None) -> np.ndarray:
    """Codes as bool (n, bits).

    Raises:
        ValueError: They are no codes; real values need a threshold.
    """
    real = codes.dtype.kind == "f"
    try:
        return as_bits(codes, whose)  # first: at a threshold of 0 both 0 and 1 would be 1
    except ValueError as error:
        if threshold is None or not real or np.isnan(codes).any():
            hint = " (--threshold 0 makes a bit 1 at 0 or above)" if real and threshold is None else ""
            raise ValueError(f"{error}{hint}") from None
    return as_bits(codes >= threshold, whose)


def _whole(labels: np.ndarray, whose: str, n: int) -> np.ndarray:
    """Labels, those of one number each as integers (n,), where a file keeps them as a row or as floats.

    Raises:
        ValueError: There are none, or one that is no list.
    """
    if labels.ndim == 0 or labels.size == 0:
        raise ValueError(
            f"{whose}labels must have the shape (n,), (n, 1) or (n, classes), and not be empty, but theirs is "
            f"{labels.shape}"
        )
    if labels.shape in ((1, n), (n, 1)):
        labels = labels.reshape(n)
    if (
        labels.ndim == 1
        and labels.dtype.kind == "f"
        and (labels == np.rint(labels)).all()
        and abs(labels).max() < 2**53
    ):
        labels = labels.astype(np.int64)
    return labels
